//! `voisin mpd`.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::cli::args::{MpdArgs, MpdCommand, MpdCommon};
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::cli::{Ending, NothingFound};
use voisin_base::track::TrackId;
use voisin_engine::{Engine, MixOptions};
use voisin_players::mpd::{Mpd, MpdAddress, MpdError, MpdSongs, PORT, Playing};

/// Number of songs played last that steer the mix.
const LAST: usize = 50;
/// Interval of checks for Ctrl-C while MPD is idle.
const GLANCE: Duration = Duration::from_millis(200);
/// The shortest and the longest pause between two attempts to reconnect.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(crate) fn run(context: &Context, args: &MpdArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    match &args.command {
        MpdCommand::Playlist {
            common,
            limit,
            keep_queue,
        } => playlist(context, &mut engine, common, *limit as usize, *keep_queue),
        MpdCommand::Similar { common, limit } => {
            similar(context, &mut engine, common, *limit as usize)
        }
        MpdCommand::Follow { common, ahead } => {
            follow(context, &mut engine, common, *ahead as usize)
        }
    }
}

/// MPD's address, found as by its own clients.
fn address(common: &MpdCommon) -> anyhow::Result<MpdAddress> {
    let host = common
        .host
        .clone()
        .or_else(|| std::env::var("MPD_HOST").ok())
        .unwrap_or_default();
    // With an option the variable is not read, and need not be a number.
    let port = match (common.port, std::env::var("MPD_PORT")) {
        (None, Ok(text)) if !text.is_empty() => match text.parse() {
            Ok(port) => Some(port),
            Err(_) => bail!("MPD_PORT: expected a port from 1 to 65535, found \"{text}\""),
        },
        (port, _) => port,
    };
    Ok(match (host.as_str(), port) {
        // Without any setting the default socket is tried, too.
        ("", None) => MpdAddress::usual(),
        (host, port) => MpdAddress::read(host, port.unwrap_or(PORT)),
    })
}

const RANDOM: &str = "MPD plays in random order, which would ignore that of a list: turn it off (\"mpc random off\"), then run this again";

/// The song that plays, and its track.
fn current(mpd: &Mpd, songs: &MpdSongs) -> anyhow::Result<(Playing, u32, TrackId)> {
    let playing = mpd.playing()?;
    if playing.is_random {
        bail!(RANDOM);
    }
    let Some((place, _, file)) = &playing.current else {
        return Err(NothingFound(
            "MPD plays nothing: start a song, then run this again".to_owned(),
        )
        .into());
    };
    let Some(track) = songs.track(file) else {
        let text = format!(
            "the current song is not in the library: {file}: run \"voisin add\" on it first (both must have the same files)"
        );
        return Err(NothingFound(text).into());
    };
    let place = *place;
    Ok((playing, place, track))
}

fn songs(context: &Context, mpd: &mut Mpd, engine: &Engine) -> anyhow::Result<MpdSongs> {
    let songs = mpd.songs(engine.library())?;
    context.console.detail(&format!(
        "{} of {} of MPD are in the library",
        songs.count(),
        count(songs.files as u64, "file")
    ));
    // Most likely another music folder; otherwise each song would be reported as unknown.
    if songs.count() == 0 {
        let text = format!(
            "none of MPD's {} is in the library: run \"voisin add\" on MPD's music folder, and \"mpc update\"",
            count(songs.files as u64, "file")
        );
        return Err(NothingFound(text).into());
    }
    Ok(songs)
}

/// Songs that follow one, of those that MPD has.
///
/// - `played`: songs played after it, oldest first
/// - `without`: songs to leave out
fn mix(
    engine: &mut Engine,
    common: &MpdCommon,
    (mpd, songs): (&mut Mpd, &MpdSongs),
    seed: TrackId,
    played: &[TrackId],
    without: &HashSet<TrackId>,
    limit: usize,
) -> anyhow::Result<Vec<TrackId>> {
    let seeds = [engine.seed_of(seed)?];
    common.filters.check_folders(engine)?;
    // Without those removed from the library meanwhile.
    let played = played
        .iter()
        .filter_map(|&track| engine.seed_of(track).ok())
        .collect();
    let options = MixOptions {
        limit,
        filter: common.filters.filter(engine, &seeds)?,
        among: Some(songs.tracks_without(without)),
        played,
        external_history: mpd.listened(songs),
        ..common.mixing.options()
    };
    Ok(engine
        .mix(&seeds, &options)?
        .into_iter()
        .map(|song| song.track.id)
        .collect())
}

fn nothing(context: &Context) -> Ending {
    context
        .console
        .note("nothing found: loosen the filters or add more music");
    Ending::Partial
}

