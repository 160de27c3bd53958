//! The genre model as an algorithm of the laboratory.

use ndarray::{Array2, ArrayView2};

use super::{
    FitOptions, FusionPart, Genre, GenreError, GenreModel, LabelledVectors, Provenance,
    QueryVectors,
};
use voisin_base::track::TrackId;
use voisin_learn::{FittedClassifier, Tensors, Training};

/// A fitted genre model whose genres are class numbers.
#[derive(Debug)]
pub struct FusionClassifier {
    model: GenreModel,
    part: FusionPart,
    classes: usize,
}

/// Name of the tensor with the model's file: its length in bytes, then the bytes, four per
/// number.
const KEY: &str = "genre";

impl FusionClassifier {
    /// Fits the model; the folds of `data` are the groups that its validation must not
    /// split.
    pub fn fit(data: &Training, part: FusionPart) -> Result<Self, GenreError> {
        let ids: Vec<TrackId> = (0..data.class_of.len() as i64).map(TrackId).collect();
        // Leading zeros give names the order of their numbers.
        let names: Vec<String> = (0..data.classes)
            .map(|class| format!("{class:06}"))
            .collect();
        let genre = |class: &usize| vec![Genre::from_parts(&*names[*class], &*names[*class])];
        let labels: Vec<Vec<Genre>> = data.class_of.iter().map(genre).collect();
        let set = LabelledVectors {
            ids: &ids,
            vectors: data.x,
            labels: &labels,
            groups: data.folds,
        };
        let options = FitOptions {
            seed: data.seed,
            ..FitOptions::default()
        };
        Ok(Self {
            model: GenreModel::fit(&set, &options)?.0,
            part,
            classes: data.classes,
        })
    }

    /// Reads the tensors of [`save`](FittedClassifier::save); `None` if they are inconsistent.
    pub fn load(from: &Tensors, part: FusionPart, classes: usize, columns: usize) -> Option<Self> {
        let (&length, words) = from.u32(KEY)?.split_first()?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (model, _) = GenreModel::from_bytes(bytes.get(..length as usize)?, "").ok()?;
        let known = |genre: &Genre| {
            genre
                .key()
                .parse()
                .is_ok_and(|class: usize| class < classes)
        };
        let fits = model.dimension() == columns && model.genres().iter().all(known);
        fits.then_some(Self {
            model,
            part,
            classes,
        })
    }
}

impl FittedClassifier for FusionClassifier {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let mut all = Array2::zeros((x.nrows(), self.classes));
        // Fails only for rows of another dimension or with NaN, which the caller excludes.
        let Ok(probabilities) = self.model.probabilities(&QueryVectors::of(x)) else {
            return all;
        };
        let probabilities = match self.part {
            FusionPart::Fused => probabilities.fused,
            FusionPart::Head => probabilities.head,
            FusionPart::Vote => probabilities.vote,
        };
        for (genre, column) in self.model.genres().iter().zip(probabilities.columns()) {
            genre
                .key()
                .parse()
                .iter()
                .for_each(|&class: &usize| all.column_mut(class).assign(&column));
        }
        all
    }

    fn save(&self, out: &mut Tensors) {
        let mut provenance = Provenance::new("", "", &[], &[]);
        // So that equal fits give equal files.
        provenance.trained_at = 0;
        let bytes = self.model.to_bytes(&provenance).unwrap_or_default();
        let word = |part: &[u8]| {
            u32::from_le_bytes(std::array::from_fn(|at| part.get(at).copied().unwrap_or(0)))
        };
        out.put_u32(
            KEY,
            std::iter::once(bytes.len() as u32)
                .chain(bytes.chunks(4).map(word))
                .collect(),
        );
    }
}
