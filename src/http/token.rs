//! The bearer token: what one may look like, its digest, and whether a request carries it.

use std::str::FromStr;

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Characters of a token, at least: fewer are guessed.
const SHORTEST: usize = 16;
/// Characters of a token, at most: more do not belong into a header.
pub const LONGEST: usize = 4096;

/// The token that requests must carry. Nothing but its SHA-256 is kept, so that no log and no image of the memory has it.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl Token {
    /// Whether a request is allowed what the token allows.
    ///
    /// Errors: why not, without a word of the token.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(first), None) = (given.next(), given.next()) else {
            return Err(if headers.contains_key(header::AUTHORIZATION) {
                "Authorization must be there once, and is there several times"
            } else {
                "the request must carry the server's token as \"Authorization: Bearer TOKEN\", and has no Authorization"
            });
        };
        let token = bearer(first).ok_or("Authorization must be \"Bearer TOKEN\"")?;
        // Digests are compared, in a time that does not depend on where they differ: how long it takes tells nothing of the token.
        let digest: [u8; 32] = Sha256::digest(token).into();
        if bool::from(digest.ct_eq(&self.digest)) {
            Ok(())
        } else {
            Err("the token is not the server's")
        }
    }
}

/// What stands after the scheme, whose case does not matter (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_first_chunk::<7>()?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii_start())
}

impl FromStr for Token {
    type Err = String;

    /// Errors: it has too few or too many characters, or one that is no visible ASCII; the token itself is not in them.
    fn from_str(text: &str) -> Result<Self, String> {
        let rule = format!("must be one line of {SHORTEST} to {LONGEST} visible ASCII characters");
        let characters = text.chars().count();
        if let Some(place) = text.chars().position(|c| !c.is_ascii_graphic()) {
            return Err(format!("{rule}, and character {} is none", place + 1));
        }
        if characters < SHORTEST {
            return Err(format!("{rule}, got {characters}"));
        }
        if characters > LONGEST {
            return Err(format!("{rule}, got more"));
        }
        let digest = Sha256::digest(text).into();
        Ok(Self { digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef-token";

    fn checked(values: &[&str]) -> Result<(), &'static str> {
        let token: Token = TEXT.parse().expect("a token");
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).expect("a header");
            headers.append(header::AUTHORIZATION, value);
        }
        token.check(&headers)
    }

    #[test]
    fn the_scheme_is_taken_in_any_case_and_the_token_in_its_own_alone() {
        for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer    "] {
            assert_eq!(checked(&[&format!("{scheme}{TEXT}")]), Ok(()), "{scheme}");
        }
        let upper = TEXT.to_uppercase();
        for wrong in [
            &upper,
            &TEXT[..21],
            "",
            &format!("{TEXT}x"),
            &format!("{TEXT} "),
        ] {
            assert!(checked(&[&format!("Bearer {wrong}")]).is_err(), "{wrong}");
        }
        for other in [
            TEXT,
            &format!("Basic {TEXT}"),
            &format!("Bearer{TEXT}"),
            "Bearer",
            "",
        ] {
            assert!(checked(&[other]).is_err(), "{other}");
        }
    }

    #[test]
    fn a_request_with_two_tokens_has_none() {
        let right = format!("Bearer {TEXT}");
        assert!(checked(&[&right, &right]).is_err());
        assert!(checked(&[]).is_err());
    }

    #[test]
    fn a_token_is_a_line_of_visible_ascii_that_is_neither_short_nor_long() {
        let refused = |text: &str| text.parse::<Token>().err().unwrap_or_default();
        let rule = "must be one line of 16 to 4096 visible ASCII characters";
        assert_eq!(refused(&"a".repeat(15)), format!("{rule}, got 15"));
        assert_eq!(refused(&"a".repeat(4097)), format!("{rule}, got more"));
        assert_eq!(refused(""), format!("{rule}, got 0"));
        for other in [
            "0123456789abcdef\nx",
            "0123456789abcdef x",
            "0123456789abcdef\u{e9}",
        ] {
            assert_eq!(refused(other), format!("{rule}, and character 17 is none"));
        }
        for fine in ["a".repeat(16), "~".repeat(4096)] {
            assert_eq!(refused(&fine), "");
        }
    }
}
