//! The HTTP client of object stores: HTTP/1.1 with TLS, and timeouts for servers that stop sending.

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

/// Timeout of a server that sends nothing.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// Timeout of connecting.
const CONNECTION: Duration = Duration::from_secs(5);
/// The slowest upload that is waited for, bytes a second.
const SLOWEST: usize = 100_000;

/// Opens connections with the settings of this program.
#[derive(Debug)]
pub(super) struct Transport;

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_connect_timeout(Some(CONNECTION));
        // The connector would refuse `https`; the TLS layer around it decides.
        tcp.enforce_http(false);
        // This machine's certificates (SSL_CERT_FILE names others); if there are none, those of browsers.
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

/// Connections to a server, kept open.
#[derive(Debug)]
struct Connections(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[async_trait]
impl HttpService for Connections {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // The response follows the whole body, which takes long on a slow line.
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

/// The error of a request without a response.
fn lost(error: ClientError) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Request
    };
    HttpError::new(kind, error)
}

/// The body of a response, which ends in an error if the server stops sending before its end.
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
        // The timeout covers each wait for more bytes, not the whole body, since a long file may take long.
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
