//! `voisin train`.

use std::time::Instant;

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, TrainArgs};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use voisin::questions::answers::genre::{SmallGenre, TrainedJson};
use voisin::{GenreHead, LabelledTracks};
use voisin_genre::{FitOptions, Genre};

pub(crate) fn run(context: &Context, args: &TrainArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let options = FitOptions {
        min_tracks: args.min_tracks as usize,
        ..FitOptions::default()
    };
    let start = Instant::now();
    let busy = context
        .console
        .busy("training and validating the genre head");
    let (head, tracks) = engine.train_genre(&engine.label_source(), &options)?;
    drop(busy);
    let seconds = start.elapsed().as_secs_f64();
    if tracks.unmatched > 0 {
        context.console.warn(&format!(
            "{} of the label file named no track of this library",
            count(tracks.unmatched as u64, "line")
        ));
    }
    let small = small_genres(&head, &tracks);
    let path = lossy(&engine.genre_model_path());
    if args.format == ReportFormat::Json {
        render::print_json(&TrainedJson {
            path,
            model_fingerprint: &head.provenance.fingerprint,
            training_digest: head.model.training_digest(),
            labels: &head.provenance.labels,
            tracks: head.model.tracks(),
            genres: head.model.genres(),
            without_head: small,
            quality: head.model.quality(),
            penalty: head.model.penalty(),
            seconds,
        })?;
        return Ok(Ending::Fine);
    }
    context.console.detail(&settings(&head));
    for line in report(&head, &tracks, &small, args.min_tracks, seconds) {
        render::print_line(&render::terminal_safe(&line))?;
    }
    render::print_line(&render::terminal_safe(&format!(
        "saved:    {path} (model {}, training set {})",
        short(&head.provenance.fingerprint),
        short(head.model.training_digest())
    )))?;
    Ok(Ending::Fine)
}

/// The genres that are left to the neighbours.
fn small_genres(head: &GenreHead, tracks: &LabelledTracks) -> Vec<SmallGenre> {
    let size = |genre: &Genre| {
        tracks
            .labels
            .iter()
            .filter(|all| all.contains(genre))
            .count()
    };
    let genres = head.model.genres_without_head().into_iter();
    let small = |genre: &Genre| SmallGenre {
        genre: genre.to_string(),
        tracks: size(genre),
    };
    genres.map(small).collect()
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn settings(head: &GenreHead) -> String {
    format!(
        "head: logistic regression, penalty {}; calibration error {:.3}",
        head.model.penalty(),
        head.model.quality().calibration_error
    )
}

fn report(
    head: &GenreHead,
    tracks: &LabelledTracks,
    small: &[SmallGenre],
    min_tracks: u32,
    seconds: f64,
) -> Vec<String> {
    let model = &head.model;
    let quality = model.quality();
    let mut lines = vec![format!(
        "trained on {} of {} in {seconds:.1} s (labels from {})",
        count(model.tracks() as u64, "track"),
        count(model.genres().len() as u64, "genre"),
        head.provenance.labels
    )];
    let sampled = tracks.label_count().tracks.saturating_sub(model.tracks());
    if sampled > 0 {
        lines.push(format!(
            "sampled:  {} more left out, by whole artists",
            count(sampled as u64, "labelled track")
        ));
    }
    let is_headless = !model.has_head();
    if is_headless {
        lines.push(format!(
            "head:     none: at least two genres of {min_tracks} tracks by several artists are needed; neighbours alone"
        ));
    }
    let with_head = if is_headless {
        String::new()
    } else {
        format!(", head alone {}", percent(quality.head_accuracy))
    };
    lines.push(format!(
        "quality:  {} right on {} left out (neighbours alone {}{with_head})",
        percent(quality.accuracy),
        if quality.knows_groups() {
            "artists"
        } else {
            "tracks"
        },
        percent(quality.vote_accuracy)
    ));
    if !quality.knows_groups() {
        lines.push(
            "artists:  no two tracks are known to share one, so copies may be on both sides of a split: the quality is at most this"
                .to_owned(),
        );
    }
    if !is_headless && !small.is_empty() {
        let names: Vec<String> = small
            .iter()
            .map(|s| format!("{} ({})", s.genre, s.tracks))
            .collect();
        lines.push(format!(
            "too small: fewer than {min_tracks} tracks, so neighbours alone decide for {}",
            names.join(", ")
        ));
    }
    lines
}
