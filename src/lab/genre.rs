//! Cross-validation of the genre engine on the user's tracks.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, Axis};
use serde::Serialize;

use super::LabError;
use super::document::Document;
use super::pages;
use super::report::{Answers, FEW, Figures, by_class};
use voisin_base::text::count;
use voisin_genre::metrics::{Spread, argmax, confusion, macro_f1_of};
use voisin_genre::{
    FitOptions, Fold, Genre, GenreModel, GenreShare, LabelledRows, LabelledVectors, PredictOptions,
    Spellings, split_folds, votes_for,
};

#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// Outer folds; a group (artist) is never split.
    pub folds: usize,
    pub repeats: usize,
    pub seed: u64,
    /// Options of the engine, which chooses its settings inside each training part.
    pub fit: FitOptions,
    /// The kind of group, in the singular: artist, album …; track: each is its own group.
    pub group: String,
}

/// The methods evaluated, with their descriptions: the engine first, then its halves.
const METHODS: [(&str, &str); 3] = [
    ("fused", "voisin's prediction: head and neighbours together"),
    ("head", "the trained head alone"),
    ("vote", "the vote of neighbours alone"),
];

#[derive(Debug, Clone, Serialize)]
pub struct MethodReport {
    /// `fused`, `head`, `vote`.
    pub method: String,
    pub accuracy: Spread,
    pub macro_f1: Spread,
}

#[derive(Debug, Clone, Serialize)]
pub struct GenreReport {
    pub tracks: usize,
    pub groups: usize,
    /// The kind of group: artist, album …; track: each is its own group.
    pub group: String,
    pub folds: usize,
    pub repeats: usize,
    /// Fused first, then its halves; no head if no fold had enough tracks for one.
    pub methods: Vec<MethodReport>,
    /// Figures of `fused`, over the held-out predictions of the first repeat; classes by key.
    pub figures: Figures,
    /// Genres of one or two tracks, which are in no mean over genres.
    pub too_few: Vec<Genre>,
    /// Genres with too few tracks for a head in at least one fold.
    pub without_head: Vec<Genre>,
}

/// Nested cross-validation on held-out groups: every choice is made inside the training part.
///
/// Tracks without labels are excluded. A track of several genres counts in each, and as correct in
/// all of them if the prediction is one of them.
pub fn evaluate_genre(
    set: &LabelledVectors,
    options: &EvalOptions,
) -> Result<GenreReport, LabError> {
    let rows = 0..set.labels.len();
    let labelled: Vec<usize> = rows.filter(|&row| !set.labels[row].is_empty()).collect();
    let data = set.select(&labelled);
    let evaluation = Evaluation::new(&data, options);
    let genres = &evaluation.genres;
    let folds = options.folds.max(2);
    // With fewer groups than folds, a fold would have nothing to predict.
    let groups = data.groups.iter().collect::<BTreeSet<_>>().len();
    if groups < folds {
        return Err(LabError::Options(format!(
            "found {} among labelled tracks: {folds} folds need at least {folds}; use fewer folds, or group by something \
             finer",
            count(groups as u64, &options.group)
        )));
    }
    let mut shares: [[Vec<f64>; 2]; METHODS.len()] = Default::default();
    let mut first: Vec<(usize, Array1<f32>)> = Vec::new();
    let mut without_head: BTreeSet<Genre> = BTreeSet::new();
    let mut has_head = false;
    let repeats = options.repeats.max(1);
    let seeds = (0..repeats).map(|repeat| options.seed.wrapping_add(1000 + repeat as u64));
    let classes = &evaluation.classes;
    for fold in split_folds(classes, genres.len(), &data.groups, folds, seeds) {
        let found = evaluation.fold(&fold)?;
        for (shares, answers) in shares.iter_mut().zip(&found.answers) {
            let figures = evaluation.figures(&fold.test, answers);
            let pairs = shares.iter_mut().zip(figures);
            pairs.for_each(|(shares, figure)| shares.push(figure));
        }
        // Each track once; with several repeats it would count several times.
        if fold.repeat == 0 {
            let rows = found.fused.outer_iter().map(|p| p.to_owned());
            first.extend(fold.test.into_iter().zip(rows));
        }
        has_head |= found.without_head.len() < genres.len();
        without_head.extend(found.without_head);
    }
    let method = |((name, _), [accuracy, f1]): (&(&str, &str), &[Vec<f64>; 2])| MethodReport {
        method: (*name).to_owned(),
        accuracy: Spread::of(accuracy),
        macro_f1: Spread::of(f1),
    };
    let found = METHODS.iter().zip(&shares).map(method);
    let too_few = (0..genres.len()).filter(|&class| !evaluation.counts(class));
    Ok(GenreReport {
        tracks: labelled.len(),
        groups,
        group: options.group.clone(),
        folds,
        repeats,
        methods: found.filter(|m| has_head || m.method != "head").collect(),
        figures: evaluation.all_figures(first),
        too_few: too_few.map(|class| genres[class].clone()).collect(),
        without_head: without_head.into_iter().collect(),
    })
}

