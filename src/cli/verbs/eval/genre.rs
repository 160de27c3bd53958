//! `voisin eval genre`.

use std::collections::BTreeSet;
use std::path::Path;

use ndarray::Array2;

use crate::cli::Ending;
use crate::cli::args::{EvalGenreArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::lab::{PagePlace, show_page};
use crate::cli::render::{self, Console, count};
use voisin_base::output::OutputTarget;
use voisin_base::track::TrackId;
use voisin_engine::GroupBy;
use voisin_genre::{FitOptions, Genre, LabelledVectors, PredictOptions, Spellings};
use voisin_lab::files::{predict_files, read_groups, read_labels, read_vectors};
use voisin_lab::genre::{EvalOptions, evaluate_genre};

pub(super) fn run(context: &Context, args: &EvalGenreArgs) -> anyhow::Result<Ending> {
    let place = PagePlace::new(args.report.as_deref(), args.force)?;
    let predictions = args
        .predictions
        .as_ref()
        .map(|path| OutputTarget::data(path, args.force))
        .transpose()?;
    if let (Some(page), Some(table)) = (&place, &predictions) {
        page.output.check_apart(table)?;
    }
    let (Some(vectors), Some(labels)) = (&args.vectors, &args.labels) else {
        let engine = context.open_engine()?;
        let mut tracks = engine
            .genres()
            .labelled_tracks(&args.labels_from.source(&engine), &args.group_by)?;
        if tracks.unmatched > 0 {
            context.console.warn(&format!(
                "{} of the label file named no track of this library",
                count(tracks.unmatched as u64, "line")
            ));
        }
        let known = Spellings::count(tracks.labels.iter().flatten()).genres();
        let joined = super::joins(&engine.genres().taxonomy()?, &known, &args.join)?;
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
        let mut group = match &args.group_by {
            GroupBy::File(_) => "group".to_owned(),
            named => named.to_string(),
        };
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
        return cross_validate(
            context.console,
            &tracks.set(),
            grouping,
            args,
            place.as_ref(),
        );
    };
    let x = directions(vectors)?;
    let labels = read_labels(labels, x.nrows())?;
    let groups = match &args.groups {
        Some(groups) => read_groups(groups, x.nrows())?,
        // Without groups each row is its own.
        None => (0..x.nrows()).collect(),
    };
    let ids: Vec<TrackId> = (0..x.nrows() as i64).map(TrackId).collect();
    let set = LabelledVectors {
        ids: &ids,
        vectors: x.view(),
        labels: &labels,
        groups: &groups,
    };
    let (Some(test), Some(out)) = (&args.test_vectors, &predictions) else {
        let group = if args.groups.is_some() {
            "group"
        } else {
            "track"
        };
        let grouping = FoldGrouping {
            group: group.to_owned(),
            nameless: 0,
        };
        return cross_validate(context.console, &set, grouping, args, place.as_ref());
    };
    let test = directions(test)?;
    let predict = PredictOptions {
        precision: args.precision.map(voisin_questions::values::Fraction::get),
        ..PredictOptions::default()
    };
    let (model, rows) = predict_files(&set, &test, out, &fit(args), &predict)?;
    let quality = model.quality();
    context.console.note(&format!(
        "trained on {} of {}; {:.1} % right on {} (head alone {:.1} %, neighbours alone {:.1} %)",
        count(model.tracks() as u64, "row"),
        count(model.genres().len() as u64, "genre"),
        100.0 * quality.accuracy,
        if quality.knows_groups() {
            "held-out groups"
        } else {
            "held-out rows, at most, since no groups are known"
        },
        100.0 * quality.head_accuracy,
        100.0 * quality.vote_accuracy
    ));
    // On standard output both would be mixed.
    if args.format == ReportFormat::Json && !out.is_standard() {
        render::print_json(&serde_json::json!({
            "predictions": out.path().to_string_lossy(),
            "rows": rows,
            "genres": model.genres(),
            "quality": quality,
        }))?;
    } else {
        let text = format!(
            "{} written to {}",
            count(rows as u64, "prediction"),
            out.path().display()
        );
        render::print_place(context.console, out, &text)?;
    }
    Ok(Ending::Fine)
}

fn fit(args: &EvalGenreArgs) -> FitOptions {
    FitOptions {
        min_tracks: args.min_tracks as usize,
        ..FitOptions::default()
    }
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
    place: Option<&PagePlace>,
) -> anyhow::Result<Ending> {
    let options = EvalOptions {
        folds: args.folds as usize,
        repeats: args.repeats as usize,
        seed: args.random.random_seed,
        fit: fit(args),
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

/// The vectors of a file, checked for cosines: at least one, and none is zero.
fn directions(path: &Path) -> anyhow::Result<Array2<f32>> {
    let x = read_vectors(path)?;
    let path = path.display();
    anyhow::ensure!(
        x.nrows() > 0,
        "{path}: expected vectors, found an array of no rows"
    );
    // The cosine of a zero vector is undefined, and would spread as NaN.
    if let Some(row) = x
        .outer_iter()
        .position(|row| row.iter().all(|&value| value == 0.0))
    {
        anyhow::bail!(
            "{path}, row {row}: expected a vector with a direction, found zeros alone: leave that row out"
        );
    }
    Ok(x)
}
