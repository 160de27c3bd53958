//! The output of `list` and `show`: tracks as a list, and the card of a track.

use std::collections::BTreeSet;

use super::find::rank;
use super::safe::table_path;
use super::track::{lossy, print_files, title};
use super::{Align, Table, clock, count};
use crate::cli::args::{ListFormat, ListOutput, ReportFormat};
use voisin_engine::{Standing, StrongTags, TrackPage, meta};
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_library::{Descriptors, ScaleName, Track, licence_id};
use voisin_questions::answers::card::{Card, CardJson, state};
use voisin_questions::answers::list::{PageJson, TrackJson};

/// Prints a page of tracks, in the requested format.
///
/// - `by_album`: whether the tracks are sorted by album
/// - `shown`: scales that a table shows
pub(crate) fn print_page(
    page: &TrackPage,
    words: &StrongTags,
    by_album: bool,
    shown: &BTreeSet<ScaleName>,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let words_of = |track: &Track| words.get(&track.id).map_or(&[][..], Vec::as_slice);
    let json = |track: &Track| {
        TrackJson::new(
            track,
            page.descriptors.get(&track.id),
            Some(words_of(track)),
        )
    };
    // The scales of which some track has a value.
    let scales: BTreeSet<ScaleName> = page
        .descriptors
        .values()
        .flat_map(|known| known.scales.keys().copied())
        .collect();
    match output.format {
        ListFormat::Table => print_table(page, words, by_album, shown),
        ListFormat::Json => super::print_json(&PageJson::new(page, Some(words))),
        ListFormat::Csv => super::print_csv(
            [
                "id", "path", "artist", "title", "album", "genres", "year", "seconds", "licence",
                "mbid", "isrc", "tempo", "key", "loudness", "words",
            ]
            .into_iter()
            .chain(scales.iter().map(ScaleName::as_str)),
            page.tracks
                .iter()
                .map(|track| (&track.path, json(track)))
                .map(|(path, track)| {
                    let number = |value: Option<f64>| {
                        value.map_or_else(String::new, |value| format!("{value:.2}"))
                    };
                    let values = scales
                        .iter()
                        .map(|name| number(track.scales.get(name.as_str()).copied()));
                    let values: Vec<String> = values.collect();
                    let facts = [
                        super::track::id(track.id),
                        table_path(path),
                        track.artist.unwrap_or_default(),
                        track.title,
                        track.album.unwrap_or_default(),
                        track.genres.join(";"),
                        track.year.map_or_else(String::new, |year| year.to_string()),
                        format!("{:.2}", track.seconds),
                        track.licence.unwrap_or_default(),
                        track.mbid.unwrap_or_default(),
                        track.isrc.unwrap_or_default(),
                        number(track.tempo),
                        track.key.unwrap_or_default().to_owned(),
                        number(track.loudness),
                        track
                            .words
                            .into_iter()
                            .flatten()
                            .map(|word| word.word)
                            .collect::<Vec<_>>()
                            .join(";"),
                    ];
                    facts.into_iter().chain(values).collect::<Vec<_>>()
                }),
        ),
        _ => {
            let metas: Vec<TrackMeta> = page
                .tracks
                .iter()
                .map(|track| meta(track, &Taxonomy::default()))
                .collect();
            print_files(&metas.iter().collect::<Vec<_>>(), "voisin list", output)
        }
    }
}

