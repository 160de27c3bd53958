//! Labelled vectors: synthetic, or those of the development data.

use std::{io::Read, path::PathBuf};

use ndarray::{Array2, Axis};
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_base::track::TrackId;
use voisin_genre::{
    FitOptions, Genre, GenreModel, GenrePrediction, LabelledVectors, PredictOptions, unit_rows,
    votes_for,
};

/// Ten genres as GTZAN numbers them.
pub(crate) const GENRES: [&str; 10] = [
    "blues",
    "classical",
    "country",
    "disco",
    "hiphop",
    "jazz",
    "metal",
    "pop",
    "reggae",
    "rock",
];

/// Tracks of gtzan-taggrams: the mean of their windows' tag activations.
pub(crate) struct Taggrams {
    pub(crate) vectors: Array2<f32>,
    pub(crate) classes: Vec<usize>,
    /// Ten consecutive numbers of one genre: GTZAN lists an artist's tracks together, and names no artists.
    pub(crate) groups: Vec<usize>,
}

impl Taggrams {
    /// `None`, with a message, where the development data is missing.
    pub(crate) fn load(part: &str) -> Option<Self> {
        let root = std::env::var_os("VOISIN_DEV_DATA").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
            PathBuf::from,
        );
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
        let y: ndarray::Array1<i64> =
            ndarray_npy::ReadNpyExt::read_npy(&entry("Y.npy")[..]).unwrap();
        let names = unicode_npy(&entry("IDS.npy"));
        let mut tracks: Vec<&String> = names.iter().collect();
        tracks.sort();
        tracks.dedup();
        let owner: Vec<usize> = names
            .iter()
            .map(|n| tracks.binary_search(&n).unwrap())
            .collect();
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
        Some(Self {
            // As a library stores them.
            vectors: unit_rows(vectors),
            classes,
            groups,
        })
    }

    pub(crate) fn subset(&self, rows: &[usize]) -> Self {
        Self {
            vectors: self.vectors.select(Axis(0), rows),
            classes: rows.iter().map(|&r| self.classes[r]).collect(),
            groups: rows.iter().map(|&r| self.groups[r]).collect(),
        }
    }

    pub(crate) fn labels(&self) -> Vec<Vec<Genre>> {
        self.classes
            .iter()
            .map(|&c| vec![Genre::plain(GENRES[c])])
            .collect()
    }

    pub(crate) fn set<'a>(
        &'a self,
        ids: &'a [TrackId],
        labels: &'a [Vec<Genre>],
    ) -> LabelledVectors<'a> {
        LabelledVectors {
            ids,
            vectors: self.vectors.view(),
            labels,
            groups: &self.groups,
        }
    }

    pub(crate) fn ids(&self) -> Vec<TrackId> {
        (0..self.classes.len() as i64).map(TrackId).collect()
    }

    pub(crate) fn fit(&self) -> GenreModel {
        GenreModel::fit(
            &self.set(&self.ids(), &self.labels()),
            &FitOptions::default(),
        )
        .unwrap()
        .0
    }

    /// Predictions of a model that was fitted to these tracks.
    pub(crate) fn answer(&self, others: &Self) -> Vec<GenrePrediction> {
        let ids = self.ids();
        let labels = self.labels();
        answers(&self.fit(), &self.set(&ids, &labels), &others.vectors)
    }

    /// The same, without artists.
    pub(crate) fn ungrouped(self) -> Self {
        Self {
            groups: (0..self.classes.len()).collect(),
            ..self
        }
    }

    pub(crate) fn without(&self, class: usize) -> Self {
        let rows: Vec<usize> = (0..self.classes.len())
            .filter(|&i| self.classes[i] != class)
            .collect();
        self.subset(&rows)
    }
}

/// Strings of a `<U…` npy file.
pub(crate) fn unicode_npy(bytes: &[u8]) -> Vec<String> {
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
    let width: usize = text
        .split("<U")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap()
        .parse()
        .unwrap();
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

/// Predictions for tracks outside the training set, by the votes of that set.
pub(crate) fn answers(
    model: &GenreModel,
    set: &LabelledVectors,
    vectors: &Array2<f32>,
) -> Vec<GenrePrediction> {
    let votes = votes_for(set, vectors.view()).unwrap();
    let ids = vec![None; votes.len()];
    model
        .predict(vectors.view(), &ids, &votes, &PredictOptions::default())
        .unwrap()
}

/// Scattered points around one centre per genre, in `d` dimensions; three tracks an artist.
pub(crate) struct Blobs {
    pub(crate) ids: Vec<TrackId>,
    pub(crate) vectors: Array2<f32>,
    pub(crate) labels: Vec<Vec<Genre>>,
    pub(crate) groups: Vec<usize>,
    pub(crate) classes: Vec<usize>,
}

pub(crate) fn blobs(genres: usize, per_genre: usize, d: usize, spread: f32, seed: u64) -> Blobs {
    let mut rng = StdRng::seed_from_u64(7);
    let centres: Vec<f32> = (0..genres * d)
        .map(|_| rng.random::<f32>() * 2.0 - 1.0)
        .collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let n = genres * per_genre;
    let classes: Vec<usize> = (0..n).map(|i| i % genres).collect();
    let vectors = Array2::from_shape_fn((n, d), |(i, j)| {
        let noise: f32 = (0..4).map(|_| rng.random::<f32>() - 0.5).sum();
        centres[classes[i] * d + j] + spread * noise
    });
    Blobs {
        ids: (0..n as i64).map(TrackId).collect(),
        vectors,
        labels: classes
            .iter()
            .map(|c| vec![Genre::plain(&format!("genre {c:02}"))])
            .collect(),
        groups: (0..n)
            .map(|i| i % genres + genres * (i / (3 * genres)))
            .collect(),
        classes,
    }
}

impl Blobs {
    pub(crate) fn set(&self) -> LabelledVectors<'_> {
        LabelledVectors {
            ids: &self.ids,
            vectors: self.vectors.view(),
            labels: &self.labels,
            groups: &self.groups,
        }
    }
}
