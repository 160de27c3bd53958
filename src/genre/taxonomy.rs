//! Parses the text of tags to genres.
//!
//! A [`Genre`] has the user's spelling and a key by which spellings are compared: `Hip-Hop`,
//! `hip hop` and `HIPHOP` are one genre. There is no hierarchy of genres: kinship is measured
//! ([`super::kinship`]).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::{Genre, GenreError, id3};
use voisin_base::regular_file;
use voisin_base::text::{self, clean};

/// Most bytes of a user's table.
const LARGEST: u64 = 1 << 26;

/// The lines of a table, numbered from 1, without comments (`#`) and empty lines.
pub(super) fn table_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Editors on Windows write a byte order mark before the first line.
    let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

/// Parses genre strings: separators, ID3 numbers, synonyms.
#[derive(Debug, Clone)]
pub struct Taxonomy {
    /// Folded spelling → its meaning.
    synonyms: Arc<HashMap<String, Meaning>>,
}

#[derive(Debug, Clone)]
enum Meaning {
    Genre(String),
    Nothing,
}

impl Default for Taxonomy {
    /// The synonyms shipped with the program (`data/genre-synonyms.tsv`).
    fn default() -> Self {
        // Parsed once, because a server needs it for every response.
        static SHIPPED: LazyLock<Taxonomy> = LazyLock::new(|| {
            let text = include_str!("../../data/genre-synonyms.tsv");
            Taxonomy::from_tsv(text, Path::new("data/genre-synonyms.tsv"))
                .expect("the shipped file is read in the tests")
        });
        SHIPPED.clone()
    }
}

impl Taxonomy {
    /// No synonyms at all: only case, accents, spaces and punctuation are folded.
    fn without_synonyms() -> Self {
        Self {
            synonyms: Arc::default(),
        }
    }

    /// Parses a synonym file: lines of `spelling<TAB>genre`, `#` comments, `-` for "no genre".
    ///
    /// `path` is only for errors.
    pub fn from_tsv(text: &str, path: &Path) -> Result<Self, GenreError> {
        let mut taxonomy = Self::without_synonyms();
        taxonomy.extend_from_tsv(text, path)?;
        Ok(taxonomy)
    }

    /// Adds a user's synonyms to the shipped ones, over which they take precedence.
    pub fn with_user_file(mut self, path: &Path) -> Result<Self, GenreError> {
        let text = regular_file::read_text(path, LARGEST).map_err(|source| GenreError::Io {
            path: path.to_owned(),
            source,
        })?;
        self.extend_from_tsv(&text, path)?;
        Ok(self)
    }

    /// As [`Self::with_user_file`], from text.
    fn extend_from_tsv(&mut self, text: &str, path: &Path) -> Result<(), GenreError> {
        for (number, line) in table_lines(text) {
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            let [spelling, genre] = fields[..] else {
                return Err(GenreError::SynonymLine {
                    path: path.to_owned(),
                    line: number,
                    columns: fields.len(),
                });
            };
            if spelling.is_empty() || genre.is_empty() {
                return Err(GenreError::SynonymLine {
                    path: path.to_owned(),
                    line: number,
                    columns: 1,
                });
            }
            let meaning = if genre == "-" {
                Meaning::Nothing
            } else {
                Meaning::Genre(text::key(genre))
            };
            let key = text::key(spelling);
            // Punctuation and control characters fold to an empty key, which is no genre.
            if key.is_empty() || matches!(&meaning, Meaning::Genre(meant) if meant.is_empty()) {
                return Err(GenreError::SynonymLine {
                    path: path.to_owned(),
                    line: number,
                    columns: 1,
                });
            }
            Arc::make_mut(&mut self.synonyms).insert(key, meaning);
        }
        Ok(())
    }

    /// The whole string as one genre, without splitting or numbers. `None` if it is no
    /// genre.
    pub fn genre(&self, spelling: &str) -> Option<Genre> {
        let name = clean(spelling);
        let mut key = text::key(&name);
        if key.is_empty() {
            return None;
        }
        // A user's synonym may refer to a shipped one; the limit ends cycles.
        for _ in 0..4 {
            match self.synonyms.get(&key) {
                Some(Meaning::Nothing) => return None,
                Some(Meaning::Genre(meant)) if *meant != key => key.clone_from(meant),
                _ => break,
            }
        }
        Some(Genre::from_parts(name, key))
    }

    /// The genres of names given by a user, one per name.
    pub fn named(&self, names: &[String]) -> Vec<Genre> {
        let names = names
            .iter()
            .map(|name| name.trim())
            .filter(|name| !name.is_empty());
        names
            .map(|name| self.genre(name).unwrap_or_else(|| Genre::plain(name)))
            .collect()
    }