/// Prints the table, without columns that are empty for all tracks.
fn print_table(
    page: &TrackPage,
    words: &StrongTags,
    by_album: bool,
    scales: &BTreeSet<ScaleName>,
) -> anyhow::Result<()> {
    let measured = |track: &Track| page.descriptors.get(&track.id).cloned().unwrap_or_default();
    let any = |has: &dyn Fn(&Track) -> bool| page.tracks.iter().any(has);
    let tempo = any(&|track| measured(track).tempo.is_some());
    let key = any(&|track| measured(track).key.is_some());
    let loudness = any(&|track| measured(track).loudness.is_some());
    let licence = any(&|track| track.tags.licence.is_some());
    let year = any(&|track| track.tags.year.is_some());
    let mut columns = vec![
        (true, ("id", Align::Right)),
        (by_album, ("album", Align::Left)),
        (by_album, ("no.", Align::Right)),
        (true, ("artist", Align::Left)),
        (true, ("title", Align::Left)),
        (true, ("genre", Align::Left)),
        (year, ("year", Align::Right)),
        (true, ("time", Align::Right)),
        (tempo, ("bpm", Align::Right)),
        (key, ("key", Align::Left)),
        (loudness, ("LUFS", Align::Right)),
        (licence, ("licence", Align::Left)),
        (!words.is_empty(), ("words", Align::Left)),
        (true, ("path", Align::Left)),
    ];
    // Scales come before the path, which is the first column to be cut.
    let path = columns.len() - 1;
    let names = scales
        .iter()
        .map(|name| (true, (name.as_str(), Align::Right)));
    columns.splice(path..path, names);
    let shown: Vec<(&str, Align)> = columns
        .iter()
        .filter(|(is_shown, _)| *is_shown)
        .map(|(_, column)| *column)
        .collect();
    let mut table =
        Table::new(&shown).leaving_out(&["path", "licence", "LUFS", "key", "bpm", "time", "genre"]);
    for track in &page.tracks {
        let descriptors = measured(track);
        let values = scales.iter().map(|name| {
            let value = descriptors.scales.get(name);
            value.map_or_else(String::new, |value| format!("{:.0}", value.value))
        });
        let mut cells = vec![
            track.id.to_string(),
            // Cells of hidden columns are made too: both are filtered by the same list below.
            track.album().unwrap_or_default().to_owned(),
            number_on_album(track),
            track.main_artist().unwrap_or_default().to_owned(),
            title(track),
            track.tags.genres.join(", "),
            track
                .tags
                .year
                .map_or_else(String::new, |year| year.to_string()),
            clock(track.audio.seconds),
            descriptors
                .tempo
                .map_or_else(String::new, |tempo| format!("{tempo:.0}")),
            descriptors
                .key
                .map_or_else(String::new, |key| key.to_string()),
            descriptors
                .loudness
                .map_or_else(String::new, |_| loudness_text(&descriptors)),
            track
                .tags
                .licence
                .as_deref()
                .map(licence_id)
                .unwrap_or_default(),
            words
                .get(&track.id)
                .map(|words| words_text(words))
                .unwrap_or_default(),
            lossy(&track.path),
        ];
        cells.splice(path..path, values);
        table.row(
            cells
                .into_iter()
                .zip(&columns)
                .filter(|(_, (is_shown, _))| *is_shown)
                .map(|(cell, _)| cell),
        );
    }
    table.print()
}

/// `2-07`: disc and number; empty without a number.
fn number_on_album(track: &Track) -> String {
    match (track.tags.disc_number, track.tags.track_number) {
        (Some(disc), Some(number)) => format!("{disc}-{number:02}"),
        (None, Some(number)) => number.to_string(),
        (_, None) => String::new(),
    }
}

