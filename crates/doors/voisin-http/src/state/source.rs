//! The library that answers a request, and its version.

use super::{RequestContext, Version};
use voisin_engine::Engine;

/// A library that answers one request at a time.
pub(super) struct AnswerSource {
    engine: Engine,
    /// The library's version when the request came.
    pub(super) version: Version,
    /// The index's version and generation.
    followed: Option<(Version, u64)>,
}

impl AnswerSource {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            version: Version::default(),
            followed: None,
        }
    }

    pub(super) fn context(&mut self) -> RequestContext<'_> {
        RequestContext {
            engine: &mut self.engine,
            version: self.version,
            followed: &mut self.followed,
        }
    }
}
