//! The output of `list` and `show`: tracks as a list, and the card of a track.

use std::collections::BTreeSet;

use super::find::rank;
use super::track::{Column, Listing, lossy, metas, title};
use super::{Align, Table, clock, count};
use crate::cli::args::{ListFormat, Output, ReportFormat};
use voisin::questions::answers::card::{Card, CardJson, state};
use voisin::questions::answers::list::PageJson;
use voisin::{SimilarTrack, Standing, StrongTags, TrackPage};
use voisin_library::{ScaleName, Track, licence_id};

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
    let artist = card.track.main_artist();
    let artist = artist.map_or_else(String::new, |artist| format!("{artist} – "));
    let title = title(&card.track);
    super::print_line(&super::one_line(&format!(
        "{artist}{title} (id:{})",
        card.track.id
    )))?;
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
    let tags = &card.track.tags;
    let genres = tags.genres.join(", ");
    // Most albums are by one artist, whose name need not be shown twice.
    let album_artist = tags.album_artist.as_ref();
    let album_artist = album_artist.filter(|name| tags.artist.as_ref() != Some(name));
    // Beside voisin's own measurements, and genres only if they differ from its labels.
    let tagged = [
        Some(card.tagged_genres.join(", ")).filter(|tagged| *tagged != genres),
        tags.bpm.map(|bpm| format!("{bpm} beats a minute")),
        tags.musical_key.as_ref().map(|key| format!("key {key}")),
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
        ("licence", text(tags.licence.as_deref().map(licence_id))),
        ("MusicBrainz", text(tags.mbid.as_ref())),
        ("ISRC", text(tags.isrc.as_ref())),
        ("tags", tagged),
    ]
}

fn sound_lines(card: &Card) -> Vec<(&'static str, String)> {
    let audio = &card.track.audio;
    let measured = card.measured.clone().unwrap_or_default();
    let tempo = measured.tempo;
    let about = if measured.loudness_is_exact { "" } else { "~" };
    let loudness = measured.loudness;
    let scales = measured.scales.iter().map(|(name, value)| {
        let error = text(value.error.map(|error| format!(" ± {error:.0}")));
        format!("{name} {:.0}{error}", value.value)
    });
    let words = card.words.iter().flatten();
    let words = words.map(|(word, share)| format!("{word} ({})", rank(*share)));
    let voice = card.sung.map(|chance| match chance {
        ..0.5 => format!("none, {:.0} % sure", 100.0 * (1.0 - chance)),
        _ => format!("yes, {:.0} % sure", 100.0 * chance),
    });
    let cluster = card.cluster;
    let channels = count(audio.channels.into(), "channel");
    let mut lines = vec![
        ("time", clock(audio.seconds)),
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
        ("predicted", card.predicted.summary()),
        ("sounds", words.collect::<Vec<_>>().join(", ")),
        ("voice", text(voice)),
        (
            "cluster",
            text(cluster.map(|id| format!("{id}, as of the last \"voisin clusters\""))),
        ),
        (
            "audio",
            format!("{}, {} Hz, {channels}", audio.codec, audio.sample_rate),
        ),
    ];
    // The state is checked on the disk now, to show whether each file still exists.
    lines.extend(card.track.files.iter().map(|file| {
        let at = lossy(&file.record.path);
        ("file", format!("{at} ({})", state(&file.record)))
    }));
    lines
}

fn print_nearest(nearest: &[SimilarTrack], standing: Option<&Standing>) -> anyhow::Result<()> {
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
            found.track.main_artist().unwrap_or_default().to_owned(),
            title(&found.track),
            found.track.tags.genres.join(", "),
        ]);
    }
    table.print()
}
