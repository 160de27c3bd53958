//! Cross-validation of the genre engine and of baselines on the user's tracks.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, ArrayView1, Axis};
use serde::Serialize;
use serde_json::{Value, json};

use super::LabError;
use super::classifiers::Svm;
use super::document::Document;
use super::pages;
use super::report::{Answers, FEW, Figures, by_class, intervals_of};
use voisin_base::text::count;
use voisin_genre::metrics::{Spread, argmax, balanced_accuracy_of, confusion, macro_f1_of};
use voisin_genre::{
    FitOptions, Genre, GenreModel, GenreShare, LabelledRows, LabelledVectors, PredictOptions,
    Spellings, Standardiser, split_folds, votes_for,
};

/// Options of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// Outer folds; a group (artist) is never split.
    pub folds: usize,
    /// Repeats, each with other folds.
    pub repeats: usize,
    /// Seed of random numbers.
    pub seed: u64,
    /// Options of the engine, which chooses its settings inside each training part.
    pub fit: FitOptions,
    /// Whether the baselines run too.
    pub rivals: bool,
    /// The kind of group, in the singular: artist, album …; track: each is its own group.
    pub group: String,
    /// Tracks without a known group: each is its own group, or grouped by album.
    pub nameless: usize,
}

impl Default for EvalOptions {
    fn default() -> Self {
        let fit = FitOptions::default();
        let group = "artist".to_owned();
        Self {
            folds: 5,
            repeats: 2,
            seed: 1,
            fit,
            rivals: true,
            group,
            nameless: 0,
        }
    }
}

/// The methods evaluated, with their descriptions: the engine first, then its halves, then the baselines.
const METHODS: [(&str, &str); 6] = [
    ("fused", "voisin's prediction: head and neighbours together"),
    ("head", "the trained head alone"),
    ("vote", "the vote of neighbours alone"),
    ("rbf svm", "baseline: support vector machine"),
    (
        "nearest centroid",
        "baseline: the genre with the nearest mean",
    ),
    ("majority", "baseline: always the commonest genre"),
];

/// One method's figures.
#[derive(Debug, Clone, Serialize)]
pub struct MethodReport {
    /// `fused`, `head`, `vote`, `rbf svm`, `nearest centroid`, `majority`.
    pub method: String,
    /// Share of tracks whose prediction is one of their genres.
    pub accuracy: Spread,
    /// Mean recall over the genres of three tracks and more.
    pub balanced_accuracy: Spread,
    /// Mean F1 over the genres of three tracks and more.
    pub macro_f1: Spread,
}

