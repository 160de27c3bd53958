//! Refusals in place of the verbs that need PostgreSQL, for builds without that feature.

use std::ffi::OsStr;

use anyhow::{Context as _, bail};

use super::Ending;
use super::args::{PullArgs, PushArgs};
use super::context::Context;
use voisin::questions::Filters;
use voisin::{Engine, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};

/// A library in a database, of which a build without the feature has none.
pub(super) enum Remote {}

impl Remote {
    pub(super) fn engine(&mut self) -> &mut Engine {
        match *self {}
    }

    pub(super) fn tracks(&mut self) -> anyhow::Result<usize> {
        match *self {}
    }

    pub(super) fn fetch(&mut self, _: &OsStr) -> anyhow::Result<()> {
        match *self {}
    }

    pub(super) fn fetch_filters(&mut self, _: &Filters) -> anyhow::Result<()> {
        match *self {}
    }

    pub(super) fn fetch_around(&mut self, _: &[Seed]) -> anyhow::Result<Option<String>> {
        match *self {}
    }

    pub(super) fn list(&mut self, _: &TrackQuery) -> anyhow::Result<TrackPage> {
        match *self {}
    }

    pub(super) fn similar(
        &mut self,
        _: &[Seed],
        _: &SimilarOptions,
    ) -> anyhow::Result<Vec<SimilarTrack>> {
        match *self {}
    }
}

fn refuse<T>() -> anyhow::Result<T> {
    bail!(
        "this voisin has no support for databases: it was built without the feature postgres: install it with \"cargo install --path . --features postgres\""
    )
}

/// Refuses an address, naming only its scheme, as it may contain a password.
pub(super) fn open(address: &str, _: bool) -> anyhow::Result<Remote> {
    let scheme = address
        .split_once("://")
        .map_or(address, |(scheme, _)| scheme);
    refuse().with_context(|| format!("--library names {scheme}"))
}

pub(crate) fn push(_: &Context, _: &PushArgs) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn pull(_: &Context, _: &PullArgs) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn is_not_found(_: &anyhow::Error) -> bool {
    false
}
