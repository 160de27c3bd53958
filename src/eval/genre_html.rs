//! The evaluation as one HTML page that needs nothing outside itself.

use std::fmt::Write;

use super::genre::FEW;
use super::{
    GenreReport,
    plots::{Series, confusion_map, curves, escape},
};
use crate::genre::Genre;
use crate::metrics::Spread;

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}\
td{white-space:nowrap}th:first-child,td:first-child,td.t{text-align:left;white-space:normal}.best{font-weight:bold}svg{max-width:100%;height:auto}\
.note{color:#555;font-size:.92em}h2{margin-top:2.2rem}.wide{overflow-x:auto}.few td{color:#777}\
.picture{background:#fff;border-radius:6px;width:fit-content;max-width:100%}\
@media(prefers-color-scheme:dark){body{background:#121216;color:#ececf1}.note,.few td{color:#a6a6b3}\
th,td{border-bottom-color:#3a3a46}}\
@media(max-width:40rem){body{margin:1rem auto}th,td{padding:.25rem .2rem}h1{font-size:1.5rem}table{font-size:.8rem}}";

impl GenreReport {
    /// The report as a page for people who know music better than statistics.
    ///
    /// Self-contained: no scripts, no outside files; names from tags are escaped.
    pub fn html(&self) -> String {
        let d = &self.details;
        let group = &self.group;
        let names: Vec<String> = d.genres.iter().map(|g| g.genre.name().to_owned()).collect();
        let mut out = String::new();
        // writing to a String cannot fail
        let _ = write!(
            out,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><title>Genres: how well they are recognised</title><style>{STYLE}</style></head><body>\
             <h1>How well genres are recognised</h1><p>{} labelled tracks of {} {group}s, {} genres. Every track was \
             judged by an engine that had never heard its {group}: the {group}s were dealt into {} parts, and each part \
             was judged by what was learnt from the others{}.</p>",
            self.tracks,
            self.groups,
            d.genres.len(),
            self.folds,
            if self.repeats > 1 { format!(" ({} dealings)", self.repeats) } else { String::new() }
        );
        self.html_methods(&mut out);
        let _ = write!(
            out,
            "<h2>Which genres are taken for which</h2><p>Each row is a genre as labelled, each column an answer; the \
             darker, the more of the row. Right among the two most probable: {:.1} % of tracks.</p><div class=\"wide\"><div class=\"picture\">{}</div></div>",
            100.0 * d.top2,
            confusion_map(&names, &d.confusion).svg()
        );
        self.html_genres(&mut out);
        self.html_curves(&mut out);
        if !self.without_head.is_empty() {
            let list: Vec<String> = self.without_head.iter().map(|g| escape(g.name())).collect();
            let _ = write!(
                out,
                "<p class=\"note\">Too few tracks to train on, judged by their neighbours alone: {}.</p>",
                list.join(", ")
            );
        }
        out.push_str("</body></html>\n");
        out
    }

    fn html_methods(&self, out: &mut String) {
        let best = self.methods.iter().map(|m| m.accuracy.mean).fold(0.0, f64::max);
        let cell = |s: &Spread| format!("{:.1} ± {:.1}", 100.0 * s.mean, 100.0 * s.deviation);
        out.push_str(
            "<h2>Methods side by side</h2><p>Percent, mean ± spread over the parts. <i>Accuracy</i>: how often the answer \
             is right. <i>Balanced</i>: the same with every genre counting alike. <i>F1</i> punishes both missing a genre \
             and naming it too often.</p><div class=\"wide\"><table><tr><th>method</th><th>accuracy</th><th>balanced</th><th>macro F1</th></tr>",
        );
        for m in &self.methods {
            let what = match m.method.as_str() {
                "fused" => "voisin's answer: head and neighbours joined",
                "head" => "the trained head alone",
                "vote" => "the vote of neighbours alone",
                "rbf svm" => "rival: support vector machine",
                "nearest centroid" => "rival: the genre whose average is nearest",
                "majority" => "always the commonest genre",
                _ => "",
            };
            let class = if m.accuracy.mean >= best { " class=\"best\"" } else { "" };
            let _ = write!(
                out,
                "<tr{class}><td>{}<div class=\"note\">{what}</div></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&m.method),
                cell(&m.accuracy),
                cell(&m.balanced_accuracy),
                cell(&m.macro_f1)
            );
        }
        out.push_str("</table></div>");
        if let Some(note) = self.note_on_few() {
            let _ = write!(out, "<p class=\"note\">{}.</p>", escape(&note));
        }
    }

    fn html_genres(&self, out: &mut String) {
        out.push_str(
            "<h2>Genre by genre</h2><p><i>Precision</i>: of the tracks given this genre, how many have it. <i>Recall</i>: \
             of the tracks that have it, how many were given it. <i>AUC</i>: chance that a track of the genre is rated \
             higher for it than a track of another.</p><div class=\"wide\"><table><tr><th>genre</th><th>tracks</th><th>precision</th>\
             <th>recall</th><th>F1</th><th>AUC</th></tr>",
        );
        // Figures of a genre of one or two tracks are chance: they stand below the line.
        let (few, enough): (Vec<_>, Vec<_>) =
            self.details.genres.iter().partition(|genre| genre.measures.support < FEW);
        let some_few = !few.is_empty();
        for g in enough.into_iter().chain(few) {
            let class = if g.measures.support < FEW { " class=\"few\"" } else { "" };
            let auc = g.auc.map_or_else(|| "–".to_owned(), |a| format!("{a:.3}"));
            let _ = write!(
                out,
                "<tr{class}><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{auc}</td></tr>",
                escape(g.genre.name()),
                g.measures.support,
                g.measures.precision,
                g.measures.recall,
                g.measures.f1
            );
        }
        out.push_str("</table></div>");
        if some_few {
            let _ = write!(
                out,
                "<p class=\"note\">Genres of fewer than {FEW} tracks stand last: their figures are chance.</p>"
            );
        }
    }

    fn html_curves(&self, out: &mut String) {
        let d = &self.details;
        let bins: Vec<(f64, f64)> =
            d.reliability.iter().filter(|b| b.count > 0).map(|b| (b.probability, b.accuracy)).collect();
        let calibration = curves(
            "Said and true",
            "probability said",
            "share that was right",
            &[Series { name: "fused", points: bins, dots: true }],
            true,
            1.0,
        );
        let risk: Vec<(f64, f64)> = d.risk_coverage.iter().map(|s| (s.coverage, s.risk)).collect();
        let most = risk.iter().map(|p| p.1).fold(0.05, f64::max);
        let top = (most * 10.0).ceil() / 10.0;
        let coverage = curves(
            "Wrong answers when unsure tracks stay \"unknown\"",
            "share of tracks answered, the surest first",
            "share of answers that are wrong",
            &[Series { name: "fused", points: risk, dots: false }],
            false,
            top,
        );
        // the eight largest genres, so that colours stay apart
        let mut largest: Vec<&super::GenreScore> = d.genres.iter().filter(|g| !g.roc.is_empty()).collect();
        largest.sort_by_key(|g| std::cmp::Reverse(g.measures.support));
        let series: Vec<Series> = largest
            .iter()
            .take(8)
            .map(|g| Series {
                name: Genre::name(&g.genre),
                points: g.roc.iter().map(|p| (p.false_positive, p.true_positive)).collect(),
                dots: false,
            })
            .collect();
        let roc = curves(
            "Each genre against all others",
            "others taken for it",
            "its own found",
            &series,
            true,
            1.0,
        );
        let _ = write!(
            out,
            "<h2>Can the probabilities be believed?</h2><p>When it says 80 %, is it right in 80 of 100? Points on the \
             line are honest. Mean distance from it (expected calibration error): {:.3}.</p><div class=\"picture\">{}</div><h2>How much can be \
             answered safely?</h2><div class=\"picture\">{}</div><h2>Finding each genre</h2><p>The nearer a curve comes to the upper left corner, \
             the better{}.</p><div class=\"picture\">{}</div>",
            d.calibration_error,
            calibration.svg(),
            coverage.svg(),
            if largest.len() > 8 { " (the eight largest genres)" } else { "" },
            roc.svg()
        );
    }
}
