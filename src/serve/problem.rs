//! What a client is told when it gets no answer: RFC 9457 problem details.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::base::text::with_causes;
use crate::engine::EngineError;
use crate::explore::ExploreError;
use crate::genre::GenreError;
use crate::library::LibraryError;
use crate::questions::QuestionError;
use crate::questions::read::Refused;

/// Why there is no answer: what was expected, what was found, and the next step.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    /// The next step.
    next: String,
    /// Seconds after which it is worth asking again.
    #[serde(skip)]
    retry_after: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            expected: None,
            found: None,
            next: next.into(),
            retry_after: None,
        }
    }

    /// A request that cannot be understood.
    pub(super) fn request(status: StatusCode, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let (expected, found) = (expected.into(), found.into());
        Self {
            detail: format!("expected {expected}, found {found}"),
            expected: Some(expected),
            found: Some(found),
            ..Self::new(status, "", "send what is expected; GET /api/v1/openapi.json describes it")
        }
    }

    pub(super) fn bad(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::request(StatusCode::BAD_REQUEST, expected, found)
    }

    pub(super) fn not_found(detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail, next)
    }

    /// No answer now, but one later.
    pub(super) fn later(seconds: u32, detail: impl Into<String>, next: impl Into<String>) -> Self {
        let retry_after = Some(seconds);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, next) }
    }

    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says `name` instead of what is known to the server alone.
    pub(super) fn with_name(mut self, known: &std::path::Path, name: &str) -> Self {
        self.detail = self.detail.replace(&known.display().to_string(), name);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let text = with_causes(&error);
        let see = "see the tracks there are: GET /api/v1/tracks?query=WORDS";
        match error {
            EngineError::NoSuchTrack { .. }
            | EngineError::NotInLibrary { .. }
            | EngineError::NoVector { .. }
            | EngineError::Genre(GenreError::UnknownGenre { .. })
            | EngineError::Words { .. }
            | EngineError::Explore(ExploreError::UnknownArtist { .. })
            | EngineError::Library(LibraryError::UnknownTrack(_) | LibraryError::UnknownName { .. }) => {
                Self::not_found(text, see)
            }
            EngineError::Ambiguous { .. } => {
                Self::new(StatusCode::CONFLICT, text, "name one of them by its id")
            }
            EngineError::NoTags { .. } => {
                Self::new(StatusCode::CONFLICT, text, "ask in other words: GET /api/v1/tracks?query=WORDS")
            }
            EngineError::NoLabels
            | EngineError::NoHead { .. }
            | EngineError::Genre(GenreError::TooFew(_)) => {
                Self::new(StatusCode::CONFLICT, text, "give tracks a genre, then ask again")
            }
            EngineError::EmptyLibrary { .. } => {
                Self::new(StatusCode::CONFLICT, text, "run \"voisin add FOLDER\" on this library")
            }
            EngineError::SeedsCancel
            | EngineError::Genre(_)
            | EngineError::Explore(ExploreError::Parameter { .. } | ExploreError::TooFew { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text, "change what is asked for")
            }
            EngineError::Audio(_)
            | EngineError::TooShort { .. }
            | EngineError::Silent { .. }
            | EngineError::Features(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text, "send an audio file that voisin can read")
            }
            EngineError::Library(_) | EngineError::Index(_) => {
                Self::later(5, text, "run \"voisin verify\" on this library if this lasts")
            }
            EngineError::Model { .. } | EngineError::Encoder(_) => {
                Self::later(30, text, "see \"voisin model list\", then start the server again")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, "please report it"),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        Self { detail, ..Self::bad(refused.expected, refused.found) }
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::Refused(refused) => refused.into(),
            QuestionError::NoCluster(_) => {
                Self::not_found(error.to_string(), "see those there are: GET /api/v1/clusters")
            }
            QuestionError::NothingFits => Self::not_found(error.to_string(), "loosen the filters"),
            QuestionError::Engine(error) => error.into(),
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
