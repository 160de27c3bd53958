//! `voisin list`.

use crate::cli::Ending;
use crate::cli::args::{ListArgs, ListFormat, Output};
use crate::cli::context::Context;
use crate::cli::render::list::print_page;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{Column, print_rows};
use crate::cli::render::{self, Align};
use crate::cli::source::{Source, warn_of_lost_labels};
use voisin::Engine;
use voisin::questions::answers::failed::FailureJson;
use voisin_base::text::did_you_mean;
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_library::{Failure, Library, SortBy};

const WORDS: usize = 5;

pub(crate) fn run(context: &Context, args: &ListArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    if args.failed {
        return failed(context, &output);
    }
    let mut source = Source::open(context)?;
    warn_of_lost_labels(context, source.engine());
    let question = &args.question;
    source.fetch_filters(&question.filters)?;
    let query = question.query(source.engine())?;
    let page = source.list(&query)?;
    let engine = source.engine();
    if page.tracks.is_empty() {
        // Words without a match are most often misspelt.
        let alike = engine.library().spelt_alike(&query.words, 3)?;
        let alike = engine.library().tracks_by_id(&alike)?;
        let alike: Vec<String> = alike
            .iter()
            .map(|track| format!("{} (id:{})", track.display_name(), track.id))
            .collect();
        let hint = did_you_mean(&alike);
        context.nothing_found(&question.filters, &hint);
    }
    // In formats with room for them, or if filtered by.
    let wants_words = matches!(output.format, ListFormat::Json | ListFormat::Csv)
        || output.format == ListFormat::Table && !query.filter.words.is_empty();
    let tags = if wants_words && !page.tracks.is_empty() {
        engine.predicted_tags_if_any()?
    } else {
        None
    };
    let ids: Vec<TrackId> = page.tracks.iter().map(|track| track.id).collect();
    let words = tags
        .map(|tags| tags.strongest(&ids, WORDS))
        .unwrap_or_default();
    // Only scales that the query filters or sorts by get a column; all would not fit.
    let sorted = match query.sort {
        SortBy::Scale(name) => Some(name),
        _ => None,
    };
    let filtered = query.filter.scales.iter().map(|bound| bound.scale);
    let shown = filtered.chain(sorted).collect();
    print_page(&page, &words, query.sort == SortBy::Album, &shown, &output)?;
    Ok(Ending::partial_if(page.tracks.is_empty()))
}

/// The files that could not be added, for `--failed`.
fn failed(context: &Context, output: &Output) -> anyhow::Result<Ending> {
    let engine = Engine::from_library(Library::open_to_read(&context.library_dir())?);
    let failures = engine.library().failures()?;
    if output.format == ListFormat::Table {
        // One line a file, reason last; not cut, since the reason matters most.
        for failure in &failures {
            let line = format!("{}: {}", failure.path.display(), failure.reason);
            render::print_line(&render::one_line(&line))?;
        }
        if failures.is_empty() {
            context.console.note("no file has failed");
        }
        return Ok(Ending::Fine);
    }
    let column = |field: &str, cell: fn(&Failure) -> String| {
        Column::plain("", field, Align::Left, &failures, cell)
    };
    let columns = [
        column("path", |failure| table_path(&failure.path)),
        column("reason", |failure| failure.reason.clone()),
        column("attempts", |failure| failure.attempts.to_string()),
    ];
    // Not in the library, so without an id: a playlist needs only the path.
    let file = |failure: &Failure| TrackMeta::of_file(TrackId(0), &failure.path);
    let files: Vec<TrackMeta> = failures.iter().map(file).collect();
    let json = FailureJson::list(&failures);
    print_rows(&columns, &json, &files, "voisin list --failed", output)?;
    Ok(Ending::Fine)
}
