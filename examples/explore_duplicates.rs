//! Measures `duplicates` on real audio: `explore_duplicates VERSIONS CACHE [WINDOWS]`.
//!
//! VERSIONS is what `scripts/explore_versions.sh` wrote: `KIND/GENRE/STEM.*`, the same stem for the same recording,
//! `original` among the kinds. Embeddings are kept in the folder CACHE. Prints recall by kind, false pairs, and
//! writes `CACHE/originals.npy` and `CACHE/genres.npy` for `explore_figures`.
#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;
use voisin::encoder::{DeviceChoice, Encoder, ModelRef};
use voisin::engine::{Embedder, WindowPlan};
use voisin::explore::duplicates::{DuplicateOptions, compare, duplicates};
use voisin::explore::{KnnGraph, TrackMeta, WindowSet};
use voisin::track::TrackId;

struct Embedded {
    path: PathBuf,
    vector: Vec<f32>,
    windows: WindowSet,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [versions, cache, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: explore_duplicates VERSIONS CACHE [WINDOWS]");
    };
    let count: usize = rest.first().map_or(Ok(24), |text| text.parse())?;
    let cache = Path::new(cache);
    std::fs::create_dir_all(cache)?;
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(versions)
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let device = DeviceChoice::Cpu.resolve()?;
    let embedder = Embedder::new(Encoder::load(&ModelRef::default(), &device)?)?;
    let started = Instant::now();
    let embedded: Vec<Embedded> = files
        .par_iter()
        .map(|path| {
            let name = path.to_string_lossy().replace('/', "_");
            let kept = cache.join(format!("{name}.{count}.npy"));
            let all: Array2<f32> = if kept.exists() {
                ndarray_npy::read_npy(&kept)?
            } else {
                let info = voisin::audio::probe(path)?;
                let found = embedder.embed(path, &info, WindowPlan::Spread(count), None)?;
                // The start in the first column.
                let all = Array2::from_shape_fn((found.starts.len(), found.windows.ncols() + 1), |(i, d)| {
                    if d == 0 { found.starts[i] } else { found.windows[[i, d - 1]] }
                });
                ndarray_npy::write_npy(&kept, &all)?;
                all
            };
            let raw = all.slice(ndarray::s![.., 1..]).to_owned();
            let mean = raw.mean_axis(Axis(0)).ok_or_else(|| anyhow::anyhow!("no windows"))?;
            let norm = mean.dot(&mean).sqrt();
            let windows = WindowSet::new(&all.column(0).to_vec(), &raw);
            Ok(Embedded { path: path.clone(), vector: mean.iter().map(|x| x / norm).collect(), windows })
        })
        .collect::<anyhow::Result<_>>()?;
    println!("{} files embedded in {:.1} s", embedded.len(), started.elapsed().as_secs_f64());
    measure(&embedded, cache)
}

fn part(path: &Path, from_end: usize) -> String {
    let parts: Vec<_> = path.components().rev().collect();
    parts[from_end].as_os_str().to_string_lossy().into_owned()
}

