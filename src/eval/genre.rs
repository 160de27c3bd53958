//! Cross-validation of the genre engine and its rivals on the user's own tracks.

use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;

use super::EvalError;
use crate::genre::{FitOptions, Genre, GenreModel, LabelledVectors, QueryVectors, Spellings, grouped_folds};
use crate::learn::{Centroid, Standardiser, Svm};
use crate::metrics::{
    ClassMeasures, ReliabilityBin, RiskStep, RocPoint, Spread, accuracy, argmax, auc, balanced_accuracy_of,
    confusion, expected_calibration_error, log_loss, macro_f1_of, per_class, reliability, risk_coverage,
    roc_curve, top_k_accuracy,
};

/// How an evaluation is done.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// Outer folds; a group (artist) is never split.
    pub folds: usize,
    /// How often the folds are dealt anew.
    pub repeats: usize,
    /// Start of the random numbers.
    pub seed: u64,
    /// Of the engine; its own choices are made inside each training part.
    pub fit: FitOptions,
    /// Whether the rivals run too.
    pub rivals: bool,
    /// What a group is, in the singular: artist, album …
    pub group: String,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self {
            folds: 5,
            repeats: 2,
            seed: 1,
            fit: FitOptions::default(),
            rivals: true,
            group: "artist".to_owned(),
        }
    }
}

/// One method's figures.
#[derive(Debug, Clone, Serialize)]
pub struct MethodReport {
    /// What it is: `fused`, `head`, `vote`, `rbf svm`, `nearest centroid`, `majority`.
    pub method: String,
    /// Share of tracks whose answer is one of their genres.
    pub accuracy: Spread,
    /// Mean recall over the genres of three tracks and more.
    pub balanced_accuracy: Spread,
    /// Mean F1 over the genres of three tracks and more.
    pub macro_f1: Spread,
}

/// One genre's figures, for the fused answer.
#[derive(Debug, Clone, Serialize)]
pub struct GenreScore {
    /// The genre.
    pub genre: Genre,
    /// Precision, recall, F1, and how many tracks.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// Area under its curve against all others; `None` without both kinds.
    pub auc: Option<f64>,
    /// The curve.
    pub roc: Vec<RocPoint>,
}

/// Everything about the fused answer, over the held-out predictions of the first dealing.
#[derive(Debug, Clone, Serialize)]
pub struct GenreDetails {
    /// By key.
    pub genres: Vec<GenreScore>,
    /// True genre (row) against answer (column), in the order of `genres`.
    pub confusion: Vec<Vec<usize>>,
    /// Share of tracks with a right genre among the two most probable.
    pub top2: f64,
    /// Mean negative log probability of the true genre, nats.
    pub log_loss: f64,
    /// Expected calibration error, ten bins.
    pub calibration_error: f64,
    /// The reliability diagram.
    pub reliability: Vec<ReliabilityBin>,
    /// How often answers are wrong when only the surest are given.
    pub risk_coverage: Vec<RiskStep>,
}

/// An evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct GenreReport {
    /// Labelled tracks.
    pub tracks: usize,
    /// Groups among them.
    pub groups: usize,
    /// What a group is: artist, album …
    pub group: String,
    /// Outer folds.
    pub folds: usize,
    /// Dealings of the folds.
    pub repeats: usize,
    /// Fused first, then its halves, then the rivals.
    pub methods: Vec<MethodReport>,
    /// More about the fused answer.
    pub details: GenreDetails,
    /// Genres of one or two tracks, which count in no mean over genres.
    pub too_few: Vec<Genre>,
    /// Genres with too few tracks for a head in at least one fold.
    pub without_head: Vec<Genre>,
}

