//! The genre engine on real labelled vectors, and its metrics against scikit-learn.

// A test may fail by a panic, and says so when it skips.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{io::Read, path::PathBuf, time::Instant};

use ndarray::{Array2, Axis};
use voisin::{
    genre::{FitOptions, Genre, GenreModel, Queries, TrainingSet, WindowSet, grouped_folds},
    track::TrackId,
};

/// Ten genres as GTZAN numbers them.
const GENRES: [&str; 10] =
    ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"];

/// Tracks of gtzan-taggrams: the mean of their windows' tag activations, and the windows.
struct Taggrams {
    vectors: Array2<f32>,
    classes: Vec<usize>,
    /// Ten consecutive numbers of one genre: GTZAN lists an artist's tracks together, and names no artists.
    groups: Vec<usize>,
    windows: Array2<f32>,
    owner: Vec<usize>,
}

impl Taggrams {
    /// `None`, with a message, where the development data is not there.
    fn load(part: &str) -> Option<Self> {
        let root = std::env::var_os("VOISIN_DEV_DATA")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
        let path = root.join("gtzan-taggrams").join(format!("{part}.npz"));
        let Ok(file) = std::fs::File::open(&path) else {
            println!("skipped: no development data at {}", path.display());
            return None;
        };
        let mut zip = zip::ZipArchive::new(file).unwrap();
        let mut entry = |name: &str| {
            let mut bytes = Vec::new();
            zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        let x: Array2<f32> = ndarray_npy::ReadNpyExt::read_npy(&entry("X.npy")[..]).unwrap();
        let y: ndarray::Array1<i64> = ndarray_npy::ReadNpyExt::read_npy(&entry("Y.npy")[..]).unwrap();
        let names = unicode_npy(&entry("IDS.npy"));
        let mut tracks: Vec<&String> = names.iter().collect();
        tracks.sort();
        tracks.dedup();
        let owner: Vec<usize> = names.iter().map(|n| tracks.binary_search(&n).unwrap()).collect();
        let mut vectors = Array2::<f32>::zeros((tracks.len(), x.ncols()));
        let mut counts = vec![0.0f32; tracks.len()];
        let mut classes = vec![0; tracks.len()];
        for ((row, &o), &class) in x.outer_iter().zip(&owner).zip(&y) {
            let mut sum = vectors.row_mut(o);
            sum += &row;
            counts[o] += 1.0;
            classes[o] = usize::try_from(class).unwrap();
        }
        for (mut row, n) in vectors.outer_iter_mut().zip(counts) {
            row /= n;
        }
        let groups = tracks
            .iter()
            .zip(&classes)
            .map(|(name, class)| {
                class * 1000 + name.split('.').nth(1).unwrap().parse::<usize>().unwrap() / 10
            })
            .collect();
        Some(Self { vectors, classes, groups, windows: x, owner })
    }

    fn subset(&self, rows: &[usize]) -> Self {
        let mut place = vec![usize::MAX; self.classes.len()];
        rows.iter().enumerate().for_each(|(new, &old)| place[old] = new);
        let kept: Vec<usize> =
            (0..self.owner.len()).filter(|&w| place[self.owner[w]] != usize::MAX).collect();
        Self {
            vectors: self.vectors.select(Axis(0), rows),
            classes: rows.iter().map(|&r| self.classes[r]).collect(),
            groups: rows.iter().map(|&r| self.groups[r]).collect(),
            windows: self.windows.select(Axis(0), &kept),
            owner: kept.iter().map(|&w| place[self.owner[w]]).collect(),
        }
    }

    fn fit(&self) -> GenreModel {
        let ids: Vec<TrackId> = (0..self.classes.len() as i64).map(TrackId).collect();
        let labels: Vec<Vec<Genre>> = self.classes.iter().map(|&c| vec![Genre::plain(GENRES[c])]).collect();
        let set = TrainingSet {
            ids: &ids,
            vectors: self.vectors.view(),
            labels: &labels,
            groups: &self.groups,
            windows: Some(WindowSet { vectors: self.windows.view(), owner: &self.owner }),
        };
        GenreModel::fit(&set, &FitOptions::default()).unwrap().0
    }

    fn queries(&self) -> Queries<'_> {
        Queries {
            windows: Some(WindowSet { vectors: self.windows.view(), owner: &self.owner }),
            ..Queries::of(self.vectors.view())
        }
    }

