//! Reports of runs and comparisons as [`Document`]s.

use super::compare::Comparison;
use super::document::Document;
use super::report::{ClassFigures, FEW, Figures, Interval, Learning, Method, Report};
use crate::eval::plots::{Curve, chart, confusion_map, unit_curves};
use voisin_base::text::{count, count_with};

/// Most classes in a matrix, and most curves.
const DRAWN: usize = 40;
const CURVES: usize = 8;
/// With fewer groups than this, an interval is too narrow.
const FEWEST_GROUPS: usize = 10;

fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

/// A share in per cent with its interval.
pub fn between(interval: Interval) -> String {
    let [value, low, high] = [interval.value, interval.low, interval.high].map(|x| 100.0 * x);
    format!("{value:.1} % ({low:.1} to {high:.1})")
}

fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

pub fn run(report: &Report) -> Document {
    let label = &report.data.label_name;
    let mut page = Document::new(format!("Prediction of {label}"));
    let figures = &report.figures;
    let chosen = report.methods.iter().find(|method| method.chosen);
    let chosen = chosen.map_or("", |method| &method.name);
    let n = figures.tracks;
    let sizes = figures.per_class.iter().map(|class| class.measures.support);
    let commonest = sizes.max().unwrap_or_default() as f64 / n.max(1) as f64;
    page.text(format!(
        "Of tracks that it was not trained on ({}), {chosen} predicts the {label} of {} correctly. The most frequent class \
         alone is {} of them.",
        figures.evaluated_on(),
        percent(figures.accuracy.value),
        percent(commonest),
    ));
    // A bootstrap over a handful of artists gives too narrow an interval.
    if figures.groups < FEWEST_GROUPS {
        page.text(format!(
            "{} groups are too few for an interval.",
            figures.groups
        ));
    }
    data_card(&mut page, report);
    if let Some(learnt) = &report.learning {
        learning(&mut page, learnt);
    }
    methods(&mut page, report);
    self::figures(&mut page, chosen, figures);
    importance(&mut page, report);
    page
}

fn data_card(page: &mut Document, report: &Report) {
    let data = &report.data;
    page.heading("Data");
    // A split that lets artists be on two sides is shown on a terminal, too.
    page.text(&report.split);
    let mut parts = vec![
        count(data.tracks as u64, "track"),
        count_with(report.classes.len() as u64, "class", "classes"),
        count(data.artists as u64, "known artist"),
    ];
    if data.seconds > 0.0 {
        parts.push(format!("{:.1} hours", data.seconds / 3600.0));
    }
    page.hint(format!(
        "{}: {}; {} columns from {}.",
        data.source,
        parts.join(", "),
        report.columns,
        report.features.join(" + ")
    ));
    data.notes.iter().for_each(|note| page.hint(note));
    if data.failed > 0 {
        let failed = count_with(data.failed as u64, "track or file", "tracks or files");
        page.hint(format!("{failed} could not be used:"));
        let failures = data.first_failures.iter();
        let rows = failures.map(|(key, why)| strings([key, why]));
        page.detail(&["track", "reason"], rows.collect());
    }
}

fn learning(page: &mut Document, learning: &Learning) {
    page.heading("Training");
    learning.notes.iter().for_each(|note| page.hint(note));
    page.detail(&LAYERS, layer_table(&learning.layers));
    if !learning.decisions.is_empty() {
        page.heading("Windows and tracks");
        page.hint(
            "Accuracy of single windows or crops, of tracks by the mean of their windows' probabilities (which the \
             network's predictions are), and by the vote of their windows.",
        );
        let decisions = learning.decisions.iter();
        let rows = decisions.map(|(name, share)| strings([name, &percent(*share)]));
        page.detail(&["decision", "accuracy"], rows.collect());
    }
    learning_curves(page, &[("", learning)]);
}

/// Loss and accuracy of runs after each epoch.
fn learning_curves(page: &mut Document, runs: &[(&str, &Learning)]) {
    type Curves = fn(&Learning) -> &[Vec<f64>; 2];
    let pictures: [(&str, Curves); 2] = [
        ("Loss after each epoch", |run| &run.loss),
        ("Accuracy after each epoch", |run| &run.accuracy),
    ];
    for (title, numbers) in pictures {
        let curves = runs.iter().flat_map(|(name, run)| {
            let parts = ["training", "validation"].iter().zip(numbers(run));
            parts.map(move |(part, numbers)| {
                let points = (1..).map(f64::from).zip(numbers.iter().copied());
                (format!("{name} {part}").trim().to_owned(), points.collect())
            })
        });
        page.picture(chart(title, "epoch", &curves.collect::<Vec<_>>()));
    }
}

/// A network's layers as a table, with the sum of parameters.
pub fn layer_table(layers: &[(String, String, usize)]) -> Vec<Vec<String>> {
    let all: usize = layers.iter().map(|(.., learnt)| learnt).sum();
    let rows = layers
        .iter()
        .map(|(layer, shape, learnt)| strings([layer, shape, &learnt.to_string()]));
    rows.chain([strings(["all", "", &all.to_string()])])
        .collect()
}

pub const LAYERS: [&str; 3] = ["layer", "output", "parameters"];

fn methods(page: &mut Document, report: &Report) {
    page.heading("Algorithms");
    // As text, which the terminal prints, too: the summary may be of another part.
    page.text(format!("{}.", report.judged_by));
    let row = |method: &Method| {
        let repeats = if method.deviation > 0.0 {
            format!("± {:.1}", 100.0 * method.deviation)
        } else {
            String::new()
        };
        strings([
            &method.name,
            &between(method.accuracy),
            &repeats,
            &percent(method.macro_f1.value),
            &format!("{:.1}", method.seconds),
            method.note.as_deref().unwrap_or_default(),
        ])
    };
    let header = [
        "algorithm",
        "accuracy",
        "repeats",
        "macro F1",
        "seconds",
        "note",
    ];
    let chosen = report.methods.iter().position(|method| method.chosen);
    page.table(&header, report.methods.iter().map(row).collect(), chosen);
}

