//! Exploration on real vectors, and the map in a real browser. Tests whose data or browser is missing print that and
//! pass.

// A test may fail by a panic, and prints that it skips.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Axis};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{Clustering, NEIGHBOURS, adjusted_rand_index, cluster};
use voisin_explore::layout::layout;
use voisin_explore::map::{MapData, html};
use voisin_explore::{KnnGraph, TrackMeta};

/// The folder of development data, if it exists.
fn dev_data(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("VOISIN_DEV_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let found = folder.join(part);
    if found.exists() {
        return Some(found);
    }
    eprintln!("skipped: no {part} (set VOISIN_DEV_DATA)");
    None
}

/// The array IDS of an `.npz`, of NumPy's type U28 (28 characters of four bytes).
fn names(npz: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(npz).expect("the file is there");
    let mut bytes = Vec::new();
    let mut archive = zip::ZipArchive::new(file).expect("a zip of arrays");
    std::io::copy(&mut archive.by_name("IDS.npy").expect("IDS"), &mut bytes).expect("readable");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..]
        .chunks_exact(4 * 28)
        .map(<[u8]>::to_vec)
        .collect()
}

/// Unit vectors of GTZAN's tracks (means of 50 tag activations) and their genres.
fn gtzan() -> Option<(Array2<f32>, Vec<u32>)> {
    let folder = dev_data("gtzan-taggrams")?;
    let mut rows = Vec::new();
    let mut genres = Vec::new();
    for part in ["train.npz", "test.npz"] {
        let ids = names(&folder.join(part));
        let file = std::fs::File::open(folder.join(part)).expect("the file is there");
        let mut npz = ndarray_npy::NpzReader::new(file).expect("a zip of arrays");
        let x: Array2<f32> = npz.by_name("X").expect("X");
        let y: Array1<i64> = npz.by_name("Y").expect("Y");
        let mut tracks = ids.clone();
        tracks.sort_unstable();
        tracks.dedup();
        for track in tracks {
            let windows: Vec<usize> = (0..ids.len()).filter(|&i| ids[i] == track).collect();
            let mean = x
                .select(Axis(0), &windows)
                .mean_axis(Axis(0))
                .expect("windows");
            let norm = mean.dot(&mean).sqrt();
            rows.extend(mean.iter().map(|v| v / norm));
            genres.push(u32::try_from(y[windows[0]]).expect("a genre number"));
        }
    }
    let vectors = Array2::from_shape_vec((genres.len(), 50), rows).expect("50 numbers each");
    Some((vectors, genres))
}

fn metas(n: usize) -> Vec<TrackMeta> {
    (0..n)
        .map(|i| {
            TrackMeta::new(
                TrackId(i64::try_from(i).expect("small")),
                format!("{i}.mp3"),
            )
        })
        .collect()
}

/// Normalised mutual information, as scikit-learn's `normalized_mutual_info_score`.
fn mutual_information(a: &[u32], b: &[u32]) -> f64 {
    let entropy = |labels: Vec<(u32, u32)>| -> f64 {
        let mut counts = std::collections::BTreeMap::new();
        labels
            .iter()
            .for_each(|label| *counts.entry(label).or_insert(0.0) += 1.0);
        let shares = counts.values().map(|count| count / labels.len() as f64);
        shares.map(|share: f64| -share * share.ln()).sum()
    };
    let [one, other] = [a, b].map(|labels| entropy(labels.iter().map(|&x| (x, 0)).collect()));
    let both = entropy(a.iter().copied().zip(b.iter().copied()).collect());
    2.0 * (1.0 - both / (one + other))
}

#[test]
fn clusters_of_gtzan_match_genres_as_well_as_scikit_learn() {
    let Some((vectors, genres)) = gtzan() else {
        return;
    };
    let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
    let found = cluster(vectors.view(), &graph, &metas(genres.len()), None, 0).expect("733 tracks");
    let ids: Vec<u32> = found.ids().into_values().collect();
    let nmi = mutual_information(&genres, &ids);
    let ari = adjusted_rand_index(&genres, &ids);
    // The best of k-means, HDBSCAN and leidenalg on the same vectors.
    let best_nmi = 0.683;
    let best_ari = 0.605;
    assert!(
        nmi >= best_nmi - 0.02 && ari >= best_ari - 0.02,
        "NMI {nmi:.3}, ARI {ari:.3}"
    );
}

/// The `k` rows that come first for each row by a measure, largest first.
fn ranked(rows: usize, k: usize, measure: impl Fn(usize, usize) -> f32) -> Vec<Vec<usize>> {
    let nearest = |row: usize| {
        let mut others: Vec<usize> = (0..rows).filter(|&other| other != row).collect();
        others.sort_by(|&a, &b| measure(row, b).total_cmp(&measure(row, a)));
        others.truncate(k);
        others
    };
    (0..rows).map(nearest).collect()
}

