//! `voisin add --vectors X.npy --tracks tracks.csv`: vectors that another program computed, without Parquet.

use std::collections::HashMap;
use std::path::Path;

use anyhow::bail;

use super::Ending;
use super::args::AddArgs;
use super::context::Context;
use super::merge_outcome::finish;
use voisin::{
    Engine, VectorTrack, external_model, foreign_track, is_external, manifest_as_stored,
    read_directions, read_vector_tracks,
};
use voisin_encoder::ModelRef;
use voisin_library::{Intake, OpenMode, StoredModel};

/// Adds a track with its vector for each row of the table.
pub(crate) fn add(context: &Context, args: &AddArgs, vectors: &Path) -> anyhow::Result<Ending> {
    let Some(table) = &args.tracks else {
        bail!("--vectors needs --tracks: a table with the column path, a row for each vector");
    };
    let values = read_directions(vectors)?;
    // Both files are read completely first: a fault in row 9 000 must not leave half of the rows in
    // the library.
    let tracks = read_vector_tracks(table, values.nrows())?;
    refuse_repeated_paths(table, &tracks)?;
    let dimension = values.ncols();
    let named = match context.requested_model() {
        // A name of no model here is that of another program's.
        Some(ModelRef::Name(name)) if ModelRef::Name(name.clone()).manifest().is_err() => {
            Some(external_model(&name, dimension).map_err(anyhow::Error::msg)?)
        }
        Some(model) => Some(manifest_as_stored(&model.manifest()?)?),
        None => None,
    };
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    let lock = engine.library().lock_for_writing()?;
    let model = model_of_vectors(&engine, named, dimension)?;
    // Refuses any model but that of the existing vectors.
    engine.library_mut().set_model(&model)?;
    let mut intake = Intake::new(engine.library_mut())?;
    // Vectors of voisin's models have windows, and the files, if they are here.
    if is_external(&model) {
        intake.replace_known();
    }
    for (track, vector) in tracks.into_iter().zip(values.rows()) {
        intake.add(foreign_track(track.path, track.tags, &vector.to_vec()))?;
    }
    let taken = intake.finish()?;
    let ending = finish(context, &mut engine, taken, args.format)?;
    drop(lock);
    Ok(ending)
}

/// Refuses a table with several vectors for a path, of which only one could be stored.
fn refuse_repeated_paths(table: &Path, tracks: &[VectorTrack]) -> anyhow::Result<()> {
    let mut rows = HashMap::new();
    for (row, track) in (1_u64..).zip(tracks) {
        if let Some(first) = rows.insert(&track.path, row) {
            bail!(
                "{}: expected each path once, found {} in rows {first} and {row}",
                table.display(),
                track.path.display()
            );
        }
    }
    Ok(())
}

/// The model of the vectors: the one named, or the library's own.
fn model_of_vectors(
    engine: &Engine,
    named: Option<StoredModel>,
    dimension: usize,
) -> anyhow::Result<StoredModel> {
    let held = engine.library().model()?;
    let model = match (named, held) {
        (Some(named), Some(held))
            if named.name == held.name
                && named.dimension != held.dimension
                && engine.library().status()?.tracks > 0 =>
        {
            bail!(
                "expected vectors of {} numbers, as this library has of {}, found {}: use another --library",
                held.dimension,
                held.name,
                named.dimension
            )
        }
        (Some(named), _) => named,
        // With a model of voisin's the name is required: a wrong guess would mix two spaces.
        (None, Some(held)) if is_external(&held) => held,
        _ => bail!(
            "expected the model of the vectors, found none: --model NAME, of another program's model or of one of voisin's"
        ),
    };
    if model.dimension != dimension {
        bail!(
            "expected vectors of {} numbers, the dimension of {}, found {dimension}",
            model.dimension,
            model.name
        );
    }
    Ok(model)
}