struct Evaluation<'a> {
    data: &'a LabelledRows,
    options: &'a EvalOptions,
    genres: Vec<Genre>,
    /// The genres of each track, by number.
    classes: Vec<Vec<usize>>,
    sizes: Vec<usize>,
}

struct FoldAnswers {
    answers: [Vec<usize>; METHODS.len()],
    fused: Array2<f32>,
    /// Genres that only neighbours can predict.
    without_head: Vec<Genre>,
}

impl<'a> Evaluation<'a> {
    fn new(data: &'a LabelledRows, options: &'a EvalOptions) -> Self {
        let genres = Spellings::count(data.labels.iter().flatten()).genres();
        let number = |genre: &Genre| genres.binary_search(genre).ok();
        let numbers = |labels: &Vec<Genre>| labels.iter().filter_map(number).collect();
        let classes: Vec<Vec<usize>> = data.labels.iter().map(numbers).collect();
        let mut sizes = vec![0; genres.len()];
        for &class in classes.iter().flatten() {
            sizes[class] += 1;
        }
        Self {
            data,
            options,
            genres,
            classes,
            sizes,
        }
    }

    /// Whether a genre is in means over genres. The recall of one of one or two tracks is chance, and would have the
    /// weight of one of hundreds. If all genres are that small, the means include them.
    fn counts(&self, class: usize) -> bool {
        self.sizes[class] >= FEW || self.sizes.iter().all(|&size| size < FEW)
    }

    fn fold(&self, fold: &Fold) -> Result<FoldAnswers, LabError> {
        let data = self.data;
        let training = data.set().select(&fold.train);
        let test_vectors = data.vectors.select(Axis(0), &fold.test);
        // Inside this fit the engine chooses its settings, on training tracks only.
        let (model, _) = GenreModel::fit(&training.set(), &self.options.fit)?;
        let votes = votes_for(&training.set(), test_vectors.view())?;
        let all = PredictOptions {
            genres: self.genres.len(),
            ..PredictOptions::default()
        };
        let ids = vec![None; votes.len()];
        let predictions = model.predict(test_vectors.view(), &ids, &votes, &all)?;
        let answered = predictions.iter();
        let fused = self.by_genre(answered.clone().map(|p| &p.probabilities[..]));
        let head = self.by_genre(answered.map(|p| &p.head[..]));
        let vote = self.by_genre(votes.iter().map(|votes| &votes.shares[..]));
        let best = |p: &Array2<f32>| p.outer_iter().map(argmax).collect();
        let answers = [&fused, &head, &vote].map(best);
        let without_head = model.genres_without_head().into_iter().cloned().collect();
        Ok(FoldAnswers {
            answers,
            fused,
            without_head,
        })
    }

