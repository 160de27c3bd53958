//! What a user names on the command line, as seeds of a search: files, `id:NUMBER`, words, playlists.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::engine::{Engine, Seed};
use crate::library::scan::{self, PlaylistKind};

/// Seeds as they were named.
#[derive(Default)]
pub(crate) struct Named {
    /// One by one.
    pub(crate) named: Vec<Seed>,
    /// By a playlist.
    pub(crate) of_playlists: Vec<Seed>,
}

/// Turns what was named on the command line (and `-`) into seeds.
pub(crate) fn seeds(context: &Context, engine: &Engine, named: &[OsString]) -> anyhow::Result<Vec<Seed>> {
    let mut all = seeds_and_playlists(context, engine, named)?;
    all.named.append(&mut all.of_playlists);
    Ok(all.named)
}

/// As [`seeds`], playlists apart. Their tracks that are not in the library are told and left out.
pub(crate) fn seeds_and_playlists(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Named> {
    let mut texts = Vec::new();
    for text in named {
        if text == "-" {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .context("cannot read the list on standard input")?;
            texts.extend(
                crate::library::scan::split_list(&bytes).into_iter().map(std::path::PathBuf::into_os_string),
            );
        } else {
            texts.push(text.clone());
        }
    }
    let library = engine.library();
    let mut found = Named::default();
    for text in &texts {
        let path = Path::new(text);
        if PlaylistKind::of(path).is_some() && path.is_file() {
            found.of_playlists.extend(seeds_of_playlist(context, engine, path)?);
        } else {
            found.named.push(engine.seed(text, || context.lazy_embedder(Some(library)))?);
        }
    }
    Ok(found)
}

fn seeds_of_playlist(context: &Context, engine: &Engine, path: &Path) -> anyhow::Result<Vec<Seed>> {
    let scanned = scan::scan(&[path.to_owned()], &|_| true);
    let mut missing = scanned.problems.len();
    let mut seeds = Vec::new();
    for file in &scanned.files {
        match engine.library().find_by_path(&file.path)? {
            Some(track) => seeds.push(engine.seed_of_file(track, &file.path)?),
            None => missing += 1,
        }
    }
    if seeds.is_empty() {
        anyhow::bail!(
            "{}: none of its {missing} entries is in the library: run \"voisin add\" on it first",
            path.display()
        );
    }
    if missing > 0 {
        context.console.warn(&format!(
            "{}: {missing} of {} entries are not in the library and left out",
            path.display(),
            missing + seeds.len()
        ));
    }
    Ok(seeds)
}
