//! How object stores are asked: HTTP/1.1 with encryption, and an end to waiting for a server that is silent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use tokio::time::{Sleep, sleep, timeout};

/// How long a server may say nothing.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECTION: Duration = Duration::from_secs(5);
/// The slowest way up that is waited for, bytes a second.
const SLOWEST: usize = 100_000;

/// Connections of this program's own.
#[derive(Debug)]
pub(super) struct Transport;

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_connect_timeout(Some(CONNECTION));
        // The connector would refuse `https` itself; the TLS layer around it decides.
        tcp.enforce_http(false);
        // Whom this machine trusts (SSL_CERT_FILE names others); without such a list, whom browsers trust.
        let trusting = HttpsConnectorBuilder::new()
            .with_native_roots()
            .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots());
        let is_plain_allowed = options
            .get_config_value(&ClientConfigKey::AllowHttp)
            .as_deref()
            == Some("true");
        let trusting = if is_plain_allowed {
            trusting.https_or_http()
        } else {
            trusting.https_only()
        };
        let connector = trusting.enable_http1().wrap_connector(tcp);
        Ok(HttpClient::new(Connections(
            Client::builder(TokioExecutor::new()).build(connector),
        )))
    }
}

/// Connections to a server, which are kept open.
#[derive(Debug)]
struct Connections(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[async_trait]
impl HttpService for Connections {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // The answer comes after the whole body is sent, which takes its time on a slow line.
        let patience =
            SILENCE + Duration::from_secs((request.body().content_length() / SLOWEST) as u64);
        let answer = timeout(patience, self.0.request(request))
            .await
            .map_err(|_| silent())?;
        let (head, body) = answer.map_err(lost)?.into_parts();
        let body = HttpResponseBody::new(AnswerBody {
            body,
            waiting: None,
        });
        Ok(HttpResponse::from_parts(head, body))
    }
}

fn silent() -> HttpError {
    let message = format!(
        "expected an answer within {} s, found none",
        SILENCE.as_secs()
    );
    HttpError::new(
        HttpErrorKind::Timeout,
        std::io::Error::new(std::io::ErrorKind::TimedOut, message),
    )
}

/// A request that got no answer.
fn lost(error: ClientError) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Request
    };
    HttpError::new(kind, error)
}

/// An answer's body, which ends in an error where the server stops in the middle and is silent.
#[derive(Debug)]
struct AnswerBody {
    body: Incoming,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        // The clock runs from the first poll that finds nothing until the next bytes, not over the
        // whole body: a long file may take long.
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
            ready!(waiting.as_mut().poll(context));
            return Poll::Ready(Some(Err(silent())));
        };
        self.waiting = None;
        Poll::Ready(
            frame.map(|frame| {
                frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))
            }),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
