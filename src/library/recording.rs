//! Detects copies of one recording by similarity, name and length, and versions of one song by name.

use crate::artists::artist_keys;
use voisin_base::text::fold;
use voisin_base::track::is_same_recording;

/// Least cosine of copies with the same title and artist: re-encoded at 128 kbit/s and less, a copy has 0.998 to 0.999
/// with its original.
pub const LEAST_OF_COPIES: f32 = 0.99;
/// The same if one of the two has no title: copies of untagged files at 192 kbit/s have 0.9989 with their originals.
const NEAR_WITHOUT_NAME: f32 = 0.998;
/// Seconds by which lengths of copies may differ, and the share of the length that copies with the same name may
/// differ by in addition.
pub const APART: f64 = 1.0;
const SHARE_APART: f64 = 0.02;

/// The facts about a track by which copies are recognised.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    pub title: Option<&'a str>,
    pub artist: Option<&'a str>,
    /// Length; 0 if unknown.
    pub seconds: f64,
}

impl Recording<'_> {
    /// Whether two tracks hold one recording.
    ///
    /// - `similarity`: cosine of their vectors
    pub fn is_copy(&self, other: &Self, similarity: f32) -> bool {
        if is_same_recording(similarity) {
            return true;
        }
        if similarity < LEAST_OF_COPIES {
            return false;
        }
        let titles = [self.title, other.title].map(folded);
        if titles.iter().all(Option::is_some) {
            return self.has_name_of(other, APART + SHARE_APART * self.seconds);
        }
        // Tracks without titles may be cut to one length, as samples are, so one of the two needs a
        // title: a tagged file and an untagged copy of it.
        titles.iter().any(Option::is_some)
            && similarity >= NEAR_WITHOUT_NAME
            && self.seconds.min(other.seconds) > 0.0
            && (self.seconds - other.seconds).abs() <= APART
    }

    /// Whether two tracks have one title and one main artist.
    ///
    /// - `apart`: seconds by which their lengths may differ
    pub fn has_name_of(&self, other: &Self, apart: f64) -> bool {
        let title = folded(self.title);
        title.is_some()
            && title == folded(other.title)
            && main_artist(self.artist) == main_artist(other.artist)
            && (self.seconds - other.seconds).abs() <= apart
    }
}

/// What stands once in a list: the main artist and the title of a track, folded; `None` if one is missing.
pub fn song(artist: Option<&str>, title: Option<&str>) -> Option<[String; 2]> {
    Some([main_artist(artist)?, folded(title)?])
}

fn main_artist(artist: Option<&str>) -> Option<String> {
    artist_keys(artist?).into_iter().find(|key| !key.is_empty())
}

fn folded(text: Option<&str>) -> Option<String> {
    text.map(fold).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lengths_tell_copies_of_lower_rates() {
        let song = Recording {
            title: Some("Song"),
            artist: Some("A"),
            seconds: 200.0,
        };
        let untagged = Recording {
            title: None,
            artist: None,
            seconds: 200.4,
        };
        let louder = Recording {
            title: Some("SONG"),
            ..song
        };
        let cover = Recording {
            artist: Some("B"),
            ..song
        };
        let longer = Recording {
            seconds: 230.0,
            ..untagged
        };
        assert!(song.is_copy(&cover, 0.999_95));
        assert!(song.is_copy(&louder, 0.991) && !song.is_copy(&louder, 0.98));
        let with_guest = Recording {
            artist: Some("a feat. B"),
            ..song
        };
        assert!(song.is_copy(&with_guest, 0.991) && !cover.is_copy(&with_guest, 0.991));
        assert!(!song.is_copy(&cover, 0.9995));
        assert!(song.is_copy(&untagged, 0.9989) && !song.is_copy(&untagged, 0.997));
        assert!(!song.is_copy(&longer, 0.9989) && !untagged.is_copy(&untagged, 0.9989));
    }

    #[test]
    fn guests_case_and_accents_do_not_count() {
        let known = song(Some("Björk"), Some("Jóga"));
        assert!(known.is_some());
        assert_eq!(song(Some("bjork feat. Beta"), Some("JOGA")), known);
        for (artist, title) in [
            (Some("Beta"), Some("Jóga")),
            (Some("Björk"), Some("Jóga (Live)")),
            (None, Some("Jóga")),
            (Some("Björk"), Some(" ")),
        ] {
            assert_ne!(song(artist, title), known);
        }
    }
}
