//! Access: the flags that say who may ask, the token that is read at the start, and when the server refuses to start.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use thiserror::Error;

use crate::http::{Access, AllowedHost, Hosts, LONGEST_TOKEN, Origin};

/// A file is read so far: a token of the most characters, the end of its line, and one byte that tells that there is more.
const MOST_BYTES: u64 = LONGEST_TOKEN as u64 + 3;
/// Permission of everybody to read a file.
const OTHERS_READ: u32 = 0o004;

/// Flags that say who may ask.
#[derive(Args, Clone, Debug, Default)]
pub struct AccessFlags {
    /// File that holds the token which requests must carry as "Authorization: Bearer TOKEN": a line of 16 to 4096 visible
    /// ASCII characters, read at the start. head -c 32 /dev/urandom | base64 > token makes one
    #[arg(long, env = "GRADIENTD_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Listen on an address that other machines reach without a token: whoever reaches it may do everything
    #[arg(long, env = "GRADIENTD_INSECURE_NO_AUTH", value_parser = BoolishValueParser::new())]
    pub insecure_no_auth: bool,
    /// Host by which the server may be asked, beside localhost and the address that it listens on, such as shop.example; *
    /// allows any; may be repeated. With a token, hosts are looked at only where this is given
    #[arg(
        long,
        env = "GRADIENTD_ALLOWED_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub allowed_hosts: Vec<AllowedHost>,
    /// Origin whose pages may read the answers, such as http://localhost:3000; may be repeated
    #[arg(
        long = "cors-origin",
        env = "GRADIENTD_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,
}

/// Why a server does not start with these flags. The token is in none of them.
#[derive(Debug, Error)]
pub enum Error {
    /// Other machines would reach a server that asks for nothing.
    #[error(
        "refusing to listen on {listen}, which other machines may reach, without a token: make one by head -c 32 /dev/urandom | base64 > token and give --token-file token (GRADIENTD_TOKEN_FILE), or let everybody in by --insecure-no-auth (GRADIENTD_INSECURE_NO_AUTH=true)"
    )]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// The file cannot be read.
    #[error(
        "--token-file {} cannot be read: {source}; the user that the server runs as must be able to; head -c 32 /dev/urandom | base64 > token makes one", file.display()
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What the file holds is no token.
    #[error("--token-file {}: the token {why}; head -c 32 /dev/urandom | base64 > token makes one", file.display())]
    NoToken {
        /// The file.
        file: PathBuf,
        /// What it must be.
        why: String,
    },
    /// A token is there, and is not to be asked for.
    #[error("--token-file {} and --insecure-no-auth exclude each other: leave one of them out", file.display())]
    Both {
        /// The file.
        file: PathBuf,
    },
}

impl AccessFlags {
    /// Whether a server may listen on an address: on one that other machines reach, only with a token or on the word of its
    /// operator.
    ///
    /// Errors: it may not.
    pub fn may_listen(&self, listen: SocketAddr) -> Result<(), Error> {
        let asked = self.token_file.is_some() || self.insecure_no_auth;
        if asked || listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(Error::Open { listen })
    }

    /// The token, in full: a client may carry it, and the server keeps its digest.
    ///
    /// Errors: the file cannot be read, or is not to be.
    pub fn token(&self) -> Result<Option<String>, Error> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        // An image may name a file that only some put there; what is there is never passed over in silence.
        match (self.insecure_no_auth, file.try_exists()) {
            (true, Ok(false)) => Ok(None),
            (true, _) => Err(Error::Both { file: file.clone() }),
            (false, _) => first_line(file).map(Some),
        }
    }

    /// Who may ask a server that listens on an address.
    ///
    /// Errors: the server must not start like this.
    pub fn access(&self, listen: SocketAddr) -> Result<Access, Error> {
        self.may_listen(listen)?;
        let token = self.token()?.map(|text| text.parse()).transpose();
        let token = token.map_err(|why| Error::NoToken {
            file: self.token_file.clone().unwrap_or_default(),
            why,
        })?;
        let looked_at = token.is_none() || !self.allowed_hosts.is_empty();
        Ok(Access {
            token,
            hosts: looked_at.then(|| Hosts::new(listen, self.allowed_hosts.clone())),
            cors_origins: self.cors_origins.iter().map(Origin::header).collect(),
        })
    }
}

