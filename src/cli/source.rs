//! The source of answers: the library on this disk, or, with `--backend`, one in a database.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::BackendArgs;
use super::context::Context;
use super::database;
use super::remote::database_address;
use voisin_engine::{Engine, LabelSource};
use voisin_questions::{LibrarySource, QuestionError};

pub(crate) fn open(context: &Context, args: &BackendArgs) -> anyhow::Result<LibrarySource> {
    if let Some(mut source) = open_remote(context, args)? {
        // The copy of a database has its model, so --model is checked against it as with a folder.
        context.check_options(source.engine().library())?;
        return Ok(source);
    }
    Ok(LibrarySource::Local(Box::new(context.open_engine()?)))
}

/// The database, if one is named.
fn open_remote(context: &Context, args: &BackendArgs) -> anyhow::Result<Option<LibrarySource>> {
    let Some(address) = database_address(args.backend.as_deref()) else {
        return Ok(None);
    };
    let mut remote = database::open(&address)?;
    context.quiet_index_news(remote.engine());
    Ok(Some(LibrarySource::Remote(remote)))
}

/// Makes sure that the engine has the tracks that names may stand for.
pub(crate) fn fetch_named(
    source: &mut LibrarySource,
    names: &[OsString],
) -> Result<(), QuestionError> {
    names.iter().try_for_each(|name| source.fetch(name))
}

/// Reports a lost table of labels: searches go on with the genres in the files' tags, other commands fail.
pub(crate) fn warn_of_lost_labels(context: &Context, engine: &Engine) {
    if let Some(table) = lost_labels(engine) {
        context.console.warn(&format!(
            "{}, where the genres of this library come from, is not there: restore it, or \"voisin labels tags\" uses the files' tags instead",
            table.display()
        ));
    }
}

/// The library's table of labels, if it is set and no longer there.
pub(crate) fn lost_labels(engine: &Engine) -> Option<PathBuf> {
    match engine.genres().label_source() {
        LabelSource::File(table) if !table.is_file() => Some(table),
        _ => None,
    }
}

/// Reports that an answer compares a sample of the tracks, if so.
pub(crate) fn report_sample(context: &Context, answer: &str, sample: Option<&str>) {
    if let Some(sample) = sample {
        context.console.note(&format!("{answer} works on {sample}"));
    }
}