fn similar(
    context: &Context,
    engine: &mut Engine,
    common: &MpdCommon,
    limit: usize,
) -> anyhow::Result<Ending> {
    let mut mpd = Mpd::connect(&address(common)?)?;
    let songs = songs(context, &mut mpd, engine)?;
    let (_, place, track) = current(&mpd, &songs)?;
    let queued = queued(&mpd, &songs)?;
    let found = mix(
        engine,
        common,
        (&mut mpd, &songs),
        track,
        &[],
        &queued,
        limit,
    )?;
    if found.is_empty() {
        return Ok(nothing(context));
    }
    let mut added = 0;
    // In the order of the list, at increasing places.
    for file in found.iter().filter_map(|&track| songs.file(track)) {
        if is_added(context, &mpd, file, Some(place + 1 + added))? {
            added += 1;
        }
    }
    context.console.note(&format!(
        "{} added after the current song",
        count(added.into(), "song")
    ));
    Ok(if added as usize == found.len() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

/// Adds a file to the queue; one that MPD has lost meanwhile is reported and left out.
fn is_added(
    context: &Context,
    mpd: &Mpd,
    file: &str,
    place: Option<u32>,
) -> Result<bool, MpdError> {
    match mpd.add(file, place) {
        Err(error @ MpdError::Gone { .. }) => {
            context.console.warn(&format!("{error}: it is left out"));
            Ok(false)
        }
        added => added.map(|()| true),
    }
}

/// The tracks of the queue.
fn queued(mpd: &Mpd, songs: &MpdSongs) -> Result<HashSet<TrackId>, MpdError> {
    Ok(mpd
        .queue()?
        .iter()
        .filter_map(|(_, file)| songs.track(file))
        .collect())
}

fn playlist(
    context: &Context,
    engine: &mut Engine,
    common: &MpdCommon,
    limit: usize,
    keep_queue: bool,
) -> anyhow::Result<Ending> {
    let mut mpd = Mpd::connect(&address(common)?)?;
    let songs = songs(context, &mut mpd, engine)?;
    let (_, _, track) = current(&mpd, &songs)?;
    let out = if keep_queue {
        queued(&mpd, &songs)?
    } else {
        HashSet::new()
    };
    let list = mix(engine, common, (&mut mpd, &songs), track, &[], &out, limit)?;
    if list.is_empty() {
        return Ok(nothing(context));
    }
    // The list is added first, so that an error does not leave the queue empty. Only songs from
    // before are deleted.
    let before = mpd.queue()?;
    let playing = mpd.playing()?.current.map(|(_, id, _)| id);
    let mut added = 0;
    for file in list.iter().filter_map(|&track| songs.file(track)) {
        added += usize::from(is_added(context, &mpd, file, None)?);
    }
    let others = before
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| Some(*id) != playing);
    // By id, not by place: places shift with each deletion.
    for id in others.filter(|_| !keep_queue) {
        mpd.delete(id)?;
    }
    context.console.note(&format!(
        "{} added after the current song",
        count(added as u64, "song")
    ));
    Ok(if added == list.len() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

/// The state of `follow` over lost connections.
#[derive(Default)]
struct Followed {
    /// All songs of the queue since the start, in the order of their appearance.
    seen: Vec<TrackId>,
    /// Those that this program added.
    added: HashSet<TrackId>,
    /// The seed: the song that the user chose last.
    chosen: Option<TrackId>,
    /// The last message, so that it is not repeated.
    last_message: Option<String>,
}

impl Followed {
    fn note(&mut self, context: &Context, text: String) {
        if self.last_message.as_ref() != Some(&text) {
            context.console.note(&text);
            self.last_message = Some(text);
        }
    }
}

fn follow(
    context: &Context,
    engine: &mut Engine,
    common: &MpdCommon,
    ahead: usize,
) -> anyhow::Result<Ending> {
    let address = address(common)?;
    let stop = context.stop_with_message("stopping: MPD continues to play")?;
    let mut mpd = Mpd::connect(&address)?;
    if mpd.playing()?.is_random {
        bail!(RANDOM);
    }
    let mut followed = Followed::default();
    context
        .console
        .note(&format!("following MPD at {address} until Ctrl-C"));
    let mut pause = SHORTEST_PAUSE;
    loop {
        let begun = Instant::now();
        match attend(
            context,
            engine,
            common,
            ahead,
            &mut mpd,
            &mut followed,
            &stop,
        ) {
            Ok(()) => return Ok(Ending::Fine),
            Err(error)
                if error
                    .downcast_ref::<MpdError>()
                    .is_some_and(MpdError::is_passing) =>
            {
                followed.note(
                    context,
                    format!("connection to MPD lost: trying again ({error:#})"),
                );
            }
            Err(error) => return Err(error),
        }
        // Exponential backoff, as a server may drop every connection.
        pause = if begun.elapsed() > LONGEST_PAUSE {
            SHORTEST_PAUSE
        } else {
            (2 * pause).min(LONGEST_PAUSE)
        };
        // Reconnects, and checks for Ctrl-C meanwhile.
        loop {
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if stop.load(Ordering::Relaxed) {
                    return Ok(Ending::Fine);
                }
                std::thread::sleep(GLANCE);
            }
            match Mpd::connect(&address) {
                Ok(again) => {
                    mpd = again;
                    followed.note(context, "connected to MPD again".to_owned());
                    break;
                }
                // A wrong password or host is permanent.
                Err(error) if error.is_passing() => pause = (2 * pause).min(LONGEST_PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Keeps the queue filled until Ctrl-C, or until the connection is lost.
fn attend(
    context: &Context,
    engine: &mut Engine,
    common: &MpdCommon,
    ahead: usize,
    mpd: &mut Mpd,
    followed: &mut Followed,
    stop: &std::sync::atomic::AtomicBool,
) -> anyhow::Result<()> {
    /// Interval at which the songs of MPD and the library are matched again.
    const FRESH: Duration = Duration::from_mins(10);
    let mut songs = songs(context, mpd, engine)?;
    let mut read = Instant::now();
    let mut changed = true;
    while !stop.load(Ordering::Relaxed) {
        if changed {
            if read.elapsed() > FRESH {
                songs = self::songs(context, mpd, engine)?;
                read = Instant::now();
            }
            match fill(context, engine, common, ahead, mpd, &songs, followed) {
                // The queue is full, or the server has a temporary error: tried again at the next change.
                Err(error) if matches!(error.downcast_ref(), Some(MpdError::Refused { .. })) => {
                    followed.note(context, format!("nothing is added now: {error:#}"));
                }
                filled => filled?,
            }
        }
        let before = Instant::now();
        if !mpd.wait(GLANCE) {
            return Err(mpd.lost().into());
        }
        // The wait ended early, so MPD reported a change.
        changed = before.elapsed() < GLANCE;
    }
    Ok(())
}

fn fill(
    context: &Context,
    engine: &mut Engine,
    common: &MpdCommon,
    ahead: usize,
    mpd: &mut Mpd,
    songs: &MpdSongs,
    followed: &mut Followed,
) -> anyhow::Result<()> {
    let playing = mpd.playing()?;
    let Some((place, _, file)) = playing.current.as_ref().filter(|_| playing.is_on) else {
        return Ok(());
    };
    if playing.is_random {
        followed.note(
            context,
            "MPD plays in random order: nothing is added until it is off".to_owned(),
        );
        return Ok(());
    }
    let queue = mpd.queue()?;
    let known: HashSet<TrackId> = followed.seen.iter().copied().collect();
    let queued = queue.iter().filter_map(|(_, file)| songs.track(file));
    followed
        .seen
        .extend(queued.filter(|track| !known.contains(track)));
    // `place` counts from 0; the queue may have been shortened between two answers.
    let rest = (playing.length.saturating_sub(place + 1)) as usize;
    let wanted = ahead.saturating_sub(rest);
    if wanted == 0 {
        return Ok(());
    }
    // Songs added here follow the one that the user chose, or if that is unknown a song of the queue.
    let current = songs
        .track(file)
        .or_else(|| queue.iter().rev().find_map(|(_, file)| songs.track(file)));
    let Some(current) = current else {
        followed.note(
            context,
            format!("not in the library: {file}: run \"voisin add\" on it"),
        );
        return Ok(());
    };
    if songs.track(file).is_none() {
        followed.note(
            context,
            format!("not in the library: {file}: continuing from another song of the queue"),
        );
    }
    // Otherwise each song that was added would be the seed of the next, and the mix would drift.
    let seed = match followed.chosen {
        Some(chosen) if followed.added.contains(&current) => chosen,
        _ => *followed.chosen.insert(current),
    };
    let mut missing = wanted;
    // Repeated for files that MPD has lost meanwhile; it ends, as candidates only become fewer.
    while missing > 0 {
        let last = &followed.seen[followed.seen.len().saturating_sub(LAST)..];
        let without = followed.seen.iter().copied().collect();
        let found = mix(engine, common, (mpd, songs), seed, last, &without, missing)?;
        if found.is_empty() {
            let text = "everything that fits has been in the queue: nothing comes twice";
            followed.note(context, text.to_owned());
            break;
        }
        for track in found {
            followed.seen.push(track);
            followed.added.insert(track);
            let Some(file) = songs.file(track) else {
                continue;
            };
            if is_added(context, mpd, file, None)? {
                missing -= 1;
                context.console.detail(&format!("added {file}"));
            }
        }
    }
    Ok(())
}
