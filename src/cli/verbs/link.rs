//! `voisin link`.

use std::collections::BTreeMap;

use crate::cli::Ending;
use crate::cli::args::{LinkArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::password::password;
use crate::cli::render::{self, Align, Table, count, count_with};
use anyhow::bail;
use voisin_library::{Library, OpenMode};
use voisin_players::link::{LinkReport, ServerKind, link};
use voisin_questions::answers::listening::ServerJson;

/// Songs without a track that a table shows.
const SHOWN: usize = 20;

pub(crate) fn run(context: &Context, args: &LinkArgs) -> anyhow::Result<Ending> {
    let dir = context.library_dir();
    if let Some(server) = &args.forget {
        let mut library = Library::open(&dir, OpenMode::ReadWrite)?;
        let known = library.links().linked_servers()?;
        let Some((_, songs)) = known.iter().find(|(name, _)| name == server.as_str()) else {
            bail!(
                "no ids of {server} are stored: \"voisin link\" shows the servers that are linked"
            );
        };
        library
            .links_mut()
            // A server without links is no longer listed.
            .set_links(server.as_str(), &[], &BTreeMap::new())?;
        context
            .console
            .note(&format!("{} of {server} deleted", count(*songs, "id")));
        return Ok(Ending::Fine);
    }
    let (Some(server), Some(user)) = (&args.server, &args.user) else {
        return list(context, args);
    };
    // Checked before the prompt for a password.
    let is_typed = args.password_file.is_none() && std::env::var_os("VOISIN_PASSWORD").is_none();
    if is_typed && !server.is_there() {
        bail!(
            "no answer from {}: is the server running, and is that its address?",
            server.as_str()
        );
    }
    let password = password(args.password_file.as_deref())?;
    let kind = if args.jellyfin {
        ServerKind::Jellyfin
    } else if args.plex {
        ServerKind::Plex
    } else {
        ServerKind::Subsonic
    };
    // Not locked during the requests to the server, which may take minutes.
    let mut library = Library::open(&dir, OpenMode::ReadWrite)?;
    let console = context.console;
    let progress = |songs: usize| console.detail(&format!("{} read", count(songs as u64, "song")));
    let linked = link(
        &mut library,
        server.clone(),
        kind,
        user,
        &password,
        &progress,
    )?;
    match args.format {
        ReportFormat::Json => render::print_json(&linked)?,
        ReportFormat::Table => print(context, &linked)?,
    }
    Ok(if linked.unmatched.is_empty() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

fn list(context: &Context, args: &LinkArgs) -> anyhow::Result<Ending> {
    let known = Library::open_to_read(&context.library_dir())?
        .links()
        .linked_servers()?;
    if known.is_empty() {
        context
            .console
            .note("no server is linked: run \"voisin link URL --user NAME\"");
    }
    let ending = if known.is_empty() {
        Ending::Partial
    } else {
        Ending::Fine
    };
    if args.format == ReportFormat::Json {
        let all: Vec<ServerJson> = known
            .into_iter()
            .map(|(server, songs)| ServerJson { server, songs })
            .collect();
        render::print_json(&all)?;
        return Ok(ending);
    }
    if !known.is_empty() {
        let mut table = Table::new(&[("server", Align::Left), ("songs", Align::Right)]);
        known
            .into_iter()
            .for_each(|(server, songs)| table.row([server, songs.to_string()]));
        table.print()?;
    }
    Ok(ending)
}

fn print(context: &Context, linked: &LinkReport) -> anyhow::Result<()> {
    if !linked.unmatched.is_empty() {
        let mut table = Table::new(&[
            ("artist", Align::Left),
            ("title", Align::Left),
            ("path", Align::Left),
        ]);
        for song in linked.unmatched.iter().take(SHOWN) {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            table.row([text(&song.artist), song.title.clone(), text(&song.path)]);
        }
        table.print()?;
        let more = linked.unmatched.len().saturating_sub(SHOWN);
        let more = if more > 0 {
            format!("; {more} more with --format json")
        } else {
            String::new()
        };
        context.console.warn(&format!(
            "{} of {} not in the library: run \"voisin add\" on them, then this again{more}",
            count(linked.unmatched.len() as u64, "song"),
            linked.server
        ));
    }
    let mut how: Vec<_> = linked
        .found_by
        .iter()
        .map(|(how, count)| format!("{count} by {how}"))
        .collect();
    // A hash map has no order.
    how.sort();
    let how = if how.is_empty() {
        String::new()
    } else {
        format!(" ({})", how.join(", "))
    };
    context.console.note(&format!(
        "{} of {} linked{how}",
        count(linked.linked as u64, "song"),
        linked.server
    ));
    if linked.unknown_to_server > 0 {
        let unknown = linked.unknown_to_server as u64;
        let tracks = count_with(
            unknown,
            "track of the library is",
            "tracks of the library are",
        );
        context.console.note(&format!("{tracks} not on the server"));
    }
    Ok(())
}
