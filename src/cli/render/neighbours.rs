//! The output of `similar`, also used by the demo.

use super::track::{Lead, Listing, metas};
use crate::cli::args::ListOutput;
use voisin_engine::Seed;
use voisin_questions::SimilarAnswer;
use voisin_questions::answers::similar::{NeighbourJson, SimilarJson};

/// Prints the nearest tracks, in the requested format.
///
/// - `facts`: fields that the query filters or sorts by
pub(crate) fn print_neighbours(
    seeds: &[Seed],
    answer: &SimilarAnswer,
    facts: Vec<String>,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let json = SimilarJson::new(seeds, answer);
    let lead = |name: &str, field, cells: &dyn Fn(&NeighbourJson) -> (String, String)| Lead {
        name: name.to_owned(),
        field,
        cells: json.neighbours.iter().map(cells).collect(),
    };
    let mut leads = vec![lead("similarity", "similarity", &|near| {
        let nearness = near.nearness.as_deref().unwrap_or_default();
        let similarity = near.similarity;
        (
            format!("{similarity:.3} {nearness}"),
            format!("{similarity:.6}"),
        )
    })];
    leads.push(lead("", "percentile", &|near| {
        let percentile = near.percentile;
        let text = percentile.map_or_else(String::new, |share| format!("{share:.2}"));
        (String::new(), text)
    }));
    let listing = Listing {
        tracks: json.neighbours.iter().map(|near| &near.track).collect(),
        is_ranked: true,
        leads,
        facts,
    };
    let files = metas(answer.found.iter().map(|found| &found.track));
    listing.print(&json, &files, "voisin similar", output)
}
