//! The HTTP client of another server, such as a media server behind voisin.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;

use super::form::Refusal;
use voisin_base::text::with_causes;

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

/// A client with persistent connections to a server.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) address: ServerAddress,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// Headers of a request that are forwarded. All others are removed: those by which proxies authenticate users
/// (`Remote-User`, `X-Forwarded-User`, `Forwarded`, and others that a server may trust), voisin's token and cookies, and those
/// of the connection.
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

/// Headers of an answer that are forwarded. All others are about its server: cookies, redirects, rules for its pages and its
/// whole origin (`Clear-Site-Data`, `Strict-Transport-Security`, `Refresh`, `Link`), CORS.
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

/// Tells a server behind the client's address, instead of the request's own headers for it.
fn forward_address(headers: &mut HeaderMap, client: IpAddr) {
    if let Ok(value) = HeaderValue::from_str(&client.to_string()) {
        headers.insert("x-forwarded-for", value);
    }
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
        }
    }

    fn fault(&self, reason: impl ToString) -> Refusal {
        let reason = reason.to_string();
        let next = if reason.contains("certificate") {
            "a self-signed certificate is trusted if SSL_CERT_FILE names its file"
        } else {
            "is it running, and is this its address?"
        };
        Refusal::new(0, format!("{}: {reason}: {next}", self.address))
    }

    /// The head of the answer to a request, whose body may take as long as a song plays.
    async fn answer(
        &self,
        mut request: Request,
        target: &str,
        client: IpAddr,
    ) -> Result<Response<Body>, Refusal> {
        let uri: Result<Uri, _> = format!("{}{target}", self.address).parse();
        *request.uri_mut() = uri.map_err(|error| self.fault(error))?;
        forward_address(request.headers_mut(), client);
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let answer = answer.map_err(|_| self.fault("no answer within 20 s"))?;
        let refused = |error: ClientError| self.fault(with_causes(&error));
        Ok(answer.map_err(refused)?.map(Body::new))
    }

    /// Sends a request of voisin's own and reads the whole answer.
    ///
    /// - `target`: path and query, relative to the server's address
    /// - `client`: the client's address
    pub(super) async fn get(
        &self,
        target: &str,
        client: IpAddr,
    ) -> Result<(StatusCode, Bytes), Refusal> {
        let request = Request::new(Body::empty());
        let (head, body) = self.answer(request, target, client).await?.into_parts();
        // Bounded: a broken or hostile server must not exhaust the memory.
        let body = tokio::time::timeout(PATIENCE, to_bytes(body, LONGEST_ANSWER)).await;
        let body = body.map_err(|_| self.fault("no whole answer within 20 s"))?;
        Ok((head.status, body.map_err(|error| self.fault(error))?))
    }

    /// Forwards a request and its answer, with the headers that both sides need.
    pub(super) async fn pass(
        &self,
        mut request: Request,
        target: &str,
        client: IpAddr,
    ) -> Result<Response<Body>, Refusal> {
        // A client may use HTTP/1.0; the connection behind is voisin's own.
        *request.version_mut() = axum::http::Version::HTTP_11;
        keep(request.headers_mut(), &PASSED_ON);
        let mut answer = self.answer(request, target, client).await?;
        let headers = answer.headers_mut();
        keep(headers, &PASSED_BACK);
        // A browser that opens it under voisin's address must not run scripts.
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox; default-src 'none'"),
        );
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_normalized() {
        let read = |text: &str| text.parse::<ServerAddress>().map(|read| read.to_string());
        let deep = read("https://Music.example/Airsonic/");
        assert_eq!(deep.unwrap(), "https://music.example/Airsonic");
        assert_eq!(read("http://[::1]:5000").unwrap(), "http://[::1]:5000");
        for wrong in ["", "nas.lan:4533", "ftp://nas", "http://nas/?x=1"] {
            assert!(read(wrong).unwrap_err().contains("expected"), "{wrong}");
        }
        let named = read("http://me:secret@nas").unwrap_err();
        assert!(named.contains("leave them out"), "{named}");
    }
}
