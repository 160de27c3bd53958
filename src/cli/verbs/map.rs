//! `voisin map`.

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::MapArgs;
use crate::cli::context::Context;
use crate::cli::outputs::output_file;
use crate::cli::render::{self, count};
use voisin::questions::answers::graph::MappedLibrary;
use voisin_base::output;
use voisin_explore::map::{self, MapData};
use voisin_library::stored_path;

const WORDS: usize = 3;

pub(crate) fn run(context: &Context, args: &MapArgs) -> anyhow::Result<Ending> {
    let extension = output::ending(&args.output, "html");
    if !["html", "csv"].contains(&extension.as_str()) {
        bail!(
            "--output: expected .html or .csv at the end, found {}",
            args.output.display()
        );
    }
    let place = output_file(context, &args.output)?;
    let mut engine = context.open_engine()?;
    let mut mapped = MappedLibrary::of(&mut engine)?;
    let n = mapped.collection.ids.len();
    // After the clustering, whose names must not change with these tags.
    if let Some(predicted) = engine.predicted_tags_if_any()? {
        let words = predicted.strongest(&mapped.collection.ids, WORDS);
        for track in &mut mapped.collection.meta {
            let strong = words.get(&track.id).into_iter().flatten();
            track.tags = strong.map(|(word, _)| word.clone()).collect();
        }
    }
    let data = MapData {
        positions: mapped.places.view(),
        meta: &mapped.collection.meta,
        graph: &mapped.graph,
        clustering: &mapped.clustering,
    };
    let title = format!("voisin: {}", count(n as u64, "track"));
    let text = if extension == "html" {
        // The page plays files by paths relative to its own folder.
        let folder = stored_path(&args.output);
        map::html(&data, &title, folder.parent())?
    } else {
        map::csv(&data)
    };
    render::write(&place, text.as_bytes())?;
    let text = format!("{} in {}", count(n as u64, "track"), args.output.display());
    render::print_place(context.console, &place, &text)?;
    Ok(Ending::Fine)
}