/// An evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct GenreReport {
    /// Labelled tracks.
    pub tracks: usize,
    /// Groups among them.
    pub groups: usize,
    /// The kind of group: artist, album …; track: each is its own group.
    pub group: String,
    /// Tracks without a known group.
    #[serde(skip)]
    pub nameless: usize,
    /// Outer folds.
    pub folds: usize,
    /// Repeats of the cross-validation.
    pub repeats: usize,
    /// Fused first, then its halves, then the baselines; no head if no fold had enough tracks for one.
    pub methods: Vec<MethodReport>,
    /// Figures of `fused`, over the held-out predictions of the first repeat; classes by key.
    #[serde(skip)]
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
    let labelled: Vec<usize> = (0..set.labels.len())
        .filter(|&row| !set.labels[row].is_empty())
        .collect();
    let data = set.select(&labelled);
    let genres = Spellings::count(data.labels.iter().flatten()).genres();
    let n = labelled.len();
    let k = genres.len();
    let folds = options.folds.max(2);
    let class_numbers = |labels: &Vec<Genre>| {
        labels
            .iter()
            .filter_map(|g| genres.binary_search(g).ok())
            .collect()
    };
    let classes: Vec<Vec<usize>> = data.labels.iter().map(class_numbers).collect();
    // With fewer groups than folds, a fold would have nothing to predict.
    let groups = data.groups.iter().collect::<BTreeSet<_>>().len();
    if groups < folds {
        return Err(LabError::Options(format!(
            "found {} among labelled tracks: {folds} folds need at least {folds}; use fewer folds, or group by something \
             finer",
            count(groups as u64, &options.group)
        )));
    }
    let mut sizes = vec![0; k];
    classes
        .iter()
        .flatten()
        .for_each(|&class| sizes[class] += 1);
    // The recall of a genre of one or two tracks is chance, and would have the weight of one of
    // hundreds. If all genres are that small, the means include them.
    let some_have_enough = sizes.iter().any(|&size| size >= FEW);
    let counts = |class: usize| sizes[class] >= FEW || !some_have_enough;
    let methods = &METHODS[..if options.rivals { METHODS.len() } else { 3 }];
    let mut shares: Vec<[Vec<f64>; 3]> = vec![Default::default(); methods.len()];
    let mut first_rows = Vec::new();
    let mut first = Array2::zeros((0, k));
    let mut without_head: BTreeSet<Genre> = BTreeSet::new();
    let mut has_head = false;
    let seed = |repeat: usize| options.seed.wrapping_add(1000 + repeat as u64);
    for fold in split_folds(
        &classes,
        k,
        &data.groups,
        folds,
        (0..options.repeats.max(1)).map(&seed),
    ) {
        let training = data.set().select(&fold.train);
        let test_vectors = data.vectors.select(Axis(0), &fold.test);
        // Inside this fit the engine chooses its settings, on training tracks only.
        let (model, _) = GenreModel::fit(&training.set(), &options.fit)?;
        let votes = votes_for(&training.set(), test_vectors.view())?;
        let all = PredictOptions {
            genres: k,
            ..PredictOptions::default()
        };
        let ids = vec![None; votes.len()];
        let predictions = model.predict(test_vectors.view(), &ids, &votes, &all)?;
        let answered = predictions.iter();
        let fused = by_genre(answered.clone().map(|p| &p.probabilities[..]), &genres);
        let head = by_genre(answered.map(|p| &p.head[..]), &genres);
        let vote = by_genre(votes.iter().map(|votes| &votes.shares[..]), &genres);
        let best = |p: &Array2<f32>| p.outer_iter().map(argmax).collect();
        let mut answers: Vec<Vec<usize>> = [&fused, &head, &vote].map(best).into();
        if options.rivals {
            let training_classes: Vec<Vec<usize>> =
                fold.train.iter().map(|&row| classes[row].clone()).collect();
            answers.extend(rivals(
                &training,
                &training_classes,
                &test_vectors,
                k,
                seed(fold.repeat),
            ));
        }
        for (shares, answers) in shares.iter_mut().zip(&answers) {
            let truth: Vec<Vec<usize>> =
                fold.test.iter().map(|&row| classes[row].clone()).collect();
            let hits = truth
                .iter()
                .zip(answers)
                .filter(|(labels, a)| labels.contains(a))
                .count();
            let (expected, found, _) = by_class(&truth, answers);
            let m = confusion(&expected, &found, k);
            shares[0].push(hits as f64 / truth.len() as f64);
            shares[1].push(balanced_accuracy_of(&m, counts));
            shares[2].push(macro_f1_of(&m, counts));
        }
        // Each track once; with several repeats it would count several times.
        if fold.repeat == 0 {
            first_rows.extend(fold.test);
            first = ndarray::concatenate![Axis(0), first, fused];
        }
        let neighbours_alone = model.genres_without_head();
        has_head |= neighbours_alone.len() < model.genres().len();
        without_head.extend(neighbours_alone.into_iter().cloned());
    }
    // in the order of the tracks, which does not depend on the folds
    let mut order: Vec<usize> = (0..first_rows.len()).collect();
    order.sort_by_key(|&at| first_rows[at]);
    let names: Vec<String> = genres.iter().map(|genre| genre.name().to_owned()).collect();
    let answers = Answers {
        classes: &names,
        keys: Vec::new(),
        truth: order
            .iter()
            .map(|&at| classes[first_rows[at]].clone())
            .collect(),
        probabilities: first.select(Axis(0), &order),
        groups: order
            .iter()
            .map(|&at| data.groups[first_rows[at]])
            .collect(),
    };
    let method = |((name, _), [a, b, c]): (&(&str, &str), &[Vec<f64>; 3])| MethodReport {
        method: (*name).to_owned(),
        accuracy: Spread::of(a),
        balanced_accuracy: Spread::of(b),
        macro_f1: Spread::of(c),
    };
    let mut figures = Figures::of("folds", &answers, 0);
    if some_have_enough {
        let best: Vec<usize> = answers.probabilities.outer_iter().map(argmax).collect();
        let (expected, found, rows) = by_class(&answers.truth, &best);
        let groups: Vec<usize> = rows.iter().map(|&row| answers.groups[row]).collect();
        // the same genres as in the methods' means
        [_, figures.balanced_accuracy, figures.macro_f1] =
            intervals_of(&expected, &found, &groups, k, counts);
    }
    Ok(GenreReport {
        tracks: n,
        groups,
        group: options.group.clone(),
        nameless: options.nameless,
        folds,
        repeats: options.repeats.max(1),
        methods: methods
            .iter()
            .zip(&shares)
            .map(method)
            .filter(|m| has_head || m.method != "head")
            .collect(),
        figures,
        too_few: (0..k)
            .filter(|&class| !counts(class))
            .map(|class| genres[class].clone())
            .collect(),
        without_head: without_head.into_iter().collect(),
    })
}