    /// Shares as columns of all genres, of which a training part may lack some.
    fn by_genre<'b>(&self, rows: impl ExactSizeIterator<Item = &'b [GenreShare]>) -> Array2<f32> {
        let mut table = Array2::zeros((rows.len(), self.genres.len()));
        for (mut row, shares) in table.outer_iter_mut().zip(rows) {
            for share in shares {
                if let Ok(column) = self.genres.binary_search(&share.genre) {
                    row[column] = share.share;
                }
            }
        }
        table
    }

    /// Accuracy and macro F1 of a method's answers.
    fn figures(&self, rows: &[usize], answers: &[usize]) -> [f64; 2] {
        let truth: Vec<Vec<usize>> = rows.iter().map(|&row| self.classes[row].clone()).collect();
        let pairs = truth.iter().zip(answers);
        let hits = pairs.filter(|(labels, answer)| labels.contains(answer));
        let accuracy = hits.count() as f64 / truth.len() as f64;
        let (expected, found, _) = by_class(&truth, answers);
        let m = confusion(&expected, &found, self.genres.len());
        [accuracy, macro_f1_of(&m, |class| self.counts(class))]
    }

    /// Figures of the engine over all tracks, in their order, which does not depend on the folds.
    fn all_figures(&self, mut found: Vec<(usize, Array1<f32>)>) -> Figures {
        found.sort_by_key(|(row, _)| *row);
        let names = self.genres.iter().map(|genre| genre.name().to_owned());
        let names: Vec<String> = names.collect();
        let mut probabilities = Array2::zeros((found.len(), names.len()));
        for (mut to, (_, p)) in probabilities.outer_iter_mut().zip(&found) {
            to.assign(p);
        }
        let rows = || found.iter().map(|(row, _)| *row);
        let answers = Answers {
            classes: &names,
            truth: rows().map(|row| self.classes[row].clone()).collect(),
            probabilities,
            groups: rows().map(|row| self.data.groups[row]).collect(),
        };
        Figures::of("folds", &answers, |class| self.counts(class))
    }
}

impl GenreReport {
    pub fn page(&self) -> Document {
        let mut page = Document::new("Genre recognition");
        let f = &self.figures;
        page.text(format!(
            "voisin predicts the genre of {:.0} of {} tracks correctly.",
            f.accuracy.value * self.tracks as f64,
            self.tracks
        ));
        self.summarise(&mut page);
        page.heading("Methods");
        page.hint(
            "Accuracy: share of correct predictions. F1 is low both for missing a genre and for predicting it too often; every \
             genre has equal weight in it.",
        );
        let cell = |s: Spread| format!("{:.1} ± {:.1}", 100.0 * s.mean, 100.0 * s.deviation);
        let row = |m: &MethodReport| {
            let [accuracy, f1] = [m.accuracy, m.macro_f1].map(cell);
            let what = METHODS.iter().find(|(name, _)| *name == m.method);
            let what = what.map_or("", |(_, what)| what);
            vec![m.method.clone(), accuracy, f1, what.to_owned()]
        };
        let best = argmax(self.methods.iter().map(|m| m.accuracy.mean));
        let header = ["method", "accuracy", "macro F1", "description"];
        page.table(&header, self.methods.iter().map(row).collect(), Some(best));
        let list = |genres: &[Genre]| {
            let names: Vec<&str> = genres.iter().map(Genre::name).collect();
            names.join(", ")
        };
        if !self.too_few.is_empty() {
            page.text(format!(
                "macro F1 leaves out genres of fewer than {FEW} tracks, whose figures are chance: {}",
                list(&self.too_few)
            ));
        }
        pages::figures(&mut page, METHODS[0].0, f);
        if !self.without_head.is_empty() {
            page.text(format!(
                "too few tracks for a trained head, predicted by neighbours alone: {}",
                list(&self.without_head)
            ));
        }
        page
    }

    fn summarise(&self, page: &mut Document) {
        let group = &self.group;
        let is_alone = group == "track";
        let grouped = if is_alone {
            String::new()
        } else {
            format!(" of {} {group}s", self.groups)
        };
        page.text(format!(
            "{} tracks{grouped}, {} genres; {} folds by {group}, {}; mean ± spread over folds, %",
            self.tracks,
            self.figures.per_class.len(),
            self.folds,
            count(self.repeats as u64, "repeat")
        ));
        page.hint(format!(
            "Every track was predicted by an engine trained without its {group}: the {group}s were split into {} parts, and \
             each part was predicted by an engine trained on the other parts.",
            self.folds
        ));
        if is_alone {
            page.text(
                "tracks are not grouped by artist: those of one artist, and copies of a recording, may be on both sides, and \
                 the quality is at most this",
            );
        }
    }
}
