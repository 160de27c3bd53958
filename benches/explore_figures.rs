//! Measures exploration on vectors from a `.npy` file: the figures in BENCHMARKS.md.
//!
//! `cargo run --release --example explore_figures -- clusters|layout VECTORS.npy [LABELS.npy|OUTPUT.npy]`
//!
//! - `VECTORS.npy`: `[n, dim]` float32 unit vectors; `LABELS.npy`: `[n]` int64
#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::time::Instant;

use ndarray::{Array1, Array2};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{
    ClusterOptions, Detail, adjusted_rand_index, cluster, normalised_mutual_information,
};
use voisin_explore::{KnnGraph, TrackMeta};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, vectors, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!(
            "usage: explore_figures clusters|layout|page VECTORS.npy [LABELS.npy|OUTPUT.npy|FOLDER [LABELS.npy]]"
        );
    };
    let vectors: Array2<f32> = ndarray_npy::read_npy(vectors)?;
    let started = Instant::now();
    let graph = KnnGraph::exact(vectors.view(), 15)?;
    println!(
        "{} tracks; exact graph {:.2} s",
        vectors.nrows(),
        started.elapsed().as_secs_f64()
    );
    match what.as_str() {
        "clusters" => clusters(&vectors, &graph, rest.first())?,
        "page" => page(&vectors, &graph, rest)?,
        "layout" => layout(&vectors, &graph, rest.first())?,
        other => anyhow::bail!("unknown figures {other}"),
    }
    Ok(())
}

fn metas(n: usize) -> Vec<TrackMeta> {
    (0..n as i64)
        .map(|i| TrackMeta::new(TrackId(i), format!("{i}.mp3")))
        .collect()
}

/// A page and pictures of synthetic tracks: `page VECTORS.npy FOLDER [LABELS.npy]`.
fn page(vectors: &Array2<f32>, graph: &KnnGraph, rest: &[String]) -> anyhow::Result<()> {
    use voisin_explore::layout::{LayoutOptions, layout};
    use voisin_explore::map::{ColourBy, MapData, StaticOptions, csv, html, png, svg};
    let folder = std::path::Path::new(rest.first().map_or(".", String::as_str));
    let mut meta = metas(vectors.nrows());
    let labels: Option<Array1<i64>> = rest.get(1).map(ndarray_npy::read_npy).transpose()?;
    let markup = "</script><img src=x onerror=\"document.title='broken'\">";
    for (i, track) in meta.iter_mut().enumerate() {
        let genres = [
            "Blues",
            "Classical",
            "Country",
            "Disco",
            "Hip hop",
            "Jazz",
            "Metal",
            "Pop",
            "Reggae",
            "Rock",
        ];
        track.path = folder
            .join(format!("music/folder {}/{i}#é?.wav", i % 7))
            .display()
            .to_string();
        track.title = if i == 5 {
            markup.into()
        } else {
            format!("Title {i}")
        };
        track.artist = Some(if i == 6 {
            markup.into()
        } else {
            format!("Artist {}", i * 7919 % 61)
        });
        track.album = Some(format!("Album {}", i % 97));
        track.year = (i % 11 != 0).then_some(1960 + (i % 60) as i32);
        track.seconds = 120.0 + (i % 200) as f64;
        let genre = labels
            .as_ref()
            .map_or(i % 10, |labels| labels[i] as usize % 10);
        if i % 13 != 0 {
            track.genres = vec![genres[genre].into()];
        }
        track.predicted_genre =
            Some(genres[if i % 4 == 0 { (genre + 1) % 10 } else { genre }].into());
        track.predicted_probability = Some(0.7);
    }
    let started = Instant::now();
    let positions = layout(vectors.view(), graph, &LayoutOptions::default())?;
    println!("layout {:.1} s", started.elapsed().as_secs_f64());
    let clustering = cluster(
        vectors.view(),
        graph,
        &meta,
        None,
        &ClusterOptions::default(),
        None,
    )?;
    let data = MapData {
        positions: positions.view(),
        meta: &meta,
        graph,
        clustering: Some(&clustering),
        scales: &[],
    };
    let started = Instant::now();
    let page = html(&data, "Figures & <tests>", Some(folder), ColourBy::Genre)?;
    println!(
        "page {:.1} MB in {:.2} s",
        page.len() as f64 / 1e6,
        started.elapsed().as_secs_f64()
    );
    std::fs::write(folder.join("map.html"), page)?;
    std::fs::write(folder.join("map.csv"), csv(&data)?)?;
    for colour_by in ColourBy::ALL {
        let name = colour_by.name();
        let options = StaticOptions {
            title: format!("By {name}"),
            colour_by,
            ..StaticOptions::default()
        };
        std::fs::write(folder.join(format!("{name}.png")), png(&data, &options)?)?;
        std::fs::write(folder.join(format!("{name}.svg")), svg(&data, &options)?)?;
    }
    Ok(())
}

fn layout(vectors: &Array2<f32>, graph: &KnnGraph, output: Option<&String>) -> anyhow::Result<()> {
    use voisin_explore::layout::{LayoutOptions, layout, place_new, quality};
    for seed in 0..2 {
        let options = LayoutOptions {
            seed,
            ..LayoutOptions::default()
        };
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
            // Every twentieth track is treated as new.
            let known: Vec<Option<[f32; 2]>> = (0..positions.nrows())
                .map(|i| (i % 20 != 7).then(|| [positions[[i, 0]], positions[[i, 1]]]))
                .collect();
            let started = Instant::now();
            let placed = place_new(graph, &known, &options)?;
            let seconds = started.elapsed().as_secs_f64();
            let found = quality(vectors.view(), placed.view(), 15, 2000)?;
            println!(
                "5 % placed again: {seconds:.2} s, trustworthiness {:.4}, preservation {:.4}",
                found.trustworthiness, found.preservation
            );
        }
    }
    Ok(())
}

fn clusters(
    vectors: &Array2<f32>,
    graph: &KnnGraph,
    labels: Option<&String>,
) -> anyhow::Result<()> {
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
            print!(
                ", NMI {nmi:.3}, ARI {:.3}",
                adjusted_rand_index(truth, &found.assignment)
            );
        }
        println!();
        Ok(())
    };
    for detail in [Detail::Coarse, Detail::Default, Detail::Fine] {
        for seed in 0..3 {
            run(
                &format!("{detail:?} seed {seed}"),
                &ClusterOptions {
                    detail,
                    seed,
                    ..ClusterOptions::default()
                },
            )?;
        }
    }
    for count in [5, 10, 20] {
        run(
            &format!("count {count}"),
            &ClusterOptions {
                count: Some(count),
                ..ClusterOptions::default()
            },
        )?;
    }
    Ok(())
}
