//! Measures exploration on vectors from a `.npy` file: the figures in BENCHMARKS.md.
//!
//! `cargo run --release --example explore_figures -- clusters VECTORS.npy [LABELS.npy]`
//!
//! - `VECTORS.npy`: `[n, dim]` float32 unit vectors; `LABELS.npy`: `[n]` int64
#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::time::Instant;

use ndarray::{Array1, Array2};
use voisin::explore::clusters::{
    ClusterOptions, Detail, adjusted_rand_index, cluster, normalised_mutual_information,
};
use voisin::explore::{KnnGraph, TrackMeta};
use voisin::track::TrackId;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, vectors, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: explore_figures clusters VECTORS.npy [LABELS.npy]");
    };
    let vectors: Array2<f32> = ndarray_npy::read_npy(vectors)?;
    let started = Instant::now();
    let graph = KnnGraph::exact(vectors.view(), 15)?;
    println!("{} tracks; exact graph {:.2} s", vectors.nrows(), started.elapsed().as_secs_f64());
    match what.as_str() {
        "clusters" => clusters(&vectors, &graph, rest.first())?,
        other => anyhow::bail!("unknown figures {other}"),
    }
    Ok(())
}

fn metas(n: usize) -> Vec<TrackMeta> {
    (0..n as i64).map(|i| TrackMeta::new(TrackId(i), format!("{i}.mp3"))).collect()
}

fn clusters(vectors: &Array2<f32>, graph: &KnnGraph, labels: Option<&String>) -> anyhow::Result<()> {
    let meta = metas(vectors.nrows());
    let truth: Option<Vec<u32>> = labels
        .map(ndarray_npy::read_npy::<_, Array1<i64>>)
        .transpose()?
        .map(|labels| labels.iter().map(|&label| label as u32).collect());
    let run = |name: &str, options: &ClusterOptions| -> anyhow::Result<()> {
        let started = Instant::now();
        let found = cluster(vectors.view(), graph, &meta, None, options, None)?;
        print!(
            "{name}: {} clusters, {} noise, modularity {:.4}, {:.2} s",
            found.clusters.len(),
            found.noise.len(),
            found.modularity,
            started.elapsed().as_secs_f64()
        );
        if let Some(truth) = &truth {
            let nmi = normalised_mutual_information(truth, &found.assignment);
            print!(", NMI {nmi:.3}, ARI {:.3}", adjusted_rand_index(truth, &found.assignment));
        }
        println!();
        Ok(())
    };
    for detail in [Detail::Coarse, Detail::Default, Detail::Fine] {
        for seed in 0..3 {
            run(
                &format!("{detail:?} seed {seed}"),
                &ClusterOptions { detail, seed, ..ClusterOptions::default() },
            )?;
        }
    }
    for count in [5, 10, 20] {
        run(&format!("count {count}"), &ClusterOptions { count: Some(count), ..ClusterOptions::default() })?;
    }
    Ok(())
}
