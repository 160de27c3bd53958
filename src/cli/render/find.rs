//! The answer of `find`.

use super::track::{Column, Listing};
use super::{Align, Table};
use crate::cli::args::Output;
use serde_json::json;
use voisin::questions::answers::find::{FoundJson, name_and_meaning};
use voisin::{Engine, PhraseAnswer, PredictedTags};

/// - `facts`: fields that the query filters by
pub(crate) fn print_found(
    engine: &Engine,
    answer: &PhraseAnswer,
    predicted: &PredictedTags,
    facts: Vec<String>,
    output: &Output,
) -> anyhow::Result<()> {
    let json = FoundJson::new(engine, answer, predicted)?;
    let tracks = &answer.tracks;
    let leads = answer.phrase.terms.iter().enumerate().map(|(i, term)| {
        let name = name_and_meaning(term);
        let column = Column::plain(&name, "", Align::Right, tracks, |found| {
            let share = rank(found.terms[i]);
            match found.likeness[i] {
                Some(likeness) => format!("{share}, {:.0} % of captions", 100.0 * likeness),
                None => share,
            }
        });
        column.for_people()
    });
    let listing = Listing {
        tracks: json.tracks.iter().map(|fitting| &fitting.track).collect(),
        is_ranked: true,
        leads: leads.collect(),
        facts,
    };
    listing.print(&json, "voisin find", output)
}

/// Prints all known words with the tags that they stand for.
pub(crate) fn print_words(predicted: &PredictedTags, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        let words = predicted.words();
        let words = words.map(|(word, tags)| json!({"word": word, "tags": tags}));
        return super::print_json(&json!({"words": words.collect::<Vec<_>>()}));
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