/// What a file holds, without the end of its line.
fn first_line(file: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable {
        file: file.to_owned(),
        source,
    };
    let opened = File::open(file).map_err(unreadable)?;
    let mode = opened.metadata().map_err(unreadable)?.permissions().mode();
    if mode & OTHERS_READ != 0 {
        tracing::warn!(file = %file.display(), "every user of this machine may read the token: give it to the user that the server runs as (chown) and take it from others (chmod o-r)");
    }
    let mut bytes = Vec::new();
    let read = opened.take(MOST_BYTES).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const TOKEN: &str = "fZ0yq5bq8c2kVnq1+Zl4mA==";

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        access: AccessFlags,
    }

    fn flags(words: &[&str]) -> AccessFlags {
        let words = ["gradientd"].iter().chain(words);
        CommandLine::try_parse_from(words).expect("flags").access
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// What a start with these bytes in the file is refused with; empty where it is not.
    fn refusal(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        let path = file.path().to_str().expect("a path in UTF-8");
        let access = flags(&["--token-file", path]).access(address("0.0.0.0:8080"));
        let said = access.err().map(|error| error.to_string());
        said.unwrap_or_default().replace(path, "FILE")
    }

    #[test]
    fn no_address_but_the_loopback_is_listened_on_without_a_token() {
        for reachable in [
            "0.0.0.0:8080",
            "[::]:8080",
            "192.0.2.7:0",
            "[::ffff:192.0.2.7]:80",
        ] {
            let error = flags(&[]).access(address(reachable)).err();
            let said = error.expect("refused").to_string();
            assert!(
                said.starts_with(&format!("refusing to listen on {reachable}, ")),
                "{said}"
            );
            assert!(
                said.contains("head -c 32 /dev/urandom | base64 > token"),
                "{said}"
            );
            assert!(said.contains("--insecure-no-auth"), "{said}");
            let trusting = flags(&["--insecure-no-auth"]).access(address(reachable));
            assert!(trusting.is_ok_and(|access| access.token.is_none() && access.hosts.is_some()));
        }
        for own in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "127.8.9.1:0",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(flags(&[]).access(address(own)).is_ok(), "{own}");
        }
    }

    #[test]
    fn a_token_file_holds_one_token_and_the_end_of_its_line() {
        for end in ["", "\n", "\r\n"] {
            assert_eq!(refusal(format!("{TOKEN}{end}").as_bytes()), "");
        }
        let rule =
            "--token-file FILE: the token must be one line of 16 to 4096 visible ASCII characters";
        let cure = "; head -c 32 /dev/urandom | base64 > token makes one";
        for (bytes, why) in [
            (b"".as_slice(), ", got 0"),
            (b"\n", ", got 0"),
            (b"short\n", ", got 5"),
            (&[b'a'; 5000], ", got more"),
            (b"0123456789abcdef\n\n", ", and character 17 is none"),
            (
                b"0123456789abcdef\nfedcba9876543210\n",
                ", and character 17 is none",
            ),
            (b"\xff\xfe0123456789abcdef", ", and character 1 is none"),
        ] {
            assert_eq!(refusal(bytes), format!("{rule}{why}{cure}"));
        }
    }

    #[test]
    fn a_token_file_that_is_not_there_is_named() {
        let absent = flags(&["--token-file", "/none/token"]);
        let error = absent
            .access(address("127.0.0.1:0"))
            .err()
            .expect("refused");
        let expected = "--token-file /none/token cannot be read: No such file or directory (os error 2); the user that the server runs as must be able to; head -c 32 /dev/urandom | base64 > token makes one";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_token_that_is_there_is_never_passed_over() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path in UTF-8");
        let both = flags(&["--insecure-no-auth", "--token-file", path]);
        let error = both.access(address("0.0.0.0:0")).err().expect("refused");
        assert!(
            error
                .to_string()
                .ends_with("exclude each other: leave one of them out"),
            "{error}"
        );
        let absent = flags(&["--insecure-no-auth", "--token-file", "/none/token"]);
        assert!(absent.access(address("0.0.0.0:0")).is_ok());
    }

    #[test]
    fn hosts_are_looked_at_unless_a_token_is_asked_for_and_none_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), TOKEN).expect("written");
        let path = file.path().to_str().expect("a path in UTF-8");
        let looks = |words: &[&str]| {
            let access = flags(words)
                .access(address("127.0.0.1:0"))
                .expect("a start");
            access.hosts.is_some()
        };
        assert!(looks(&[]));
        assert!(!looks(&["--token-file", path]));
        assert!(looks(&[
            "--token-file",
            path,
            "--allowed-hosts",
            "a.example,b.example"
        ]));
    }
}