    /// The genres of a tag's strings, in order, without repetitions.
    ///
    /// Splits at `;`, `|`, `>`, NUL, backslashes, line ends, and at `/`, `,` and `: ` unless the whole is a known name; other
    /// marks between genres count as one of these; parses `17`, `(17)`, `(17)(13)` and `(4)Eurodisco` as ID3 does (`(4)Eurodisco` is
    /// both, the text first). Strings that are no genre (`Unknown`, `(12)` = Other, `255`) are left
    /// out.
    pub fn parse<S: AsRef<str>>(&self, tags: &[S]) -> Vec<Genre> {
        let mut genres: Vec<Genre> = Vec::new();
        let mut push = |genre: Option<Genre>| {
            if let Some(genre) = genre
                && !genres.contains(&genre)
            {
                genres.push(genre);
            }
        };
        for tag in tags {
            let plain = |text: String, (mark, meant): &(&str, &str)| text.replace(mark, meant);
            let tag = MARKS.iter().fold(tag.as_ref().to_owned(), plain);
            // Separators that programs write between genres; NUL is that of ID3v2.4.
            for part in tag.split(['\0', ';', '|', '>', '\\', '\n', '\r', '\u{1f}']) {
                let (numbers, text) = id3_references(part.trim().trim_matches('-').trim());
                if !text.is_empty() {
                    // A known name may contain a separator, such as `Rap/Hip-Hop`, and is one
                    // genre.
                    if self.synonyms.contains_key(&text::key(text)) {
                        push(self.genre(text));
                    } else {
                        for list in text.replace(": ", ",").split(',') {
                            for piece in list.split('/') {
                                push(self.genre(numbered(piece).unwrap_or(piece)));
                            }
                        }
                    }
                }
                for name in numbers {
                    push(self.genre(name));
                }
            }
        }
        genres
    }
}

/// Marks that stores and players write between genres, and the usual ones.
const MARKS: [(&str, &str); 13] = [
    ("---", ">"),
    ("＞", ">"),
    ("；", ";"),
    ("｜", ";"),
    ("＼", ";"),
    ("：", ": "),
    ("／", "/"),
    ("，", ","),
    ("、", ","),
    (" • ", ";"),
    (" · ", ";"),
    (" » ", ";"),
    (" → ", ";"),
];

/// Chooses one spelling per genre: the most common, then the alphabetically first.
#[derive(Debug, Clone, Default)]
pub struct Spellings {
    counts: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Spellings {
    /// Counts the spellings in use.
    pub fn count<'a>(genres: impl IntoIterator<Item = &'a Genre>) -> Self {
        let mut spellings = Self::default();
        for genre in genres {
            *spellings
                .counts
                .entry(genre.key().to_owned())
                .or_default()
                .entry(genre.name().to_owned())
                .or_default() += 1;
        }
        spellings
    }

    /// All counted genres in their most common spelling, ordered by key.
    pub fn genres(&self) -> Vec<Genre> {
        self.counts
            .iter()
            .filter_map(|(key, names)| {
                // The most common spelling; of equals the first by name, so that it does not
                // depend on the order of tracks.
                let (name, _) = names
                    .iter()
                    .max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)))?;
                Some(Genre::from_parts(name.as_str(), key.as_str()))
            })
            .collect()
    }
}

/// Leading `(n)` references of ID3v2.3, and the text after them. `((` escapes a parenthesis.
fn id3_references(text: &str) -> (Vec<&'static str>, &str) {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('(') {
        if inner.starts_with('(') {
            return (names, inner);
        }
        let Some((reference, after)) = inner.split_once(')') else {
            break;
        };
        match reference.trim() {
            "RX" => names.push("Remix"),
            "CR" => names.push("Cover"),
            "255" => {}
            digits => match digits.parse().ok().and_then(id3::name) {
                Some(name) => names.push(name),
                None => break,
            },
        }
        rest = after.trim_start();
    }
    (names, numbered(rest).unwrap_or(rest))
}