#[test]
fn the_layout_of_gtzan_keeps_neighbours_as_well_as_umap_learn() {
    let Some((vectors, _)) = gtzan() else { return };
    let n = vectors.nrows();
    let graph = KnnGraph::exact(vectors.view(), 15).expect("unit vectors");
    let positions = layout(vectors.view(), &graph, 0);
    let true_ranks = ranked(n, n, |a, b| vectors.row(a).dot(&vectors.row(b)));
    let on_map = ranked(n, 15, |a, b| {
        let apart = &positions.row(a) - &positions.row(b);
        -apart.dot(&apart)
    });
    // Venna and Kaski, 2001, as scikit-learn's `trustworthiness`.
    let (mut penalty, mut kept) = (0, 0);
    for (ranks, near) in true_ranks.iter().zip(&on_map) {
        for other in near {
            let rank = ranks.iter().position(|row| row == other).expect("a row");
            penalty += (rank + 1).saturating_sub(15);
            kept += usize::from(rank < 15);
        }
    }
    let pairs = (15 * n) as f64;
    let trustworthiness = 1.0 - 2.0 * penalty as f64 / (pairs * (2 * n - 46) as f64);
    let preservation = kept as f64 / pairs;
    // umap-learn 0.5.12, n_neighbors 15, min_dist 0.1, cosine, mean of three seeds.
    assert!(trustworthiness >= 0.989 - 0.01, "{trustworthiness}");
    assert!(preservation >= 0.677 - 0.01, "{preservation}");
}

/// Pseudo-random numbers: fractions of multiples of the golden ratio.
fn scatter(i: usize, salt: usize) -> f32 {
    let x = (i + 1) as f64 * 0.618_033_988_749_894_9 + salt as f64 * 0.754_877_666;
    (x.fract() * 1000.0).fract() as f32
}

/// Writes a page of `n` made-up tracks in groups; each track's neighbours are the next ones of its group.
#[expect(clippy::too_many_lines, reason = "one scene")]
fn write_page(path: &Path, n: usize) {
    let groups = 12;
    let positions = Array2::from_shape_fn((n, 2), |(i, d)| {
        let angle = (i % groups) as f32 / groups as f32 * std::f32::consts::TAU;
        let centre = if d == 0 { angle.cos() } else { angle.sin() };
        // A sum of uniform numbers is close enough to a normal one.
        centre * 8.0
            + (0..3)
                .map(|salt| scatter(i, 3 * d + salt) - 0.5)
                .sum::<f32>()
    });
    let k = 8;
    let neighbours = Array2::from_shape_fn((n, k), |(i, j)| {
        u32::try_from((i + (j + 1) * groups) % n).expect("small")
    });
    let similarities = Array2::from_shape_fn((n, k), |(_, j)| 0.95 - 0.02 * j as f32);
    let graph = KnnGraph {
        k,
        neighbours,
        similarities,
    };
    let hostile = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>";
    let mut meta = metas(n);
    for (i, track) in meta.iter_mut().enumerate() {
        track.path = path
            .parent()
            .expect("a folder")
            .join(format!("folder {}/{i}#é?.wav", i % 5))
            .display()
            .to_string();
        track.title = format!("Title {i}");
        track.artist = Some(format!("Artist {}", i * 7919 % 61));
        track.year = (i % 11 != 0).then_some(1960 + i32::try_from(i % 60).expect("small"));
        track.seconds = 120.0 + (i % 200) as f64;
        track.genres = vec![format!("Genre {}", i % groups)];
        track.predicted_genre = Some(format!("Genre {}", (i + usize::from(i % 4 == 0)) % groups));
        if i % 50 == 5 {
            track.title = hostile.into();
            track.album = Some(format!("{hostile}\r\n#EXTINF:1,x"));
            track.artist = Some("\u{202e}\"'&lt;\n".into());
            track.genres.push(hostile.into());
        }
    }
    let with_clusters = if n < 10_000 {
        let vectors = Array2::from_shape_fn((n, groups), |(i, d)| {
            if i % groups == d {
                1.0
            } else {
                0.3 * scatter(i, d)
            }
        });
        let unit = Array2::from_shape_fn((n, groups), |(i, d)| {
            vectors[[i, d]] / vectors.row(i).dot(&vectors.row(i)).sqrt()
        });
        cluster(unit.view(), &graph, &meta, None, 0).expect("enough tracks")
    } else {
        Clustering::default()
    };
    let data = MapData {
        positions: positions.view(),
        meta: &meta,
        graph: &graph,
        clustering: &with_clusters,
    };
    std::fs::write(
        path,
        html(&data, "A <hostile> & \"plain\" map", path.parent()).expect("consistent"),
    )
    .expect("the folder can be written");
}

#[test]
fn the_map_works_in_a_browser() {
    let runs = |program: &str| {
        std::process::Command::new(program)
            .arg("--version")
            .output()
            .is_ok()
    };
    if !runs("chromium") || !runs("python3") {
        eprintln!("skipped: needs chromium and python3");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = folder.path().join("small.html");
    let big = folder.path().join("big.html");
    write_page(&small, 600);
    write_page(&big, 100_000);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/check_map.py");
    let output = std::process::Command::new("python3")
        .arg(script)
        .arg(&small)
        .arg(&big)
        .output()
        .expect("python3");
    let text = String::from_utf8_lossy(&output.stdout);
    eprintln!("{text}");
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
