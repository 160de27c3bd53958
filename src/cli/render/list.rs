//! The output of `list` and `show`: tracks as a list, and the card of a track.

use std::collections::BTreeSet;

use super::find::rank;
use super::track::{Column, Listing, lossy, metas, title};
use super::{Align, Table, clock, count};
use crate::cli::args::{ListFormat, Output, ReportFormat};
use voisin::questions::answers::card::{Card, CardJson, state};
use voisin::questions::answers::list::PageJson;
use voisin::{Standing, StrongTags, TrackPage};
use voisin_library::{Descriptors, ScaleName, Track, licence_id};

/// Prints a page of tracks, in the requested format.
///
/// - `by_album`: whether the tracks are sorted by album
/// - `shown`: scales that a table shows
pub(crate) fn print_page(
    page: &TrackPage,
    words: &StrongTags,
    by_album: bool,
    shown: &BTreeSet<ScaleName>,
    output: &Output,
) -> anyhow::Result<()> {
    let json = PageJson::new(page, Some(words));
    let mut facts: Vec<&str> = vec![
        "year", "licence", "mbid", "isrc", "tempo", "key", "loudness", "words",
    ];
    if output.format == ListFormat::Csv {
        let known = json.tracks.iter().flat_map(|track| track.scales.keys());
        facts.extend(known.map(String::as_str).collect::<BTreeSet<_>>());
    } else {
        facts.retain(|fact| !["mbid", "isrc"].contains(fact));
        facts.extend(shown.iter().map(ScaleName::as_str));
    }
    let column = |name: &str, align, cell: fn(&Track) -> String| {
        Column::plain(name, "", align, &page.tracks, cell).for_people()
    };
    let leads = if by_album {
        let album = |track: &Track| track.album().unwrap_or_default().to_owned();
        vec![
            column("album", Align::Left, album),
            column("no.", Align::Right, number_on_album),
        ]
    } else {
        Vec::new()
    };
    let listing = Listing {
        tracks: json.tracks.iter().collect(),
        is_ranked: false,
        leads,
        facts: facts.into_iter().map(str::to_owned).collect(),
    };
    listing.print(&json, &metas(&page.tracks), "voisin list", output)
}

/// `2-07`: disc and number; empty without a number.
fn number_on_album(track: &Track) -> String {
    match (track.tags.disc_number, track.tags.track_number) {
        (Some(disc), Some(number)) => format!("{disc}-{number:02}"),
        (None, Some(number)) => number.to_string(),
        (_, None) => String::new(),
    }
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
        "{}, {} Hz, {}",
        audio.codec,
        audio.sample_rate,
        count(audio.channels.into(), "channel")
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
            found.track.tags.genres.join(", "),
        ]);
    }
    table.print()
}