/// Confusion, figures by class, curves: the sections of every report about one set of predictions.
///
/// - `who`: name of the method
pub(super) fn figures(page: &mut Document, who: &str, f: &Figures) {
    page.heading("Accuracy");
    let over = if f.on == "folds" {
        "all folds taken together, not their mean"
    } else {
        "all tracks"
    };
    page.text(format!(
        "{who}, over {over} (95 % intervals over groups): accuracy {}; macro F1 {}",
        between(f.accuracy),
        between(f.macro_f1)
    ));
    page.heading("Confusion matrix");
    page.hint(
        "Each row is a labelled class, each column a prediction; the darker, the larger the share of the row.",
    );
    // the largest classes, so that a page of 200 classes stays readable
    let mut largest: Vec<usize> = (0..f.per_class.len()).collect();
    largest.sort_by_key(|&c| (std::cmp::Reverse(f.per_class[c].measures.support), c));
    confusion(page, f, &largest);
    for class in f.attractors() {
        let support = class.measures.support;
        page.text(format!(
            "{} is predicted too often: for {}; {support} {} it.",
            class.name,
            count(class.answered as u64, "track"),
            if support == 1 { "has" } else { "have" },
        ));
    }
    classes(page, f);
    let curve = |&c: &usize| -> Option<Curve> {
        let class = &f.per_class[c];
        let points = class.roc.iter();
        let points = points.map(|point| (point.false_positive, point.true_positive));
        let is_known = !class.roc.is_empty() && class.measures.support >= FEW;
        is_known.then(|| (class.name.clone(), points.collect()))
    };
    let curves: Vec<Curve> = largest.iter().filter_map(curve).take(CURVES).collect();
    if !curves.is_empty() {
        page.heading("ROC by class");
        page.hint(
            "The nearer a curve of the largest classes comes to the upper left corner, the better.",
        );
        let axes = ["false positive rate", "true positive rate"];
        page.picture(unit_curves("ROC", axes, &curves));
    }
}

fn confusion(page: &mut Document, f: &Figures, largest: &[usize]) {
    let mut drawn: Vec<usize> = largest.iter().copied().take(DRAWN).collect();
    drawn.sort_unstable();
    if drawn.len() < largest.len() {
        page.hint(format!("The {DRAWN} largest of {} classes.", largest.len()));
    }
    let name = |&c: &usize| f.per_class[c].name.clone();
    let names: Vec<String> = drawn.iter().map(name).collect();
    let cells = drawn
        .iter()
        .map(|&t| drawn.iter().map(|&a| f.confusion[t][a]).collect());
    page.picture(confusion_map(&names, &cells.collect::<Vec<_>>()));
}

fn classes(page: &mut Document, f: &Figures) {
    page.heading("Classes");
    page.hint(format!(
        "Precision: share of the tracks predicted as this class that have it. Recall: share of the tracks of this class that \
         are predicted as it. AUC: probability that a track of the class is rated higher for it than another track. For \
         classes of fewer than {FEW} tracks they are chance, and omitted."
    ));
    let row = |class: &ClassFigures| {
        let m = class.measures;
        let [precision, recall, f1, auc] =
            [Some(m.precision), Some(m.recall), Some(m.f1), class.auc].map(|value| {
                let known = value.filter(|_| m.support >= FEW);
                known.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
            });
        let tracks = m.support.to_string();
        strings([&class.name, &tracks, &precision, &recall, &f1, &auc])
    };
    let header = ["class", "tracks", "precision", "recall", "F1", "AUC"];
    page.table(&header, f.per_class.iter().map(row).collect(), None);
}

fn importance(page: &mut Document, report: &Report) {
    if report.importance.is_empty() {
        return;
    }
    page.heading("Importance");
    page.hint(
        "Points of accuracy lost when columns are shuffled between the evaluated tracks, mean and deviation of ten shuffles.",
    );
    let rows = report.importance.iter().map(|one| {
        let lost = format!("{:.1} ± {:.1}", 100.0 * one.drop, 100.0 * one.deviation);
        strings([&one.columns, &lost])
    });
    page.detail(&["columns", "points lost"], rows.collect());
}

/// Compares runs with the first.
///
/// - `runs`: name and report of each
pub fn comparison(compared: &[Comparison], runs: &[(String, Report)]) -> Document {
    let mut page = Document::new("Comparison of runs");
    for one in compared {
        let d = one.difference;
        // 0 is outside of the interval.
        let sure = if d.low > 0.0 || d.high < 0.0 {
            ""
        } else {
            ": not significant at 95 %"
        };
        page.heading(format!("{} and {}", one.first, one.second));
        page.text(format!(
            "{} {}, {} {} on {}: {:+.1} points ({:+.1} to {:+.1}){sure}",
            one.first,
            percent(one.accuracy[0]),
            one.second,
            percent(one.accuracy[1]),
            count(one.tracks as u64, "track"),
            100.0 * d.value,
            100.0 * d.low,
            100.0 * d.high
        ));
    }
    let learnt = runs.iter();
    let learnt = learnt.filter_map(|(name, report)| Some((&**name, report.learning.as_ref()?)));
    let learnt: Vec<(&str, &Learning)> = learnt.collect();
    if !learnt.is_empty() {
        learning_curves(&mut page, &learnt);
    }
    page
}