/// Cross-validates on held-out groups, nested: whatever is chosen, is chosen inside the training part.
///
/// Tracks without labels are left out. A track of several genres counts as right when the answer is one of them.
pub fn evaluate_genre(set: &LabelledVectors, options: &EvalOptions) -> Result<GenreReport, EvalError> {
    let data = LabelledFolds::new(set);
    let k = data.genres.len();
    let mut groups = data.groups.clone();
    groups.sort_unstable();
    groups.dedup();
    if groups.len() < options.folds.max(2) {
        return Err(EvalError::Groups { found: groups.len(), folds: options.folds.max(2) });
    }
    let mut sizes = vec![0; k];
    data.classes.iter().flatten().for_each(|&class| sizes[class] += 1);
    // What is found of one or two tracks is chance, and would weigh as much as a genre of hundreds.
    let some_have_enough = sizes.iter().any(|&size| size >= FEW);
    let counts = |class: usize| sizes[class] >= FEW || !some_have_enough;
    let names: &[&str] = if options.rivals {
        &["fused", "head", "vote", "rbf svm", "nearest centroid", "majority"]
    } else {
        &["fused", "head", "vote"]
    };
    let mut figures: Vec<[Vec<f64>; 3]> = vec![Default::default(); names.len()];
    let mut first: Vec<Option<Vec<f64>>> = vec![None; data.len()];
    let mut without_head: Vec<Genre> = Vec::new();
    for repeat in 0..options.repeats.max(1) {
        let seed = options.seed.wrapping_add(1000 + repeat as u64);
        let fold_of = grouped_folds(&data.classes, k, &data.groups, options.folds.max(2), seed);
        for fold in 0..options.folds.max(2) {
            let (train, test): (Vec<usize>, Vec<usize>) = (0..data.len()).partition(|&i| fold_of[i] != fold);
            if test.is_empty() || train.is_empty() {
                continue;
            }
            let (train, test) = (data.subset(&train), data.subset(&test));
            let (model, _) = GenreModel::fit(&train.set(), &options.fit)?;
            let said = model.probabilities(&test.queries())?;
            // columns of the model to columns of the whole
            let columns: Vec<usize> =
                model.genres().iter().filter_map(|g| data.genres.binary_search(g).ok()).collect();
            let widen = |p: &Array2<f32>| -> Vec<Vec<f64>> {
                p.outer_iter()
                    .map(|row| {
                        let mut wide = vec![0.0; k];
                        columns.iter().zip(row).for_each(|(&c, &v)| wide[c] = f64::from(v));
                        wide
                    })
                    .collect()
            };
            let fused = widen(&said.fused);
            let mut answers: Vec<Vec<usize>> = [&fused, &widen(&said.head), &widen(&said.vote)]
                .map(|p| p.iter().map(argmax).collect())
                .into();
            if options.rivals {
                answers.extend(rivals(&train, &test, k, seed));
            }
            for (figures, answers) in figures.iter_mut().zip(&answers) {
                let m = confusion(&truths(&test.classes, answers), answers, k);
                figures[0].push(accuracy(&m));
                figures[1].push(balanced_accuracy_of(&m, counts));
                figures[2].push(macro_f1_of(&m, counts));
            }
            if repeat == 0 {
                for (&row, p) in test.origin.iter().zip(fused) {
                    first[row] = Some(p);
                }
            }
            for genre in model.genres_without_head() {
                if !without_head.contains(genre) {
                    without_head.push(genre.clone());
                }
            }
        }
    }
    without_head.sort();
    let methods = names
        .iter()
        .zip(&figures)
        .map(|(name, f)| MethodReport {
            method: (*name).to_owned(),
            accuracy: Spread::of(&f[0]),
            balanced_accuracy: Spread::of(&f[1]),
            macro_f1: Spread::of(&f[2]),
        })
        .collect();
    let rows: Vec<usize> = (0..data.len()).filter(|&i| first[i].is_some()).collect();
    let probabilities: Vec<Vec<f64>> = first.into_iter().flatten().collect();
    let classes: Vec<Vec<usize>> = rows.iter().map(|&r| data.classes[r].clone()).collect();
    Ok(GenreReport {
        tracks: data.len(),
        groups: groups.len(),
        group: options.group.clone(),
        folds: options.folds.max(2),
        repeats: options.repeats.max(1),
        methods,
        details: details(&data.genres, &classes, &probabilities),
        too_few: (0..k).filter(|&class| !counts(class)).map(|class| data.genres[class].clone()).collect(),
        without_head,
    })
}

