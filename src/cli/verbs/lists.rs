//! `voisin lists`.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::cli::args::{ListFormat, ListsArgs, ListsCommand, PushListsArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::password::password;
use crate::cli::render::track::{FactColumns, print_list};
use crate::cli::render::{self, Align, Table, count};
use crate::cli::seeds::{library_seeds, one_seed, one_seed_name, seed_names};
use crate::cli::{Ending, NothingFound};
use voisin_base::text::with_causes;
use voisin_engine::{Engine, SeedName, meta};
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_library::{Library, OpenMode, Track, stored_path};
use voisin_players::lists::{ListError, ListPlace, MediaKind, SavedList};
use voisin_questions::Mixing;
use voisin_questions::saved::{
    KnownParts, SavedQuestion, TEMPLATES, Template, TemplateJson, check_name,
};
use voisin_questions::seed::NamedSeed;

/// The documented JSON of `lists`: a list of these.
#[derive(Serialize)]
struct ListJson<'a> {
    name: &'a str,
    question: serde_json::Value,
    to: &'a [ListPlace],
    pushed: Option<i64>,
}

pub(crate) fn run(context: &Context, args: &ListsArgs) -> anyhow::Result<Ending> {
    match &args.command {
        None => all(context, args.format),
        Some(ListsCommand::Save {
            name,
            template,
            question,
        }) => save(context, name, template.as_deref(), question.as_deref()),
        Some(ListsCommand::Show {
            name,
            random_seed,
            output,
        }) => {
            output.check()?;
            let mut engine = context.open_engine()?;
            let list = SavedList::named(engine.library(), name)?;
            check_seeds(&list, &engine, name)?;
            // Drawn here and not in the engine, so that it can be printed and used again.
            let random = random_seed.unwrap_or_else(random);
            let tracks = list.question.run(
                &mut engine,
                &Mixing::default(),
                random,
                KnownParts::default(),
            )?;
            let metas: Vec<TrackMeta> = tracks
                .iter()
                .map(|track| meta(track, &Taxonomy::default()))
                .collect();
            let gone = list.question.gone(&engine);
            let (_, absent) = list.question.without_absent(&engine);
            if !absent.is_empty() {
                context.console.note(&format!(
                    "excludes nothing, as it is not in the library: {}",
                    absent.join(", ")
                ));
            }
            if gone > 0 {
                context.console.note(&format!(
                    "gone from the library: {} that it names; the others are used",
                    count(gone as u64, "track")
                ));
            }
            if output.format == ListFormat::Table && matches!(list.question, SavedQuestion::Mix(_))
            {
                context
                    .console
                    .note(&format!("the same list again: --random-seed {random}"));
            }
            print_list(
                &engine,
                &[],
                &metas.iter().collect::<Vec<_>>(),
                None,
                name,
                &FactColumns::new([]),
                output,
            )?;
            Ok(if tracks.is_empty() {
                Ending::Partial
            } else {
                Ending::Fine
            })
        }
        Some(ListsCommand::Remove { name }) => {
            SavedList::remove(
                &mut Library::open(&context.library_dir(), OpenMode::ReadWrite)?,
                name,
            )?;
            context.console.note(&format!(
                "\"{name}\" is deleted; playlists that were pushed stay where they are"
            ));
            Ok(Ending::Fine)
        }
        Some(ListsCommand::Push(args)) => push(context, args),
        Some(ListsCommand::Templates { format }) => templates(*format),
    }
}

