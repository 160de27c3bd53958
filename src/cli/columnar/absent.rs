//! Refusals in place of Parquet files, for builds without that feature.

use std::path::Path;

use anyhow::bail;

use super::Ending;
use super::args::{AddArgs, EmbedArgs};
use super::context::Context;
use voisin::Engine;
use voisin_library::scan::Scan;

fn refuse<T>() -> anyhow::Result<T> {
    bail!(
        "this voisin has no support for Parquet files: it was built without the feature parquet: install it with \"cargo install --path . --features parquet\""
    )
}

pub(crate) fn add(_: &Context, _: &AddArgs) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn embed(_: &Context, _: &EmbedArgs, _: &Scan) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn export(_: &Context, _: &Engine, _: &Path) -> anyhow::Result<Ending> {
    refuse()
}