/// All figures of one set of predictions.
fn details(genres: &[Genre], classes: &[Vec<usize>], probabilities: &[Vec<f64>]) -> GenreDetails {
    let answers: Vec<usize> = probabilities.iter().map(argmax).collect();
    let truth = truths(classes, &answers);
    let sure: Vec<(f64, bool)> =
        probabilities.iter().zip(&answers).zip(&truth).map(|((p, a), t)| (p[*a], a == t)).collect();
    let matrix = confusion(&truth, &answers, genres.len());
    let measures = per_class(&matrix);
    // the best ranked of a track's own genres stands for it in top-2
    let ranked: Vec<usize> = classes
        .iter()
        .zip(probabilities)
        .map(|(c, p)| c.iter().copied().max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap_or(0))
        .collect();
    let genres = genres
        .iter()
        .zip(measures)
        .enumerate()
        .map(|(c, (genre, measures))| {
            let scores: Vec<f64> = probabilities.iter().map(|p| p[c]).collect();
            let positive: Vec<bool> = classes.iter().map(|own| own.contains(&c)).collect();
            GenreScore {
                genre: genre.clone(),
                measures,
                auc: auc(&scores, &positive),
                roc: roc_curve(&scores, &positive),
            }
        })
        .collect();
    GenreDetails {
        genres,
        confusion: matrix,
        top2: top_k_accuracy(&ranked, probabilities, 2),
        log_loss: log_loss(&ranked, probabilities),
        calibration_error: expected_calibration_error(&sure, 10),
        reliability: reliability(&sure, 10),
        risk_coverage: risk_coverage(&sure),
    }
}

/// One true class per track: the answer where it is one of the track's genres, else its first genre.
fn truths(classes: &[Vec<usize>], answers: &[usize]) -> Vec<usize> {
    classes.iter().zip(answers).map(|(own, a)| if own.contains(a) { *a } else { own[0] }).collect()
}

/// Answers of the RBF SVM (its `C` chosen on held-out groups of the training part), of the nearest centroid, and of
/// always saying the commonest genre.
fn rivals(train: &LabelledFolds, test: &LabelledFolds, k: usize, seed: u64) -> Vec<Vec<usize>> {
    const COSTS: [f64; 3] = [1.0, 3.0, 10.0];
    let main: Vec<usize> = train.classes.iter().map(|c| c[0]).collect();
    let fold_of = grouped_folds(&train.classes, k, &train.groups, 4, seed);
    let mut right = [0usize; COSTS.len()];
    for fold in 0..4 {
        let (a, b): (Vec<usize>, Vec<usize>) = (0..train.len()).partition(|&i| fold_of[i] != fold);
        let classes: Vec<usize> = a.iter().map(|&i| main[i]).collect();
        let (x, q) = (train.vectors.select(Axis(0), &a), train.vectors.select(Axis(0), &b));
        for (right, &cost) in right.iter_mut().zip(&COSTS) {
            let said = Svm::fit(x.view(), &classes, k, cost).predict(q.view());
            *right += b.iter().zip(&said).filter(|(i, s)| train.classes[**i].contains(s)).count();
        }
    }
    let best = argmax(right);
    let svm = Svm::fit(train.vectors.view(), &main, k, COSTS[best]).predict(test.vectors.view());
    let mut counts = vec![0usize; k];
    main.iter().for_each(|&c| counts[c] += 1);
    let commonest = argmax(counts);
    vec![
        svm,
        nearest_centroid(train.vectors.view(), &main, k, test.vectors.view()),
        vec![commonest; test.len()],
    ]
}

/// The class whose mean is nearest, after standardising each column.
fn nearest_centroid(x: ArrayView2<f32>, classes: &[usize], k: usize, queries: ArrayView2<f32>) -> Vec<usize> {
    let (standard, rows) = Standardiser::fit(x);
    Centroid::fit(rows.view(), classes, k).predict(standard.apply(queries).view())
}

/// Labelled tracks, owned, so that folds can be cut from them.
struct LabelledFolds {
    ids: Vec<crate::track::TrackId>,
    vectors: Array2<f32>,
    labels: Vec<Vec<Genre>>,
    classes: Vec<Vec<usize>>,
    genres: Vec<Genre>,
    groups: Vec<usize>,
    origin: Vec<usize>,
}

impl LabelledFolds {
    fn new(set: &LabelledVectors) -> Self {
        let genres = Spellings::count(set.labels.iter().flatten()).genres();
        let classes = set
            .labels
            .iter()
            .map(|own| own.iter().filter_map(|g| genres.binary_search(g).ok()).collect::<Vec<_>>())
            .collect();
        let whole = Self {
            ids: set.ids.to_vec(),
            vectors: set.vectors.to_owned(),
            labels: set.labels.to_vec(),
            classes,
            genres,
            groups: set.groups.to_vec(),
            origin: Vec::new(),
        };
        let rows: Vec<usize> = (0..whole.classes.len()).filter(|&i| !whole.classes[i].is_empty()).collect();
        let mut labelled = whole.subset(&rows);
        labelled.origin = (0..rows.len()).collect();
        labelled
    }

    fn len(&self) -> usize {
        self.classes.len()
    }

