//! `voisin path`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, PathArgs};
use crate::cli::context::Context;
use crate::cli::render::Align;
use crate::cli::render::track::{Column, Listing};
use crate::cli::seeds::one_seed;

pub(crate) fn run(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    // From, via and to, each a single track, as a list has no order along a path.
    let stops = args.question.stops();
    let engine = &mut context.open_engine()?;
    let stops = stops
        .iter()
        .map(|stop| one_seed(context, engine, stop))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let json = args.question.run(engine, &stops)?;
    let distance = Column::new("distance", "distance", Align::Right, &json.tracks, |step| {
        // The first track has no step to it.
        let text = |decimals| {
            let step = step.step;
            step.map_or_else(String::new, |step| format!("{step:.decimals$}"))
        };
        (text(2), text(6))
    });
    let listing = Listing {
        tracks: json.tracks.iter().map(|step| &step.track).collect(),
        is_ranked: true,
        leads: vec![distance],
        facts: Vec::new(),
    };
    listing.print(&json, "voisin path", &output)?;
    if output.format == ListFormat::Table {
        context
            .console
            .note(&format!("largest step {:.3} (distance)", json.largest_step));
    }
    Ok(Ending::Fine)
}
