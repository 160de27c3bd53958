//! `voisin map`.

use std::collections::HashMap;

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::{MapArgs, MapColour};
use crate::cli::context::Context;
use crate::cli::outputs::output_file;
use crate::cli::render::{self, count};
use voisin_base::atomic_file;
use voisin_base::output;
use voisin_base::track::TrackId;
use voisin_explore::clusters::ClusterOptions;
use voisin_explore::layout::{LayoutOptions, layout, place_new};
use voisin_explore::map::{self, ColourBy, MapData, MapScale, StaticOptions};
use voisin_genre::GenreError;
use voisin_library::{Library, ScaleName, stored_path};
use voisin_questions::answers::graph::{clustered, collection_and_graph};

/// Number of words per track.
const WORDS: usize = 3;

pub(crate) fn run(context: &Context, args: &MapArgs) -> anyhow::Result<Ending> {
    let extension = output::ending(&args.output, "html");
    if !["html", "png", "svg", "csv"].contains(&extension.as_str()) {
        bail!(
            "--output: expected .html, .png, .svg or .csv at the end, found {}",
            args.output.display()
        );
    }
    let place = output_file(context, &args.output)?;
    let mut engine = context.open_engine()?;
    let (mut collection, graph) = collection_and_graph(&mut engine)?;
    let n = collection.ids.len();
    // Fewer points have no layout.
    if n < 3 {
        bail!("a map needs at least 3 tracks, this library has {n}");
    }
    let labelled = engine.genres().predict(&mut collection, &graph)?;
    let scales = scales(engine.library(), &collection.ids)?;
    let colour_by = match args.colour_by {
        MapColour::Way(way) => way,
        MapColour::Scale(scale) => ColourBy::Scale(place_of(&scales, scale)?),
    };
    if matches!(colour_by, ColourBy::Predicted | ColourBy::Agreement) {
        GenreError::check_enough(labelled)
            .with_context(|| format!("--colour-by {}: no genre is predicted", colour_by.name()))?;
    }
    let options = LayoutOptions {
        seed: args.random.random_seed,
        ..LayoutOptions::default()
    };
    // Positions are stored in the library's folder, so that --update can keep those of old tracks.
    let kept_in = engine.library().dir().join("map.json");
    let known: HashMap<i64, [f32; 2]> = match std::fs::read(&kept_in) {
        // If it cannot be parsed, the whole map is computed again.
        Ok(bytes) if args.update => serde_json::from_slice(&bytes).unwrap_or_default(),
        _ => HashMap::new(),
    };
    if args.update && known.is_empty() {
        context
            .console
            .note("no previous map to update: the whole map is computed");
    }
    let positions = if known.is_empty() {
        layout(collection.vectors.view(), &graph, &options)?
    } else {
        let known: Vec<Option<[f32; 2]>> = collection
            .ids
            .iter()
            .map(|id| known.get(&id.0).copied())
            .collect();
        place_new(&graph, &known, &options)?
    };
    let now: HashMap<i64, [f32; 2]> = collection
        .ids
        .iter()
        .zip(positions.rows())
        .map(|(id, at)| (id.0, [at[0], at[1]]))
        .collect();
    // No error: a library on a read-only disk can still have a map.
    if let Err(error) = atomic_file::write(&kept_in, &serde_json::to_vec(&now)?) {
        context
            .console
            .detail(&format!("positions are not stored: {error}"));
    }
    let clustering = clustered(
        &mut engine,
        &collection,
        &graph,
        None,
        &ClusterOptions::default(),
    )?;
    // After the clustering, whose names must not change with these tags.
    if let Some(predicted) = engine.words().predicted_tags_if_any()? {
        let words = predicted.strongest(&collection.ids, WORDS);
        for track in &mut collection.meta {
            let strong = words.get(&track.id).into_iter().flatten();
            track.tags = strong.map(|(word, _)| word.clone()).collect();
        }
    } else if colour_by == ColourBy::Word {
        bail!("--colour-by word: the library's model predicts no tags (see \"voisin model list\")");
    }
    let data = MapData {
        positions: positions.view(),
        meta: &collection.meta,
        graph: &graph,
        clustering: Some(&clustering),
        scales: &scales,
    };
    let title = args
        .title
        .clone()
        .unwrap_or_else(|| format!("voisin: {}", count(n as u64, "track")));
    let picture = StaticOptions {
        title: title.clone(),
        colour_by,
        ..StaticOptions::default()
    };
    let bytes = match extension.as_str() {
        "html" => {
            // The page plays files by paths relative to its own folder.
            let folder = stored_path(&args.output);
            map::html(&data, &title, folder.parent(), colour_by)?.into_bytes()
        }
        "png" => map::png(&data, &picture)?,
        "svg" => map::svg(&data, &picture)?.into_bytes(),
        _ => map::csv(&data)?.into_bytes(),
    };
    render::write(&place, &bytes)?;
    let text = format!("{} in {}", count(n as u64, "track"), args.output.display());
    render::print_place(context.console, &place, &text)?;
    Ok(Ending::Fine)
}

/// The scales that any of these tracks has a value of, by name.
fn scales(library: &Library, ids: &[TrackId]) -> anyhow::Result<Vec<MapScale>> {
    let table = library.scales();
    let values = table.values(ids)?;
    let named = table.scale_names()?.into_keys().map(|name| MapScale {
        name: name.to_string(),
        values: ids
            .iter()
            .map(|id| Some(values.get(id)?.get(&name)?.value as f32))
            .collect(),
    });
    Ok(named
        .filter(|scale| scale.values.iter().any(Option::is_some))
        .collect())
}

/// The index of a scale among those of the map.
fn place_of(scales: &[MapScale], wanted: ScaleName) -> anyhow::Result<usize> {
    let is_wanted = |scale: &MapScale| scale.name == wanted.as_str();
    scales.iter().position(is_wanted).with_context(|| {
        let ways = ColourBy::ALL.iter().map(|way| way.name());
        let known = scales.iter().map(|scale| scale.name.as_str());
        let names: Vec<&str> = ways.chain(known).collect();
        format!(
            "--colour-by: expected one of {}, found {wanted}",
            names.join(", ")
        )
    })
}