    fn subset(&self, rows: &[usize]) -> Self {
        Self {
            ids: rows.iter().map(|&r| self.ids[r]).collect(),
            vectors: self.vectors.select(Axis(0), rows),
            labels: rows.iter().map(|&r| self.labels[r].clone()).collect(),
            classes: rows.iter().map(|&r| self.classes[r].clone()).collect(),
            genres: self.genres.clone(),
            groups: rows.iter().map(|&r| self.groups[r]).collect(),
            origin: rows.to_vec(),
        }
    }

    fn set(&self) -> LabelledVectors<'_> {
        LabelledVectors {
            ids: &self.ids,
            vectors: self.vectors.view(),
            labels: &self.labels,
            groups: &self.groups,
        }
    }

    fn queries(&self) -> QueryVectors<'_> {
        QueryVectors::of(self.vectors.view())
    }
}

/// A genre of fewer tracks is shown, but counts in no mean over genres.
pub(super) const FEW: usize = 3;

impl GenreReport {
    /// Which genres count in no mean, in a sentence, if there are any.
    pub(super) fn note_on_few(&self) -> Option<String> {
        let names: Vec<&str> = self.too_few.iter().map(Genre::name).collect();
        (!names.is_empty()).then(|| {
            format!(
                "balanced and macro F1 leave out genres of fewer than {FEW} tracks, whose figures are chance: {}",
                names.join(", ")
            )
        })
    }

    /// The report as plain text, for a terminal.
    pub fn text(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        let percent = |s: &Spread| format!("{:5.1} ± {:4.1}", 100.0 * s.mean, 100.0 * s.deviation);
        // writing to a String cannot fail
        let _ = writeln!(
            out,
            "{} tracks of {} {}s, {} genres; {} folds by {}, dealt {}; mean ± spread over folds, %\n",
            self.tracks,
            self.groups,
            self.group,
            self.details.genres.len(),
            self.folds,
            self.group,
            if self.repeats == 1 { "once".to_owned() } else { format!("{} times", self.repeats) }
        );
        let _ = writeln!(out, "{:<18}{:>13} {:>13} {:>13}", "", "accuracy", "balanced", "macro F1");
        for m in &self.methods {
            let _ = writeln!(
                out,
                "{:<18}{:>13} {:>13} {:>13}",
                m.method,
                percent(&m.accuracy),
                percent(&m.balanced_accuracy),
                percent(&m.macro_f1)
            );
        }
        if let Some(note) = self.note_on_few() {
            let _ = writeln!(out, "{note}");
        }
        let d = &self.details;
        let _ = writeln!(
            out,
            "\nfused: right among the first two {:.1} %, calibration error {:.3}, log loss {:.3}\n",
            100.0 * d.top2,
            d.calibration_error,
            d.log_loss
        );
        let width = d.genres.iter().map(|g| g.genre.name().chars().count()).max().unwrap_or(5).clamp(5, 30);
        let _ =
            writeln!(out, "{:<width$} tracks precision recall    F1   AUC  most often taken for", "genre");
        for (i, g) in d.genres.iter().enumerate() {
            let taken = (0..d.genres.len())
                .filter(|&j| j != i && d.confusion[i][j] > 0)
                .max_by_key(|&j| (d.confusion[i][j], std::cmp::Reverse(j)))
                .map(|j| format!("{} ({})", d.genres[j].genre, d.confusion[i][j]))
                .unwrap_or_default();
            let auc = g.auc.map_or("    -".into(), |a| format!("{a:5.3}"));
            let _ = writeln!(
                out,
                "{:<width$} {:>6} {:>9.2} {:>6.2} {:>5.2} {auc}  {taken}",
                g.genre.name(),
                g.measures.support,
                g.measures.precision,
                g.measures.recall,
                g.measures.f1
            );
        }
        for target in [0.95, 0.9, 0.8] {
            let reached = d.risk_coverage.iter().rev().find(|s| 1.0 - s.risk >= target);
            if let Some(step) = reached {
                let _ = writeln!(
                    out,
                    "{}answered {:.0} % of tracks at {:.0} % precision (probability {:.2} and up), the rest \"unknown\"",
                    if target > 0.94 { "\n" } else { "" },
                    100.0 * step.coverage,
                    100.0 * target,
                    step.threshold
                );
            }
        }
        if !self.without_head.is_empty() {
            let names: Vec<&str> = self.without_head.iter().map(Genre::name).collect();
            let _ =
                writeln!(out, "too few tracks for a trained head, by neighbours alone: {}", names.join(", "));
        }
        out
    }
}
