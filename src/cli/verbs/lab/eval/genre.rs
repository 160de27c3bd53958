//! `voisin lab eval genre`.

use std::collections::BTreeSet;

use crate::cli::Ending;
use crate::cli::args::EvalGenreArgs;
use crate::cli::context::Context;
use crate::cli::lab::{page_place, show_page};
use crate::cli::render::count;
use voisin::LabelledTracks;
use voisin_genre::{FitOptions, Genre, Spellings};
use voisin_lab::genre::{EvalOptions, evaluate_genre};

pub(super) fn run(context: &Context, args: &EvalGenreArgs) -> anyhow::Result<Ending> {
    let place = page_place(context, args.report.as_deref())?;
    let engine = context.open_engine()?;
    let mut tracks = engine.labelled_tracks(&engine.label_source())?;
    if tracks.unmatched > 0 {
        context.console.warn(&format!(
            "{} of the label file named no track of this library",
            count(tracks.unmatched as u64, "line")
        ));
    }
    let known = Spellings::count(tracks.labels.iter().flatten()).genres();
    let joined = super::joins(&engine.taxonomy()?, &known, &args.join)?;
    for genres_of_track in &mut tracks.labels {
        for genre in genres_of_track.iter_mut() {
            if let Some(whole) = joined.get(genre.key()) {
                *genre = Genre::plain(whole);
            }
        }
        // Joined genres may make two of a track's labels the same.
        let mut seen = BTreeSet::new();
        genres_of_track.retain(|genre| seen.insert(genre.clone()));
    }
    let busy = context.console.busy(&format!(
        "cross-validating {} in {} folds, {}",
        count(tracks.labels.len() as u64, "track"),
        args.folds,
        count(u64::from(args.repeats), "time")
    ));
    let options = EvalOptions {
        folds: args.folds as usize,
        repeats: args.repeats as usize,
        seed: args.random.random_seed,
        fit: FitOptions {
            min_tracks: args.min_tracks as usize,
            ..FitOptions::default()
        },
        group: group_of(context, &tracks),
    };
    let report = evaluate_genre(&tracks.set(), &options)?;
    drop(busy);
    show_page(&report.page(), &report, args.format, place.as_ref())?;
    Ok(Ending::Fine)
}

/// The kind of groups that are never on both sides of a split: artists, or, if none is known, albums or tracks.
fn group_of(context: &Context, tracks: &LabelledTracks) -> String {
    let rows = 0..tracks.labels.len();
    let rows: Vec<usize> = rows.filter(|&row| !tracks.labels[row].is_empty()).collect();
    if rows.iter().any(|&row| tracks.facts[row].artist.is_some()) {
        return "artist".to_owned();
    }
    let groups: BTreeSet<usize> = rows.iter().map(|&row| tracks.groups[row]).collect();
    let kind = if groups.len() < rows.len() {
        "album"
    } else {
        "track"
    };
    let note = format!("no artist is known: folds are by {kind}");
    context.console.note(&note);
    kind.to_owned()
}
