//! The genre engine on real labelled vectors, and its metrics against scikit-learn.

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
        "fit {:.2?}\n{:#?}\n{:?}\n{:?}",
        started.elapsed(),
        model.settings(),
        model.fusion(),
        model.quality()
    );
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    for seed in 0..2 {
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
                let best = argmax(p.fused.row(i));
                sure.push((f64::from(p.fused[[i, best]]), best == class));
            }
            if seed == 0 {
                for out in 0..10 {
                    let model = train.without(out).fit();
                    let p = model.probabilities(&test.queries()).unwrap();
                    for (i, &class) in test.classes.iter().enumerate() {
                        novelty[out].push((p.novelty[i], class == out));
                        if out == 6 && class == 6 {
                            let (f, h, v) =
                                (argmax(p.fused.row(i)), argmax(p.head.row(i)), argmax(p.vote.row(i)));
                            print!("{}/{}/{} ", model.genres()[f], model.genres()[h], model.genres()[v]);
                        }
                    }
                }
            }
        }
        let a = |r: usize| 100.0 * r as f64 / n as f64;
        println!(
            "\nseed {seed}: head {:.1} vote {:.1} fused {:.1}, ECE {:.3}, {:.1?}",
            a(right[0]),
            a(right[1]),
            a(right[2]),
            voisin::eval::metrics::expected_calibration_error(&sure, 10),
            started.elapsed()
        );
        if seed == 0 {
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
}
