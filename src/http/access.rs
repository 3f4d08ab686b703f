//! Access: who may ask. With a token, those who carry it; without one, no page but the server's own and those that are named.
//!
//! A browser knows no token, but sends requests for any page to any address. Where no token is set, it is told apart by what it
//! always adds: by `Host`, a page that was led here under a name of its own (DNS rebinding); by `Origin`, a page of somebody else.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::host::Hosts;
use crate::http::problem::{FOREIGN_ORIGIN, MISDIRECTED_REQUEST, Problem, UNAUTHORIZED};
use crate::http::token::Token;

/// What asks whether the server lives must not need a secret.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// How a client shows that it may ask (RFC 6750, section 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"gradientd\"");
/// What browsers are told of every answer that says nothing else: it is no page, and its media type is not to be guessed.
pub(crate) const GUARDS: [(HeaderName, HeaderValue); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
];

/// Who may ask a server.
#[derive(Clone)]
pub struct Access {
    /// What requests must carry.
    pub token: Option<Token>,
    /// The hosts that it may be asked by, where that matters.
    pub hosts: Option<Hosts>,
    /// Origins whose pages may read the answers.
    pub cors_origins: Vec<HeaderValue>,
}

impl Access {
    /// Of a request, whether its `Host`, and the host in its target where one stands there, are the server's.
    fn check_hosts(&self, request: &Request) -> Result<(), Problem> {
        let Some(hosts) = &self.hosts else {
            return Ok(());
        };
        let refused = |what: String| {
            let detail = format!(
                "{what}: must be localhost or an address of this machine, or a host that --allowed-hosts names"
            );
            Err(Problem::new(MISDIRECTED_REQUEST, detail))
        };
        let mut given = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return refused("Host must be there once".to_owned());
        };
        let host = host.to_str().unwrap_or_default();
        let target = request
            .uri()
            .authority()
            .map_or(host, |target| target.as_str());
        for name in [host, target] {
            if !hosts.have(name) {
                return refused(format!("this server is not asked as {name:?}"));
            }
        }
        Ok(())
    }

    /// Of a request, whether it is from no page, from a page of this server, or from one whose origin is named.
    fn check_origin(&self, request: &Request) -> Result<(), Problem> {
        if self.token.is_some() {
            return Ok(());
        }
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        for origin in request.headers().get_all(header::ORIGIN) {
            let page = origin.to_str().unwrap_or_default();
            let authority = page
                .strip_prefix("http://")
                .or_else(|| page.strip_prefix("https://"));
            let own = authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host));
            if !own && !self.cors_origins.contains(origin) {
                let detail = format!(
                    "a page of origin {page:?} may not ask this server: must be one that --cors-origin names"
                );
                return Err(Problem::new(FOREIGN_ORIGIN, detail));
            }
        }
        Ok(())
    }

    /// Of a request, whether it carries the token, or is one that needs none.
    fn check_token(&self, request: &Request) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let is_probe = [Method::GET, Method::HEAD].contains(request.method())
            && PROBES.contains(&request.uri().path());
        if is_probe {
            return Ok(());
        }
        let checked = token.check(request.headers());
        checked.map_err(|why| Problem::new(UNAUTHORIZED, why))
    }
}

/// Refuses a page of somebody else, whatever it asks.
pub(crate) async fn from_here(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let checked = access.check_hosts(&request);
    match checked.and_then(|()| access.check_origin(&request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses who does not carry the token, before the body is read and whether or not there is such a path.
pub(crate) async fn with_token(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.check_token(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => ([(header::WWW_AUTHENTICATE, CHALLENGE)], problem).into_response(),
    }
}
