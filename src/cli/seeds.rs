//! Seeds of a search, as named on the command line (docs/guide.md), including `-`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::NothingFound;
use crate::cli::context::Context;
use crate::cli::named::named_paths;
use voisin::questions::seed::NamedSeed;
use voisin::{Embedder, Engine, EngineError, NamedSeeds, Seed, SeedName, SeedReader};

/// The names on a command line, with `-` replaced by the list on standard input.
///
/// Standard input can be read only once, so names are expanded before any other use.
pub(crate) fn seed_names(named: &[NamedSeed]) -> anyhow::Result<Vec<OsString>> {
    let written: Vec<OsString> = named.iter().map(NamedSeed::written).collect();
    expand_names(&written)
}

/// As [`seed_names`], for names that were read as plain text.
pub(crate) fn expand_names(named: &[OsString]) -> anyhow::Result<Vec<OsString>> {
    let paths = named_paths(named)?;
    // An empty list in place of `-` is an error, although other seeds may remain.
    if paths.len() < named.len() {
        return Err(NothingFound(
            "expected seeds on standard input, one a line, found none".to_owned(),
        )
        .into());
    }
    Ok(paths.into_iter().map(PathBuf::into_os_string).collect())
}

/// The seeds of names that [`seed_names`] expanded.
pub(crate) fn seeds(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    let found = read(context, engine, named, true, |reader| {
        reader.read_all(named)
    })?;
    Ok(found.all())
}

/// As [`library_seeds`], with those of lists separate. Entries of a playlist that are not in the library are reported and
/// left out.
pub(crate) fn seeds_and_lists(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<NamedSeeds> {
    read(context, engine, named, false, |reader| {
        reader.read_all(named)
    })
}

/// As [`seeds`], only for tracks of the library: no file is analysed.
pub(crate) fn library_seeds(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    Ok(seeds_and_lists(context, engine, named)?.all())
}

/// As [`library_seeds`], for commands that change tracks: words have to name one track, since an artist's whole work is
/// changed only where it is named as such.
pub(crate) fn seeds_to_change(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    read(context, engine, named, false, |reader| {
        let mut found = NamedSeeds::default();
        for text in named {
            match SeedName::parse(text) {
                SeedName::PathOrWords(_) => found.named.push(reader.one(text)?),
                _ => reader.read(text, &mut found)?,
            }
        }
        Ok(found.all())
    })
}

/// The one track that an argument names.
pub(crate) fn one_seed(
    context: &Context,
    engine: &Engine,
    named: &NamedSeed,
) -> anyhow::Result<Seed> {
    let names = seed_names(std::slice::from_ref(named))?;
    read(context, engine, &names, false, |reader| {
        let [text] = &names[..] else {
            let text = named.written().to_string_lossy().into_owned();
            let found = names.len();
            return Err(EngineError::several_tracks(&text, found));
        };
        reader.one(text)
    })
}

/// - `is_analysed`: whether a file that is not in the library is analysed; else it is an error
fn read<T>(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
    is_analysed: bool,
    work: impl FnOnce(&mut SeedReader<'_, Arc<Embedder>>) -> Result<T, EngineError>,
) -> anyhow::Result<T> {
    if named.iter().any(|text| text == "-") {
        anyhow::bail!("a list on standard input cannot name \"-\", standard input itself");
    }
    let embedder = |path: &Path| {
        if is_analysed {
            return context.embedder(Some(engine.library()));
        }
        let path = path.to_owned();
        Err(EngineError::NotInLibrary { path })
    };
    let mut reader = SeedReader {
        engine,
        embedder: &embedder,
        report: &mut |text| context.console.note(&text),
    };
    Ok(work(&mut reader)?)
}
