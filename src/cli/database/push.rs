//! `voisin push`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use voisin_postgres::{
    BackendError, IndexMaking, Postgres, PostgresAddress, PushEvent, PushOptions, PushSummary,
    Upgraded, ddl, push,
};

use super::place;
use crate::cli::Ending;
use crate::cli::args::backend::DdlForm;
use crate::cli::args::{PushArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, count, grouped};
use voisin_engine::Engine;
use voisin_library::{Library, OpenMode};
use voisin_questions::answers::database::PushJson;

/// Time between two lines of progress.
const PAUSE: Duration = Duration::from_secs(5);

pub(crate) fn run(context: &Context, args: &PushArgs) -> anyhow::Result<Ending> {
    // Printing SQL sends nothing and needs no identity.
    if args.print_ddl.is_none() {
        settle(context, args.new_identity)?;
    }
    // Read-only, so that a push neither blocks nor waits for a running `add`.
    let library = Library::open_to_read(&context.library_dir())?;
    let engine = Engine::from_library(library);
    let model = engine.model()?;
    let codes = args.index_bits.as_deref().map(|bits| match bits {
        // Clap accepts only "16" and "1".
        "1" => ddl::IndexCodes::Signs,
        _ => ddl::IndexCodes::Halves,
    });
    if let Some(form) = args.print_ddl {
        let form = match form {
            DdlForm::Single => ddl::Form::Single,
            DdlForm::Partitioned => ddl::Form::Partitioned(args.shards),
            DdlForm::Citus => ddl::Form::Citus,
        };
        render::print_line(&ddl::print(
            form,
            model.dimension,
            codes.unwrap_or_default(),
        ))?;
        return Ok(Ending::Fine);
    }
    let Some(place) = place(args.to.as_deref())? else {
        bail!(
            "expected the address of a database: --to postgres://USER@HOST/DATABASE, or VOISIN_BACKEND"
        );
    };
    // The statement is read before anything is sent, as a mistyped file name must not cost hours.
    let index_sql = args.index_sql.as_deref().map(|file| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    });
    let options = PushOptions {
        windows: args.windows,
        index: match (args.no_index, args.reindex) {
            (true, _) => IndexMaking::Never,
            (false, false) => IndexMaking::Missing,
            (false, true) => IndexMaking::Anew,
        },
        codes,
        index_sql: index_sql.transpose()?,
        index_memory: args.index_memory,
        recentre: args.recentre,
    };
    let stop =
        context.stop_with_message("stopping after this batch (Ctrl-C again to stop at once)")?;
    let console = context.console;
    // Before the tables are opened, which refuses those of an older voisin.
    if args.upgrade {
        upgrade(context, &place)?;
    }
    let mut store = Postgres::open_or_create(&place, &model)?;
    let mut last_shown: Option<Instant> = None;
    let mut progress = |event: PushEvent| match event {
        // A push of millions of tracks has thousands of batches, too many for a log.
        PushEvent::Sent { done, total }
            if done < total && last_shown.is_some_and(|time| time.elapsed() < PAUSE) => {}
        PushEvent::Notice(text) => console.warn(&format!("{place}: {text}")),
        PushEvent::Sent { done, total } => {
            last_shown = Some(Instant::now());
            console.note(&format!("{} of {}", grouped(done), count(total, "track")));
        }
        PushEvent::Indexing { needed, given } => {
            let [needed_mb, given_mb] =
                [needed, given].map(|bytes| grouped(bytes.div_ceil(1 << 20)));
            console.note(&format!(
                "building the vector index: it needs some {needed_mb} MB, maintenance_work_mem is {given_mb} MB"
            ));
            // No error: the resulting index is the same, it only takes longer.
            if needed > given {
                console.warn(&format!(
                    "the index does not fit into maintenance_work_mem, so building it takes many times longer: stop here (Ctrl-C twice) and push again with --index-memory {}",
                    needed.div_ceil(1 << 20)
                ));
            }
        }
    };
    let summary = match push(&engine, &mut store, &options, &mut progress, &stop) {
        Err(BackendError::Interrupted) => {
            console.note("interrupted: sent tracks are kept; the same command resumes from here");
            return Ok(Ending::Interrupted);
        }
        summary => summary?,
    };
    let PushSummary {
        added,
        updated,
        unchanged,
        removed,
        of_others,
        stayed,
        taken_down,
        recentred,
        seconds,
        index_seconds,
    } = summary;
    if stayed > 0 {
        console.note(&format!(
            "{} no longer here and not removed there, since other libraries have them too",
            count(stayed, "track")
        ));
    }
    if taken_down > 0 {
        console.note(&format!(
            "{} not sent, since they were taken down there",
            count(taken_down, "track")
        ));
    }
    // The server in front cannot build indexes on foreign tables.
    if !store.shards().is_empty() && added + updated > 0 && !args.no_index {
        console.note("each shard builds its own index: run its statement there if this was the first push (voisin push --print-ddl partitioned)");
    }
    match args.format {
        ReportFormat::Json => render::print_json(&PushJson {
            added,
            updated,
            unchanged,
            removed,
            of_others,
            stayed,
            taken_down,
            seconds,
            index_seconds,
            recentred,
        })?,
        ReportFormat::Table => {
            let others = if of_others > 0 {
                format!(", from other libraries {of_others}")
            } else {
                String::new()
            };
            let index = index_seconds
                .map_or_else(String::new, |seconds| format!(", index in {seconds:.1} s"));
            render::print_line(&format!(
                "added {added}, updated {updated}, unchanged {unchanged}, removed {removed}{others} in {seconds:.1} s{index}"
            ))?;
            if let Some(tracks) = recentred {
                let tracks = count(tracks, "track");
                render::print_line(&format!(
                    "from now on similarity is relative to the {tracks} in the database"
                ))?;
            }
        }
    }
    Ok(Ending::Fine)
}

/// Gives a copied library an identity of its own, so that no two libraries are pushed as one.
fn settle(context: &Context, is_copy: bool) -> anyhow::Result<()> {
    let dir = context.library_dir();
    // A copied folder has the original's identity: its push would remove all that the original has
    // sent since.
    let origin = Library::open_to_read(&dir)?.transfer().copied_from()?;
    let renew = is_copy || origin.is_some();
    let settled = Library::open(&dir, OpenMode::ReadWrite)
        .and_then(|mut library| library.transfer_mut().settle(renew));
    // A library that cannot be written can be pushed as it is, unless it needs a new identity.
    if renew {
        settled.context(
            "this library needs an identity of its own, and its folder cannot be written",
        )?;
        let copy_of = origin.map_or_else(String::new, |origin| {
            format!(", a copy of {},", origin.display())
        });
        context.console.note(&format!(
            "this library{copy_of} has an identity of its own from now on: neither removes what the other has sent"
        ));
    }
    Ok(())
}

/// Migrates older tables, except those of shards, for which the statements are printed.
fn upgrade(context: &Context, place: &PostgresAddress) -> anyhow::Result<()> {
    let console = context.console;
    match Postgres::upgrade(place)? {
        Upgraded::Nothing => console.note(&format!("{place}: no tables of an older voisin")),
        Upgraded::From(schema) => {
            console
                .note(&format!("{place}: tables of schema {schema} migrated without their vector index; nothing is sent again"));
        }
        Upgraded::ShardsFirst(shards) => {
            // Shards are other servers, which this connection cannot alter.
            for (server, statements) in shards {
                console.note(&format!("run on {server}:\n{statements}"));
            }
            bail!(
                "{place}: expected migrated shards, found older ones, and changed nothing: run these statements there, then this command again"
            );
        }
    }
    Ok(())
}
