//! A run as one HTML page: no scripts, nothing from outside, readable without colour.

use std::fmt::Write as _;

use super::compare::Comparison;
use super::report::{Figures, Interval, Report};
use crate::base::text::{count, count_with};
use crate::eval::STYLE;
use crate::eval::plots::{Series, bars, chart, confusion_map, curves, escape};

/// Classes that a matrix or a curve is drawn of.
const DRAWN: usize = 40;
const CURVES: usize = 8;

fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

fn between(interval: Interval) -> String {
    format!("{} ({:.1} to {:.1})", percent(interval.value), 100.0 * interval.low, 100.0 * interval.high)
}

/// Rows of a table; cells are text and are escaped, the first stands left.
fn table(out: &mut String, header: &[&str], rows: &[Vec<String>]) {
    out.push_str("<div class=\"wide\"><table><tr>");
    header.iter().for_each(|cell| out.push_str(&format!("<th>{}</th>", escape(cell))));
    out.push_str("</tr>");
    for row in rows {
        out.push_str("<tr>");
        row.iter().for_each(|cell| out.push_str(&format!("<td>{}</td>", escape(cell))));
        out.push_str("</tr>");
    }
    out.push_str("</table></div>");
}

fn picture(out: &mut String, svg: &str) {
    out.push_str(&format!("<div class=\"picture\">{svg}</div>"));
}

/// The page, and its beginning for other pages of the laboratory.
pub fn begin(title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1>",
        escape(title)
    )
}

/// The whole report.
pub fn page(report: &Report) -> String {
    let mut out = begin(&format!("How well {} is recognised", report.data.label_name));
    sentence(&mut out, report);
    data_card(&mut out, report);
    leak_card(&mut out, report);
    learning(&mut out, report);
    methods(&mut out, report);
    figures(&mut out, &report.figures);
    importance(&mut out, report);
    wrong(&mut out, &report.figures);
    cost(&mut out, report);
    out.push_str("</body></html>\n");
    out
}

fn sentence(out: &mut String, report: &Report) {
    let figures = &report.figures;
    let chosen = report.methods.iter().find(|method| method.chosen).map_or("", |method| &method.name);
    let seconds: f64 = report.cost.iter().map(|cost| cost.seconds).sum();
    let marked = if report.at_random { " <b>Tracks at random: figures may be too good.</b>" } else { "" };
    let _ = write!(
        out,
        "<p>{} names the {} of {} of {} tracks rightly, on {}, that it was not trained on (95 % interval over groups). \
         It took {:.0} seconds.{marked}</p>",
        escape(chosen),
        escape(&report.data.label_name),
        between(figures.accuracy),
        figures.tracks,
        figures.judged_on(),
        seconds
    );
}

