//! Time and memory of exploration on a part of a vector file: the scaling table of BENCHMARKS.md.
//!
//! `cargo run --release --example explore_scaling -- VECTORS.npy N [VERB]`
//!
//! - `VECTORS.npy`: `[n, dim]` float32 unit vectors, of which the first `N` are taken
//! - `VERB`: only this of graph, clusters, map, duplicates, path, playlist
//!
//! Window vectors are synthetic: 24 a track, its vector plus noise that depends on track and
//! window, so that nothing is a duplicate but every candidate must be compared.
#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::cell::Cell;
use std::time::Instant;

use ndarray::{Array2, s};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{ClusterOptions, cluster};
use voisin_explore::duplicates::{DuplicateOptions, duplicates};
use voisin_explore::layout::{LayoutOptions, layout};
use voisin_explore::path::{PathOptions, path};
use voisin_explore::playlist::{Length, PlaylistOptions, SeedUse, playlist};
use voisin_explore::{KnnGraph, TrackMeta, WindowSet};
use voisin_index::{IndexOptions, SearchParams, VectorIndex};

const K: usize = 15;
const EXACT_UP_TO: usize = 10_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, count, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: explore_scaling VECTORS.npy N [VERB]");
    };
    let only = rest.first().map(String::as_str);
    let all: Array2<f32> = ndarray_npy::read_npy(file)?;
    let n = count.parse::<usize>()?.min(all.nrows());
    let vectors = all.slice(s![..n, ..]).to_owned();
    drop(all);
    let meta: Vec<TrackMeta> = (0..n)
        .map(|i| {
            let mut track = TrackMeta::new(TrackId(i as i64), format!("{i}.mp3"));
            track.artist = Some(format!("artist {}", i / 7));
            track.seconds = 200.0 + (i % 100) as f64;
            track
        })
        .collect();
    let wanted = |verb: &str| only.is_none_or(|only| only == verb);
    let time =
        |verb: &str, run: &mut dyn FnMut() -> anyhow::Result<String>| -> anyhow::Result<()> {
            if wanted(verb) {
                let started = Instant::now();
                let summary = run()?;
                println!(
                    "{n} {verb}: {:.3} s, {summary}; peak {:.0} MB",
                    started.elapsed().as_secs_f64(),
                    peak()
                );
            }
            Ok(())
        };
    let started = Instant::now();
    let graph = graph(&vectors)?;
    println!(
        "{n} graph: {:.3} s; peak {:.0} MB",
        started.elapsed().as_secs_f64(),
        peak()
    );
    time("clusters", &mut || {
        let found = cluster(
            vectors.view(),
            &graph,
            &meta,
            None,
            &ClusterOptions::default(),
            None,
        )?;
        Ok(format!(
            "{} clusters at resolution {}",
            found.clusters.len(),
            found.resolution
        ))
    })?;
    time("map", &mut || {
        let positions = layout(vectors.view(), &graph, &LayoutOptions::default())?;
        Ok(format!("{} places", positions.nrows()))
    })?;
    time("duplicates", &mut || {
        let options = DuplicateOptions::default();
        let looked = Cell::new(0_usize);
        let source = |track: TrackId| {
            looked.set(looked.get() + 1);
            Some(windows(&vectors, track))
        };
        let groups = duplicates(&graph, &meta, || source, None, &options)?;
        Ok(format!(
            "{} groups, {} sets of windows read",
            groups.len(),
            looked.get()
        ))
    })?;
    time("path", &mut || {
        let walk = path(
            vectors.view(),
            &graph,
            &meta,
            0,
            n - 1,
            &PathOptions::default(),
        )?;
        Ok(format!(
            "{} tracks, largest step {:.3} of {:.3}",
            walk.rows.len(),
            walk.largest_step,
            walk.bottleneck
        ))
    })?;
    time("playlist", &mut || {
        let options = PlaylistOptions {
            length: Length::Tracks(30),
            max_per_artist: Some(2),
            diversity: 0.5,
            seeds: SeedUse::Open(3),
            ..PlaylistOptions::default()
        };
        let list = playlist(
            vectors.view(),
            &meta,
            &[0, n / 2, n - 1],
            &|_| false,
            &options,
        )?;
        Ok(format!("{} tracks", list.len()))
    })
}

/// As in the engine: exact for small collections, by the index for large ones.
fn graph(vectors: &Array2<f32>) -> anyhow::Result<KnnGraph> {
    let n = vectors.nrows();
    if n <= EXACT_UP_TO {
        return Ok(KnnGraph::exact(vectors.view(), K)?);
    }
    let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
    let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
    let lists = index.knn_graph(K, &SearchParams::default())?;
    let mut graph = KnnGraph {
        k: K,
        neighbours: Array2::zeros((n, K)),
        similarities: Array2::zeros((n, K)),
    };
    for (row, list) in lists.iter().enumerate() {
        for (column, neighbor) in list.iter().enumerate() {
            graph.neighbours[[row, column]] = neighbor.id.0 as u32;
            graph.similarities[[row, column]] = neighbor.similarity;
        }
    }
    Ok(graph)
}

fn windows(vectors: &Array2<f32>, track: TrackId) -> WindowSet {
    let vector = vectors.row(track.0 as usize);
    let scale = 0.6 / (vector.len() as f32).sqrt();
    let starts: Vec<f32> = (0..24)
        .map(|i| 8.0 * i as f32 + 0.1 * (track.0 % 40) as f32)
        .collect();
    let mut state = (track.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let raw = Array2::from_shape_fn((24, vector.len()), |(_, d)| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        vector[d] + scale * ((state >> 40) as f32 / 8_388_608.0 - 1.0)
    });
    WindowSet::new(&starts, &raw)
}

/// Peak memory of the process, in MB; 0 if unknown.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1000.0
}
