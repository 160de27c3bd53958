//! The HTTP client of another server, such as a media server behind voisin.

use std::net::IpAddr;
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

/// Longest answer that is parsed, in bytes. Forwarded ones have no limit.
const LONGEST_ANSWER: usize = 32 << 20;
/// Timeout of an answer that is parsed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The address of a server: `http://nas.lan:4533` or `https://music.example/airsonic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress(String);

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected an address such as http://127.0.0.1:4533, found \"{text}\"");
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        if !matches!(scheme, "http" | "https") || uri.query().is_some() {
            return Err(wrong());
        }
        if authority.as_str().contains('@') {
            return Err("expected an address without name and password: leave them out".to_owned());
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!(
            "{scheme}://{}{path}",
            authority.as_str().to_ascii_lowercase()
        )))
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl ServerAddress {
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// A server does not answer, or its answer is invalid.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {reason}: {next}")]
pub(crate) struct UpstreamError {
    server: String,
    reason: String,
    next: &'static str,
}

/// A client with persistent connections to a server.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) address: ServerAddress,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// How it accepts parameters, if known: [`FORMS`] or [`ADDRESSES`].
    pub(super) takes: Arc<AtomicU8>,
}

/// In the bodies of forms, and in addresses only.
pub(super) const FORMS: u8 = 1;
pub(super) const ADDRESSES: u8 = 2;

/// Headers of a request that are forwarded. All others are removed: those by which proxies authenticate users
/// (`Remote-User`, `X-Forwarded-User`, `Forwarded`, and others that a server may trust), voisin's cookies, and those of the
/// connection.
const PASSED_ON: [HeaderName; 13] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    // Messages are translated.
    header::ACCEPT_LANGUAGE,
    header::CONTENT_LENGTH,
    // Forms, and JSON in the extension for transcoding.
    header::CONTENT_TYPE,
    // Seeking in a song, and cached covers.
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    // Navidrome stores a player's settings by its name.
    header::USER_AGENT,
];

/// Headers of an answer that are forwarded. All others are about its server: cookies, rules for its pages and its whole origin
/// (`Clear-Site-Data`, `Strict-Transport-Security`, `Refresh`, `Link`), CORS.
const PASSED_BACK: [HeaderName; 17] = [
    header::ACCEPT_RANGES,
    header::AGE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
    // Of Navidrome and others: the length of a song that is being transcoded, and the length of a whole list.
    HeaderName::from_static("x-content-duration"),
    HeaderName::from_static("x-total-count"),
];

fn keep(headers: &mut HeaderMap, known: &[HeaderName]) {
    let all: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !known.contains(name))
        .cloned()
        .collect();
    for name in all {
        headers.remove(name);
    }
}

/// Whether this is a valid method of Subsonic below `/rest/`: `getSong`, `getSong.view`. Strict, since servers behind may
/// resolve `..;`, escapes and empty parts.
pub(super) fn is_method(segment: &str) -> bool {
    let name = segment.strip_suffix(".view").unwrap_or(segment);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The header with the client's address for a server behind.
pub(super) fn forwarded_for(client: IpAddr) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_static("x-forwarded-for");
    // Digits, letters, points and colons are always a valid value.
    let value =
        HeaderValue::from_str(&client.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
    (name, value)
}

/// Whether it has a password, which some servers accept. A bearer token is voisin's.
fn is_basic(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"Basic "))
}

