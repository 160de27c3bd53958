//! Reports of runs and comparisons as [`Document`]s.

use super::compare::Comparison;
use super::document::Document;
use super::leak::{Double, Likeness};
use super::report::{FEW, Figures, Interval, Learning, Report};
use crate::eval::plots::{Series, bars, chart, confusion_map, curves};
use voisin_base::text::{count, count_with};

/// Most classes in a matrix, and most curves.
const DRAWN: usize = 40;
const CURVES: usize = 8;
/// Single columns whose importance is shown.
const SINGLE: usize = 20;
/// With fewer groups than this, an interval is too narrow.
const FEWEST_GROUPS: usize = 10;

pub(super) fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

/// With fewer tracks, one is more than five points, so counts are shown.
const FEWEST_FOR_SHARES: usize = 20;

/// A share of tracks: in per cent, or as a count if they are few.
fn share(value: f64, tracks: usize) -> String {
    if tracks < FEWEST_FOR_SHARES {
        format!("{:.0} of {tracks}", value * tracks as f64)
    } else {
        percent(value)
    }
}

/// A share in per cent with its interval.
pub fn between(interval: Interval) -> String {
    format!(
        "{} ({:.1} to {:.1})",
        percent(interval.value),
        100.0 * interval.low,
        100.0 * interval.high
    )
}

fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

/// A run's report.
pub fn run(report: &Report) -> Document {
    let mut page = Document::new(format!("Prediction of {}", report.data.label_name));
    let figures = &report.figures;
    let chosen = report
        .methods
        .iter()
        .find(|method| method.chosen)
        .map_or("", |method| &method.name);
    let right = share(figures.accuracy.value, figures.tracks);
    let right = match figures.tracks {
        tracks if tracks < FEWEST_FOR_SHARES => format!("{right} correctly"),
        // A bootstrap over a handful of artists gives too narrow an interval.
        tracks if figures.groups < FEWEST_GROUPS => format!(
            "{right} of {tracks} correctly (too few groups for an interval: {})",
            figures.groups
        ),
        tracks => format!(
            "{right} of {tracks} correctly (95 % interval over groups: {:.1} to {:.1})",
            100.0 * figures.accuracy.low,
            100.0 * figures.accuracy.high
        ),
    };
    let sizes = figures.per_class.iter().map(|class| class.measures.support);
    // The accuracy of always predicting one class, for comparison.
    let commonest = sizes.max().unwrap_or_default() as f64 / figures.tracks.max(1) as f64;
    let balanced = if figures.tracks < FEWEST_FOR_SHARES {
        String::new()
    } else {
        let mean = percent(figures.balanced_accuracy.value);
        format!(", the mean over classes (balanced accuracy) {mean}")
    };
    page.text(format!(
        "Of tracks that it was not trained on ({}), {chosen} predicts the {} of {right}. The most frequent class alone is {} of \
         them{balanced}.",
        figures.evaluated_on(),
        report.data.label_name,
        share(commonest, figures.tracks),
    ));
    let exploded = report.learning.as_ref().and_then(Learning::exploded);
    if let Some(text) = exploded {
        page.text(text);
    }
    data_card(&mut page, report);
    leak_card(&mut page, report);
    learning(&mut page, report);
    methods(&mut page, report);
    self::figures(&mut page, chosen, figures);
    importance(&mut page, report);
    if !figures.wrong.is_empty() {
        page.heading("Most confident errors");
        page.hint("Some may be errors in the labels.");
        let wrong = figures.wrong.iter();
        let rows =
            wrong.map(|w| strings([&w.path, &w.genre, &w.predicted, &percent(w.probability)]));
        page.detail(
            &["track", "label", "prediction", "probability"],
            rows.collect(),
        );
    }
    page
}

fn data_card(page: &mut Document, report: &Report) {
    let data = &report.data;
    page.heading("Data");
    page.hint(format!(
        "{}: {}, {}, {} known{}; {} columns from {}.",
        data.source,
        count(data.tracks as u64, "track"),
        count_with(report.classes.len() as u64, "class", "classes"),
        count(data.artists as u64, "artist"),
        if data.seconds > 0.0 {
            format!(", {:.1} hours", data.seconds / 3600.0)
        } else {
            String::new()
        },
        report.columns,
        report.features.join(" + ")
    ));
    if !report.constant.is_empty() {
        let names: Vec<&str> = report.constant.iter().take(5).map(String::as_str).collect();
        let more = if report.constant.len() > 5 {
            " …"
        } else {
            ""
        };
        let n = report.constant.len();
        let names = names.join(", ");
        let columns = if n == 1 {
            "1 column never varies and is".to_owned()
        } else {
            format!("{n} columns never vary and are")
        };
        page.hint(format!("{columns} not used: {names}{more}."));
    }
    data.notes.iter().for_each(|note| page.hint(note));
    if !data.licences.is_empty() {
        let rows = data
            .licences
            .iter()
            .map(|(name, n)| strings([name, &n.to_string()]));
        page.detail(&["licence", "tracks"], rows.collect());
    }
    if data.failed > 0 {
        page.hint(format!(
            "{} could not be used:",
            count_with(data.failed as u64, "track or file", "tracks or files")
        ));
        let rows = data
            .first_failures
            .iter()
            .map(|(key, why)| strings([key, why]));
        page.detail(&["track", "reason"], rows.collect());
    }
}

