//! A library in a database, for the server.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use voisin_postgres::{Mirror, Postgres, Remote};

use super::parse;
use crate::cli::context::Context;
use crate::cli::remote::DatabaseAddress;
use voisin_base::text::with_causes;
use voisin_engine::Engine;
use voisin_http::state::OpenElsewhere;
use voisin_library::OpenMode;
use voisin_questions::LibrarySource;
use voisin_serve::Follow;

/// The function that opens a library in a database for the server's requests.
pub(crate) fn elsewhere(address: &DatabaseAddress) -> anyhow::Result<OpenElsewhere> {
    let place = parse(address)?;
    // Opened once now, so that an error of the address shows at the start.
    drop(Postgres::open(&place)?);
    Ok(Box::new(move || {
        // Short ids, since JavaScript's numbers have 53 bits.
        let remote = Remote::open(Postgres::open(&place)?)?.with_short_ids();
        Ok(LibrarySource::Remote(Box::new(remote)))
    }))
}

/// The task that copies a database's library into a folder and keeps it up to date.
pub(crate) fn copy(
    context: &Context,
    address: &DatabaseAddress,
    dir: &Path,
) -> anyhow::Result<Follow> {
    let console = context.console;
    let dir = dir.to_owned();
    let mut mirror = Mirror::open(Postgres::open(&parse(address)?)?, &dir)?;
    // The first round copies all; the index is built at its end, not by the first request.
    let mut is_new = true;
    Ok(Box::new(move |progress| {
        let mut run = || -> anyhow::Result<()> {
            // The server ends this task with its process: tracks are stored batch by batch.
            mirror.follow(&AtomicBool::new(false), progress)?;
            if std::mem::take(&mut is_new) {
                let mut engine = Engine::open(&dir, OpenMode::ReadWrite).context("the copy")?;
                if engine.library().status()?.tracks > 0 {
                    engine.refresh_index()?;
                }
                console.note(&format!("the copy in {} is complete", dir.display()));
            }
            Ok(())
        };
        run().map_err(|error| with_causes(error.as_ref()))
    }))
}
