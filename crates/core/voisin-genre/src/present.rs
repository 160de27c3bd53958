//! Determines which genres of the first guess are among a library's labels, so that missing ones can
//! be reported.
//!
//! A genre is present by its name, by a table of related styles, or by sound: if the first guess
//! takes enough tracks of a label for it, the label is another name for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::taxonomy::{read_table, table_lines};
use super::{Genre, GenreError, GenreShare, Guess, GuessShare};
use voisin_base::text;

const SHIPPED: &str = include_str!("../../../../data/genre-kin.tsv");
/// Least probability of a first guess that is used.
const BELIEVED: f32 = 0.5;
/// Key of the genre of audiobooks and podcasts.
const SPEECH: &str = "speech";
/// Least share of a label's tracks predicted as a genre for that genre to be present.
const SOUNDS_SO: f64 = 0.1;

/// Families of related styles.
#[derive(Debug, Clone)]
pub struct KinStyles(Vec<BTreeSet<String>>);

impl KinStyles {
    /// The built-in families (`data/genre-kin.tsv`), and a user's own, if the file
    /// exists.
    ///
    /// # Errors
    /// The file cannot be read; a line has fewer than two styles.
    pub fn with_user_file(path: &Path) -> Result<Self, GenreError> {
        let mut kin = Self(Vec::new());
        kin.extend_from_tsv(SHIPPED, Path::new("data/genre-kin.tsv"))?;
        if path.is_file() {
            kin.extend_from_tsv(&read_table(path)?, path)?;
        }
        Ok(kin)
    }

    fn extend_from_tsv(&mut self, table: &str, path: &Path) -> Result<(), GenreError> {
        for (number, line) in table_lines(table) {
            let styles: BTreeSet<String> = line
                .split('\t')
                .map(text::key)
                .filter(|key| !key.is_empty())
                .collect();
            if styles.len() < 2 {
                let path = path.to_owned();
                let line = number;
                return Err(GenreError::KinLine {
                    path,
                    line,
                    styles: styles.len(),
                });
            }
            self.0.push(styles);
        }
        Ok(())
    }

    /// Whether a label is a kind of speech: an audiobook, a podcast, a lecture.
    pub fn is_speech(&self, label: &Genre) -> bool {
        self.covers_key(label, SPEECH)
    }

    /// Whether a label is a genre of the first guess or related to it.
    fn covers(&self, label: &Genre, guessed: &Genre) -> bool {
        label == guessed || self.covers_key(label, guessed.key())
    }

    /// - `guessed`: the key of a genre of the first guess
    fn covers_key(&self, label: &Genre, guessed: &str) -> bool {
        // A label's words count as well as the whole: `Modern Jazz` belongs to the family of
        // `Jazz`.
        let words = label
            .name()
            .split(|c: char| !c.is_alphanumeric())
            .map(text::key);
        let keys: Vec<String> = words
            .chain([label.key().to_owned()])
            .filter(|key| !key.is_empty())
            .collect();
        keys.iter().any(|key| key == guessed)
            || self.0.iter().any(|family| {
                family.contains(guessed) && keys.iter().any(|key| family.contains(key))
            })
    }
}

/// The genres of the first guess that are among a library's labels.
#[derive(Debug, Clone)]
pub struct PresentGenres {
    labels: BTreeSet<Genre>,
    /// Genres that are present by sound.
    sounding: BTreeSet<Genre>,
    kin: KinStyles,
}

impl PresentGenres {
    /// - `labels`: of each labelled track
    /// - `guesses`: first guesses of some of the tracks, by their number among `labels`
    pub fn new(labels: &[Vec<Genre>], guesses: &[(usize, Guess)], kin: KinStyles) -> Self {
        let mut guessed_tracks: BTreeMap<&Genre, usize> = BTreeMap::new();
        let mut taken: BTreeMap<(&Genre, &Genre), usize> = BTreeMap::new();
        for (row, guess) in guesses {
            for label in labels.get(*row).into_iter().flatten() {
                *guessed_tracks.entry(label).or_default() += 1;
                // An uncertain guess is no evidence.
                if let Some(guessed) = believed(guess) {
                    *taken.entry((label, &guessed.genre)).or_default() += 1;
                }
            }
        }
        let is_often = |((label, _), count): &(&(&Genre, &Genre), &usize)| {
            // Relative to the tracks with that label, since a common label would get every genre by
            // chance.
            **count as f64 >= SOUNDS_SO * guessed_tracks.get(label).copied().unwrap_or(0) as f64
        };
        let sounding = taken
            .iter()
            .filter(is_often)
            .map(|((_, guessed), _)| (*guessed).clone())
            .collect();
        Self::known(labels.iter().flatten().cloned().collect(), sounding, kin)
    }

    /// - `labels`: genres that tracks are labelled with
    /// - `sounding`: genres that are present by sound
    pub fn known(labels: BTreeSet<Genre>, sounding: BTreeSet<Genre>, kin: KinStyles) -> Self {
        Self {
            labels,
            sounding,
            kin,
        }
    }

    /// Genres that are present by sound.
    pub fn sounding(&self) -> impl Iterator<Item = &Genre> {
        self.sounding.iter()
    }

