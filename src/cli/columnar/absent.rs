//! Refusals in place of Parquet files and object stores, for builds without that feature.

use std::path::Path;

use anyhow::bail;

use super::Ending;
use super::args::{AddArgs, EmbedArgs, ExportArgs};
use super::context::Context;
use voisin_audio::{Fetch, LocalCopy};
use voisin_base::address;
use voisin_engine::Engine;
use voisin_library::FileRecord;
use voisin_library::scan::{Scan, ScanProblem};

/// No addresses can be fetched.
pub(crate) const FETCH: Option<Fetch> = None;

pub(crate) fn file_record(path: &Path) -> std::io::Result<FileRecord> {
    // Not looked up on the disk, where it would count as gone.
    if address::scheme(path).is_some() {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
    FileRecord::read(path)
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the signature of the function that it replaces"
)]
pub(crate) fn local_copy(_: &Path) -> std::io::Result<Option<LocalCopy>> {
    Ok(None)
}

pub(crate) fn scan_objects(address: &Path, _: &dyn Fn(&Path) -> bool, scan: &mut Scan) {
    let reason =
        "this voisin cannot read addresses: it was built without the feature parquet".to_owned();
    scan.problems.push(ScanProblem {
        path: address.to_owned(),
        reason,
    });
}

fn refuse<T>() -> anyhow::Result<T> {
    bail!(
        "this voisin has no support for Parquet files: it was built without the feature parquet, which released programs have: install it with \"cargo install --path . --features parquet\""
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
pub(crate) fn make_folder(_: &Path) -> anyhow::Result<()> {
    refuse()
}

#[cfg(feature = "postgres")]
pub(crate) fn analyse(
    _: &voisin_engine::Embedder,
    _: &[FileRecord],
    _: &Path,
    _: (
        voisin_engine::AddOptions,
        bool,
        voisin_base::track::ContentKind,
    ),
    _: &mut dyn FnMut(voisin_engine::AddEvent<'_>),
    _: &std::sync::atomic::AtomicBool,
) -> anyhow::Result<()> {
    refuse()
}