fn words_text(words: &[(String, f32)]) -> String {
    words
        .iter()
        .map(|(word, _)| word.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn loudness_text(measured: &Descriptors) -> String {
    let about = if measured.loudness_is_exact { "" } else { "~" };
    measured
        .loudness
        .map_or_else(String::new, |loudness| format!("{about}{loudness:.1}"))
}

/// `energy 71 ± 6, calm 40`
fn scales_text(measured: &Descriptors) -> String {
    let texts = measured.scales.iter().map(|(name, value)| {
        let error = value.error.map(|error| format!(" ± {error:.0}"));
        let error = error.unwrap_or_default();
        format!("{name} {:.0}{error}", value.value)
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Prints cards.
///
/// - `standings`: the meaning of the similarities on each card, as far as it is known
pub(crate) fn print_cards(
    cards: &[Card],
    standings: &[Option<Standing>],
    format: ReportFormat,
) -> anyhow::Result<()> {
    match format {
        ReportFormat::Json => {
            super::print_json(&cards.iter().map(CardJson::new).collect::<Vec<_>>())
        }
        ReportFormat::Table => {
            for (i, card) in cards.iter().enumerate() {
                if i > 0 {
                    super::print_line("")?;
                }
                print_card(card, standings.get(i).and_then(Option::as_ref))?;
            }
            Ok(())
        }
    }
}

fn print_card(card: &Card, standing: Option<&Standing>) -> anyhow::Result<()> {
    // Destructured without `..`, so that a new field of a card must be shown here or ignored explicitly.
    let Card {
        track,
        tagged_genres,
        measured,
        predicted,
        cluster,
        words,
        sung,
        nearest,
        windows,
    } = card;
    let tags = &track.tags;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut add = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push((name, value));
        }
    };
    add("album", tags.album.clone());
    add(
        "album artist",
        tags.album_artist
            .clone()
            // Most albums are by one artist, whose name need not be shown twice.
            .filter(|name| tags.artist.as_ref() != Some(name)),
    );
    add("composer", tags.composer.clone());
    add("genre", Some(tags.genres.join(", ")));
    add("year", tags.year.map(|year| year.to_string()));
    add("time", Some(clock(track.audio.seconds)));
    add("licence", tags.licence.as_deref().map(licence_id));
    add("MusicBrainz", tags.mbid.clone());
    add("ISRC", tags.isrc.clone());
    let descriptors = measured.clone().unwrap_or_default();
    add(
        "tempo",
        descriptors
            .tempo
            .map(|tempo| format!("{tempo:.1} beats a minute")),
    );
    add("key", descriptors.key.map(|key| key.to_string()));
    add(
        "loudness",
        descriptors
            .loudness
            .map(|_| format!("{} LUFS", loudness_text(&descriptors))),
    );
    add("scales", Some(scales_text(&descriptors)));
    // Tags beside voisin's own measurements, and genres only if they differ from its labels.
    let tagged = [
        Some(tagged_genres.join(", "))
            .filter(|genres| *genres != tags.genres.join(", ") && !genres.is_empty()),
        tags.bpm.map(|bpm| format!("{bpm} beats a minute")),
        tags.musical_key.as_ref().map(|key| format!("key {key}")),
        tags.replay_gain
            .map(|gain| format!("ReplayGain {gain:+.2} dB")),
    ];
    add(
        "tags",
        Some(tagged.into_iter().flatten().collect::<Vec<_>>().join(", ")),
    );
    add("predicted", Some(predicted.summary()));
    let shares = words
        .iter()
        .flatten()
        .map(|(word, share)| format!("{word} ({})", rank(*share)));
    add("sounds", Some(shares.collect::<Vec<_>>().join(", ")));
    let voice = |chance: f32| {
        let (what, chance) = if chance < 0.5 {
            ("none", 1.0 - chance)
        } else {
            ("yes", chance)
        };
        format!("{what}, {:.0} % sure", 100.0 * chance)
    };
    add("voice", sung.map(voice));
    add(
        "cluster",
        cluster.map(|cluster| format!("{cluster}, as of the last \"voisin clusters\"")),
    );
    let audio = &track.audio;
    let sound = format!(
        "{}, {} Hz, {}, {} analysed",
        audio.codec,
        audio.sample_rate,
        count(audio.channels.into(), "channel"),
        count(*windows as u64, "window")
    );
    add("audio", Some(sound));
    // The state is checked on the disk now, to show whether each file still exists.
    for file in &track.files {
        let at = lossy(&file.record.path);
        let state = state(&file.record);
        add("file", Some(format!("{at} ({state})")));
    }
    let artist = track
        .main_artist()
        .map_or_else(String::new, |artist| format!("{artist} – "));
    let head = format!("{artist}{} (id:{})", title(track), track.id);
    super::print_line(&super::one_line(&head))?;
    for (name, value) in lines {
        super::print_wrapped(&format!("  {name:<12}  "), &value)?;
    }
    if nearest.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("  nearest", Align::Left),
        ("similarity", Align::Left),
        ("artist", Align::Left),
        ("title", Align::Left),
        ("genre", Align::Left),
    ]);
    for found in nearest {
        let nearness = standing.and_then(|standing| standing.closeness(found.similarity));
        let nearness = nearness.map_or_else(String::new, |nearness| nearness.to_string());
        table.row([
            format!("  id:{}", found.track.id),
            format!("{:.3} {nearness}", found.similarity),
            found.track.main_artist().unwrap_or_default().to_owned(),
            title(&found.track),
            found
                .genres
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        ]);
    }
    table.print()
}
