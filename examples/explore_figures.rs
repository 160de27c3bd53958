//! Measures exploration on vectors from a `.npy` file: the figures in BENCHMARKS.md.
//!
//! `cargo run --release --example explore_figures -- clusters|layout VECTORS.npy [LABELS.npy|OUTPUT.npy]`
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
        anyhow::bail!("usage: explore_figures clusters|layout VECTORS.npy [LABELS.npy|OUTPUT.npy]");
    };
    let vectors: Array2<f32> = ndarray_npy::read_npy(vectors)?;
    let started = Instant::now();
    let graph = KnnGraph::exact(vectors.view(), 15)?;
    println!("{} tracks; exact graph {:.2} s", vectors.nrows(), started.elapsed().as_secs_f64());
    match what.as_str() {
        "clusters" => clusters(&vectors, &graph, rest.first())?,
        "layout" => layout(&vectors, &graph, rest.first())?,
        other => anyhow::bail!("unknown figures {other}"),
    }
    Ok(())
}

fn metas(n: usize) -> Vec<TrackMeta> {
    (0..n as i64).map(|i| TrackMeta::new(TrackId(i), format!("{i}.mp3"))).collect()
}

fn layout(vectors: &Array2<f32>, graph: &KnnGraph, output: Option<&String>) -> anyhow::Result<()> {
    use voisin::explore::layout::{LayoutOptions, layout, place_new, quality};
    for seed in 0..2 {
        let options = LayoutOptions { seed, ..LayoutOptions::default() };
        let started = Instant::now();
        let positions = layout(vectors.view(), graph, &options)?;
        let seconds = started.elapsed().as_secs_f64();
        let found = quality(vectors.view(), positions.view(), 15, 2000)?;
        println!(
            "layout seed {seed}: {seconds:.2} s, trustworthiness {:.4}, preservation {:.4} (k 15, {} rows)",
            found.trustworthiness, found.preservation, found.rows
        );
        if seed == 0 {
            if let Some(output) = output {
                ndarray_npy::write_npy(output, &positions)?;
            }
            // Every twentieth track as if it were new.
            let known: Vec<Option<[f32; 2]>> = (0..positions.nrows())
                .map(|i| (i % 20 != 7).then(|| [positions[[i, 0]], positions[[i, 1]]]))
                .collect();
            let started = Instant::now();
            let placed = place_new(graph, &known, &options)?;
            let seconds = started.elapsed().as_secs_f64();
            let found = quality(vectors.view(), placed.view(), 15, 2000)?;
            println!(
                "5 % placed anew: {seconds:.2} s, trustworthiness {:.4}, preservation {:.4}",
                found.trustworthiness, found.preservation
            );
        }
    }
    Ok(())
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
