//! Merges a file's tags of all kinds, the richest first, into one set of fields.
//!
//! For: which text is which field. Not for: raw texts of a file (`texts`), parsing one text (`values`), pictures
//! (`cover`).

use std::collections::HashSet;
use std::path::Path;

use lofty::tag::{ItemKey, Tag};

use super::values::{
    decibels, gain_of_opus, isrc, leading_number, mbid, names_licence, values, within, year,
};
use super::{TrackTags, texts};
use crate::AudioError;
use crate::guard::guard;
use crate::source::open;

/// Reads a file's tags; of damaged ones, what can be read. Never panics.
///
/// The content decides the format, not the name. Cover art is not loaded. Errors are those of the file
/// system only. If a file has several kinds of tags (`ID3v2`, APE and `ID3v1` in an MP3), the richer kind
/// counts and the others fill its gaps; genres all come from one kind.
pub fn read_tags(path: &Path) -> Result<TrackTags, AudioError> {
    let mut file = open(path)?;
    // A panic in damaged tags leaves the file without tags, not the run without the file.
    let read = guard(path, || {
        let (all, is_opus) = texts::read(&mut file)?;
        Ok::<_, std::io::Error>(from_all(&all, is_opus))
    });
    read.unwrap_or_else(|_| Ok(TrackTags::default()))
        .map_err(|error| AudioError::from_io(path, error))
}

/// The fields of a file's tags, each of the first one that has it.
fn from_all(all: &[Tag], is_opus: bool) -> TrackTags {
    let joined = |key| all.iter().find_map(|tag| joined(tag, key));
    let gains = [
        first(all, ItemKey::R128TrackGain, gain_of_opus),
        first(all, ItemKey::ReplayGainTrackGain, decibels),
    ];
    let genres = |tag: &Tag| -> Vec<String> {
        let texts = tag.get_strings(ItemKey::Genre);
        texts.flat_map(values).collect()
    };
    TrackTags {
        title: joined(ItemKey::TrackTitle),
        artist: joined(ItemKey::TrackArtist),
        album: joined(ItemKey::AlbumTitle),
        album_artist: joined(ItemKey::AlbumArtist),
        composer: joined(ItemKey::Composer),
        // From one kind alone: kinds repeat genres, often in other spellings.
        genres: all
            .iter()
            .map(genres)
            .find(|genres| !genres.is_empty())
            .unwrap_or_default(),
        year: all.iter().find_map(year_of),
        track_number: first(all, ItemKey::TrackNumber, leading_number),
        disc_number: first(all, ItemKey::DiscNumber, leading_number),
        mbid: first(all, ItemKey::MusicBrainzRecordingId, mbid),
        isrc: first(all, ItemKey::Isrc, isrc),
        licence: all.iter().find_map(licence_of),
        bpm: all.iter().find_map(bpm_of),
        musical_key: first(all, ItemKey::InitialKey, |text| values(text).next()),
        // RFC 7845, 5.2.1: Opus has its own gain, and others must be ignored.
        replay_gain: if is_opus {
            gains[0].or(gains[1])
        } else {
            gains[1].or(gains[0])
        },
    }
}

/// The first text of a field that can be parsed.
fn first<T>(all: &[Tag], key: ItemKey, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut texts = all.iter().flat_map(|tag| tag.get_strings(key));
    texts.find_map(parse)
}

fn joined(tag: &Tag, key: ItemKey) -> Option<String> {
    // Frames repeat each other.
    let mut known = HashSet::new();
    let parts = tag.get_strings(key).flat_map(values);
    let parts: Vec<String> = parts.filter(|part| known.insert(part.clone())).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The recording's year before that of a reissue; a field with several has both.
fn year_of(tag: &Tag) -> Option<i32> {
    use ItemKey::{OriginalReleaseDate, RecordingDate, ReleaseDate, Year};
    let dates = [OriginalReleaseDate, RecordingDate, Year, ReleaseDate];
    dates.into_iter().find_map(|key| {
        let texts = tag.get_strings(key).flat_map(values);
        texts.filter_map(|text| year(&text)).min()
    })
}

fn bpm_of(tag: &Tag) -> Option<f64> {
    let fields = [ItemKey::Bpm, ItemKey::IntegerBpm].into_iter();
    let mut texts = fields.flat_map(|key| tag.get_strings(key));
    texts.find_map(|text| within(text, 10.0, 1000.0))
}

/// Fields for a licence first; a copyright notice only if it names one.
fn licence_of(tag: &Tag) -> Option<String> {
    let fields = [ItemKey::License, ItemKey::CopyrightUrl].into_iter();
    let mut texts = fields.flat_map(|key| tag.get_strings(key).flat_map(values));
    texts.next().or_else(|| {
        let mut notices = tag.get_strings(ItemKey::CopyrightMessage).flat_map(values);
        notices.find(|text| names_licence(text))
    })
}

#[cfg(test)]
mod tests;
