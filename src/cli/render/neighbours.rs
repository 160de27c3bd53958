//! The output of `similar`, also used by the demo.

use super::Align;
use super::track::{Column, Listing};
use crate::cli::args::Output;
use voisin::questions::answers::similar::SimilarJson;
use voisin::questions::answers::track::Hit;

/// - `facts`: fields that the query filters or sorts by
pub(crate) fn print_neighbours(
    answer: &SimilarJson,
    facts: Vec<String>,
    output: &Output,
) -> anyhow::Result<()> {
    let similarity = |near: &Hit| {
        let nearness = near.nearness.as_deref().unwrap_or_default();
        let similarity = near.similarity.unwrap_or_default();
        (
            format!("{similarity:.2} {nearness}"),
            format!("{similarity:.6}"),
        )
    };
    let percentile = |near: &Hit| {
        let text = near.percentile.map(|share| format!("{share:.2}"));
        (String::new(), text.unwrap_or_default())
    };
    let rows = &answer.neighbours;
    let leads = vec![
        Column::new("similarity", "similarity", Align::Left, rows, similarity),
        Column::new("", "percentile", Align::Left, rows, percentile).for_programs(),
    ];
    let listing = Listing {
        tracks: rows.iter().map(|near| &near.track).collect(),
        is_ranked: true,
        leads,
        facts,
    };
    listing.print(answer, "voisin similar", output)
}
