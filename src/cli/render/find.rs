//! The answer of `find`.

use super::safe::table_path;
use super::track::{lossy, print_files, print_rows, title};
use super::{Align, Table};
use crate::cli::args::{ListFormat, ListOutput};
use voisin_engine::{PhraseAnswer, PredictedTags, meta};
use voisin_explore::TrackMeta;
use voisin_learn::genre::Taxonomy;
use voisin_questions::answers::find::{FoundJson, name_and_meaning};

/// Prints the tracks that fit, in the form that was asked for.
pub(crate) fn print_found(
    answer: &PhraseAnswer,
    heard: &PredictedTags,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let names: Vec<String> = answer.phrase.terms.iter().map(name_and_meaning).collect();
    match output.format {
        ListFormat::Table => {
            let mut columns = vec![
                ("", Align::Right),
                ("id", Align::Right),
                ("fit", Align::Right),
            ];
            columns.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
            columns.extend([
                ("artist", Align::Left),
                ("title", Align::Left),
                ("genre", Align::Left),
                ("path", Align::Left),
            ]);
            let mut table = Table::new(&columns);
            for (i, found) in answer.tracks.iter().enumerate() {
                let mut cells = vec![
                    (i + 1).to_string(),
                    found.track.id.to_string(),
                    format!("{:.2}", found.fit),
                ];
                cells.extend(found.terms.iter().map(|share| rank(*share)));
                cells.extend([
                    found.track.main_artist().unwrap_or_default().to_owned(),
                    title(&found.track),
                    found.track.tags.genres.join(", "),
                    table_path(&found.track.path),
                ]);
                table.row(cells);
            }
            table.print()
        }
        ListFormat::Json | ListFormat::Template(_) => {
            print_rows(&FoundJson::new(answer, heard), &output.format)
        }
        ListFormat::Csv => super::print_csv(
            ["rank", "id", "path", "fit", "artist", "title", "genres"],
            answer.tracks.iter().enumerate().map(|(i, found)| {
                [
                    (i + 1).to_string(),
                    found.track.id.to_string(),
                    lossy(&found.track.path),
                    format!("{:.4}", found.fit),
                    found.track.tags.artist.clone().unwrap_or_default(),
                    found.track.tags.title.clone().unwrap_or_default(),
                    found.track.tags.genres.join(";"),
                ]
            }),
        ),
        _ => {
            let metas: Vec<TrackMeta> = answer
                .tracks
                .iter()
                .map(|found| meta(&found.track, &Taxonomy::default()))
                .collect();
            print_files(&metas.iter().collect::<Vec<_>>(), "voisin find", output)
        }
    }
}

/// Prints every word that is understood, with the tags that it means.
pub(crate) fn print_words(heard: &PredictedTags) -> anyhow::Result<()> {
    let mut table = Table::new(&[("word", Align::Left), ("tags", Align::Left)]);
    for (word, tags) in heard.words() {
        table.row([word.to_owned(), tags.join(", ")]);
    }
    table.print()
}

/// A percentile as a rank: it says nothing of how much of a thing there is.
pub(super) fn rank(share: f32) -> String {
    format!("top {:.0} %", (100.0 * (1.0 - share)).ceil().max(1.0))
}
