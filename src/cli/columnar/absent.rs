//! In place of what reads and writes Parquet files, in a program that is built without it: the refusal.

use anyhow::bail;

use super::Ending;
use super::args::{AddArgs, EmbedArgs, ExportArgs};
use super::context::Context;
use crate::engine::Engine;
use crate::library::scan::Scan;

fn refuse<T>() -> anyhow::Result<T> {
    bail!(
        "this voisin knows no Parquet files: it was built without the feature parquet, which released programs have: install it with \"cargo install --path . --features parquet\""
    )
}

pub(crate) fn add(_: &Context, _: &AddArgs) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn embed(_: &Context, _: &EmbedArgs, _: &Scan) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn export(_: &Engine, _: &ExportArgs) -> anyhow::Result<Ending> {
    refuse()
}

#[cfg(feature = "postgres")]
pub(crate) fn make_folder(_: &std::path::Path) -> anyhow::Result<()> {
    refuse()
}

#[cfg(feature = "postgres")]
pub(crate) fn listen(
    _: &crate::engine::Embedder,
    _: &[crate::library::FileRecord],
    _: &std::path::Path,
    _: (crate::engine::AddOptions, bool, crate::track::ContentKind),
    _: &mut dyn FnMut(crate::engine::AddEvent<'_>),
    _: &std::sync::atomic::AtomicBool,
) -> anyhow::Result<()> {
    refuse()
}
