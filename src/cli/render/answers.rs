//! Output of genre predictions, for `classify` and `demo`.

use super::safe::table_path;
use super::track::{Column, id, lossy, print_rows};
use super::{Align, Table, count};
use crate::cli::args::{ListFormat, Output};
use crate::cli::render;
use voisin::questions::answers::genre::AnswerJson;
use voisin::{AnswerSource, Evidence, GenreAnswer};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_genre::{Basis, Genre, GenreShare, Guess, UnknownReason};

/// Shares below this are not shown.
const SMALLEST_SHARE: f32 = 0.01;

/// - `brief`: as a table, one line each, without reasons
pub(crate) fn print(answers: &[GenreAnswer], brief: bool, output: &Output) -> anyhow::Result<()> {
    if output.format == ListFormat::Table && !brief {
        for (i, answer) in answers.iter().enumerate() {
            if i > 0 {
                render::print_line("")?;
            }
            print_one(answer)?;
        }
        return Ok(());
    }
    let json: Vec<AnswerJson<'_>> = answers.iter().map(AnswerJson::new).collect();
    // No track has the id 0; a file that is not in the library has only a path.
    let meta_of =
        |answer: &GenreAnswer| TrackMeta::of_file(answer.track.unwrap_or(TrackId(0)), &answer.path);
    let files: Vec<TrackMeta> = answers.iter().map(meta_of).collect();
    print_rows(&columns(answers), &json, &files, "voisin classify", output)?;
    // The basis of the shares is the same for all.
    match answers.first() {
        Some(answer) if output.format == ListFormat::Table && !answer.probabilities.is_empty() => {
            line(&format!("from {}", answer.labelled))
        }
        _ => Ok(()),
    }
}

fn columns(answers: &[GenreAnswer]) -> Vec<Column> {
    let column = |field: &str, cell: &dyn Fn(&GenreAnswer) -> String| {
        Column::plain("", field, Align::Left, answers, cell).for_programs()
    };
    let name = |genre: Option<&Genre>| genre.map_or_else(String::new, ToString::to_string);
    let genre = |answer: &GenreAnswer| {
        let genre = name(answer.genre());
        // For an unknown genre the best guess is shown as such.
        let shown = match &answer.best {
            _ if !genre.is_empty() => genre.clone(),
            Some(best) => format!("unknown ({best}?)"),
            None => "unknown".to_owned(),
        };
        (shown, genre)
    };
    let share = |answer: &GenreAnswer| {
        let shown = answer.best.as_ref().map(|_| percent(answer.probability));
        let exact = format!("{:.4}", answer.probability);
        (shown.unwrap_or_default(), exact)
    };
    let sure = |answer: &GenreAnswer| {
        let (shown, why) = match (answer.unknown, answer.source) {
            (Some(UnknownReason::Novel), _) => ("unlike anything labelled", "novel"),
            (Some(UnknownReason::Unsure), _) => ("too unsure", "unsure"),
            (Some(UnknownReason::Steady), _) => ("a tone or noise", "steady"),
            (None, AnswerSource::FirstGuess) => ("a first guess", ""),
            (None, _) => ("", ""),
        };
        (shown.to_owned(), why.to_owned())
    };
    vec![
        column("path", &|answer| table_path(&answer.path)),
        Column::new("genre", "genre", Align::Left, answers, genre),
        Column::new("share", "probability", Align::Right, answers, share),
        Column::new("how sure", "unknown", Align::Left, answers, sure),
        Column::plain("id", "", Align::Right, answers, |answer| id(answer.track)).for_people(),
        Column::plain("path", "", Align::Left, answers, |answer| {
            lossy(&answer.path)
        })
        .for_people(),
        column("best", &|answer| name(answer.best.as_ref())),
        column("labelled_tracks", &|answer| {
            answer.labelled.tracks.to_string()
        }),
        column("labelled_genres", &|answer| {
            answer.labelled.genres.to_string()
        }),
    ]
}

/// One answer with its reasons, for people.
pub(crate) fn print_one(answer: &GenreAnswer) -> anyhow::Result<()> {
    let summary = answer.summary();
    line(&format!("{}: {summary}", lossy(&answer.path)))?;
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
        .partition(|evidence| evidence.voter.weight >= SMALLEST_SHARE);
    for Evidence { voter, facts } in shown {
        let genres: Vec<&str> = voter.genres.iter().map(Genre::name).collect();
        table.row([
            facts.display.clone(),
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
