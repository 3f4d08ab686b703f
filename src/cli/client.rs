//! A small JSON client over one kept-alive HTTP/1.1 connection.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::Error;

/// How long any one request may take.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);

/// An error body of the server (RFC 9457), as far as a person wants to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status that it came with.
    pub status: StatusCode,
    /// What kind of problem it is.
    pub title: String,
    /// What was wrong this time; may be empty.
    pub detail: String,
    /// Where in the body, as JSON pointers, and what was wrong there.
    pub errors: Vec<(String, String)>,
}

impl Problem {
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let title = match text(&body["title"]) {
            none if none.is_empty() => status.canonical_reason().unwrap_or("error").to_owned(),
            title => title,
        };
        let errors = body["errors"].as_array().map_or_else(Vec::new, |errors| {
            errors
                .iter()
                .map(|error| (text(&error["pointer"]), text(&error["detail"])))
                .collect()
        });
        Self {
            status,
            title,
            detail: text(&body["detail"]),
            errors,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for (pointer, detail) in &self.errors {
            write!(
                f,
                "\n  {}: {detail}",
                if pointer.is_empty() { "body" } else { pointer }
            )?;
        }
        Ok(())
    }
}

/// One caller of one server; keeps its connection between requests and opens another when it is gone.
#[derive(Debug)]
pub(super) struct Client {
    server: SocketAddr,
    limit: Duration,
    authorization: Option<HeaderValue>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server: reachable(server),
            limit: REQUEST_LIMIT,
            authorization: None,
            connection: None,
        }
    }

    pub(super) fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Carries this token, if it fits into a header.
    pub(super) fn with_token(mut self, token: &str) -> Self {
        self.authorization = HeaderValue::try_from(format!("Bearer {token}")).ok();
        if let Some(value) = &mut self.authorization {
            // Else it is in what is printed of a client.
            value.set_sensitive(true);
        }
        self
    }

    /// The address that requests go to.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Value, Error> {
        self.call(&Method::GET, path, None).await
    }

    /// The answer, or `None` where the server says 404.
    pub(super) async fn find(&mut self, path: &str) -> Result<Option<Value>, Error> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::Refused { problem, .. }) if problem.status == StatusCode::NOT_FOUND => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Error> {
        let content = ("application/json", Bytes::from(body.to_string()));
        self.call(&Method::POST, path, Some(content)).await
    }

    pub(super) async fn post_csv(&mut self, path: &str, table: Bytes) -> Result<Value, Error> {
        self.call(&Method::POST, path, Some(("text/csv", table)))
            .await
    }

    async fn call(
        &mut self,
        method: &Method,
        path: &str,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Value, Error> {
        let request = format!("{method} {path}");
        let exchange = timeout(self.limit, self.exchange(method, path, content)).await;
        let Ok(exchanged) = exchange else {
            self.connection = None;
            return Err(Error::TooSlow {
                server: self.server,
                request,
                limit_seconds: self.limit.as_secs_f64(),
            });
        };
        let (status, body) = exchanged.map_err(|fault| {
            self.connection = None;
            Error::Unreachable {
                server: self.server,
                reason: in_full(&*fault),
            }
        })?;
        if !status.is_success() {
            let problem = Box::new(Problem::read(status, &body));
            return Err(Error::Refused { request, problem });
        }
        serde_json::from_slice(&body).map_err(|fault| Error::Unexpected {
            request,
            fault: format!("not JSON: {fault}"),
        })
    }

    async fn exchange(
        &mut self,
        method: &Method,
        path: &str,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.server.to_string());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut body = Bytes::new();
        if let Some((kind, content)) = content {
            request = request.header(CONTENT_TYPE, kind);
            body = content;
        }
        let request = request.body(Full::new(body))?;
        let answer = self.connection().await?.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// The open connection, or a new one where there is none or the server has closed it.
    async fn connection(
        &mut self,
    ) -> Result<&mut SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let kept = match self.connection.take() {
            Some(mut kept) => kept.ready().await.ok().map(|()| kept),
            None => None,
        };
        let open = if let Some(kept) = kept {
            kept
        } else {
            let stream = TcpStream::connect(self.server).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            sender
        };
        Ok(self.connection.insert(open))
    }
}

/// An address to connect to: a server that listens everywhere is asked on the loopback.
fn reachable(server: SocketAddr) -> SocketAddr {
    let ip = match server.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, server.port())
}