/// A random number that is short enough to type.
fn random() -> u64 {
    // The standard library's only source of randomness; it need not be secure.
    RandomState::new().hash_one(0) % 1_000_000
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

fn all(context: &Context, format: ReportFormat) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    let all = SavedList::all(&library, |error| context.console.warn(&error.to_string()))?;
    if format == ReportFormat::Json {
        render::print_json(
            &all.iter()
                .map(|(name, list)| ListJson {
                    name,
                    question: list.question.as_json(),
                    to: &list.to,
                    pushed: list.pushed,
                })
                .collect::<Vec<_>>(),
        )?;
        return Ok(Ending::Fine);
    }
    if all.is_empty() {
        context.console.note(
            "no list is saved yet: see \"voisin lists templates\" and \"voisin lists save --help\"",
        );
        return Ok(Ending::Partial);
    }
    let columns = [
        ("name", Align::Left),
        ("query", Align::Left),
        ("pushed to", Align::Left),
        ("ago", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for (name, list) in all {
        let places: Vec<String> = list.to.iter().map(ToString::to_string).collect();
        let ago = list.pushed.map_or_else(String::new, |at| ago(now() - at));
        table.row([
            name,
            list.question.kind().to_owned(),
            places.join(", "),
            ago,
        ]);
    }
    table.print()?;
    Ok(Ending::Fine)
}

/// A time span in one unit.
fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn templates(format: ReportFormat) -> anyhow::Result<Ending> {
    if format == ReportFormat::Json {
        render::print_json(&TEMPLATES.iter().map(TemplateJson::new).collect::<Vec<_>>())?;
        return Ok(Ending::Fine);
    }
    let mut table = Table::new(&[("template", Align::Left), ("description", Align::Left)]);
    TEMPLATES
        .iter()
        .for_each(|template| table.row([template.name, template.about]));
    table.print()?;
    Ok(Ending::Fine)
}

fn save(
    context: &Context,
    name: &str,
    template: Option<&str>,
    question: Option<&SavedQuestion>,
) -> anyhow::Result<Ending> {
    check_name(name)?;
    let mut engine = context.open_engine()?;
    let mut question = match (template, question) {
        (Some(template), None) => Template::named(template).map(Template::question).with_context(|| {
            format!("there is no template \"{template}\": \"voisin lists templates\" lists all templates")
        })?,
        (None, Some(question)) => question.clone(),
        (Some(_), Some(_)) => bail!("expected a template or a query, found both"),
        (None, None) => bail!(
            "expected a query to save, found only a name: add --template NAME, or one of similar, mix, list, find, path, artists and albums with its options"
        ),
    };
    // Words are resolved now, as later they might match other tracks.
    let is_path = matches!(question, SavedQuestion::Path(_));
    question.pin(|named| pinned(context, &engine, named, is_path))?;
    // Templates are for any library.
    if template.is_none() {
        question.check(&mut engine)?;
    }
    let list = SavedList::keep(engine.library_mut(), name, question)?;
    let next = if list.to.is_empty() {
        format!("\"voisin lists show '{name}'\" runs it")
    } else {
        "the next \"voisin lists push\" renews its playlists".to_owned()
    };
    context
        .console
        .note(&format!("saved as \"{name}\": {next}"));
    Ok(Ending::Fine)
}

/// Tracks of the library by their ids.
fn pinned(
    context: &Context,
    engine: &Engine,
    named: &[NamedSeed],
    one_each: bool,
) -> anyhow::Result<Vec<NamedSeed>> {
    let names = if one_each {
        let names = named.iter().map(one_seed_name);
        names.collect::<anyhow::Result<Vec<_>>>()?
    } else {
        seed_names(named)?
    };
    let mut pinned = Vec::new();
    for name in &names {
        let seeds = if one_each {
            vec![one_seed(context, engine, name)?]
        } else {
            library_seeds(context, engine, std::slice::from_ref(name))?
        };
        // A phrase is resolved at each run, and so includes new tracks.
        if let SeedName::Sounds(phrase) = SeedName::parse(name) {
            pinned.push(NamedSeed::Sounds(phrase.to_owned()));
            continue;
        }
        for seed in seeds {
            let Some(track) = seed.track else {
                bail!(
                    "{} is not in the library, which a saved list needs: run \"voisin add\" on it first",
                    seed.path.display()
                );
            };
            pinned.push(NamedSeed::Id(track.0));
        }
    }
    Ok(pinned)
}

/// The place to push a list to, by the options.
fn place(args: &PushListsArgs, name: &str) -> Option<ListPlace> {
    if let Some(server) = &args.server {
        let user = args.user.clone().unwrap_or_default();
        let server = server.to_string();
        let id = None;
        let kind = match (args.jellyfin, args.plex) {
            (true, _) => MediaKind::Jellyfin,
            (_, true) => MediaKind::Plex,
            _ => return Some(ListPlace::Subsonic { server, user, id }),
        };
        return Some(ListPlace::Media {
            kind,
            server,
            user,
            id,
        });
    }
    if args.mpd {
        // Stored with the list, as the server that renews it may run in another environment.
        let host = args
            .host
            .clone()
            .or_else(|| std::env::var("MPD_HOST").ok())
            .unwrap_or_default();
        return Some(ListPlace::Mpd {
            host,
            port: args.port,
        });
    }
    let folder = stored_path(args.folder.as_ref()?);
    Some(ListPlace::File(folder.join(format!(
        "{name}.{}",
        if args.smart { "nsp" } else { "m3u8" }
    ))))
}

fn push(context: &Context, args: &PushListsArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let mut ending = Ending::Fine;
    let all = SavedList::all(engine.library(), |error| {
        if args.name.is_empty() {
            context.console.warn(&error.to_string());
            ending = Ending::Partial;
        }
    })?;
    // An unknown name is a mistake: nothing is pushed.
    for name in &args.name {
        SavedList::named(engine.library(), name)?;
    }
    let is_old = |list: &SavedList| {
        args.older_than
            .is_none_or(|age| list.pushed.is_none_or(|at| now() - at >= age.0 as i64))
    };
    let wanted = |(name, list): &(String, SavedList)| {
        if args.name.is_empty() {
            !list.to.is_empty()
        } else {
            args.name.contains(name)
        }
    };
    let wanted: Vec<(String, SavedList)> = all.into_iter().filter(wanted).collect();
    if wanted.is_empty() {
        let text =
            "no list was pushed before: name one and its place, see \"voisin lists push --help\"";
        return Err(NothingFound(text.to_owned()).into());
    }
    for (name, mut list) in wanted.into_iter().filter(|(_, list)| is_old(list)) {
        if args.forget {
            list.to.clear();
            list.store(engine.library_mut(), &name)?;
            context.console.note(&format!(
                "\"{name}\" is no longer pushed; existing playlists stay"
            ));
            continue;
        }
        let places: Vec<ListPlace> =
            place(args, &name).map_or_else(|| list.to.clone(), |place| vec![place]);
        if places.is_empty() {
            bail!("\"{name}\" was not pushed before: add --folder, --mpd or --server");
        }
        // An error of one list does not prevent the others from being renewed.
        match put(context, &mut engine, args, &name, &mut list, &places) {
            Ok(true) => {}
            Ok(false) => ending = Ending::Partial,
            Err(error) if args.name.is_empty() => {
                context
                    .console
                    .warn(&format!("{name}: {}", with_causes(&*error)));
                ending = Ending::Partial;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ending)
}

fn check_seeds(list: &SavedList, engine: &Engine, name: &str) -> anyhow::Result<()> {
    list.check_seeds(engine.library(), name)
        .map_err(|error| match error {
            ListError::Gone { .. } => NothingFound(error.to_string()).into(),
            other => other.into(),
        })
}

/// Pushes a list to places; returns whether all of its songs are there.
fn put(
    context: &Context,
    engine: &mut Engine,
    args: &PushListsArgs,
    name: &str,
    list: &mut SavedList,
    places: &[ListPlace],
) -> anyhow::Result<bool> {
    let is_smart = |place: &ListPlace| matches!(place, ListPlace::File(path) if path.extension().is_some_and(|e| e == "nsp"));
    let tracks: Vec<Track> = if places.iter().all(is_smart) {
        Vec::new()
    } else {
        check_seeds(list, engine, name)?;
        list.question
            .run(engine, &Mixing::default(), random(), KnownParts::default())?
    };
    // An earlier playlist is not replaced by an empty one.
    if tracks.is_empty() && !places.iter().all(is_smart) {
        bail!("no track passes its filters: existing playlists stay");
    }
    // Read only if a place needs one, which files and MPD do not.
    let password = || password(args.password_file.as_deref()).map_err(|error| format!("{error:#}"));
    let mut left_out = 0;
    let mut first_error = None;
    for place in places {
        let pushed = list.push(
            engine.library(),
            name,
            place,
            &tracks,
            &password,
            args.force,
        );
        let missing = match pushed {
            Ok(missing) => missing,
            // An error of one place does not prevent the others from being renewed.
            Err(error) => {
                first_error.get_or_insert(error);
                continue;
            }
        };
        let missed = if missing == 0 {
            String::new()
        } else {
            format!("; {missing} missing there")
        };
        let what = if is_smart(place) {
            "rules".to_owned()
        } else {
            count((tracks.len() - missing) as u64, "song")
        };
        context
            .console
            .note(&format!("\"{name}\": {what} in {place}{missed}"));
        left_out += missing;
    }
    // Unchanged if a place failed, so that the next run tries that one again.
    if first_error.is_none() {
        list.pushed = Some(now());
    }
    // Stored even then: without the ids of new playlists, the next run would create them twice.
    let stored = list.store(engine.library_mut(), name);
    if let Some(error) = first_error {
        return Err(error.into());
    }
    stored?;
    Ok(left_out == 0)
}
