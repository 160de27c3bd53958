//! Another server that voisin asks, or stands before: a media server with its own ids for the same music.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Longest answer that is read, in bytes. What is passed through has no limit.
const LONGEST_ANSWER: usize = 32 << 20;
/// Time for an answer that is read.
const PATIENCE: Duration = Duration::from_secs(20);

/// The address of a server: `http://nas.lan:4533` or `https://music.example/airsonic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress(String);

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected an address such as http://127.0.0.1:4533, found \"{text}\"");
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        if !matches!(scheme, "http" | "https") || uri.query().is_some() {
            return Err(wrong());
        }
        if authority.as_str().contains('@') {
            return Err("a name and a password have no place in an address: leave them out".to_owned());
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!("{scheme}://{}{path}", authority.as_str().to_ascii_lowercase())))
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl ServerAddress {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A server that does not answer, or not so that it can be understood.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {reason}: {next}")]
pub(crate) struct UpstreamError {
    server: String,
    reason: String,
    next: &'static str,
}

/// Connections to a server, which are kept open.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) address: ServerAddress,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// How it takes parameters, as far as that is known: [`FORMS`] or [`ADDRESSES`].
    pub(super) takes: Arc<AtomicU8>,
}

/// In the bodies of forms, and in addresses alone.
pub(super) const FORMS: u8 = 1;
pub(super) const ADDRESSES: u8 = 2;

/// Headers that belong to one connection, or that would tell a server what is not for it.
const OWN_HEADERS: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::COOKIE,
];

fn without_own_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OWN_HEADERS.iter().chain(&named) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn is_bearer(value: &HeaderValue) -> bool {
    value.as_bytes().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"Bearer "))
}

impl Upstream {
    pub(super) fn new(address: ServerAddress) -> Self {
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(Duration::from_secs(5)));
        plain.enforce_http(false);
        // Whom this machine trusts (SSL_CERT_FILE names others); without such a list, whom browsers trust.
        let trusting = HttpsConnectorBuilder::new()
            .with_native_roots()
            .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots());
        let connector = trusting.https_or_http().enable_http1().wrap_connector(plain);
        Self {
            address,
            client: Client::builder(TokioExecutor::new()).build(connector),
            takes: Arc::default(),
        }
    }

    fn fault(&self, reason: impl ToString) -> UpstreamError {
        let reason = reason.to_string();
        let next = if reason.contains("certificate") {
            "one that you signed yourself is trusted if SSL_CERT_FILE names its file"
        } else {
            "is it running, and is this its address?"
        };
        UpstreamError { server: self.address.to_string(), reason, next }
    }

    fn uri(&self, path_and_query: &str) -> Result<Uri, UpstreamError> {
        format!("{}{path_and_query}", self.address).parse().map_err(|error| self.fault(error))
    }

    /// Asks for something and reads the whole answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path_and_query: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), UpstreamError> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path_and_query)?;
        request.headers_mut().extend(headers.iter().cloned().map(|(name, value)| (Some(name), value)));
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| self.refused(&error))?;
            let (head, body) = answer.into_parts();
            let body = to_bytes(Body::new(body), LONGEST_ANSWER).await.map_err(|error| self.fault(error))?;
            Ok((head.status, body))
        };
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| Err(self.fault("no answer within 20 s")))
    }

    /// Hands a request on and its answer back, both as they come, but for what concerns voisin alone: its token is not told,
    /// and the answer sets no cookie and is no page of voisin's.
    ///
    /// - `path_and_query`: of the request, without what the server's own address stands for
    pub(super) async fn pass(
        &self,
        mut request: Request,
        path_and_query: &str,
        client: Option<std::net::IpAddr>,
    ) -> Result<Response<Body>, UpstreamError> {
        *request.uri_mut() = self.uri(path_and_query)?;
        *request.version_mut() = axum::http::Version::HTTP_11;
        let headers = request.headers_mut();
        without_own_headers(headers);
        // A player signs in by the address or a form; a bearer's token is voisin's.
        if headers.get(header::AUTHORIZATION).is_some_and(is_bearer) {
            headers.remove(header::AUTHORIZATION);
        }
        if let Some(client) = client.and_then(|client| HeaderValue::from_str(&client.to_string()).ok()) {
            headers.append("x-forwarded-for", client);
        }
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let answer = answer.map_err(|_| self.fault("no answer within 20 s"))?;
        let mut answer = answer.map_err(|error| self.refused(&error))?.map(Body::new);
        let headers = answer.headers_mut();
        without_own_headers(headers);
        headers.remove(header::SET_COOKIE);
        // Whatever it is, a browser that opens it under voisin's address runs nothing of it.
        headers
            .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
        Ok(answer)
    }

    fn refused(&self, error: &hyper_util::client::legacy::Error) -> UpstreamError {
        self.fault(voisin_base::text::with_causes(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<ServerAddress>().map(|address| address.to_string());
        assert_eq!(read("http://NAS.lan:4533/"), Ok("http://nas.lan:4533".to_owned()));
        assert_eq!(read("https://music.example/Airsonic/"), Ok("https://music.example/Airsonic".to_owned()));
        assert_eq!(read("http://[::1]:5000"), Ok("http://[::1]:5000".to_owned()));
        for wrong in ["", "nas.lan", "nas.lan:4533", "ftp://nas", "http://", "http://a b", "http://nas/?x=1"]
        {
            assert!(read(wrong).unwrap_err().contains("expected"), "{wrong}");
        }
        assert!(read("http://me:secret@nas").unwrap_err().contains("leave them out"));
    }

    #[test]
    fn headers_of_one_connection_are_not_handed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("cookie", "voisin=1"),
            ("range", "bytes=0-1"),
            ("authorization", "Basic abc"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        without_own_headers(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "range"]);
    }
}