/// The error with its causes: hyper's own first line seldom says why.
fn in_full(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
pub(super) mod canned {
    //! A server for tests that gives prepared answers, one per request, and keeps what it was asked.

    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpListener, TcpStream},
        thread::JoinHandle,
    };

    type Answer = (u16, &'static str, &'static str);

    pub(crate) struct Canned {
        pub(crate) address: SocketAddr,
        thread: JoinHandle<Vec<String>>,
    }

    impl Canned {
        /// Each answer closes its connection, so that the client must open another.
        pub(crate) fn start(answers: &[Answer]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            let answers = answers.to_vec();
            let thread = std::thread::spawn(move || {
                answers
                    .iter()
                    .map(|answer| serve(&listener, *answer))
                    .collect()
            });
            Self { address, thread }
        }

        pub(crate) fn requests(self) -> Vec<String> {
            self.thread
                .join()
                .expect("the canned server does not panic")
        }
    }

    fn serve(listener: &TcpListener, (status, kind, body): Answer) -> String {
        let (mut stream, _) = listener.accept().expect("a caller comes");
        let request = read_request(&mut stream);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream
            .write_all(answer.as_bytes())
            .expect("the caller listens");
        request
    }

    fn read_request(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).expect("the caller speaks");
            text += &String::from_utf8_lossy(&piece[..count]);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().expect("a number"));
                if body.len() >= length {
                    return text;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Client, Problem, canned::Canned, reachable};
    use hyper::{StatusCode, body::Bytes};

    const PROBLEM: &str = r#"{"type":"/problems/invalid-spec","title":"Invalid spec","status":422,
        "detail":"2 values are wrong","errors":[
          {"pointer":"/layers/0/units","detail":"must be in [1, 65536], got 0"},
          {"pointer":"","detail":"unknown field x"}]}"#;

    #[tokio::test]
    async fn a_post_carries_json_and_brings_json_back() {
        let server = Canned::start(&[(201, "application/json", r#"{"name":"a"}"#)]);
        let mut client = Client::new(server.address);
        let answer = client
            .post("/v1/models", &json!({"name": "a"}))
            .await
            .expect("201");
        assert_eq!(answer, json!({"name": "a"}));
        let request = &server.requests()[0];
        assert!(
            request.starts_with("POST /v1/models HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains("content-type: application/json\r\n"),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\n{\"name\":\"a\"}"), "{request}");
    }

    #[tokio::test]
    async fn a_token_is_carried_by_every_request_and_printed_by_none() {
        let server = Canned::start(&[(200, "application/json", "{}")]);
        let mut client = Client::new(server.address).with_token("s3cret-s3cret-s3cret");
        client.get("/v1/limits").await.expect("200");
        assert!(!format!("{client:?}").contains("s3cret"), "{client:?}");
        let request = &server.requests()[0];
        let header = "authorization: Bearer s3cret-s3cret-s3cret\r\n";
        assert!(request.contains(header), "{request}");
    }

    #[tokio::test]
    async fn a_table_goes_as_csv_over_a_new_connection_when_the_old_one_was_closed() {
        let ok = (200, "application/json", "{}");
        let server = Canned::start(&[ok, ok]);
        let mut client = Client::new(server.address);
        client.get("/v1/limits").await.expect("200");
        client
            .post_csv("/v1/datasets?name=t", Bytes::from("a\n1\n"))
            .await
            .expect("200");
        let request = &server.requests()[1];
        assert!(request.contains("content-type: text/csv\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\na\n1\n"), "{request}");
    }

    #[tokio::test]
    async fn a_problem_is_printed_with_every_pointer() {
        let server = Canned::start(&[(422, "application/problem+json", PROBLEM)]);
        let mut client = Client::new(server.address);
        let error = client
            .post("/v1/models", &json!({}))
            .await
            .expect_err("422");
        assert_eq!(
            error.to_string(),
            "POST /v1/models was refused: 422 Invalid spec: 2 values are wrong\n  \
             /layers/0/units: must be in [1, 65536], got 0\n  body: unknown field x"
        );
    }

    #[tokio::test]
    async fn what_is_not_there_is_none() {
        let server = Canned::start(&[(404, "application/problem+json", "{}")]);
        let found = Client::new(server.address)
            .find("/v1/models/a")
            .await
            .expect("404 is an answer");
        assert_eq!(found, None);
    }

    #[test]
    fn a_problem_without_a_body_still_has_a_title() {
        let problem = Problem::read(StatusCode::PAYLOAD_TOO_LARGE, b"<html>");
        assert_eq!(problem.to_string(), "413 Payload Too Large");
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_the_loopback() {
        let address = |text: &str| text.parse().expect("an address");
        assert_eq!(reachable(address("0.0.0.0:80")), address("127.0.0.1:80"));
        assert_eq!(reachable(address("[::]:80")), address("[::1]:80"));
        assert_eq!(reachable(address("192.0.2.1:80")), address("192.0.2.1:80"));
    }
}
