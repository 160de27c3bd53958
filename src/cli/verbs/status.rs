//! `voisin status`.

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, StatusArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, count, grouped};
use voisin::Engine;
use voisin::questions::answers::status::{HeadJson, StatusJson};
use voisin_base::text::size;
use voisin_library::{Library, StoredModel};

pub(crate) fn run(context: &Context, args: &StatusArgs) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    let engine = Engine::from_library(library);
    let json = StatusJson::new(&engine, &engine.library().status()?);
    if args.format == ReportFormat::Json {
        render::print_json(&json)?;
        return Ok(Ending::Fine);
    }
    let model = engine.library().model()?.map(|model| {
        let StoredModel {
            name,
            dimension,
            fingerprint,
            ..
        } = model;
        format!("{name} ({dimension} dimensions, {fingerprint})")
    });
    for (name, value) in lines(&json, model) {
        if !value.is_empty() {
            render::print_wrapped(&format!("{name:<9} "), &value)?;
        }
    }
    let console = context.console;
    if json.failed > 0 {
        console.note("see \"voisin list --failed\" for the reasons");
    }
    if json.genre_head.is_some_and(|head| head.retrain) {
        console.note("the trained genre head is out of date: \"voisin classify\" trains it again, or run \"voisin train\"");
    }
    Ok(Ending::Fine)
}

fn lines(json: &StatusJson, model: Option<String>) -> [(&'static str, String); 9] {
    let index = &json.index;
    let note = match index.note.as_str() {
        "" => String::new(),
        note => format!(": {note}"),
    };
    let index = format!(
        "{}{note}; generation {}, {}{}",
        index.state,
        json.index_generation,
        size(json.index_bytes),
        per_track(json.tracks, json.index_bytes, json.index_resident_bytes),
    );
    let by_hand = match json.labels.by_hand {
        0 => String::new(),
        n => format!(", {} by hand", count(n as u64, "label")),
    };
    let tracks = grouped(json.tracks);
    let head = json.genre_head.as_ref();
    [
        ("library", json.library.clone()),
        (
            "tracks",
            format!("{tracks} in {}", count(json.files, "file")),
        ),
        ("failed", grouped(json.failed)),
        ("model", model.unwrap_or_default()),
        ("index", index),
        (
            "search",
            format!("{}: {}", json.search.mode, json.search.why),
        ),
        (
            "database",
            format!("schema {}, {}", json.schema, size(json.database_bytes)),
        ),
        ("labels", format!("from {}{by_hand}", json.labels.source)),
        (
            "genres",
            head.map_or_else(String::new, |head| of_head(head, json)),
        ),
    ]
}

fn of_head(head: &HeadJson, json: &StatusJson) -> String {
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
    text
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
