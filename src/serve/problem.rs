//! Errors for clients: RFC 9457 problem details.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use voisin::questions::read::Refused;
use voisin::{EngineError, Lack};
use voisin_audio::AudioError;
use voisin_base::text::with_causes;
use voisin_explore::ExploreError;
use voisin_genre::GenreError;
use voisin_library::LibraryError;

/// The next step of a client whose route or method does not exist.
const ROUTES: &str = "GET /api/v1/openapi.json describes the routes";

/// An error for a client: expected, found, and the next step.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    #[schemars(with = "u16")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    /// The next step, unless the detail has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    next: String,
    #[serde(skip)]
    retry_after: Option<u32>,
    /// Whether the search index must be built first.
    #[serde(skip)]
    pub(crate) needs_index: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// An error of any kind.
    ///
    /// - `detail`: the message
    /// - `next`: the next step of the client
    pub(crate) fn new(
        status: StatusCode,
        detail: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            expected: None,
            found: None,
            next: next.into(),
            retry_after: None,
            needs_index: false,
        }
    }

    pub(crate) fn fault() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "an internal error",
            "please report it with this request",
        )
    }

    pub(crate) fn request(
        status: StatusCode,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let expected = expected.into();
        let found = found.into();
        Self {
            detail: format!("expected {expected}, found {found}"),
            expected: Some(expected),
            found: Some(found),
            ..Self::new(
                status,
                "",
                "send what is expected; GET /api/v1/openapi.json describes it",
            )
        }
    }

    /// A bad request: expected, found.
    pub(crate) fn bad(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::request(StatusCode::BAD_REQUEST, expected, found)
    }

    /// The named thing does not exist.
    pub(crate) fn not_found(detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail, next)
    }

    pub(crate) fn no_route() -> Self {
        Self::not_found("there is no such route", ROUTES)
    }

    pub(crate) fn no_method() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "this route does not have this method", ROUTES)
    }

    pub(crate) fn later(seconds: u32, detail: impl Into<String>, next: impl Into<String>) -> Self {
        let retry_after = Some(seconds);
        Self {
            retry_after,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, next)
        }
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn needing_index(mut self) -> Self {
        self.needs_index = true;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The message, without the next step.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 requires it with every 401.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        use StatusCode as Status;
        if let EngineError::Refused(refused) = error {
            return refused.into();
        }
        let (status, wait) = match &error {
            EngineError::NotFound(_)
            | EngineError::Lacks(Lack::Word, _)
            | EngineError::NotInLibrary { .. }
            | EngineError::Genre(GenreError::UnknownGenre { .. })
            | EngineError::Explore(ExploreError::UnknownArtist { .. })
            | EngineError::Library(
                LibraryError::UnknownTrack(_) | LibraryError::UnknownName { .. },
            ) => (Status::NOT_FOUND, None),
            EngineError::Ambiguous { .. }
            | EngineError::Lacks(..)
            | EngineError::Genre(GenreError::TooFew(_))
            | EngineError::Audio(AudioError::OtherRecording { .. }) => (Status::CONFLICT, None),
            EngineError::Genre(_)
            | EngineError::Explore(ExploreError::Parameter { .. } | ExploreError::TooFew { .. })
            | EngineError::Audio(_)
            | EngineError::File { source: None, .. } => (Status::UNPROCESSABLE_ENTITY, None),
            // Damage stays until a copy is put back, so that a retry is of no use.
            EngineError::Library(
                LibraryError::Damaged { .. } | LibraryError::NotALibrary { .. },
            ) => (Status::INTERNAL_SERVER_ERROR, None),
            EngineError::Library(_) | EngineError::Index(_) => {
                (Status::SERVICE_UNAVAILABLE, Some(5))
            }
            EngineError::Model { .. } | EngineError::Encoder(_) => {
                (Status::SERVICE_UNAVAILABLE, Some(30))
            }
            _ => (Status::INTERNAL_SERVER_ERROR, None),
        };
        Self {
            retry_after: wait,
            ..Self::new(status, with_causes(&error), "")
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        Self {
            detail,
            ..Self::bad(refused.expected, refused.found)
        }
    }
}

impl From<LibraryError> for Problem {
    fn from(error: LibraryError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<ExploreError> for Problem {
    fn from(error: ExploreError) -> Self {
        EngineError::from(error).into()
    }
}
