//! The output of `similar`, also used by the demo.

use super::Align;
use super::track::{Column, Listing, metas};
use crate::cli::args::Output;
use voisin::Seed;
use voisin::questions::SimilarAnswer;
use voisin::questions::answers::similar::{NeighbourJson, SimilarJson};

/// - `facts`: fields that the query filters or sorts by
pub(crate) fn print_neighbours(
    seeds: &[Seed],
    answer: &SimilarAnswer,
    facts: Vec<String>,
    output: &Output,
) -> anyhow::Result<()> {
    let json = SimilarJson::new(seeds, answer);
    let similarity = |near: &NeighbourJson| {
        let nearness = near.nearness.as_deref().unwrap_or_default();
        let similarity = near.similarity;
        (
            format!("{similarity:.2} {nearness}"),
            format!("{similarity:.6}"),
        )
    };
    let percentile = |near: &NeighbourJson| {
        let text = near.percentile.map(|share| format!("{share:.2}"));
        (String::new(), text.unwrap_or_default())
    };
    let rows = &json.neighbours;
    let leads = vec![
        Column::new("similarity", "similarity", Align::Left, rows, similarity),
        Column::new("", "percentile", Align::Left, rows, percentile).for_programs(),
    ];
    let listing = Listing {
        tracks: json.neighbours.iter().map(|near| &near.track).collect(),
        is_ranked: true,
        leads,
        facts,
    };
    let files = metas(answer.found.iter().map(|found| &found.track));
    listing.print(&json, &files, "voisin similar", output)
}
