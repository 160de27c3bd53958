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

/// Merges the tags of a file, which fill each other's gaps.
fn from_all(all: &[Tag], is_opus: bool) -> TrackTags {
    let mut merged = TrackTags::default();
    for tag in all {
        let tags = from_one(tag, is_opus);
        merged.title = merged.title.or(tags.title);
        merged.artist = merged.artist.or(tags.artist);
        merged.album = merged.album.or(tags.album);
        merged.album_artist = merged.album_artist.or(tags.album_artist);
        merged.composer = merged.composer.or(tags.composer);
        merged.year = merged.year.or(tags.year);
        merged.track_number = merged.track_number.or(tags.track_number);
        merged.disc_number = merged.disc_number.or(tags.disc_number);
        merged.mbid = merged.mbid.or(tags.mbid);
        merged.isrc = merged.isrc.or(tags.isrc);
        merged.licence = merged.licence.or(tags.licence);
        merged.bpm = merged.bpm.or(tags.bpm);
        merged.musical_key = merged.musical_key.or(tags.musical_key);
        merged.replay_gain = merged.replay_gain.or(tags.replay_gain);
        // From one kind alone: kinds repeat genres, often in other spellings.
        if merged.genres.is_empty() {
            merged.genres = tags.genres;
        }
    }
    merged
}

const RELEASE_DATES: [ItemKey; 3] = [ItemKey::RecordingDate, ItemKey::Year, ItemKey::ReleaseDate];

/// The earliest year in the first of these fields that has one: a field with several has the recording's beside those of
/// reissues.
fn earliest_year(tag: &Tag, dates: &[ItemKey]) -> Option<i32> {
    dates.iter().find_map(|key| {
        let texts = tag.get_strings(*key).flat_map(values);
        texts.filter_map(|text| year(&text)).min()
    })
}

fn from_one(tag: &Tag, is_opus: bool) -> TrackTags {
    let replay_gain = || {
        let mut texts = tag.get_strings(ItemKey::ReplayGainTrackGain);
        texts.find_map(decibels)
    };
    let r128_gain = || {
        let mut texts = tag.get_strings(ItemKey::R128TrackGain);
        texts.find_map(gain_of_opus)
    };
    let joined = |key| {
        // Frames repeat each other.
        let mut known = HashSet::new();
        let parts = tag.get_strings(key).flat_map(values);
        let parts: Vec<String> = parts.filter(|part| known.insert(part.clone())).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    };
    let number = |key| tag.get_strings(key).find_map(leading_number);
    TrackTags {
        title: joined(ItemKey::TrackTitle),
        artist: joined(ItemKey::TrackArtist),
        album: joined(ItemKey::AlbumTitle),
        album_artist: joined(ItemKey::AlbumArtist),
        composer: joined(ItemKey::Composer),
        genres: tag.get_strings(ItemKey::Genre).flat_map(values).collect(),
        // The recording's year before that of a reissue.
        year: earliest_year(tag, &[ItemKey::OriginalReleaseDate])
            .or_else(|| earliest_year(tag, &RELEASE_DATES)),
        track_number: number(ItemKey::TrackNumber),
        disc_number: number(ItemKey::DiscNumber),
        mbid: tag
            .get_strings(ItemKey::MusicBrainzRecordingId)
            .find_map(mbid),
        isrc: tag.get_strings(ItemKey::Isrc).find_map(isrc),
        // Fields for a licence first; a copyright notice only if it names one.
        licence: [ItemKey::License, ItemKey::CopyrightUrl]
            .into_iter()
            .find_map(|key| tag.get_strings(key).flat_map(values).next())
            .or_else(|| {
                tag.get_strings(ItemKey::CopyrightMessage)
                    .flat_map(values)
                    .find(|text| names_licence(text))
            }),
        bpm: [ItemKey::Bpm, ItemKey::IntegerBpm]
            .into_iter()
            .find_map(|key| {
                tag.get_strings(key)
                    .find_map(|text| within(text, 10.0, 1000.0))
            }),
        musical_key: tag.get_strings(ItemKey::InitialKey).flat_map(values).next(),
        // RFC 7845, 5.2.1: Opus has its own gain, and others must be ignored.
        replay_gain: if is_opus {
            r128_gain().or_else(replay_gain)
        } else {
            replay_gain().or_else(r128_gain)
        },
    }
}

#[cfg(test)]
mod tests;
