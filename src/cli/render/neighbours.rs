//! The output of `similar`, also used by the demo.

use super::safe::table_path;
use super::track::{FactColumns, id, print_files};
use super::{Align, Table, clock};
use crate::cli::args::{ListFormat, ListOutput};
use voisin_engine::{Seed, meta};
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_questions::SimilarAnswer;
use voisin_questions::answers::similar::SimilarJson;

/// Prints the nearest tracks, in the requested format.
///
/// - `facts`: columns for fields that the query filters or sorts by
pub(crate) fn print_neighbours(
    seeds: &[Seed],
    answer: &SimilarAnswer,
    facts: &FactColumns,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let json = || SimilarJson::new(seeds, answer);
    let has_unlike = answer.found.iter().any(|found| found.unlike.is_some());
    let unlike = |away: Option<f32>, decimals: usize| {
        away.map_or_else(String::new, |away| format!("{away:.decimals$}"))
    };
    match output.format {
        ListFormat::Table => {
            // The time has a column of its own here.
            let facts = facts.without("seconds");
            let mut columns = vec![
                ("", Align::Right),
                ("id", Align::Right),
                ("similarity", Align::Left),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("genre", Align::Left),
                ("time", Align::Right),
            ];
            columns.extend(facts.header());
            columns.push(("path", Align::Left));
            if has_unlike {
                // Beside the similarity, as the order is by both.
                columns.insert(3, ("to the unlike", Align::Right));
            }
            let mut table = Table::new(&columns);
            for near in &json().neighbours {
                let nearness = near.nearness.as_deref().unwrap_or_default();
                let mut cells = vec![
                    near.rank.to_string(),
                    id(near.track.id),
                    format!("{:.3} {nearness}", near.similarity),
                    near.track.artist.clone().unwrap_or_default(),
                    near.track.title.clone(),
                    near.track.genres.join(", "),
                    clock(near.track.seconds),
                ];
                cells.extend(facts.cells(&near.track));
                cells.push(near.track.path.clone());
                if has_unlike {
                    cells.insert(3, unlike(near.similarity_to_unlike, 3));
                }
                table.row(cells);
            }
            table.print()
        }
        ListFormat::Json => super::print_json(&json()),
        ListFormat::Csv => {
            let mut header = vec![
                "rank",
                "id",
                "path",
                "similarity",
                "artist",
                "title",
                "genres",
                "percentile",
            ];
            header.extend(facts.fields());
            if has_unlike {
                header.insert(4, "similarity_to_unlike");
            }
            let neighbours = json().neighbours;
            let rows = neighbours.iter().zip(&answer.found).map(|(near, found)| {
                let percentile = near.percentile;
                let mut cells = vec![
                    near.rank.to_string(),
                    id(near.track.id),
                    table_path(&found.track.path),
                    format!("{:.6}", near.similarity),
                    near.track.artist.clone().unwrap_or_default(),
                    near.track.title.clone(),
                    near.track.genres.join(";"),
                    percentile.map_or_else(String::new, |share| format!("{share:.2}")),
                ];
                cells.extend(facts.values(&near.track));
                if has_unlike {
                    cells.insert(4, unlike(near.similarity_to_unlike, 6));
                }
                cells
            });
            super::print_csv(header, rows)
        }
        _ => {
            let metas: Vec<TrackMeta> = answer
                .found
                .iter()
                .map(|found| meta(&found.track, &Taxonomy::default()))
                .collect();
            print_files(&metas.iter().collect::<Vec<_>>(), "voisin similar", output)
        }
    }
}
