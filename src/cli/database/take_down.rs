//! `voisin remove --backend`.

use voisin_postgres::{Postgres, Remote};

use super::parse;
use crate::cli::Ending;
use crate::cli::args::{RemoveArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::remote::DatabaseAddress;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use voisin_engine::track_number;
use voisin_library::LibraryError;
use voisin_questions::answers::remove::RemovedJson;

pub(crate) fn run(
    context: &Context,
    address: &DatabaseAddress,
    args: &RemoveArgs,
) -> anyhow::Result<Ending> {
    let place = parse(address)?;
    let mut remote = Remote::open(Postgres::open(&place)?)?;
    let mut ids = Vec::new();
    let mut paths = Vec::new();
    for named in &args.paths {
        // An id is always UTF-8.
        match named.to_str().and_then(track_number) {
            Some(id) => ids.push(id),
            None => paths.push(named.clone()),
        }
    }
    let tracks = remote.fetch_at(&ids, &paths)?;
    // An unknown id is an error before anything is taken down; a path without tracks is not.
    if let Some(&id) = ids
        .iter()
        .find(|id| tracks.iter().all(|track| track.id != **id))
    {
        return Err(LibraryError::UnknownTrack(id).into());
    }
    let files: Vec<String> = tracks
        .iter()
        .flat_map(|track| &track.files)
        .map(|file| lossy(&file.record.path))
        .collect();
    let mut taken = tracks.len() as u64;
    if !args.dry_run {
        // By recording, not by file: this includes the same audio under other paths and from other
        // libraries.
        let contents: Vec<_> = tracks.iter().map(|track| track.audio.content).collect();
        taken = remote.store().take_down(&contents)?;
    }
    let action = if args.dry_run {
        "would take down"
    } else {
        "took down"
    };
    match args.format {
        ReportFormat::Json => render::print_json(&RemovedJson {
            dry_run: args.dry_run,
            files: files.len() as u64,
            tracks: taken,
            would_remove: if args.dry_run { files } else { Vec::new() },
            ..RemovedJson::default()
        })?,
        ReportFormat::Table if tracks.is_empty() => {
            context
                .console
                .note(&format!("nothing to take down: {place} has no such file"));
        }
        ReportFormat::Table => {
            if args.dry_run {
                render::print_paths(files.iter().map(String::as_bytes), false)?;
            }
            let files = count(files.len() as u64, "file");
            context.console.note(&format!(
                "{action} {} ({files}) in {place}",
                count(taken, "track")
            ));
        }
    }
    Ok(if tracks.is_empty() {
        Ending::Partial
    } else {
        Ending::Fine
    })
}