    fn without(&self, class: usize) -> Self {
        let rows: Vec<usize> = (0..self.classes.len()).filter(|&i| self.classes[i] != class).collect();
        self.subset(&rows)
    }
}

/// Strings of a `<U…` npy file.
fn unicode_npy(bytes: &[u8]) -> Vec<String> {
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
    let width: usize = text.split("<U").nth(1).unwrap().split('\'').next().unwrap().parse().unwrap();
    bytes[10 + header..]
        .chunks_exact(4 * width)
        .map(|s| {
            s.chunks_exact(4)
                .filter_map(|c| char::from_u32(u32::from_le_bytes([c[0], c[1], c[2], c[3]])))
                .filter(|c| *c != '\0')
                .collect()
        })
        .collect()
}

fn argmax(row: ndarray::ArrayView1<f32>) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[test]
#[ignore = "development"]
fn flips() {
    use rand::{Rng, SeedableRng};
    let Some(data) = Taggrams::load("train") else { return };
    let n = data.classes.len();
    let (mut aps, mut aucs) = (Vec::new(), Vec::new());
    for seed in 0..5 {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut classes = data.classes.clone();
        let mut flipped = vec![false; n];
        while flipped.iter().filter(|f| **f).count() < n * 5 / 100 {
            let i = rng.random_range(0..n);
            if !flipped[i] {
                flipped[i] = true;
                classes[i] = (classes[i] + rng.random_range(1..10)) % 10;
            }
        }
        let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
        let labels: Vec<Vec<Genre>> = classes.iter().map(|&c| vec![Genre::plain(GENRES[c])]).collect();
        let set = TrainingSet {
            ids: &ids,
            vectors: data.vectors.view(),
            labels: &labels,
            groups: &data.groups,
            windows: Some(WindowSet { vectors: data.windows.view(), owner: &data.owner }),
        };
        for two in [false, true] {
            let found = if two {
                voisin::genre::suspects(&set, &FitOptions::default()).unwrap()
            } else {
                voisin::genre::rank_suspects(
                    &GenreModel::fit(&set, &FitOptions::default()).unwrap().1,
                    &labels,
                )
            };
            let scores: Vec<f64> = found.iter().map(|s| f64::from(s.score)).collect();
            let truth: Vec<bool> = found.iter().map(|s| flipped[s.row]).collect();
            let mut hits = 0.0;
            let mut ap = 0.0;
            for (i, &t) in truth.iter().enumerate() {
                if t {
                    hits += 1.0;
                    ap += hits / (i + 1) as f64;
                }
            }
            ap /= hits;
            let auc = voisin::eval::metrics::auc(&scores, &truth).unwrap();
            let c = found.iter().filter(|s| s.confident).count();
            println!(
                "seed {seed} two {two}: AP {ap:.3} AUC {auc:.3} {c} confident, of them flipped {}",
                found.iter().filter(|s| s.confident && flipped[s.row]).count()
            );
            if two {
                aps.push(ap);
                aucs.push(auc);
            }
        }
    }
    println!("AP {:.3} AUC {:.3}", aps.iter().sum::<f64>() / 5.0, aucs.iter().sum::<f64>() / 5.0);
    let model = data.fit();
    let (mut worst, mut right): (Vec<_>, usize) = (Vec::new(), 0);
    let _ = (&model, &mut worst as &mut Vec<usize>, &mut right);
    let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
    let labels: Vec<Vec<Genre>> = data.classes.iter().map(|&c| vec![Genre::plain(GENRES[c])]).collect();
    let set = TrainingSet {
        ids: &ids,
        vectors: data.vectors.view(),
        labels: &labels,
        groups: &data.groups,
        windows: None,
    };
    let kin = voisin::genre::kinship(&set, &voisin::genre::KinshipOptions::default()).unwrap();
    for g in &kin.genres {
        println!(
            "{} {} {:.2} {:?}",
            g.genre,
            g.tracks,
            g.cohesion,
            g.nearest
                .iter()
                .take(3)
                .map(|k| format!(
                    "{} {:.2} [{:.2} {:.2}] {:.2} {:.2} {:.2}",
                    k.genre, k.distance, k.low, k.high, k.centroid, k.neighbourhood, k.votes
                ))
                .collect::<Vec<_>>()
        );
    }
    println!("{:?}", kin.leaf_order().iter().map(|&i| kin.genres[i].genre.name()).collect::<Vec<_>>());
}

