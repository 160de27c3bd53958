//! `voisin status`.

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, StatusArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, count, grouped};
use voisin::Engine;
use voisin::questions::answers::status::StatusJson;
use voisin_base::text::size;
use voisin_library::{Library, StoredModel};

pub(crate) fn run(context: &Context, args: &StatusArgs) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    let engine = Engine::from_library(library);
    let json = StatusJson::new(&engine, &engine.library().status()?);
    let model = engine.library().model()?;
    print(context, &json, model.as_ref(), args.format)
}

fn print(
    context: &Context,
    json: &StatusJson,
    model: Option<&StoredModel>,
    format: ReportFormat,
) -> anyhow::Result<Ending> {
    if format == ReportFormat::Json {
        render::print_json(json)?;
        return Ok(Ending::Fine);
    }
    let mut lines = vec![
        ("library", json.library.clone()),
        (
            "tracks",
            format!("{} in {}", grouped(json.tracks), count(json.files, "file")),
        ),
        ("failed", grouped(json.failed)),
    ];
    if let Some(model) = model {
        lines.push((
            "model",
            format!(
                "{} ({} dimensions, {})",
                model.name, model.dimension, model.fingerprint
            ),
        ));
    }
    let note = if json.index.note.is_empty() {
        String::new()
    } else {
        format!(": {}", json.index.note)
    };
    lines.push((
        "index",
        format!(
            "{}{note}; generation {}, {}{}",
            json.index.state,
            json.index_generation,
            size(json.index_bytes),
            per_track(json.tracks, json.index_bytes, json.index_resident_bytes),
        ),
    ));
    lines.push((
        "search",
        format!("{}: {}", json.search.mode, json.search.why),
    ));
    lines.push((
        "database",
        format!("schema {}, {}", json.schema, size(json.database_bytes)),
    ));
    let by_hand = match json.labels.by_hand {
        0 => String::new(),
        n => format!(", {} by hand", count(n as u64, "label")),
    };
    lines.push(("labels", format!("from {}{by_hand}", json.labels.source)));
    let mut retrain = false;
    if let Some(head) = &json.genre_head {
        retrain = head.retrain;
        let mut text = match &head.problem {
            // The head could not be read, so there are no figures to show.
            Some(problem) if head.tracks == 0 => problem.clone(),
            _ => format!(
                "trained {} on {} of {}, labels from {} ({:.1} % right on tracks left out)",
                render::age(head.trained_at),
                count(head.tracks as u64, "track"),
                count(head.genres as u64, "genre"),
                head.labels,
                100.0 * head.accuracy
            ),
        };
        if let Some(share) = head.changed_share {
            text += &format!(", {:.0} % of labels changed since", 100.0 * share);
        }
        if head.problem.is_none() && head.labels != json.labels.source {
            text += "; \"voisin train\" trains one on the library's labels";
        }
        lines.push(("genres", text));
    }
    for (name, value) in lines {
        render::print_wrapped(&format!("{name:<9} "), &value)?;
    }
    if json.failed > 0 {
        context
            .console
            .note("see \"voisin list --failed\" for the reasons");
    }
    if retrain {
        context.console.note("the trained genre head is out of date: \"voisin classify\" trains it again, or run \"voisin train\"");
    }
    Ok(Ending::Fine)
}

/// Bytes per track of the index's file, and of its part in memory during searches.
fn per_track(tracks: u64, file: u64, resident: u64) -> String {
    if resident == 0 || tracks == 0 {
        return String::new();
    }
    let [file, resident] = [file, resident].map(|bytes| bytes.div_ceil(tracks));
    format!(
        " ({} bytes a track, {} of them in memory during searches)",
        grouped(file),
        grouped(resident)
    )
}