/// Shares as columns of all genres, of which a training part may lack some.
fn by_genre<'a>(
    rows: impl ExactSizeIterator<Item = &'a [GenreShare]>,
    genres: &[Genre],
) -> Array2<f32> {
    let mut table = Array2::zeros((rows.len(), genres.len()));
    for (mut row, shares) in table.outer_iter_mut().zip(rows) {
        for share in shares {
            let column = genres.binary_search(&share.genre);
            column.into_iter().for_each(|to| row[to] = share.share);
        }
    }
    table
}

/// Predictions of the RBF SVM (its `C` chosen on held-out groups of the training part), of the
/// nearest centroid, and of the commonest genre.
///
/// - `classes`: of each row of `train`
fn rivals(
    train: &LabelledRows,
    classes: &[Vec<usize>],
    test_vectors: &Array2<f32>,
    k: usize,
    seed: u64,
) -> [Vec<usize>; 3] {
    const COSTS: [f64; 3] = [1.0, 3.0, 10.0];
    // The baselines learn one genre a track; their predictions are scored against all of its genres.
    let main: Vec<usize> = classes.iter().map(|labels| labels[0]).collect();
    let mut correct = [0usize; COSTS.len()];
    for fold in split_folds(classes, k, &train.groups, 4, [seed]) {
        let known: Vec<usize> = fold.train.iter().map(|&row| main[row]).collect();
        let [x, q] = [&fold.train, &fold.test].map(|rows| train.vectors.select(Axis(0), rows));
        for (correct, cost) in correct.iter_mut().zip(COSTS) {
            let predicted = Svm::fit(x.view(), &known, k, cost).predict(q.view());
            *correct += fold
                .test
                .iter()
                .zip(&predicted)
                .filter(|(row, predicted)| classes[**row].contains(predicted))
                .count();
        }
    }
    let svm = Svm::fit(train.vectors.view(), &main, k, COSTS[argmax(correct)]);
    let mut counts = vec![0usize; k];
    main.iter().for_each(|&class| counts[class] += 1);
    [
        svm.predict(test_vectors.view()),
        nearest_centroid(&train.vectors, &main, k, test_vectors),
        vec![argmax(counts); test_vectors.nrows()],
    ]
}

/// The class whose mean is nearest to each query.
fn nearest_centroid(
    vectors: &Array2<f32>,
    class_of: &[usize],
    classes: usize,
    queries: &Array2<f32>,
) -> Vec<usize> {
    // Distances to means need columns of one scale.
    let (standard, rows) = Standardiser::fit(vectors.view());
    let mean = |class: usize| {
        let members: Vec<usize> = (0..class_of.len())
            .filter(|&row| class_of[row] == class)
            .collect();
        rows.select(Axis(0), &members).mean_axis(Axis(0))
    };
    let means: Vec<Option<Array1<f32>>> = (0..classes).map(mean).collect();
    let nearness = |row: ArrayView1<f32>, mean: &Option<Array1<f32>>| {
        // A class without rows is never the nearest.
        mean.as_ref().map_or(f32::NEG_INFINITY, |mean| {
            -(&row - mean).mapv(|v| v * v).sum()
        })
    };
    standard
        .apply(queries.view())
        .outer_iter()
        .map(|row| argmax(means.iter().map(|mean| nearness(row, mean))))
        .collect()
}

