//! The answer of `find`.

use super::safe::table_path;
use super::track::{FactColumns, id, print_files};
use super::{Align, Table};
use crate::cli::args::{ListFormat, ListOutput};
use voisin_engine::{Engine, PhraseAnswer, PredictedTags, meta};
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_questions::answers::find::{FoundJson, KnownWordJson, WordsJson, name_and_meaning};

/// Prints the tracks that fit, in the requested format.
///
/// - `facts`: columns for fields that the query filters by
pub(crate) fn print_found(
    engine: &Engine,
    answer: &PhraseAnswer,
    predicted: &PredictedTags,
    facts: &FactColumns,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let names: Vec<String> = answer.phrase.terms.iter().map(name_and_meaning).collect();
    let json = || FoundJson::new(engine, answer, predicted);
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
            ]);
            columns.extend(facts.header());
            columns.push(("path", Align::Left));
            let mut table = Table::new(&columns);
            // The same tracks in the same order, as documented JSON and as results of the engine.
            for (fitting, found) in json()?.tracks.iter().zip(&answer.tracks) {
                let track = &fitting.track;
                let mut cells = vec![
                    fitting.rank.to_string(),
                    id(track.id),
                    format!("{:.2}", fitting.fit),
                ];
                let terms = found.terms.iter().zip(&found.likeness);
                cells.extend(terms.map(|(share, likeness)| match likeness {
                    Some(likeness) => {
                        format!("{}, {:.0} % of captions", rank(*share), 100.0 * likeness)
                    }
                    None => rank(*share),
                }));
                cells.extend([
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    track.genres.join(", "),
                ]);
                cells.extend(facts.cells(track));
                cells.push(track.path.clone());
                table.row(cells);
            }
            table.print()
        }
        ListFormat::Json => super::print_json(&json()?),
        ListFormat::Csv => {
            let mut header = vec!["rank", "id", "path", "fit", "artist", "title", "genres"];
            header.extend(facts.fields());
            let tracks = json()?.tracks;
            let rows = tracks.iter().zip(&answer.tracks).map(|(fitting, found)| {
                let track = &fitting.track;
                let mut cells = vec![
                    fitting.rank.to_string(),
                    id(track.id),
                    table_path(&found.track.path),
                    format!("{:.4}", fitting.fit),
                    track.artist.clone().unwrap_or_default(),
                    track.title.clone(),
                    track.genres.join(";"),
                ];
                cells.extend(facts.values(track));
                cells
            });
            super::print_csv(header, rows)
        }
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

/// Prints all known words with the tags that they stand for.
pub(crate) fn print_words(predicted: &PredictedTags, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        let words = predicted.words();
        return super::print_json(&WordsJson {
            words: words
                .map(|(word, tags)| KnownWordJson { word, tags })
                .collect(),
        });
    }
    let mut table = Table::new(&[("word", Align::Left), ("tags", Align::Left)]);
    for (word, tags) in predicted.words() {
        let tags = tags.join(", ");
        // As in the headers of results: "loud (aggressive)".
        let meaning = match predicted.first_word(word) {
            Some(first) => format!("{first}: {tags}"),
            None => tags,
        };
        table.row([word.to_owned(), meaning]);
    }
    table.print()
}

/// A percentile as a rank, since it is relative to the library.
pub(super) fn rank(share: f32) -> String {
    // Rounded up: the best of all is "top 1 %", never "top 0 %".
    format!("top {:.0} %", (100.0 * (1.0 - share)).ceil().max(1.0))
}
