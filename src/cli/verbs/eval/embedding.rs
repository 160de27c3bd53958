//! `voisin eval embedding`.

use serde_json::json;

use super::{labelled, report};
use crate::cli::Ending;
use crate::cli::args::{EmbeddingArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, count};
use crate::eval::plots::bars;
use crate::eval::{ProbeOptions, probes};

pub(super) fn run(context: &Context, args: &EmbeddingArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let set = labelled(&engine, &args.output)?;
    let model = engine.model()?;
    let options = ProbeOptions {
        folds: args.folds as usize,
        seeds: u64::from(args.repeats),
        svm_c: args.svm_c,
        linear_c: args.linear_c,
    };
    if !(options.svm_c > 0.0 && options.linear_c > 0.0) {
        anyhow::bail!("--svm-c and --linear-c must be above 0");
    }
    let found = probes(set.vectors.view(), &set.labels, &set.artists, options)?;
    let by_label: Vec<(String, usize, f64)> = set
        .names
        .iter()
        .zip(&set.sizes)
        .zip(&found.svm_by_label)
        .map(|((name, size), share)| (name.clone(), *size, *share))
        .collect();
    let summary = format!(
        "{} of {} by {}, {} left out; model {} ({}); {} folds by artist, {}",
        count(found.tracks as u64, "track"),
        count(set.names.len() as u64, "genre"),
        count(found.groups as u64, "artist"),
        set.left_out,
        model.name,
        model.fingerprint,
        found.folds,
        count(found.seeds, "dealing")
    );
    if let Some(path) = &args.output.report {
        let row = |name: &str, mean: f64, deviation: f64| {
            vec![name.to_owned(), format!("{mean:.3}"), format!("{deviation:.3}")]
        };
        let mut text = format!("# Probes\n\n{}\n\n", report::plain(&summary));
        text.push_str(&report::table(
            &["probe", "accuracy", "deviation"],
            &[
                row("most common genre", found.majority, 0.0),
                row(
                    &format!("logistic regression, C = {}", args.linear_c),
                    found.linear.mean,
                    found.linear.deviation,
                ),
                row(&format!("RBF SVM, C = {}", args.svm_c), found.svm.mean, found.svm.deviation),
            ],
        ));
        text.push_str(
            "All tracks of an artist are on one side of every fold. Deviations are over dealings.\n\n",
        );
        text.push_str(&report::table(
            &["genre", "tracks", "named rightly by the SVM"],
            &by_label
                .iter()
                .map(|(name, size, share)| vec![report::plain(name), size.to_string(), format!("{share:.3}")])
                .collect::<Vec<_>>(),
        ));
        text.push_str(&report::picture(path, "genres", "Share named rightly, by genre"));
        let rows: Vec<(String, f64, f64)> =
            by_label.iter().map(|(name, _, share)| (name.clone(), *share, 0.0)).collect();
        report::write(path, &text, &[("genres", bars("Share named rightly by the RBF SVM", &rows))])?;
    }
    match args.output.format {
        ReportFormat::Json => render::print_json(&json!({
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
        }))?,
        ReportFormat::Table => {
            render::print_wrapped("", &summary)?;
            render::print_line(&format!(
                "logistic regression {:.3} ± {:.3}, RBF SVM {:.3} ± {:.3}, most common genre {:.3}",
                found.linear.mean,
                found.linear.deviation,
                found.svm.mean,
                found.svm.deviation,
                found.majority
            ))?;
            let mut table =
                Table::new(&[("genre", Align::Left), ("tracks", Align::Right), ("SVM", Align::Right)]);
            for (name, size, share) in by_label {
                table.row([name, size.to_string(), format!("{share:.3}")]);
            }
            table.print()?;
        }
    }
    Ok(Ending::Fine)
}