#[test]
#[ignore = "development"]
fn timing() {
    let Some(data) = Taggrams::load("train") else { return };
    let started = Instant::now();
    let model = data.fit();
    println!("fit {:.2?}\n{:?}", started.elapsed(), model.quality());
}

#[test]
#[ignore = "development"]
fn explore() {
    let Some(data) = Taggrams::load("train") else { return };
    let n = data.classes.len();
    let started = Instant::now();
    let model = data.fit();
    println!(
        "fit {:.2?}\n{:?}\n{:?}\n{:?}",
        started.elapsed(),
        model.settings(),
        model.fusion(),
        model.quality()
    );
    let model = data.without(6).fit();
    let metal = data.subset(&(0..n).filter(|&i| data.classes[i] == 6).collect::<Vec<_>>());
    let p = model.probabilities(&metal.queries()).unwrap();
    println!("metal novelty {:.1?}", p.novelty);
    for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
        let rock = p.outer_iter().filter(|r| model.genres()[argmax(*r)].name() == "rock").count();
        println!("metal to rock by {name}: {rock}/{}", metal.classes.len());
    }
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    let seeds: u64 = std::env::var("SEEDS").map_or(6, |s| s.parse().unwrap());
    let mut total = [0.0; 3];
    let mut mixes = [0usize; 6];
    for seed in 0..seeds {
        let folds = grouped_folds(&classes, 10, &data.groups, 5, 100 + seed);
        let mut right = [0usize; 3];
        let mut sure = Vec::new();
        let mut novelty = vec![Vec::new(); 10];
        for fold in 0..5 {
            let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| folds[i] != fold);
            let test = data.subset(&test);
            let train = data.subset(&train);
            let model = train.fit();
            let p = model.probabilities(&test.queries()).unwrap();
            for (i, &class) in test.classes.iter().enumerate() {
                for (j, p) in [&p.head, &p.vote, &p.fused].into_iter().enumerate() {
                    right[j] += usize::from(argmax(p.row(i)) == class);
                }
                for (m, w) in
                    mixes.iter_mut().zip([0.3f32, 0.5, 0.7, 0.3, 0.5, 0.7]).enumerate().map(|(k, (m, w))| {
                        let _ = k;
                        (m, w)
                    })
                {
                    let mix = ndarray::Array1::from_shape_fn(10, |c| {
                        w * p.head[[i, c]].max(1e-6).ln() + (1.0 - w) * (p.vote[[i, c]] * 0.95 + 0.005).ln()
                    });
                    *m += usize::from(argmax(mix.view()) == class);
                }
                let best = argmax(p.fused.row(i));
                sure.push((f64::from(p.fused[[i, best]]), best == class));
            }
            if seed == 0 && std::env::var_os("NOVELTY").is_some() {
                for out in 0..10 {
                    let model = train.without(out).fit();
                    let p = model.probabilities(&test.queries()).unwrap();
                    for (i, &class) in test.classes.iter().enumerate() {
                        novelty[out].push((p.novelty[i], class == out));
                    }
                }
            }
        }
        let a = |r: usize| 100.0 * r as f64 / n as f64;
        (0..3).for_each(|j| total[j] += a(right[j]) / seeds as f64);
        println!(
            "seed {seed}: head {:.1} vote {:.1} fused {:.1}, ECE {:.3}, {:.1?}",
            a(right[0]),
            a(right[1]),
            a(right[2]),
            voisin::eval::metrics::expected_calibration_error(&sure, 10),
            started.elapsed()
        );
        if seed == 0 && std::env::var_os("NOVELTY").is_some() {
            let aucs: Vec<f64> = novelty
                .iter()
                .map(|list| {
                    let (s, l): (Vec<f64>, Vec<bool>) = list.iter().copied().unzip();
                    voisin::eval::metrics::auc(&s, &l).unwrap()
                })
                .collect();
            println!("novelty AUROC {:.3} {aucs:.2?}", aucs.iter().sum::<f64>() / 10.0);
        }
    }
    println!("mixes .3 .5 .7: {:.2?}", mixes.map(|m| 100.0 * m as f64 / n as f64 / seeds as f64));
    println!("MEAN head {:.2} vote {:.2} fused {:.2}", total[0], total[1], total[2]);
}
