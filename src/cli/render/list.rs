//! The output of `list` and `show`: tracks as a list, and the card of a track.

use std::collections::BTreeSet;

use super::find::rank;
use super::track::{Column, Listing, id};
use super::{Align, Table, clock, count};
use crate::cli::args::{ListFormat, Output, ReportFormat};
use voisin::questions::answers::card::{Card, NearJson, PlaceJson};
use voisin::questions::answers::list::PageJson;
use voisin::{Standing, StrongTags, TrackPage};
use voisin_library::{ScaleName, Track};

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
    listing.print(&json, "voisin list", output)
}

/// `2-07`: disc and number; empty without a number.
fn number_on_album(track: &Track) -> String {
    match (track.tags.disc_number, track.tags.track_number) {
        (Some(disc), Some(number)) => format!("{disc}-{number:02}"),
        (None, Some(number)) => number.to_string(),
        (_, None) => String::new(),
    }
}

/// - `standings`: the meaning of the similarities on each card, as far as it is known
pub(crate) fn print_cards(
    cards: &[Card],
    standings: &[Option<Standing>],
    format: ReportFormat,
) -> anyhow::Result<()> {
    match format {
        ReportFormat::Json => super::print_json(&cards),
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
    let name = card.track.meta().display();
    let id = id(card.track.id);
    super::print_line(&super::one_line(&format!("{name} (id:{id})")))?;
    for (name, value) in tag_lines(card).into_iter().chain(sound_lines(card)) {
        if !value.is_empty() {
            super::print_wrapped(&format!("  {name:<12}  "), &value)?;
        }
    }
    print_nearest(&card.nearest, standing)
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn tag_lines(card: &Card) -> Vec<(&'static str, String)> {
    let tags = &card.track;
    let genres = tags.genres.join(", ");
    // Most albums are by one artist, whose name need not be shown twice.
    let album_artist = tags.album_artist.as_ref();
    let album_artist = album_artist.filter(|name| tags.artist.as_ref() != Some(name));
    // Beside voisin's own measurements, and genres only if they differ from its labels.
    let tagged = [
        Some(card.tagged_genres.join(", ")).filter(|tagged| *tagged != genres),
        card.tagged_bpm.map(|bpm| format!("{bpm} beats a minute")),
        card.tagged_key.as_ref().map(|key| format!("key {key}")),
        tags.replay_gain
            .map(|gain| format!("ReplayGain {gain:+.2} dB")),
    ];
    let tagged = tagged.into_iter().flatten().filter(|tag| !tag.is_empty());
    let tagged = tagged.collect::<Vec<_>>().join(", ");
    vec![
        ("album", text(tags.album.as_ref())),
        ("album artist", text(album_artist)),
        ("composer", text(tags.composer.as_ref())),
        ("genre", genres),
        ("year", text(tags.year)),
        ("licence", text(tags.licence.as_ref())),
        ("MusicBrainz", text(tags.mbid.as_ref())),
        ("ISRC", text(tags.isrc.as_ref())),
        ("tags", tagged),
    ]
}

fn sound_lines(card: &Card) -> Vec<(&'static str, String)> {
    let measured = &card.measured;
    let tempo = measured.tempo;
    let about = if measured.loudness_is_exact { "" } else { "~" };
    let loudness = measured.loudness;
    let scales = measured.scales.iter().map(|(name, value)| {
        let error = text(value.error.map(|error| format!(" ± {error:.0}")));
        format!("{name} {:.0}{error}", value.value)
    });
    let words = card.track.words.iter().flatten();
    let words = words.map(|word| format!("{} ({})", word.word, rank(word.percentile)));
    let voice = card.sung.map(|chance| match chance {
        ..0.5 => format!("none, {:.0} % sure", 100.0 * (1.0 - chance)),
        _ => format!("yes, {:.0} % sure", 100.0 * chance),
    });
    let cluster = card.cluster;
    let channels = count(card.channels.into(), "channel");
    let mut lines = vec![
        ("time", clock(card.track.seconds)),
        (
            "tempo",
            text(tempo.map(|bpm| format!("{bpm:.1} beats a minute"))),
        ),
        ("key", text(measured.key)),
        (
            "loudness",
            text(loudness.map(|lufs| format!("{about}{lufs:.1} LUFS"))),
        ),
        ("scales", scales.collect::<Vec<_>>().join(", ")),
        ("predicted", card.predicted.summary.clone()),
        ("sounds", words.collect::<Vec<_>>().join(", ")),
        ("voice", text(voice)),
        (
            "cluster",
            text(cluster.map(|id| format!("{id}, as of the last \"voisin clusters\""))),
        ),
        (
            "audio",
            format!("{}, {} Hz, {channels}", card.track.codec, card.sample_rate),
        ),
    ];
    let place = |file: &PlaceJson| ("file", format!("{} ({})", file.path, file.state));
    lines.extend(card.places.iter().map(place));
    lines
}

fn print_nearest(nearest: &[NearJson], standing: Option<&Standing>) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("  nearest", Align::Left),
        ("similarity", Align::Left),
        ("artist", Align::Left),
        ("title", Align::Left),
        ("genre", Align::Left),
    ]);
    for found in nearest {
        let nearness = standing.and_then(|standing| standing.closeness(found.similarity));
        table.row([
            format!("  id:{}", found.track.id),
            format!("{:.3} {}", found.similarity, text(nearness)),
            text(found.track.artist.as_ref()),
            found.track.title.clone(),
            found.genres.join(", "),
        ]);
    }
    table.print()
}