    /// The genre of the guess and its probability, if the labels lack it; `None` if they have it or
    /// the guess is too uncertain.
    pub fn lacking(&self, guess: &Guess) -> Option<GenreShare> {
        let GuessShare {
            genre, probability, ..
        } = believed(guess)?;
        let is_there = self.sounding.contains(genre)
            || self
                .labels
                .iter()
                .any(|label| self.kin.covers(label, genre));
        (!is_there).then(|| GenreShare {
            genre: genre.clone(),
            share: *probability,
        })
    }
}

impl Guess {
    /// Whether speech is more likely than not.
    pub fn is_speech(&self) -> bool {
        believed(self).is_some_and(|share| share.genre.key() == SPEECH)
    }
}

/// The most likely genre of a guess, if it is more likely than not.
fn believed(guess: &Guess) -> Option<&GuessShare> {
    guess
        .shares
        .first()
        .filter(|share| share.probability >= BELIEVED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Basis, Taxonomy};

    fn guess(name: &str, probability: f32) -> Guess {
        let genre = Taxonomy::default().genre(name).unwrap();
        let share = GuessShare {
            genre: genre.clone(),
            probability,
            basis: Basis::Labels,
        };
        Guess {
            genre: Some(genre),
            probability,
            shares: vec![share],
        }
    }

    fn kin() -> KinStyles {
        KinStyles::with_user_file(Path::new("no such file")).unwrap()
    }

    fn labels(names: &[&str]) -> Vec<Vec<Genre>> {
        names
            .iter()
            .map(|name| Taxonomy::default().parse(&[name]))
            .collect()
    }

    #[test]
    fn audiobooks_and_podcasts_are_speech_and_songs_are_not() {
        let is_speech = |name: &str| kin().is_speech(&Taxonomy::default().genre(name).unwrap());
        for name in [
            "Audiobook",
            "speech",
            "True Crime Podcast",
            "Spoken Word",
            "Hörbuch",
        ] {
            assert!(is_speech(name), "{name}");
        }
        for name in ["Hip-Hop", "Radio", "Chanson", "Musical", "Comedy Rock"] {
            assert!(!is_speech(name), "{name}");
        }
    }

    #[test]
    fn a_genre_is_present_by_name_by_kin_or_by_sound() {
        let lacks = |names: &[&str], sounds: &str| {
            let present = PresentGenres::new(&labels(names), &[], kin());
            present
                .lacking(&guess(sounds, 0.6))
                .map(|share| share.genre.to_string())
        };
        assert_eq!(
            lacks(&["Rock", "Classical"], "Reggae").as_deref(),
            Some("Reggae")
        );
        for (label, sounds) in [
            ("hip hop", "Hip-Hop"),
            ("Alternative Rock", "Blues"),
            ("Melodic Death Metal", "Punk"),
            ("Techno", "Electronic"),
            ("Baroque", "Classical"),
            ("Drum'n'Bass", "Ambient"),
            ("Soul", "Disco"),
        ] {
            assert_eq!(lacks(&[label], sounds), None, "{label} has {sounds}");
        }
        assert_eq!(
            lacks(&["Rocksteady"], "Rock").as_deref(),
            Some("Rock"),
            "no word of it"
        );
        let present = PresentGenres::new(&labels(&["Rock"]), &[], kin());
        assert_eq!(present.lacking(&guess("Jazz", 0.49)), None, "too unsure");
        assert_eq!(
            present
                .lacking(&guess("Jazz", 0.5))
                .map(|share| share.share),
            Some(0.5)
        );

        // Twenty tracks of a style outside the tables: two taken for reggae are a tenth, one is
        // not.
        let labelled = labels(&["Mbaqanga"; 20]);
        let with_reggae = |reggae: usize| -> Vec<(usize, Guess)> {
            (0..20)
                .map(|row| {
                    (
                        row,
                        guess(if row < reggae { "Reggae" } else { "Folk" }, 0.7),
                    )
                })
                .collect()
        };
        let lacks = |reggae| {
            PresentGenres::new(&labelled, &with_reggae(reggae), kin())
                .lacking(&guess("Reggae", 0.9))
        };
        assert!(lacks(1).is_some() && lacks(2).is_none());
        let unsure: Vec<(usize, Guess)> = (0..20).map(|row| (row, guess("Reggae", 0.4))).collect();
        assert!(
            PresentGenres::new(&labelled, &unsure, kin())
                .lacking(&guess("Reggae", 0.9))
                .is_some()
        );
    }

    #[test]
    fn a_users_families_are_added_and_bad_lines_are_reported() {
        let path = Path::new("genre-kin.tsv");
        let mut kin_styles = kin();
        kin_styles
            .extend_from_tsv("# mine\n\nMbaqanga\tReggae\n", path)
            .unwrap();
        let with = PresentGenres::new(&labels(&["mbaqanga"]), &[], kin_styles);
        assert_eq!(with.lacking(&guess("Reggae", 0.9)), None);
        let without = PresentGenres::new(&labels(&["mbaqanga"]), &[], kin());
        assert!(without.lacking(&guess("Reggae", 0.9)).is_some());
        for bad in ["Reggae\tSka\nDub\n", "Reggae\tSka\n\0\t\t-\u{1}\n"] {
            let message = kin().extend_from_tsv(bad, path).unwrap_err().to_string();
            assert!(
                message.contains("genre-kin.tsv, line 2: expected two styles or more"),
                "{message}"
            );
        }
    }
}