impl GenreReport {
    /// The documented JSON.
    pub fn json(&self) -> Value {
        let f = &self.figures;
        let genre = |class: &super::report::ClassFigures| {
            let m = class.measures;
            json!({
                "genre": class.name, "support": m.support, "precision": m.precision, "recall": m.recall, "f1": m.f1,
                "auc": class.auc, "roc": class.roc,
            })
        };
        let mut json = serde_json::to_value(self).unwrap_or_default();
        json["details"] = json!({
            "genres": f.per_class.iter().map(genre).collect::<Vec<_>>(), "confusion": f.confusion, "top2": f.top2,
            "log_loss": f.log_loss, "calibration_error": f.calibration_error, "risk_coverage": f.risk_coverage,
        });
        json
    }

    /// The report, with explanations of its measures.
    pub fn page(&self) -> Document {
        let mut page = Document::new("Genre recognition");
        let f = &self.figures;
        let group = &self.group;
        let is_alone = group == "track";
        page.text(format!(
            "voisin predicts the genre of {:.0} of {} tracks correctly.",
            f.accuracy.value * self.tracks as f64,
            self.tracks
        ));
        let grouped = match self.nameless {
            _ if is_alone => String::new(),
            0 => format!(" of {} {group}s", self.groups),
            nameless => format!(
                " in {} groups by {group} ({nameless} without one are grouped by album or single)",
                self.groups
            ),
        };
        page.text(format!(
            "{} tracks{grouped}, {} genres; {} folds by {group}, {}; mean ± spread over folds, %",
            self.tracks,
            f.per_class.len(),
            self.folds,
            count(self.repeats as u64, "repeat")
        ));
        let left_out = if is_alone {
            "it".to_owned()
        } else {
            format!("its {group}")
        };
        page.hint(format!(
            "Every track was predicted by an engine trained without {left_out}: the {group}s were split into {} parts, and \
             each part was predicted by an engine trained on the other parts.",
            self.folds
        ));
        if is_alone {
            page.text(
                "tracks are not grouped by artist: those of one artist, and copies of a recording, may be on both sides, and \
                 the quality is at most this",
            );
        }
        page.heading("Methods");
        page.hint(
            "Accuracy: share of correct predictions. Balanced: the same with equal weight for every genre. F1 is low both for \
             missing a genre and for predicting it too often.",
        );
        let cell = |s: Spread| format!("{:.1} ± {:.1}", 100.0 * s.mean, 100.0 * s.deviation);
        let row = |m: &MethodReport| {
            let [a, b, c] = [m.accuracy, m.balanced_accuracy, m.macro_f1].map(cell);
            let what = METHODS
                .iter()
                .find(|(name, _)| *name == m.method)
                .map_or("", |(_, what)| what);
            vec![m.method.clone(), a, b, c, what.to_owned()]
        };
        let best = argmax(self.methods.iter().map(|m| m.accuracy.mean));
        let header = ["method", "accuracy", "balanced", "macro F1", "description"];
        page.table(&header, self.methods.iter().map(row).collect(), Some(best));
        let list = |genres: &[Genre]| {
            genres
                .iter()
                .map(Genre::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !self.too_few.is_empty() {
            page.text(format!(
                "balanced and macro F1 leave out genres of fewer than {FEW} tracks, whose figures are chance: {}",
                list(&self.too_few)
            ));
        }
        pages::figures(&mut page, METHODS[0].0, f);
        for target in [0.95, 0.9, 0.8] {
            if let Some(step) = f
                .risk_coverage
                .iter()
                .rev()
                .find(|step| 1.0 - step.risk >= target)
            {
                page.text(format!(
                    "{:.0} % of tracks answered at {:.0} % precision (probability {:.2} and up), the others \"unknown\"",
                    100.0 * step.coverage,
                    100.0 * target,
                    step.threshold
                ));
            }
        }
        if !self.without_head.is_empty() {
            let names = list(&self.without_head);
            page.text(format!(
                "too few tracks for a trained head, predicted by neighbours alone: {names}"
            ));
        }
        page
    }
}
