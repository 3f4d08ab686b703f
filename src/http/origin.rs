//! Origins: whose pages may read the answers, spelled exactly as browsers send them.

use std::str::FromStr;

use axum::http::{HeaderValue, Uri};

/// An origin as a browser sends it: `https://example.org`, `http://localhost:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Its header.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Errors: it is no origin, or not in the one spelling that browsers send.
    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Option<Uri> = text.parse().ok();
        let exact = uri.and_then(|uri| {
            let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
            let default = matches!(
                (scheme, authority.port_u16()),
                ("http", Some(80)) | ("https", Some(443))
            );
            let plain = !default
                && !authority.as_str().contains('@')
                && ["http", "https"].contains(&scheme);
            plain.then(|| format!("{scheme}://{authority}").to_lowercase())
        });
        match (exact, HeaderValue::from_str(text)) {
            (Some(exact), Ok(header)) if exact == text => Ok(Self(header)),
            _ => Err("must be an exact origin, scheme, host and port alone, such as https://example.org or http://localhost:3000".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_in_the_one_spelling_that_browsers_send() {
        for text in [
            "https://example.org",
            "http://localhost:3000",
            "http://[::1]:8000",
        ] {
            assert!(text.parse::<Origin>().is_ok(), "{text}");
        }
        let wrong = [
            "",
            "*",
            "null",
            "example.org",
            "localhost:3000",
            "https://example.org/",
            "https://example.org/a",
            "https://Example.org",
            "https://example.org:443",
            "http://a@b",
            "ftp://example.org",
            "https://*.org/",
            "https://a b",
        ];
        for text in wrong {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
