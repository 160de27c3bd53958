#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
//! Retrieval figures of models on a labelled set: `evaluate_model FOLDER WINDOWS MODEL …`.
//!
//! FOLDER has a `tracks.tsv` with the columns file, genre and artist. Every track is heard through WINDOWS windows,
//! evenly spread. Neighbours are by other artists.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, Axis, concatenate};
use rayon::prelude::*;
use voisin::internals::audio;
use voisin::internals::encoder::{DeviceChoice, Encoder, ModelRef};
use voisin::internals::eval::retrieval::{RetrievalOptions, retrieval};
use voisin::internals::features::{MelFrontEnd, windows};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Track {
    file: String,
    genre: String,
    artist: String,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, count, models @ ..] = arguments.as_slice() else {
        return Err("expected FOLDER WINDOWS MODEL …".into());
    };
    let (folder, count) = (Path::new(folder), count.parse()?);
    let mut table = csv::ReaderBuilder::new().delimiter(b'\t').from_path(folder.join("tracks.tsv"))?;
    let tracks: Vec<Track> = table
        .deserialize::<BTreeMap<String, String>>()
        .map(|row| {
            let mut row = row?;
            let mut take = |name: &str| row.remove(name).ok_or_else(|| format!("no column {name}"));
            Ok(Track { file: take("file")?, genre: take("genre")?, artist: take("artist")? })
        })
        .collect::<Result<_>>()?;
    let mut numbers = (BTreeMap::new(), BTreeMap::new());
    let labels: Vec<usize> = tracks
        .iter()
        .map(|track| {
            let next = numbers.0.len();
            *numbers.0.entry(track.genre.clone()).or_insert(next)
        })
        .collect();
    let artists: Vec<Option<usize>> = tracks
        .iter()
        .map(|track| {
            let next = numbers.1.len();
            (!track.artist.is_empty()).then(|| *numbers.1.entry(track.artist.clone()).or_insert(next))
        })
        .collect();
    println!("{} tracks, labels {:?}, {} artists", tracks.len(), numbers.0, numbers.1.len());
    let joined: Vec<usize> = tracks
        .iter()
        .map(|t| usize::from(t.genre == "classical") + 2 * usize::from(t.genre == "electronic"))
        .collect();
    let device = DeviceChoice::Cpu.resolve()?;
    for model in models {
        let encoder = Encoder::load(&model.parse::<ModelRef>()?, &device)?;
        let front_end = MelFrontEnd::new(encoder.manifest().front_end.clone())?;
        let rows = tracks
            .par_iter()
            .map(|track| embed(&folder.join(&track.file), &encoder, &front_end, count))
            .collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        let vectors = concatenate(Axis(0), &views)?;
        for (name, labels) in [("all labels", &labels), ("pop and rock joined", &joined)] {
            for standardise in [false, true] {
                let options = RetrievalOptions { k: 10, standardise };
                let r = retrieval(vectors.view(), labels, &artists, options)?;
                println!(
                    "{model}, {name}{}: precision@10 {} (chance {:.3}), mAP {}, k-NN {}, by label {:.3?}",
                    if standardise { ", standardised" } else { "" },
                    r.precision,
                    r.chance,
                    r.average_precision,
                    r.knn_accuracy,
                    r.by_label
                );
            }
        }
    }
    Ok(())
}

/// The mean of a track's window vectors, `[1, dimension]`.
fn embed(path: &Path, encoder: &Encoder, front_end: &MelFrontEnd, count: usize) -> Result<Array2<f32>> {
    let config = front_end.config();
    let info = audio::probe(path)?;
    let length = audio::resampled_len(&info, config.sample_rate());
    let starts = windows::spread(length, config.window_samples(), count, config.sample_rate() as usize);
    let mut scratch = front_end.scratch();
    let mut mels = Vec::with_capacity(starts.len() * config.cells());
    audio::read_windows(
        path,
        &info,
        config.sample_rate(),
        &starts,
        config.window_samples(),
        &mut |_, window| {
            if !windows::is_near_silent(window) {
                let at = mels.len();
                mels.resize(at + config.cells(), 0.0);
                front_end.compute_into(window, &mut scratch, &mut mels[at..]);
            }
        },
    )?;
    let embeddings = encoder.encode(&mels, mels.len() / config.cells())?;
    let mean = embeddings.mean_axis(Axis(0)).ok_or_else(|| format!("{}: only silence", path.display()))?;
    Ok(mean.insert_axis(Axis(0)))
}