fn measure(embedded: &[Embedded], cache: &Path) -> anyhow::Result<()> {
    let dim = embedded[0].vector.len();
    let flat: Vec<f32> = embedded.iter().flat_map(|e| e.vector.iter().copied()).collect();
    let vectors = Array2::from_shape_vec((embedded.len(), dim), flat)?;
    let stems: Vec<String> = embedded
        .iter()
        .map(|e| part(&e.path, 1) + "/" + &e.path.file_stem().unwrap_or_default().to_string_lossy())
        .collect();
    let kinds: Vec<String> = embedded.iter().map(|e| part(&e.path, 2)).collect();
    let original: HashMap<&str, usize> =
        (0..embedded.len()).filter(|&i| kinds[i] == "original").map(|i| (stems[i].as_str(), i)).collect();

    // The originals' vectors, for the other figures.
    let rows: Vec<usize> = (0..embedded.len()).filter(|&i| kinds[i] == "original").collect();
    ndarray_npy::write_npy(cache.join("originals.npy"), &vectors.select(Axis(0), &rows))?;
    let mut names: Vec<String> = rows.iter().map(|&i| part(&embedded[i].path, 1)).collect();
    let genre_of = names.clone();
    names.sort();
    names.dedup();
    let labels: Array1<i64> = genre_of
        .iter()
        .map(|genre| names.iter().position(|name| name == genre).unwrap_or(0) as i64)
        .collect();
    ndarray_npy::write_npy(cache.join("genres.npy"), &labels)?;

    // How the two measures lie for true pairs and for the nearest false ones.
    let wide = DuplicateOptions {
        window_similarity: -1.0,
        distinctness: -10.0,
        coverage: 0.5,
        ..DuplicateOptions::default()
    };
    let originals = vectors.select(Axis(0), &rows);
    let graph = KnnGraph::exact(originals.view(), 5)?;
    let mut worst: Vec<(f32, f32, f32, String)> = Vec::new();
    for (i, &a) in rows.iter().enumerate() {
        for (j, similarity) in graph.row(i) {
            let b = rows[j];
            let pair = compare(TrackId(0), &embedded[a].windows, TrackId(1), &embedded[b].windows, &wide);
            if let Some(pair) = pair {
                worst.push((
                    pair.distinctness,
                    pair.similarity,
                    similarity,
                    format!("{} {}", stems[a], stems[b]),
                ));
            }
        }
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("nearest false pairs: distinctness, windows, tracks");
    for (distinctness, windows, tracks, names) in worst.iter().take(8) {
        println!("  {distinctness:.3} {windows:.3} {tracks:.3} {names}");
    }
    let mut by_kind: HashMap<&str, Vec<(f32, f32, f32, f32)>> = HashMap::new();
    for i in 0..embedded.len() {
        if kinds[i] == "original" {
            continue;
        }
        let a = original[stems[i].as_str()];
        let pair = compare(TrackId(0), &embedded[a].windows, TrackId(1), &embedded[i].windows, &wide);
        let tracks = vectors.row(a).dot(&vectors.row(i));
        let figures =
            pair.map_or((0.0, 0.0, tracks, 99.0), |p| (p.distinctness, p.similarity, tracks, p.offset));
        by_kind.entry(&kinds[i]).or_default().push(figures);
    }
    let mut order: Vec<_> = by_kind.into_iter().collect();
    order.sort_by_key(|entry| entry.0);
    for (kind, figures) in &order {
        let low = |pick: fn(&(f32, f32, f32, f32)) -> f32| {
            let mut values: Vec<f32> = figures.iter().map(pick).collect();
            values.sort_by(f32::total_cmp);
            format!("{:.3} {:.3} {:.3}", values[0], values[values.len() / 100], values[values.len() / 2])
        };
        println!(
            "{kind}: distinctness {}, windows {}, tracks {} (least, 1 %, median), offset {}",
            low(|f| f.0),
            low(|f| f.1),
            low(|f| f.2),
            low(|f| f.3)
        );
    }

    // The whole verb: originals and all versions in one library.
    let meta: Vec<TrackMeta> = embedded
        .iter()
        .enumerate()
        .map(|(i, e)| {
            let mut track = TrackMeta::new(TrackId(i as i64), e.path.display().to_string());
            track.bytes = std::fs::metadata(&e.path).map_or(0, |m| m.len());
            track.seconds = f64::from(e.windows.starts.last().copied().unwrap_or(0.0)) + 3.0;
            track.codec = e.path.extension().unwrap_or_default().to_string_lossy().into_owned();
            track
        })
        .collect();
    let started = Instant::now();
    let graph = KnnGraph::exact(vectors.view(), 10)?;
    let mut source = |track: TrackId| Some(embedded[track.0 as usize].windows.clone());
    let groups = duplicates(&graph, &meta, &mut source, &DuplicateOptions::default())?;
    println!("{} groups in {:.2} s", groups.len(), started.elapsed().as_secs_f64());
    let mut group_of = vec![usize::MAX; embedded.len()];
    for (number, group) in groups.iter().enumerate() {
        for track in group.others.iter().chain([&group.best]) {
            group_of[track.0 as usize] = number;
        }
    }
    for (kind, _) in &order {
        let of_kind: Vec<usize> = (0..embedded.len()).filter(|&i| kinds[i] == *kind).collect();
        let found = of_kind
            .iter()
            .filter(|&&i| group_of[i] != usize::MAX && group_of[i] == group_of[original[stems[i].as_str()]])
            .count();
        println!("{kind}: recall {found} of {}", of_kind.len());
    }
    let false_pairs: Vec<String> = groups
        .iter()
        .flat_map(|group| &group.pairs)
        .filter(|pair| stems[pair.a.0 as usize] != stems[pair.b.0 as usize])
        .map(|pair| format!("{} {}", meta[pair.a.0 as usize].path, meta[pair.b.0 as usize].path))
        .collect();
    println!(
        "{} pairs of different recordings: {:?}",
        false_pairs.len(),
        &false_pairs[..false_pairs.len().min(5)]
    );
    Ok(())
}
