//! What the command line asks of a library in a database, and where that is said to be.

use std::ffi::OsString;

use crate::answers::status::StatusJson;
use crate::engine::{
    Engine, MixOptions, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery,
};
use crate::library::TrackFilter;
use crate::questions::Filters;

/// Variable that names a database.
pub(crate) const VARIABLE: &str = "VOISIN_BACKEND";

/// How to ask what a database does not answer.
pub(crate) const PULL: &str = "bring its library here with \"voisin pull --from URL --library DIR\" (words for sounds and passages need windows: \"voisin push --windows\" before that), then ask with --library DIR and without a backend";

/// Where a database is, as it was given.
pub(crate) struct DatabaseAddress {
    pub(crate) text: String,
    /// Others may read what stands on the command line; a password does not belong there.
    pub(crate) on_command_line: bool,
}

/// A library in a database, as questions need it: what they are about is fetched into a temporary library.
pub(crate) trait RemoteLibrary {
    /// The temporary library.
    fn engine(&mut self) -> &mut Engine;
    /// How many tracks there are.
    fn tracks(&mut self) -> anyhow::Result<usize>;
    /// Says of the database what was said of the temporary library.
    fn tell_status(&mut self, json: &mut StatusJson) -> anyhow::Result<()>;
    /// Fetches the tracks that names may mean.
    fn fetch_named(&mut self, names: &[OsString]) -> anyhow::Result<()>;
    /// Fetches what filters name.
    fn fetch_filters(&mut self, filters: &Filters) -> anyhow::Result<()>;
    /// Fetches a sample of so many tracks, or all.
    ///
    /// - returns: how many there are, where the sample does not hold them all
    fn fetch_some(&mut self, most: Option<usize>) -> anyhow::Result<Option<u64>>;
    /// Fetches what answers about these tracks are made of that fit.
    ///
    /// - `sample`: how many stand for all the others; `None`: as many as is usual
    /// - returns: what was fetched, where that is not all
    fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
        sample: Option<usize>,
    ) -> anyhow::Result<Option<String>>;
    /// As [`Engine::list`].
    fn list(&mut self, query: &TrackQuery) -> anyhow::Result<TrackPage>;
    /// Window vectors are not needed of what is fetched from now on.
    fn leave_windows(&mut self);
    /// Vectors are needed to the last bit of what is fetched from now on.
    fn take_exact(&mut self);
    /// As [`Engine::similar`].
    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> anyhow::Result<Vec<SimilarTrack>>;
    /// As [`Engine::mix`].
    fn mix(&mut self, seeds: &[Seed], options: &MixOptions) -> anyhow::Result<Vec<SimilarTrack>>;
    /// The temporary library, and the folder that it is in.
    fn into_parts(self: Box<Self>) -> (Engine, tempfile::TempDir);
}

/// The database that an option names, else the variable; `None` where nobody does.
pub(crate) fn database_address(option: Option<&str>) -> Option<DatabaseAddress> {
    let given = option.filter(|text| !text.is_empty());
    let text = given
        .map(str::to_owned)
        .or_else(|| std::env::var(VARIABLE).ok())?;
    (!text.is_empty()).then_some(DatabaseAddress {
        text,
        on_command_line: given.is_some(),
    })
}
