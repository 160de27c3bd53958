//! Errors for clients: RFC 9457 problem details.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use voisin_audio::AudioError;
use voisin_base::remedy::Remedy;
use voisin_base::text::{count, with_causes};
use voisin_engine::EngineError;
use voisin_explore::ExploreError;
use voisin_genre::GenreError;
use voisin_library::LibraryError;
use voisin_questions::QuestionError;
use voisin_questions::read::Refused;

/// Why there is no answer: what was expected, what was found, and the next step.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Problem {
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
    /// The next step.
    #[serde(serialize_with = "in_addresses")]
    #[schemars(with = "String")]
    next: Remedy,
    /// Seconds after which it is worth asking again.
    #[serde(skip)]
    retry_after: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

fn in_addresses<S: serde::Serializer>(next: &Remedy, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&words(next, |path, _| format!("GET /api/v1/{path}")))
}

/// The next step in the words of a client.
///
/// - `see`: words a question by its address and by its name as a tool
fn words(next: &Remedy, see: impl Fn(&str, &str) -> String) -> String {
    match next {
        Remedy::NameTrack | Remedy::NameTracks | Remedy::SeeTracks | Remedy::SeeFolders => {
            format!(
                "see the tracks there are: {}",
                see("tracks?query=WORDS", "list")
            )
        }
        Remedy::LibraryOfOtherModel => {
            format!("ask in other words: {}", see("tracks?query=WORDS", "list"))
        }
        Remedy::SeeGenres => format!("see those there are: {}", see("genres", "genres")),
        Remedy::SeeArtists => format!("see those there are: {}", see("artists", "artists")),
        Remedy::SeeAlbums => format!("see those there are: {}", see("albums", "albums")),
        Remedy::SeeClusters => format!("see those there are: {}", see("clusters", "clusters")),
        Remedy::SeeWords(known) => {
            format!(
                "see the {} that are: {}",
                count(*known as u64, "word"),
                see("words", "words")
            )
        }
        Remedy::Repair => {
            "have the library repaired: voisin repair, on the server's machine".to_owned()
        }
        Remedy::RepairAndAdd => {
            "have the library repaired, then add the music again: voisin repair and \
                                 voisin add, on the server's machine"
                .to_owned()
        }
        Remedy::SeeQuestions => format!(
            "send what is expected; {} describes it",
            see("openapi.json", "")
        ),
        other => other.to_string(),
    }
}

impl Problem {
    /// Of any kind.
    ///
    /// - `detail`: what is the matter with this request
    /// - `next`: the next step of whoever asks
    pub fn new(status: StatusCode, detail: impl Into<String>, next: impl Into<Remedy>) -> Self {
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

    /// A fault that should not happen.
    pub fn fault() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "an internal fault",
            "please report it with this request",
        )
    }

    /// A request that cannot be understood.
    pub fn request(
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
            ..Self::new(status, "", Remedy::SeeQuestions)
        }
    }

    /// A request with something else than was expected.
    pub fn bad(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::request(StatusCode::BAD_REQUEST, expected, found)
    }

    /// Something is named that is not there.
    pub fn not_found(detail: impl Into<String>, next: impl Into<Remedy>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail, next)
    }

    /// No answer now, but one later.
    pub fn later(seconds: u32, detail: impl Into<String>, next: impl Into<Remedy>) -> Self {
        let retry_after = Some(seconds);
        Self {
            retry_after,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, next)
        }
    }

    /// The database that the library is in gives no answer now.
    pub(super) fn away(detail: impl Into<String>) -> Self {
        let next = "start the database again: this server notices by itself";
        Self::later(5, detail, next)
    }

    /// Only a copy of all tracks in the database can answer it.
    pub(super) fn needs_copy(detail: impl Into<String>) -> Self {
        let next = "whoever runs this server can have it keep a copy of the database (docs/scale.md), from which it answers this, too";
        Self::new(StatusCode::CONFLICT, detail, next)
    }

    /// The same, and worth asking again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Its status in HTTP.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is the matter with this request, without the next step.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// In the words of somebody who has tools and no addresses.
    pub fn in_tools(&self) -> String {
        let see = |_: &str, tool: &str| match tool {
            "" => "its schema".to_owned(),
            tool => format!("the tool `{tool}`"),
        };
        format!("{}; next: {}", self.detail, words(&self.next, see))
    }
}

/// How long work that failed for a reason of its own is not begun again, unless the library changes: whoever repairs something
/// else, a disk or the system's rights, does not wait long.
const FAILED_FOR: Duration = if cfg!(test) {
    Duration::from_millis(300)
} else {
    Duration::from_mins(1)
};