impl Upstream {
    pub(super) fn new(address: ServerAddress) -> Self {
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(Duration::from_secs(5)));
        // Otherwise it refuses addresses of https, for which TLS is added above it.
        plain.enforce_http(false);
        // The system's certificates (or those of SSL_CERT_FILE); without these, those of browsers.
        let trusting = HttpsConnectorBuilder::new()
            .with_native_roots()
            .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots());
        let connector = trusting
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        Self {
            address,
            client: Client::builder(TokioExecutor::new()).build(connector),
            takes: Arc::default(),
        }
    }

    fn fault(&self, reason: impl ToString) -> UpstreamError {
        let reason = reason.to_string();
        let next = if reason.contains("certificate") {
            "a self-signed certificate is trusted if SSL_CERT_FILE names its file"
        } else {
            "is it running, and is this its address?"
        };
        UpstreamError {
            server: self.address.to_string(),
            reason,
            next,
        }
    }

    fn uri(&self, path_and_query: &str) -> Result<Uri, UpstreamError> {
        format!("{}{path_and_query}", self.address)
            .parse()
            .map_err(|error| self.fault(error))
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), UpstreamError> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path_and_query)?;
        request.headers_mut().extend(
            headers
                .iter()
                .cloned()
                .map(|(name, value)| (Some(name), value)),
        );
        let answer = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| self.refused(&error))?;
            let (head, body) = answer.into_parts();
            // Bounded: a broken or hostile server must not exhaust the memory.
            let body = to_bytes(Body::new(body), LONGEST_ANSWER)
                .await
                .map_err(|error| self.fault(error))?;
            Ok((head.status, body))
        };
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| Err(self.fault("no answer within 20 s")))
    }

    /// Forwards a request and its answer, with the headers that both sides need.
    ///
    /// - `path_and_query`: of the request, relative to the server's address
    /// - `client`: the client's address, instead of the request's own headers for it
    /// - `base`: the path before voisin's own `/rest/`
    pub(super) async fn pass(
        &self,
        mut request: Request,
        path_and_query: &str,
        client: Option<IpAddr>,
        base: &str,
    ) -> Result<Response<Body>, UpstreamError> {
        *request.uri_mut() = self.uri(path_and_query)?;
        // A client may use HTTP/1.0; the connection behind is voisin's own.
        *request.version_mut() = axum::http::Version::HTTP_11;
        let headers = request.headers_mut();
        let password = headers.remove(header::AUTHORIZATION).filter(is_basic);
        keep(headers, &PASSED_ON);
        headers.extend(password.map(|password| (header::AUTHORIZATION, password)));
        headers.extend(client.map(forwarded_for));
        // A timeout of the head only; a song may take as long as it plays.
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let answer = answer.map_err(|_| self.fault("no answer within 20 s"))?;
        let mut answer = answer.map_err(|error| self.refused(&error))?.map(Body::new);
        let headers = answer.headers_mut();
        let location = headers.remove(header::LOCATION);
        keep(headers, &PASSED_BACK);
        let location = location.and_then(|location| self.here(location.to_str().ok()?, base));
        headers.extend(location.map(|location| (header::LOCATION, location)));
        // A browser that opens it under voisin's address must not run scripts.
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox; default-src 'none'"),
        );
        Ok(answer)
    }

    /// The target of a server's redirect as voisin's own address; `None` if it is no method that is forwarded.
    fn here(&self, location: &str, base: &str) -> Option<HeaderValue> {
        let address = self.address.as_str();
        let (_, authority) = address.split_once("://")?;
        let path = authority.find('/').map_or("", |at| &authority[at..]);
        let rest = location
            .strip_prefix(address)
            .or_else(|| location.strip_prefix(path))?;
        let method = rest.strip_prefix("/rest/")?;
        is_method(method.split('?').next()?)
            .then(|| HeaderValue::from_str(&format!("{base}{rest}")).ok())?
    }

    fn refused(&self, error: &hyper_util::client::legacy::Error) -> UpstreamError {
        self.fault(voisin_base::text::with_causes(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_normalized() {
        let read = |text: &str| {
            text.parse::<ServerAddress>()
                .map(|address| address.to_string())
        };
        assert_eq!(
            read("http://NAS.lan:4533/"),
            Ok("http://nas.lan:4533".to_owned())
        );
        assert_eq!(
            read("https://music.example/Airsonic/"),
            Ok("https://music.example/Airsonic".to_owned())
        );
        assert_eq!(
            read("http://[::1]:5000"),
            Ok("http://[::1]:5000".to_owned())
        );
        for wrong in [
            "",
            "nas.lan",
            "nas.lan:4533",
            "ftp://nas",
            "http://",
            "http://a b",
            "http://nas/?x=1",
        ] {
            assert!(read(wrong).unwrap_err().contains("expected"), "{wrong}");
        }
        assert!(
            read("http://me:secret@nas")
                .unwrap_err()
                .contains("leave them out")
        );
    }

    #[test]
    fn clients_are_redirected_to_methods_only() {
        let here = |address: &str, location: &str| {
            let upstream = Upstream::new(address.parse().unwrap());
            let location = upstream.here(location, "/voisin")?;
            Some(location.to_str().unwrap().to_owned())
        };
        let plain = "http://nas:4533";
        let deep = "http://nas:4533/music";
        assert_eq!(
            here(plain, "/rest/getSong?id=1").as_deref(),
            Some("/voisin/rest/getSong?id=1")
        );
        assert_eq!(
            here(plain, "http://nas:4533/rest/ping.view").as_deref(),
            Some("/voisin/rest/ping.view")
        );
        assert_eq!(
            here(deep, "/music/rest/ping").as_deref(),
            Some("/voisin/rest/ping")
        );
        assert_eq!(
            here(deep, "http://nas:4533/music/rest/ping").as_deref(),
            Some("/voisin/rest/ping")
        );
        for elsewhere in [
            "http://127.0.0.1:22/",
            "http://nas:4533.evil.example/rest/ping",
            "http://nas:4533/rest/../admin",
            "//evil.example/rest/ping",
            "/rest/",
            "/admin",
            "/rest/a/b",
            "javascript:alert(1)",
        ] {
            assert_eq!(here(plain, elsewhere), None, "{elsewhere}");
        }
        assert_eq!(here(deep, "/rest/ping"), None, "not below its address");
    }
}
