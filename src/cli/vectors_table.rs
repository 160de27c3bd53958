//! `voisin add --vectors X.npy --tracks tracks.csv`: vectors that another program computed, without Parquet.

use std::path::Path;

use anyhow::bail;

use super::Ending;
use super::args::AddArgs;
use super::context::Context;
use super::merge_outcome::finish;
use voisin_engine::{Engine, external_model, foreign_track, is_external, manifest_as_stored};
use voisin_lab::files::{read_vector_tracks, read_vectors};
use voisin_library::{Intake, OpenMode, StoredModel};

/// Adds a track with its vector for each row of the table.
pub(crate) fn add(context: &Context, args: &AddArgs, vectors: &Path) -> anyhow::Result<Ending> {
    let Some(table) = &args.tracks else {
        bail!("--vectors needs --tracks: a table with the column path, a row for each vector");
    };
    let values = read_vectors(vectors)?;
    // Both files are read completely first: a fault in row 9 000 must not leave half of the rows in
    // the library.
    let tracks = read_vector_tracks(table, values.nrows())?;
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    let lock = engine.library().lock_for_writing()?;
    let model = model_of_vectors(context, args, &engine, values.ncols())?;
    // Refuses any model but that of the existing vectors.
    engine.library_mut().set_model(&model)?;
    let kind = match args.identity {
        Some(kind) => kind,
        None => engine.library().settings().content_kind()?,
    };
    engine.library_mut().settings_mut().set_content_kind(kind)?;
    let mut intake = Intake::new(engine.library_mut())?;
    for (track, vector) in tracks.into_iter().zip(values.rows()) {
        intake.add(foreign_track(
            track.path,
            track.tags,
            &vector.to_vec(),
            kind,
        ))?;
    }
    let taken = intake.finish()?;
    let ending = finish(context, &mut engine, taken, args.format)?;
    drop(lock);
    Ok(ending)
}

/// The model of the vectors: another program's by name, one of voisin's, or the library's own.
fn model_of_vectors(
    context: &Context,
    args: &AddArgs,
    engine: &Engine,
    dimension: usize,
) -> anyhow::Result<StoredModel> {
    let held = engine.library().model()?;
    let model = match (&args.vectors_of, context.requested_model(), held) {
        (Some(name), ..) => external_model(name, dimension).map_err(anyhow::Error::msg)?,
        (None, Some(model), _) => manifest_as_stored(&model.manifest()?)?,
        // With a model of voisin's the name is required: a wrong guess would mix two spaces.
        (None, None, Some(held)) if is_external(&held) => held,
        _ => bail!(
            "expected the model of the vectors, found none: --vectors-of NAME for a model of another program, --model NAME for one of voisin's"
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
