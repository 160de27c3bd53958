//! Output of genre predictions, for `classify` and `demo`.

use super::safe::table_path;
use super::track::{lossy, print_files};
use super::{Align, Table, count};
use crate::cli::args::{ListFormat, ListOutput};
use crate::cli::render;
use voisin_base::track::TrackId;
use voisin_engine::{Evidence, Finding, GenreAnswer};
use voisin_explore::TrackMeta;
use voisin_genre::{
    Basis, FusionPart, Genre, GenrePrediction, GenreShare, Guess, UnknownReason, Votes,
};
use voisin_questions::answers::genre::AnswerJson;

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
                let unknown = match answer.unknown() {
                    Some(UnknownReason::Novel) => "novel",
                    Some(UnknownReason::Unsure) => "unsure",
                    Some(UnknownReason::Steady) => "steady",
                    None => "",
                };
                [
                    table_path(&answer.path),
                    name(answer.genre()),
                    format!("{:.4}", answer.probability()),
                    unknown.to_owned(),
                    name(answer.best()),
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
        let sure = match (answer.unknown(), &answer.finding) {
            (Some(UnknownReason::Novel), _) => "unlike anything labelled".to_owned(),
            (Some(UnknownReason::Unsure), _) => "too unsure".to_owned(),
            (Some(UnknownReason::Steady), _) => "a tone or noise".to_owned(),
            (None, Finding::Head { prediction, .. }) => prediction.confidence.to_string(),
            (None, Finding::FirstGuess(_)) => "a first guess".to_owned(),
            (None, Finding::Vote { .. } | Finding::NoMethod) => String::new(),
        };
        // For an unknown genre the best guess is shown as such.
        let genre = match (answer.genre(), answer.best()) {
            (Some(genre), _) => genre.to_string(),
            (None, Some(best)) => format!("unknown ({best}?)"),
            (None, None) => "unknown".to_owned(),
        };
        let id = answer.track.map_or_else(String::new, |id| id.to_string());
        let share = answer
            .best()
            .map_or_else(String::new, |_| percent(answer.probability()));
        table.row([genre, share, sure, id, lossy(&answer.path)]);
    }
    table.print()?;
    // The basis of the shares is the same for all.
    match answers.first() {
        Some(GenreAnswer {
            labelled,
            finding: Finding::Vote { .. } | Finding::Head { .. },
            ..
        }) => line(&format!("from {labelled}")),
        _ => Ok(()),
    }
}

/// One answer with its reasons, for people.
pub(crate) fn print_one(answer: &GenreAnswer) -> anyhow::Result<()> {
    let summary = answer.summary();
    let path = render::fitted_path(&lossy(&answer.path), summary.chars().count() + 2);
    line(&format!("{path}: {summary}"))?;
    match &answer.finding {
        Finding::NoMethod => Ok(()),
        Finding::FirstGuess(guess) => print_guess(guess),
        Finding::Vote {
            votes, evidence, ..
        } => print_votes(answer, votes, evidence),
        Finding::Head {
            prediction,
            evidence,
        } => print_prediction(answer, prediction, evidence),
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

fn print_lowered(answer: &GenreAnswer) -> anyhow::Result<()> {
    let lowered = answer.why_lowered();
    lowered.map_or(Ok(()), |why| line(&format!("  {why}")))
}

fn print_votes(answer: &GenreAnswer, votes: &Votes, evidence: &[Evidence]) -> anyhow::Result<()> {
    let others = votes
        .shares
        .iter()
        .skip(1)
        .filter(|share| share.share >= SMALLEST_SHARE);
    let others: Vec<String> = others
        .map(|share| format!("{} {}", share.genre, percent(share.share)))
        .collect();
    if !others.is_empty() {
        line(&format!("  then: {}", others.join(", ")))?;
    }
    print_lowered(answer)?;
    let voters = count(votes.count as u64, "labelled track");
    line(&format!(
        "  {voters} and the collection as a whole voted; votes for rare genres weigh more"
    ))?;
    print_voters(evidence, votes.collection)
}

fn print_prediction(
    answer: &GenreAnswer,
    prediction: &GenrePrediction,
    evidence: &[Evidence],
) -> anyhow::Result<()> {
    let label = match prediction.answers_by {
        FusionPart::Fused => "together:",
        FusionPart::Head | FusionPart::Vote => "answer:  ",
    };
    line(&format!(
        "  {label}   {}",
        shares(&prediction.probabilities)
    ))?;
    if !prediction.head.is_empty() {
        line(&format!("  head:       {}", shares(&prediction.head)))?;
    }
    line(&format!(
        "  neighbours: {}",
        shares(&prediction.votes.shares)
    ))?;
    if prediction.held_out {
        line("  it trained the head: this prediction is from folds without its artist")?;
    }
    print_lowered(answer)?;
    let voters = count(prediction.votes.count as u64, "labelled track");
    // Only a few voters are listed, so their part of the weight is printed, too.
    let weight: f32 = evidence.iter().map(|voter| voter.weight).sum();
    line(&format!(
        "  {voters} voted; the {} with most weight ({} of it) are listed, nearest first",
        evidence.len(),
        percent(weight)
    ))?;
    line("  weights use the space that separates genres; similarity uses the whole sound")?;
    print_voters(evidence, prediction.votes.collection)
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
        ("path", Align::Left),
    ])
    .indented(2);
    for voter in evidence {
        let genres: Vec<&str> = voter.genres.iter().map(Genre::name).collect();
        table.row([
            voter.display.clone(),
            genres.join(", "),
            format!("{:.3}", voter.similarity),
            percent(voter.weight),
            lossy(&voter.path),
        ]);
    }
    if collection >= SMALLEST_SHARE {
        table.row([
            "the collection as a whole".to_owned(),
            "as its tracks".to_owned(),
            String::new(),
            percent(collection),
            String::new(),
        ]);
    }
    table.print()
}

fn percent(share: f32) -> String {
    format!("{:.0} %", 100.0 * share)
}