fn data_card(out: &mut String, report: &Report) {
    let data = &report.data;
    let _ = write!(
        out,
        "<h2>The data</h2><p>{}: {}, {}, {} known{}. {}; {}.</p>",
        escape(&data.source),
        count(data.tracks as u64, "track"),
        count_with(report.classes.len() as u64, "class", "classes"),
        count(data.artists as u64, "artist"),
        if data.seconds > 0.0 { format!(", {:.1} hours", data.seconds / 3600.0) } else { String::new() },
        escape(&report.split),
        escape(&format!("{} columns from {}", report.columns, report.features.join(" + ")))
    );
    if !report.constant.is_empty() {
        let names: Vec<&str> = report.constant.iter().take(5).map(String::as_str).collect();
        let more = if report.constant.len() > 5 { " …" } else { "" };
        let text = format!(
            "{} columns never vary and are not used: {}{more}",
            report.constant.len(),
            names.join(", ")
        );
        let _ = write!(out, "<p class=\"note\">{}.</p>", escape(&text));
    }
    for note in &data.notes {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    if !data.licences.is_empty() {
        let rows: Vec<Vec<String>> =
            data.licences.iter().map(|(name, n)| vec![name.clone(), n.to_string()]).collect();
        table(out, &["licence", "tracks"], &rows);
    }
    if data.failed > 0 {
        let _ = write!(
            out,
            "<p>{} could not be used:</p>",
            count_with(data.failed as u64, "track or file", "tracks or files")
        );
        let rows: Vec<Vec<String>> =
            data.first_failures.iter().map(|(key, why)| vec![key.clone(), why.clone()]).collect();
        table(out, &["track", "why"], &rows);
    }
}

fn leak_card(out: &mut String, report: &Report) {
    out.push_str("<h2>Leakage: what is on both sides of the split</h2>");
    for shared in &report.leak.shared {
        let pairs: Vec<String> =
            shared.same_audio.iter().take(5).map(|(a, b)| format!("{a} = {b}")).collect();
        let _ = write!(
            out,
            "<p>Training and {}: {}, {}, {} of the same audio{}.</p>",
            shared.with.name(),
            count(shared.artists.len() as u64, "artist"),
            count(shared.albums.len() as u64, "album"),
            count(shared.same_audio.len() as u64, "pair"),
            if pairs.is_empty() { String::new() } else { escape(&format!(" ({})", pairs.join("; "))) }
        );
    }
    if !report.leak.contradictions.is_empty() {
        let n = report.leak.contradictions.len() as u64;
        let _ = write!(out, "<p>{} of the same audio have different labels.</p>", count(n, "pair"));
    }
    out.push_str(
        "<p class=\"note\">Scaling, filling of gaps and every choice are fitted on training and validation tracks alone; no \
         window or copy of a test track is trained on.</p>",
    );
    if let Some(both) = report.leak.random_folds {
        let _ = write!(
            out,
            "<p>Logistic regression is right on {} with groups kept together, and on {} with tracks dealt at random: \
             random folds are <b>{:+.1} points</b> too kind.</p>",
            percent(both.grouped),
            percent(both.random),
            both.points()
        );
    }
}

fn learning(out: &mut String, report: &Report) {
    let Some(learning) = &report.learning else { return };
    out.push_str("<h2>How it learnt</h2>");
    for note in &learning.notes {
        let _ = write!(out, "<p>{}</p>", escape(note));
    }
    for (title, parts) in [
        ("Loss after each epoch", &learning.loss),
        ("Share named rightly after each epoch", &learning.accuracy),
    ] {
        let points = |part: &[f64]| part.iter().enumerate().map(|(at, y)| ((at + 1) as f64, *y)).collect();
        let curves = ["training", "validation"].iter().zip(parts);
        let curves: Vec<_> = curves.map(|(name, part)| ((*name).to_owned(), points(part))).collect();
        picture(out, &chart(title, "epoch", "", &curves).svg());
    }
}

fn methods(out: &mut String, report: &Report) {
    let _ = write!(out, "<h2>Algorithms side by side</h2><p>{}.</p>", escape(&report.judged_by));
    let rows: Vec<Vec<String>> = report
        .methods
        .iter()
        .map(|m| {
            vec![
                format!("{}{}", m.name, if m.chosen { " (answers)" } else { "" }),
                between(m.accuracy),
                if m.deviation > 0.0 { format!("± {:.1}", 100.0 * m.deviation) } else { String::new() },
                percent(m.balanced_accuracy.value),
                percent(m.macro_f1.value),
                format!("{:.1} s", m.seconds),
                m.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let header = ["algorithm", "accuracy", "between dealings", "balanced", "macro F1", "time", ""];
    table(out, &header, &rows);
    if report.methods.len() > 1 {
        let rows: Vec<(String, f64, f64)> = report
            .methods
            .iter()
            .map(|m| (m.name.clone(), m.accuracy.value, (m.accuracy.high - m.accuracy.low) / 2.0))
            .collect();
        picture(out, &bars("Accuracy, with 95 % intervals", &rows).svg());
    }
}

/// Confusion, genre by genre, curves.
pub fn figures(out: &mut String, f: &Figures) {
    let _ = write!(
        out,
        "<h2>Right and wrong</h2><p>Accuracy {}; balanced {}; macro F1 {}; weighted F1 {}; Matthews {:.3}; Cohen's κ {:.3}; \
         right among the two most probable {}; log loss {:.3}; Brier {:.3}. With tracks that could not be listened to \
         counted as wrong: {}.</p>",
        between(f.accuracy),
        between(f.balanced_accuracy),
        between(f.macro_f1),
        percent(f.weighted_f1),
        f.matthews,
        f.kappa,
        percent(f.top2),
        f.log_loss,
        f.brier,
        percent(f.accuracy_with_failures)
    );
    // the largest classes, so that a page of 200 classes stays readable
    let mut order: Vec<usize> = (0..f.per_class.len()).collect();
    order.sort_by_key(|&c| (std::cmp::Reverse(f.per_class[c].measures.support), c));
    let mut drawn: Vec<usize> = order.iter().copied().take(DRAWN).collect();
    drawn.sort_unstable();
    let names: Vec<String> = drawn.iter().map(|&c| f.per_class[c].name.clone()).collect();
    let cells: Vec<Vec<usize>> =
        drawn.iter().map(|&t| drawn.iter().map(|&a| f.confusion[t][a]).collect()).collect();
    out.push_str("<h2>Which are taken for which</h2>");
    if drawn.len() < order.len() {
        let _ = write!(out, "<p class=\"note\">The {DRAWN} largest of {} classes.</p>", order.len());
    }
    out.push_str("<div class=\"wide\">");
    picture(out, &confusion_map(&names, &cells).svg());
    out.push_str("</div>");
    for (name, answered, support, from) in f.attractors() {
        let _ = write!(
            out,
            "<p><b>{}</b> attracts: answered {answered} times, true {support} times; mostly taken for it: {}.</p>",
            escape(name),
            escape(&from.join(", "))
        );
    }
    let pairs: Vec<Vec<String>> =
        f.confused(10).into_iter().map(|(t, a, n)| vec![t.to_owned(), a.to_owned(), n.to_string()]).collect();
    if !pairs.is_empty() {
        table(out, &["true", "answered", "tracks"], &pairs);
    }
    out.push_str("<h2>Class by class</h2>");
    let number = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    let rows: Vec<Vec<String>> = f
        .per_class
        .iter()
        .map(|c| {
            let m = c.measures;
            let shares = [m.precision, m.recall, m.f1].map(|v| format!("{v:.3}"));
            let mut row = vec![c.name.clone(), m.support.to_string()];
            row.extend(shares);
            row.extend([number(c.auc), number(c.average_precision)]);
            row
        })
        .collect();
    table(out, &["class", "tracks", "precision", "recall", "F1", "AUC", "average precision"], &rows);
    let largest: Vec<usize> =
        order.into_iter().filter(|&c| !f.per_class[c].roc.is_empty()).take(CURVES).collect();
    let series = |points: &dyn Fn(usize) -> Vec<(f64, f64)>| -> Vec<Series> {
        let one = |&c: &usize| Series { name: &f.per_class[c].name, points: points(c), dots: false };
        largest.iter().map(one).collect()
    };
    let roc = |c: usize| f.per_class[c].roc.iter().map(|p| (p.false_positive, p.true_positive)).collect();
    let pr = |c: usize| f.per_class[c].pr.clone();
    if !largest.is_empty() {
        let scene = curves("ROC", "others taken for it", "its own found", &series(&roc), true, 1.0);
        picture(out, &scene.svg());
        let scene = curves("Precision and recall", "recall", "precision", &series(&pr), false, 1.0);
        picture(out, &scene.svg());
    }
    let bins: Vec<(f64, f64)> =
        f.reliability.iter().filter(|b| b.count > 0).map(|b| (b.probability, b.accuracy)).collect();
    let _ = write!(
        out,
        "<h2>Can the probabilities be believed?</h2><p>Mean distance from the line (expected calibration error): {:.3}.</p>",
        f.calibration_error
    );
    let one = |points, dots| [Series { name: "", points, dots }];
    let scene = curves("Said and true", "probability said", "share right", &one(bins, true), true, 1.0);
    picture(out, &scene.svg());
    let risk: Vec<(f64, f64)> = f.risk_coverage.iter().map(|s| (s.coverage, s.risk)).collect();
    let title = "Wrong answers when only the surest are given";
    picture(out, &curves(title, "share answered", "share wrong", &one(risk, false), false, 1.0).svg());
}

fn importance(out: &mut String, report: &Report) {
    if report.importance.is_empty() {
        return;
    }
    out.push_str(
        "<h2>What it listens to</h2><p>Points of accuracy lost when columns are shuffled between the judged tracks, mean and \
         deviation of ten shuffles; beside it the algorithm's own measure.</p>",
    );
    let rows: Vec<Vec<String>> = report
        .importance
        .iter()
        .take(DRAWN)
        .map(|i| {
            let own = i.own.map_or_else(String::new, percent);
            vec![i.columns.clone(), format!("{:.1} ± {:.1}", 100.0 * i.drop, 100.0 * i.deviation), own]
        })
        .collect();
    table(out, &["columns", "points lost", "own measure"], &rows);
}

fn wrong(out: &mut String, f: &Figures) {
    if f.wrong.is_empty() {
        return;
    }
    out.push_str("<h2>Most confidently wrong</h2><p>The labels themselves may be at fault.</p>");
    let rows: Vec<Vec<String>> = f
        .wrong
        .iter()
        .map(|w| vec![w.path.clone(), w.genre.clone(), w.predicted.clone(), percent(w.probability)])
        .collect();
    table(out, &["track", "label", "answer", "probability"], &rows);
}

fn cost(out: &mut String, report: &Report) {
    out.push_str("<h2>What it took</h2>");
    let number = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.1}"));
    let rows: Vec<Vec<String>> = report
        .cost
        .iter()
        .map(|c| vec![c.phase.clone(), format!("{:.1}", c.seconds), number(c.processor), number(c.memory)])
        .collect();
    table(out, &["phase", "seconds", "processor seconds", "memory at most, MB"], &rows);
    let _ = write!(out, "<h2>How to repeat it</h2><p><code>{}</code></p>", escape(&report.command));
    for (name, digest) in &report.digests {
        let _ = write!(out, "<p class=\"note\">{}: {}</p>", escape(name), escape(digest));
    }
}

/// Runs beside the first.
pub fn comparison(compared: &[Comparison]) -> String {
    let mut out = begin("Runs side by side");
    for one in compared {
        let d = one.difference;
        let _ = write!(
            out,
            "<h2>{} and {}</h2><p>{}: {} against {}; difference {:+.1} points ({:+.1} to {:+.1}, 95 % of draws of whole \
             groups). {} only the first has right, {} only the second: McNemar's exact test p = {:.3}.</p>",
            escape(&one.first),
            escape(&one.second),
            count(one.tracks as u64, "track"),
            percent(one.accuracy[0]),
            percent(one.accuracy[1]),
            100.0 * d.value,
            100.0 * d.low,
            100.0 * d.high,
            one.only[0],
            one.only[1],
            one.p_value
        );
        for warning in &one.warnings {
            let _ = write!(out, "<p><b>{}</b></p>", escape(warning));
        }
        let rows: Vec<Vec<String>> = one
            .recall
            .iter()
            .map(|(name, n, a, b)| vec![name.clone(), n.to_string(), percent(*a), percent(*b)])
            .collect();
        table(&mut out, &["class", "tracks", "found by the first", "by the second"], &rows);
    }
    out.push_str("</body></html>\n");
    out
}