/// The name of a bare ID3 number; `255` (none) is an empty one.
fn numbered(text: &str) -> Option<&'static str> {
    match text.trim().parse::<u32>().ok()? {
        255 => Some(""),
        number => id3::name(number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(tags: &[&str]) -> Vec<String> {
        Taxonomy::default()
            .parse(tags)
            .iter()
            .map(|g| g.name().to_owned())
            .collect()
    }

    #[test]
    fn tags_split_and_numbers_are_read() {
        assert_eq!(names(&["Rock; Punk"]), ["Rock", "Punk"]);
        assert_eq!(names(&["Hip-Hop/Rap"]), ["Hip-Hop", "Rap"]);
        assert_eq!(names(&["Rock\\\\Punk"]), ["Rock", "Punk"]);
        assert_eq!(names(&["Rock\0Punk\0"]), ["Rock", "Punk"]);
        assert_eq!(names(&["(17)"]), ["Rock"]);
        assert_eq!(names(&["17"]), ["Rock"]);
        assert_eq!(names(&["(17)Rock"]), ["Rock"]);
        assert_eq!(names(&["(4)Eurodisco"]), ["Eurodisco", "Disco"]);
        assert_eq!(names(&["(17)(13)"]), ["Rock", "Pop"]);
        assert_eq!(names(&["(RX)(191)"]), ["Remix", "Psybient"]);
        assert_eq!(names(&["((Odd) name"]), ["(Odd) name"]);
        assert_eq!(names(&["(Neo) Soul"]), ["(Neo) Soul"]);
        assert_eq!(names(&["192"]), ["192"]);
        assert_eq!(
            names(&["255", "(255)", "(12)", "Unknown", " ", "n/a", ""]),
            Vec::<String>::new()
        );
        assert_eq!(names(&["Singer/Songwriter"]), ["Singer/Songwriter"]);
        assert_eq!(
            names(&["Folk, World, & Country"]),
            ["Folk, World, & Country"]
        );
        assert_eq!(names(&["Pop, Rock", "rock", "ROCK"]), ["Pop", "Rock"]);
        assert_eq!(names(&["AC/17"]), ["AC", "Rock"]);
        for between in [" > ", ": ", "＞", "｜", "：", "---", "-----"] {
            let both = names(&[format!("Electronic{between}House").as_str()]);
            assert_eq!(both, ["Electronic", "House"], "{between}");
        }
    }

    #[test]
    fn placeholders_and_personal_marks_are_no_genres() {
        for none in [
            "Andere",
            "<unknown>",
            "その他",
            "Прочее",
            "Не указан",
            "-",
            "seen live",
            "5 stars",
            "to listen",
            "albums I own",
        ] {
            assert_eq!(names(&[none]), Vec::<String>::new(), "{none}");
        }
        let some = ["80s Pop", "1980", "2 Step", "Anime"];
        assert_eq!(names(&some), some);
    }

    #[test]
    fn spellings_of_one_genre_are_equal() {
        let taxonomy = Taxonomy::default();
        let same = |a: &str, b: &str| taxonomy.genre(a) == taxonomy.genre(b);
        assert!(same("Hip-Hop", "hip hop") && same("HIPHOP", "Hip‐Hop"));
        assert!(same("R&B", "Rhythm and Blues") && same("RnB", "R'n'B"));
        assert!(same("Drum & Bass", "drum and bass") && same("DnB", "drum'n'bass"));
        assert!(same("Hip Hop Music", "Hip-Hop") && same("Musique électronique", "Electronic"));
        assert!(same("Hip-Hop & Rap", "Hip Hop") && same("Música clásica", "クラシック"));
        assert!(same("Électronique", "electronique") && same("Música", "musica"));
        assert!(same("Ｒｏｃｋ", "rock"));
        assert!(!same("ロック", "ロツク") && !same("がが", "かか"));
        assert!(!same("Rock", "Punk") && !same("Rap", "Hip-Hop"));
        assert_eq!(
            taxonomy.genre("  Hip   Hop ").map(|g| g.to_string()),
            Some("Hip Hop".into())
        );
        assert_eq!(
            taxonomy.genre("!!!").map(|g| g.key().to_owned()),
            Some("!!!".into())
        );
    }

    #[test]
    fn the_most_common_spelling_is_chosen() {
        let genres = ["Hip-Hop", "hip hop", "Hip-Hop", "Rock"].map(Genre::plain);
        let chosen = Spellings::count(&genres).genres();
        assert_eq!(
            chosen.iter().map(Genre::name).collect::<Vec<_>>(),
            ["Hip-Hop", "Rock"]
        );
    }

    #[test]
    fn a_users_file_takes_precedence_and_bad_lines_are_reported() {
        let mut taxonomy = Taxonomy::default();
        taxonomy
            .extend_from_tsv("Rap\tHip-Hop\nOther\tOther\n", Path::new("mine.tsv"))
            .unwrap();
        assert_eq!(taxonomy.genre("rap"), taxonomy.genre("Hip-Hop"));
        assert_eq!(
            taxonomy.genre("other").map(|g| g.to_string()),
            Some("other".into())
        );
        // Found by fuzzing: a genre of control characters alone would have an empty name.
        for nameless in ["noise\t\0\0\n", "\0\tNoise\n"] {
            assert!(
                taxonomy
                    .extend_from_tsv(nameless, Path::new("mine.tsv"))
                    .is_err(),
                "{nameless:?}"
            );
        }
        let error = taxonomy
            .extend_from_tsv("\nRock Punk\n", Path::new("mine.tsv"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("mine.tsv") && error.contains("line 2"),
            "{error}"
        );
        // A cycle of synonyms ends.
        taxonomy
            .extend_from_tsv("a\tb\nb\ta\n", Path::new("mine.tsv"))
            .unwrap();
        assert!(taxonomy.genre("a").is_some());
    }

    proptest! {
        #[test]
        fn any_string_is_read(tag in ".{0,40}") {
            for genre in Taxonomy::default().parse(&[tag]) {
                prop_assert!(!genre.name().is_empty() && !genre.key().is_empty());
                prop_assert_eq!(text::key(genre.name()).is_empty(), false);
            }
        }
    }
}