fn leak_card(page: &mut Document, report: &Report) {
    page.heading("Leakage: tracks, artists and albums on both sides of the split");
    page.text(&report.split);
    for shared in &report.leak.shared {
        let pairs: Vec<String> = shared
            .same_audio
            .iter()
            .take(5)
            .map(|(a, b)| format!("{a} = {b}"))
            .collect();
        let text = format!(
            "leak: training and {} share {}, {}, {} of the same audio{}",
            shared.with.name(),
            count(shared.artists.len() as u64, "artist"),
            count(shared.albums.len() as u64, "album"),
            count(shared.same_audio.len() as u64, "pair"),
            if pairs.is_empty() {
                String::new()
            } else {
                format!(" ({})", pairs.join("; "))
            }
        );
        // A hint is not shown on a terminal; a leak must be.
        if shared.is_clean() {
            page.hint(text);
        } else {
            page.text(text);
        }
    }
    if !report.leak.contradictions.is_empty() {
        let n = report.leak.contradictions.len() as u64;
        page.hint(format!(
            "{} of the same audio or numbers have different labels.",
            count(n, "pair")
        ));
    }
    let named = |one: &&Double| format!("{} and {} {}", one.first, one.second, one.why.words());
    // the same audio in two parts is listed above
    let (apart, together): (Vec<&Double>, Vec<&Double>) =
        report.leak.doubles.iter().partition(|one| one.apart);
    let apart = apart
        .iter()
        .filter(|one| one.why != Likeness::Audio || report.leak.shared.is_empty());
    apart
        // report.json has all of them
        .take(20)
        .for_each(|one| page.text(format!("leak: {}, on two sides", named(one))));
    if !together.is_empty() {
        let first: Vec<String> = together.iter().take(5).map(named).collect();
        let pairs = count(together.len() as u64, "pair");
        page.hint(format!(
            "{pairs} of copies on one side: {}.",
            first.join("; ")
        ));
    }
    page.hint(
        "Scaling, filling of gaps and every choice are fitted on training and validation tracks alone; no window or copy \
         of a test track is trained on.",
    );
}

fn learning(page: &mut Document, report: &Report) {
    let Some(learning) = &report.learning else {
        return;
    };
    page.heading("Training");
    learning.notes.iter().for_each(|note| page.hint(note));
    if !learning.layers.is_empty() {
        page.detail(&LAYERS, layer_table(&learning.layers));
    }
    if !learning.decisions.is_empty() {
        page.heading("Windows and tracks");
        page.hint(
            "Accuracy of single windows or crops, of tracks by the mean of their windows' probabilities (which the \
             network's predictions are), and by the vote of their windows.",
        );
        let rows = learning
            .decisions
            .iter()
            .map(|(name, share)| strings([name, &percent(*share)]));
        page.detail(&["decision", "accuracy"], rows.collect());
    }
    for (title, parts) in [
        ("Loss after each epoch", &learning.loss),
        ("Accuracy after each epoch", &learning.accuracy),
    ] {
        let curves = ["training", "validation"].iter().zip(parts);
        let curves: Vec<_> = curves
            .map(|(name, part)| ((*name).to_owned(), by_epoch(part)))
            .collect();
        page.picture(chart(title, "epoch", "", &curves));
    }
}