/// Why work behind the requests failed, and when: they are all told, and none of them begins it again at once.
#[derive(Debug, Clone)]
pub(super) struct KeptFailure {
    at: Instant,
    problem: Problem,
}

impl KeptFailure {
    pub(super) fn new(problem: Problem) -> Self {
        Self {
            at: Instant::now(),
            problem,
        }
    }

    /// The reason, as long as the work is not to be begun again although nothing has changed. What a client asked wrongly, and
    /// what takes no time to find out, is looked at each time.
    pub(super) fn lasting(&self) -> Option<Problem> {
        let lasts = match (self.problem.status, self.problem.retry_after) {
            (_, Some(seconds)) => Duration::from_secs(seconds.into()),
            (StatusCode::INTERNAL_SERVER_ERROR, None) => FAILED_FOR,
            _ => return None,
        };
        let left = lasts.checked_sub(self.at.elapsed())?;
        let mut problem = self.problem.clone();
        problem.retry_after = problem.retry_after.map(|_| left.as_secs() as u32 + 1);
        Some(problem)
    }

    pub(super) fn into_problem(self) -> Problem {
        self.problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        // For assistants, which read it in other words than the body's.
        response.extensions_mut().insert(self.clone());
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 wants it with every 401.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        use StatusCode as Status;
        let (status, wait, next) = match &error {
            EngineError::NoSuchTrack { .. }
            | EngineError::NotInLibrary { .. }
            | EngineError::NoVector { .. }
            | EngineError::Genre(GenreError::UnknownGenre { .. })
            | EngineError::Words { .. }
            | EngineError::Explore(ExploreError::UnknownArtist { .. })
            | EngineError::Library(
                LibraryError::UnknownTrack(_)
                | LibraryError::UnknownName { .. }
                | LibraryError::NoSpace { .. },
            ) => (Status::NOT_FOUND, None, Remedy::SeeTracks),
            EngineError::Ambiguous { .. } => {
                (Status::CONFLICT, None, "name one of them by its id".into())
            }
            EngineError::NoTags { .. }
            | EngineError::NoLabels
            | EngineError::NoHead { .. }
            | EngineError::Genre(GenreError::TooFew(_))
            | EngineError::EmptyLibrary { .. } => (Status::CONFLICT, None, Remedy::AddMusic),
            EngineError::SeedsCancel
            | EngineError::Genre(_)
            | EngineError::Explore(ExploreError::Parameter { .. } | ExploreError::TooFew { .. }) => {
                (
                    Status::UNPROCESSABLE_ENTITY,
                    None,
                    "change what is asked for".into(),
                )
            }
            EngineError::Audio(AudioError::OtherRecording { .. }) => {
                (Status::CONFLICT, None, Remedy::AddFile)
            }
            EngineError::Audio(_)
            | EngineError::TooShort { .. }
            | EngineError::Silent { .. }
            | EngineError::Features(_) => (
                Status::UNPROCESSABLE_ENTITY,
                None,
                "send an audio file that voisin can read".into(),
            ),
            // Damage stays until somebody mends it: asking again is of no use.
            EngineError::Library(
                LibraryError::Damaged { .. }
                | LibraryError::DamagedTrack { .. }
                | LibraryError::NotALibrary { .. },
            ) => (Status::INTERNAL_SERVER_ERROR, None, Remedy::Repair),
            EngineError::Library(_) | EngineError::Index(_) => {
                (Status::SERVICE_UNAVAILABLE, Some(5), Remedy::Verify)
            }
            EngineError::Model { .. } | EngineError::Encoder(_) => {
                (Status::SERVICE_UNAVAILABLE, Some(30), Remedy::SeeModels)
            }
            _ => (
                Status::INTERNAL_SERVER_ERROR,
                None,
                "please report it".into(),
            ),
        };
        // The error's own next step knows more than its kind does.
        let next = error.remedy().unwrap_or(next);
        Self {
            retry_after: wait,
            ..Self::new(status, with_causes(&error), next)
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

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::Refused(refused) => refused.into(),
            QuestionError::Engine(error) => error.into(),
            QuestionError::NoCluster(_) | QuestionError::NothingFits => Self::not_found(
                error.to_string(),
                error.remedy().unwrap_or(Remedy::SeeTracks),
            ),
            QuestionError::LocalOnly(reason) => Self::needs_copy(reason.to_string()),
            QuestionError::Remote(error) => Self::away(with_causes(&error)),
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
