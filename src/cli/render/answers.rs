//! Output of genre predictions, for `classify` and `demo`.

use super::safe::table_path;
use super::track::{lossy, print_files};
use super::{Align, Table, count};
use crate::cli::args::{ListFormat, ListOutput};
use crate::cli::render;
use voisin::questions::answers::genre::AnswerJson;
use voisin::{AnswerSource, Evidence, GenreAnswer};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_genre::{Basis, Genre, GenreShare, Guess, UnknownReason};

/// Shares below this are not shown.
const SMALLEST_SHARE: f32 = 0.01;

/// Prints answers.
///
/// - `brief`: as a table, one line each, without reasons
pub(crate) fn print(
    answers: &[GenreAnswer],
    brief: bool,
    output: &ListOutput,
) -> anyhow::Result<()> {
    match output.format {
        ListFormat::Table if brief => print_list(answers),
        ListFormat::Table => {
            for (i, answer) in answers.iter().enumerate() {
                if i > 0 {
                    render::print_line("")?;
                }
                print_one(answer)?;
            }
            Ok(())
        }
        ListFormat::Json => {
            super::print_json(&answers.iter().map(AnswerJson::new).collect::<Vec<_>>())
        }
        ListFormat::Csv => render::print_csv(
            [
                "path",
                "genre",
                "probability",
                "unknown",
                "best",
                "labelled_tracks",
                "labelled_genres",
            ],
            answers.iter().map(|answer| {
                let name =
                    |genre: Option<&Genre>| genre.map_or_else(String::new, ToString::to_string);
                let unknown = match answer.unknown {
                    Some(UnknownReason::Novel) => "novel",
                    Some(UnknownReason::Unsure) => "unsure",
                    Some(UnknownReason::Steady) => "steady",
                    None => "",
                };
                [
                    table_path(&answer.path),
                    name(answer.genre()),
                    format!("{:.4}", answer.probability),
                    unknown.to_owned(),
                    name(answer.best.as_ref()),
                    answer.labelled.tracks.to_string(),
                    answer.labelled.genres.to_string(),
                ]
            }),
        ),
        _ => {
            // No track has the id 0; a file that is not in the library has only a path.
            let meta_of = |answer: &GenreAnswer| {
                TrackMeta::of_file(answer.track.unwrap_or(TrackId(0)), &answer.path)
            };
            let metas: Vec<TrackMeta> = answers.iter().map(meta_of).collect();
            print_files(&metas, "voisin classify", output)
        }
    }
}

fn print_list(answers: &[GenreAnswer]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("genre", Align::Left),
        ("share", Align::Right),
        ("how sure", Align::Left),
        ("id", Align::Right),
        ("path", Align::Left),
    ]);
    for answer in answers {
        let sure = match (answer.unknown, answer.source) {
            (Some(UnknownReason::Novel), _) => "unlike anything labelled",
            (Some(UnknownReason::Unsure), _) => "too unsure",
            (Some(UnknownReason::Steady), _) => "a tone or noise",
            (None, AnswerSource::FirstGuess) => "a first guess",
            (None, _) => "",
        };
        // For an unknown genre the best guess is shown as such.
        let genre = match (answer.genre(), &answer.best) {
            (Some(genre), _) => genre.to_string(),
            (None, Some(best)) => format!("unknown ({best}?)"),
            (None, None) => "unknown".to_owned(),
        };
        let id = answer.track.map_or_else(String::new, |id| id.to_string());
        let share = answer
            .best
            .as_ref()
            .map_or_else(String::new, |_| percent(answer.probability));
        table.row([genre, share, sure.to_owned(), id, lossy(&answer.path)]);
    }
    table.print()?;
    // The basis of the shares is the same for all.
    match answers.first() {
        Some(answer) if !answer.probabilities.is_empty() => {
            line(&format!("from {}", answer.labelled))
        }
        _ => Ok(()),
    }
}

/// One answer with its reasons, for people.
pub(crate) fn print_one(answer: &GenreAnswer) -> anyhow::Result<()> {
    let summary = answer.summary();
    let path = render::fitted_path(&lossy(&answer.path), summary.chars().count() + 2);
    line(&format!("{path}: {summary}"))?;
    if let Some(labels) = answer.other_label() {
        line(&format!("  its own label: {labels}"))?;
    }
    match (&answer.guess, answer.source) {
        (Some(guess), _) => print_guess(guess),
        (_, AnswerSource::Nobody) => Ok(()),
        _ => print_reasons(answer),
    }
}

fn line(text: &str) -> anyhow::Result<()> {
    let indent = if text.starts_with("  ") { "  " } else { "" };
    render::print_wrapped(indent, &text[indent.len()..])
}

fn print_guess(guess: &Guess) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("genre", Align::Left),
        ("probability", Align::Right),
        ("learnt from", Align::Left),
    ])
    .indented(2);
    for share in guess
        .shares
        .iter()
        // A first guess spreads over many genres: the usual bound would list dozens.
        .filter(|share| share.probability >= 2.0 * SMALLEST_SHARE)
    {
        let basis = match share.basis {
            Basis::Labels => "labelled recordings",
            Basis::Tags => "tags only",
        };
        table.row([
            share.genre.to_string(),
            percent(share.probability),
            basis.to_owned(),
        ]);
    }
    table.print()
}

fn print_reasons(answer: &GenreAnswer) -> anyhow::Result<()> {
    if answer.source == AnswerSource::Head {
        line(&format!("  together:   {}", shares(&answer.probabilities)))?;
    }
    if !answer.head.is_empty() {
        line(&format!("  head:       {}", shares(&answer.head)))?;
    }
    line(&format!("  neighbours: {}", shares(&answer.votes.shares)))?;
    if answer.held_out {
        line("  it trained the head: this prediction is of a head without its artist")?;
    }
    let voters = count(answer.votes.voters.len() as u64, "labelled track");
    line(&format!(
        "  {voters} and the collection as a whole voted; votes for rare genres weigh more"
    ))?;
    print_voters(&answer.evidence, answer.votes.collection)
}

fn shares(list: &[GenreShare]) -> String {
    let worth = list
        .iter()
        .filter(|share| share.share >= SMALLEST_SHARE)
        .take(4);
    worth
        .map(|share| format!("{} {}", share.genre, percent(share.share)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// - `collection`: the share of the collection as a whole, the last voter
fn print_voters(evidence: &[Evidence], collection: f32) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("voter", Align::Left),
        ("genre", Align::Left),
        ("similarity", Align::Right),
        ("weight", Align::Right),
    ])
    .indented(2);
    let (shown, others): (Vec<_>, Vec<_>) = evidence
        .iter()
        .partition(|voter| voter.weight >= SMALLEST_SHARE);
    for voter in shown {
        let genres: Vec<&str> = voter.genres.iter().map(Genre::name).collect();
        table.row([
            voter.display.clone(),
            genres.join(", "),
            format!("{:.2}", voter.similarity),
            percent(voter.weight),
        ]);
    }
    if !others.is_empty() {
        let more = format!("… and {} more", others.len());
        table.row([more.as_str(), "", "", ""]);
    }
    if collection >= SMALLEST_SHARE {
        table.row([
            "the collection as a whole".to_owned(),
            "as its tracks".to_owned(),
            String::new(),
            percent(collection),
        ]);
    }
    table.print()
}

fn percent(share: f32) -> String {
    format!("{:.0} %", 100.0 * share)
}