/// A number after each epoch, as points of a curve.
fn by_epoch(numbers: &[f64]) -> Vec<(f64, f64)> {
    (1..).map(f64::from).zip(numbers.iter().copied()).collect()
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

/// Header of [`layer_table`].
pub const LAYERS: [&str; 3] = ["layer", "output", "parameters"];

fn methods(page: &mut Document, report: &Report) {
    page.heading("Algorithms");
    // As text, which the terminal prints, too: the summary may be of another part.
    page.text(format!("{}.", report.judged_by));
    let row = |m: &super::report::Method| {
        strings([
            &m.name,
            &between(m.accuracy),
            &if m.deviation > 0.0 {
                format!("± {:.1}", 100.0 * m.deviation)
            } else {
                String::new()
            },
            &percent(m.balanced_accuracy.value),
            &percent(m.macro_f1.value),
            &format!("{:.1}", m.seconds),
            m.note.as_deref().unwrap_or_default(),
        ])
    };
    let header = [
        "algorithm",
        "accuracy",
        "repeats",
        "balanced",
        "macro F1",
        "seconds",
        "note",
    ];
    let chosen = report.methods.iter().position(|method| method.chosen);
    page.table(&header, report.methods.iter().map(row).collect(), chosen);
    if report.methods.len() > 1 {
        let half = |m: Interval| (m.high - m.low) / 2.0;
        let bar = |m: &super::report::Method| (m.name.clone(), m.accuracy.value, half(m.accuracy));
        let rows: Vec<_> = report.methods.iter().map(bar).collect();
        let title = "Accuracy, with 95 % intervals";
        page.picture(bars(title, &rows));
    }
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
    if f.tracks < FEWEST_FOR_SHARES {
        page.text(format!(
            "{who}, over {over}: {} right, and {} among the two most probable; with so few tracks, shares and other measures are omitted",
            share(f.accuracy.value, f.tracks),
            share(f.top2, f.tracks)
        ));
    } else {
        page.text(format!(
            "{who}, over {over} (95 % intervals): accuracy {}; balanced {}; macro F1 {}",
            between(f.accuracy),
            between(f.balanced_accuracy),
            between(f.macro_f1)
        ));
        page.text(format!(
            "right among the two most probable {}; log loss {:.3}; calibration error {:.3}",
            percent(f.top2),
            f.log_loss,
            f.calibration_error
        ));
    }
    if f.accuracy_with_failures < f.accuracy.value {
        let with = percent(f.accuracy_with_failures);
        page.hint(format!(
            "With tracks that could not be decoded counted as wrong: {with}."
        ));
    }
    // the largest classes, so that a page of 200 classes stays readable
    let mut order: Vec<usize> = (0..f.per_class.len()).collect();
    order.sort_by_key(|&c| (std::cmp::Reverse(f.per_class[c].measures.support), c));
    let mut drawn: Vec<usize> = order.iter().copied().take(DRAWN).collect();
    drawn.sort_unstable();
    let names: Vec<String> = drawn.iter().map(|&c| f.per_class[c].name.clone()).collect();
    let cells: Vec<Vec<usize>> = drawn
        .iter()
        .map(|&t| drawn.iter().map(|&a| f.confusion[t][a]).collect())
        .collect();
    page.heading("Confusion matrix");
    page.hint(
        "Each row is a labelled class, each column a prediction; the darker, the larger the share of the row.",
    );
    if drawn.len() < order.len() {
        page.hint(format!("The {DRAWN} largest of {} classes.", order.len()));
    }
    page.picture(confusion_map(&names, &cells));
    for (name, answered, support, from) in f.attractors() {
        page.text(format!(
            "{name} is predicted too often: for {}; {support} {} it. Mostly mistaken for it: {}",
            count(answered as u64, "track"),
            if support == 1 { "has" } else { "have" },
            from.join(", ")
        ));
    }
    let pairs = f
        .confused(10)
        .into_iter()
        .map(|(t, a, n)| strings([t, a, &n.to_string()]));
    page.detail(&["true", "predicted", "tracks"], pairs.collect());
    classes(page, f);
    let has_curve =
        |c: &usize| !f.per_class[*c].roc.is_empty() && f.per_class[*c].measures.support >= FEW;
    let largest: Vec<usize> = order.into_iter().filter(has_curve).take(CURVES).collect();
    if !largest.is_empty() {
        page.heading("ROC by class");
        let more = if f.per_class.len() > CURVES {
            " The largest classes."
        } else {
            ""
        };
        page.hint(format!(
            "The nearer a ROC curve comes to the upper left corner, the better.{more}"
        ));
        let series = |&c: &usize| {
            let class = &f.per_class[c];
            let points = class.roc.iter();
            Series {
                name: &class.name,
                points: points
                    .map(|p| (p.false_positive, p.true_positive))
                    .collect(),
            }
        };
        let series: Vec<Series> = largest.iter().map(series).collect();
        let axes = ["false positive rate", "true positive rate"];
        page.picture(curves("ROC", axes, &series));
    }
}

fn classes(page: &mut Document, f: &Figures) {
    page.heading("Classes");
    page.hint(
        format!(
            "Precision: share of the tracks predicted as this class that have it. Recall: share of the tracks of this class that \
             are predicted as it. AUC: probability that a track of the class is rated higher for it than another track. For \
             classes of fewer than {FEW} tracks they are chance, and omitted."
        ),
    );
    let number = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    let row = |at: usize| {
        let class = &f.per_class[at];
        let m = f.per_class[at].measures;
        let others =
            (0..f.per_class.len()).filter(|&other| other != at && f.confusion[at][other] > 0);
        let taken = others.max_by_key(|&other| (f.confusion[at][other], std::cmp::Reverse(other)));
        let taken =
            taken.map(|other| format!("{} ({})", f.per_class[other].name, f.confusion[at][other]));
        let is_known = |value: &f64| m.support >= FEW && value.is_finite();
        let [precision, recall, f1, auc] =
            [Some(m.precision), Some(m.recall), Some(m.f1), class.auc]
                .map(|value| number(value.filter(is_known)));
        let tracks = m.support.to_string();
        let taken = taken.unwrap_or_default();
        strings([&class.name, &tracks, &precision, &recall, &f1, &auc, &taken])
    };
    let header = [
        "class",
        "tracks",
        "precision",
        "recall",
        "F1",
        "AUC",
        "most often confused with",
    ];
    page.table(&header, (0..f.per_class.len()).map(row).collect(), None);
}

fn importance(page: &mut Document, report: &Report) {
    if report.importance.is_empty() {
        return;
    }
    page.heading("Importance");
    page.hint(
        "Points of accuracy lost when columns are shuffled between the evaluated tracks, mean and deviation of ten shuffles; \
         and the algorithm's own measure.",
    );
    for (single, most, title) in [(false, DRAWN, "columns"), (true, SINGLE, "single column")] {
        let shown = report
            .importance
            .iter()
            .filter(|i| i.single == single)
            .take(most);
        let rows = shown.map(|i| {
            let lost = format!("{:.1} ± {:.1}", 100.0 * i.drop, 100.0 * i.deviation);
            let own_measure = i.internal.map(percent);
            [i.columns.clone(), lost]
                .into_iter()
                .chain(own_measure)
                .collect::<Vec<_>>()
        });
        let rows: Vec<Vec<String>> = rows.collect();
        // Without a measure of the algorithm there is no third column.
        let wide = rows.first().map_or(0, Vec::len);
        page.detail(&[title, "points lost", "algorithm's measure"][..wide], rows);
    }
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
            "{} {}, {} {} on {}: {:+.1} points ({:+.1} to {:+.1}), McNemar p {:.3}{sure}",
            one.first,
            percent(one.accuracy[0]),
            one.second,
            percent(one.accuracy[1]),
            count(one.tracks as u64, "track"),
            100.0 * d.value,
            100.0 * d.low,
            100.0 * d.high,
            one.p_value
        ));
        let [first, second] = one.only;
        page.hint(format!(
            "Correct in the first run only: {first}; in the second only: {second}."
        ));
        let recall = one.recall.iter();
        let rows = recall
            .map(|(name, n, a, b)| strings([name, &n.to_string(), &percent(*a), &percent(*b)]));
        page.table(
            &["class", "tracks", "first", "second"],
            rows.collect(),
            None,
        );
    }
    let learning = || {
        runs.iter()
            .filter_map(|(name, report)| Some((name, report.learning.as_ref()?)))
    };
    for (title, is_loss) in [
        ("Accuracy after each epoch", false),
        ("Loss after each epoch", true),
    ] {
        let curves = learning().flat_map(|(name, learning)| {
            let [training, validation] = if is_loss {
                &learning.loss
            } else {
                &learning.accuracy
            };
            [("training", training), ("validation", validation)]
                .map(|(part, numbers)| (format!("{name}, {part}"), by_epoch(numbers)))
        });
        let curves: Vec<_> = curves.collect();
        if !curves.is_empty() {
            page.picture(chart(title, "epoch", "", &curves));
        }
    }
    for (name, report) in runs {
        let f = &report.figures;
        if f.per_class.len() <= DRAWN {
            page.heading(format!("Confusion matrix of {name}"));
            let names: Vec<String> = f.per_class.iter().map(|class| class.name.clone()).collect();
            page.picture(confusion_map(&names, &f.confusion));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::report::Answers;

    #[test]
    fn few_tracks_are_counted() {
        assert_eq!(share(0.25, 4), "1 of 4");
        assert_eq!(share(0.558, 43), "55.8 %");
        let classes = ["a", "b"].map(str::to_owned);
        let sure = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]];
        let answers = Answers {
            classes: &classes,
            keys: vec!["x"; 3],
            truth: vec![vec![0], vec![0], vec![1]],
            probabilities: Array2::from_shape_fn((3, 2), |(row, class)| sure[row][class]),
            groups: vec![0, 1, 2],
        };
        let mut page = Document::new("Right");
        figures(&mut page, "knn", &Figures::of("test", &answers, 0));
        let text = page.html();
        assert!(
            text.contains("knn, over all tracks: 2 of 3 right"),
            "{text}"
        );
        assert!(!text.contains("66.7 %"), "{text}");
    }
}
