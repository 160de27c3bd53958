//! `voisin lab eval genre`.

use std::collections::BTreeSet;

use crate::cli::Ending;
use crate::cli::args::EvalGenreArgs;
use crate::cli::context::Context;
use crate::cli::lab::{page_place, show_page};
use crate::cli::render::{Console, count};
use voisin_base::output::OutputTarget;
use voisin_engine::GroupBy;
use voisin_genre::{FitOptions, Genre, LabelledVectors, Spellings};
use voisin_lab::genre::{EvalOptions, evaluate_genre};

pub(super) fn run(context: &Context, args: &EvalGenreArgs) -> anyhow::Result<Ending> {
    let place = page_place(context, args.report.as_deref())?;
    let engine = context.open_engine()?;
    let mut tracks = engine.labelled_tracks(&args.labels_from.source(&engine), args.group_by)?;
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
    let mut group = match args.group_by {
        GroupBy::Artist => "artist",
        GroupBy::Track => "track",
    }
    .to_owned();
    let mut nameless = 0;
    if args.group_by == GroupBy::Artist {
        let rows: Vec<usize> = (0..tracks.labels.len())
            .filter(|&row| !tracks.labels[row].is_empty())
            .collect();
        let is_nameless = |row: &&usize| tracks.facts[**row].artist.is_none();
        nameless = rows.iter().filter(is_nameless).count();
        if nameless == rows.len() {
            // Then tracks are grouped by album, if any is known.
            let groups: BTreeSet<usize> = rows.iter().map(|&row| tracks.groups[row]).collect();
            let kind = if groups.len() < rows.len() {
                "album"
            } else {
                "track"
            };
            kind.clone_into(&mut group);
            nameless = 0;
            context
                .console
                .note(&format!("no artist is known: folds are by {group}"));
        }
    }
    let grouping = FoldGrouping { group, nameless };
    cross_validate(
        context.console,
        &tracks.set(),
        grouping,
        args,
        place.as_ref(),
    )
}

/// The kind of groups that are never on both sides of a split, and the number of tracks without one.
struct FoldGrouping {
    group: String,
    nameless: usize,
}

fn cross_validate(
    console: Console,
    set: &LabelledVectors,
    grouping: FoldGrouping,
    args: &EvalGenreArgs,
    place: Option<&OutputTarget>,
) -> anyhow::Result<Ending> {
    let options = EvalOptions {
        folds: args.folds as usize,
        repeats: args.repeats as usize,
        seed: args.random.random_seed,
        fit: FitOptions {
            min_tracks: args.min_tracks as usize,
            ..FitOptions::default()
        },
        rivals: !args.no_rivals,
        group: grouping.group,
        nameless: grouping.nameless,
    };
    let busy = console.busy(&format!(
        "cross-validating {} in {} folds, {}",
        count(set.labels.len() as u64, "track"),
        options.folds,
        count(options.repeats as u64, "time")
    ));
    let report = evaluate_genre(set, &options)?;
    drop(busy);
    show_page(&report.page(), &report.json(), args.format, place)?;
    Ok(Ending::Fine)
}
