//! `voisin eval embedding`.

use serde_json::json;

use super::{by_genre, labelled};
use crate::cli::Ending;
use crate::cli::args::EmbeddingArgs;
use crate::cli::context::Context;
use crate::cli::lab::{PagePlace, show_page};
use crate::cli::render::count;
use voisin_lab::document::Document;
use voisin_lab::probe::{ProbeOptions, probes};
use voisin_learn::metrics::Spread;

pub(super) fn run(context: &Context, args: &EmbeddingArgs) -> anyhow::Result<Ending> {
    let place = PagePlace::new(args.output.report.as_deref(), args.output.force)?;
    let engine = context.open_engine()?;
    let set = labelled(&engine, &args.output)?;
    let model = engine.model()?;
    let options = ProbeOptions {
        folds: args.folds as usize,
        seeds: u64::from(args.repeats),
        svm_c: args.svm_c,
        linear_c: args.linear_c,
    };
    // This form also refuses NaN.
    if !(options.svm_c > 0.0 && options.linear_c > 0.0) {
        anyhow::bail!("--svm-c and --linear-c must be above 0");
    }
    let found = probes(set.vectors.view(), &set.labels, &set.artists, options)?;
    let by_label = set.by_label(&found.svm_by_label);
    let summary = format!(
        "{} of {}{}, {} left out; model {} ({}); {} folds by artist, {}",
        count(found.tracks as u64, "track"),
        count(set.names.len() as u64, "genre"),
        set.by_artists(),
        set.left_out,
        model.name,
        model.fingerprint,
        found.folds,
        count(found.seeds, "repeat")
    );
    let mut page = Document::new("Probes");
    page.text(&summary);
    let row = |name: String, spread: Spread| {
        vec![
            name,
            format!("{:.3}", spread.mean),
            format!("{:.3}", spread.deviation),
        ]
    };
    let rows = vec![
        row(
            "most common genre".to_owned(),
            Spread {
                // The baseline.
                mean: found.majority,
                deviation: 0.0,
            },
        ),
        row(
            format!("logistic regression, C = {}", args.linear_c),
            found.linear,
        ),
        row(format!("RBF SVM, C = {}", args.svm_c), found.svm),
    ];
    page.table(&["probe", "accuracy", "deviation"], rows, None);
    page.hint("All tracks of an artist are in one fold. Deviations are over repeats.");
    by_genre(
        &mut page,
        &by_label,
        "right by the SVM",
        "Share predicted right by the RBF SVM",
    );
    let json = json!({
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "tracks": found.tracks,
        "left_out": set.left_out,
        "artists": found.groups,
        "folds": found.folds,
        "seeds": found.seeds,
        "majority": found.majority,
        "linear": found.linear,
        "svm": found.svm,
        "genres": by_label
            .iter()
            .map(|(name, size, share)| json!({"genre": name, "tracks": size, "svm": share}))
            .collect::<Vec<_>>(),
    });
    show_page(&page, &json, args.output.format, place.as_ref())?;
    Ok(Ending::Fine)
}
