//! Errors of the genre engine.

use std::path::PathBuf;

use super::{Genre, LEAST_GENRES, LabelCount, WELL_KNOWN};
use voisin_base::remedy::Remedy;
use voisin_base::text::{count, did_you_mean};

/// Errors of the genre engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenreError {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a synonym file is not two columns.
    #[error("{}, line {line}: expected a spelling, a tab and a genre, found {columns} column(s)", path.display())]
    SynonymLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// How many columns the line has.
        columns: usize,
    },
    /// A line of a hierarchy is not two genres.
    #[error(
        "{}, line {line}: expected a genre, a tab and the genre that it lies within, found {genres} genre(s)",
        path.display()
    )]
    HierarchyLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// How many genres the line names.
        genres: usize,
    },
    /// A line of a table of kin styles has too few of them.
    #[error("{}, line {line}: expected two styles or more with tabs between them, found {styles}", path.display())]
    KinLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// How many styles the line has.
        styles: usize,
    },
    /// The default genre head, or the tags given to it, make no sense.
    #[error("the default genre head cannot be used: {reason}")]
    DefaultHead {
        /// The fault.
        reason: String,
    },
    /// A genre that an answer was to be among, and that no answer can be.
    #[error("no answer can be {asked}: {}the genres that can are {known}", did_you_mean(.suggestions))]
    Among {
        /// The genre that was named.
        asked: String,
        /// Genres spelt much like it.
        suggestions: Vec<String>,
        /// The genres that can be.
        known: String,
    },
    /// A setting outside its range.
    #[error("{name} is {value}: expected {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// The value that was given.
        value: f64,
        /// The values that are accepted.
        expected: &'static str,
    },
    /// Two inputs that must have one row per track do not.
    #[error("{what}: expected {expected} rows, found {found}")]
    Rows {
        /// Which input.
        what: &'static str,
        /// How many rows were expected.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// Vectors of another width than the model's.
    #[error("{what} have {found} dimensions, the genre model expects {expected}: train it again")]
    Dimension {
        /// Which vectors.
        what: &'static str,
        /// The model's width.
        expected: usize,
        /// The width given.
        found: usize,
    },
    /// A vector holds NaN or infinity.
    #[error("{what}, row {row}: not a finite number; remove or repair that track first")]
    NotFinite {
        /// Which vectors.
        what: &'static str,
        /// The row.
        row: usize,
    },
    /// Too little to tell genres apart by.
    #[error("{}", .0.shortage())]
    TooFew(LabelCount),
    /// Too little to write answers into files.
    #[error(
        "too little is labelled to write answers into files: expected at least {LEAST_GENRES} genres with {WELL_KNOWN} labelled tracks each, found {0} ({well_known} with as many)",
        well_known = count(.0.well_known as u64, "genre")
    )]
    TooFewToWrite(LabelCount),
    /// A genre that nobody has.
    #[error("no track of genre \"{asked}\": {}{known}", did_you_mean(.suggestions))]
    UnknownGenre {
        /// The genre that was named.
        asked: String,
        /// Genres spelt much like it.
        suggestions: Vec<String>,
        /// The genres that there are, in words.
        known: String,
        /// Where all of them are, if they are not named.
        remedy: Option<Remedy>,
    },
    /// A saved genre model that does not fit or is damaged.
    #[error("{}: {problem}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The fault.
        problem: String,
    },
}

impl GenreError {
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::TooFew(_) => Some(Remedy::GiveGenres),
            Self::TooFewToWrite(_) => Some(Remedy::GiveGenresOrList),
            Self::UnknownGenre { remedy, .. } => remedy.clone(),
            Self::Model { .. } => Some(Remedy::TrainGenres),
            _ => None,
        }
    }

    /// Refuses labels that genres cannot be told apart by.
    pub fn check_enough(labels: LabelCount) -> Result<(), Self> {
        if labels.is_enough() {
            Ok(())
        } else {
            Err(Self::TooFew(labels))
        }
    }

    /// Refuses labels that no answer may rest on that is written into files, however sure it is.
    pub fn check_enough_to_write(labels: LabelCount) -> Result<(), Self> {
        if labels.is_enough_to_write() {
            Ok(())
        } else {
            Err(Self::TooFewToWrite(labels))
        }
    }

    /// Refuses genres that no answer can be.
    pub fn check_among<'a>(
        among: &[Genre],
        known: impl Iterator<Item = &'a Genre>,
    ) -> Result<(), Self> {
        let known: Vec<&Genre> = known.collect();
        let Some(unknown) = among.iter().find(|genre| !known.contains(genre)) else {
            return Ok(());
        };
        Err(Self::Among {
            asked: unknown.to_string(),
            suggestions: alike(unknown, known.iter().copied()),
            known: known
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// [`GenreError::UnknownGenre`] with those of the known genres that are spelt much like it.
    pub fn unknown_genre<'a>(
        genre: &Genre,
        known: impl Iterator<Item = &'a Genre> + Clone,
    ) -> Self {
        /// More would hide the suggestions.
        const NAMED: usize = 30;
        let count = known.clone().count();
        let mut names: Vec<&str> = known.clone().take(NAMED).map(Genre::name).collect();
        // Made even where it is not used: the list borrows it.
        let more = format!("{} more", count.saturating_sub(NAMED));
        // A short list is shown whole; behind a long one the remedy says where all of them are.
        let remedy = match count {
            0 => {
                names.push("no genres at all");
                Some(Remedy::GiveGenres)
            }
            _ if count > NAMED => {
                names.push(&more);
                Some(Remedy::SeeGenres)
            }
            _ => None,
        };
        let verb = if count == 1 {
            "there is only"
        } else {
            "there are"
        };
        let known_names = format!("{verb} {}", names.join(", "));
        let suggestions = alike(genre, known);
        Self::UnknownGenre {
            asked: genre.to_string(),
            suggestions,
            known: known_names,
            remedy,
        }
    }

    /// Refuses genres that no track has.
    pub fn check_known<'a>(
        genres: impl IntoIterator<Item = &'a Genre>,
        known: &[Genre],
    ) -> Result<(), Self> {
        let unknown = genres.into_iter().find(|genre| !known.contains(genre));
        unknown.map_or(Ok(()), |genre| {
            Err(Self::unknown_genre(genre, known.iter()))
        })
    }
}

/// Genres whose keys are spelt much like one's, the most alike first, three at most.
fn alike<'a>(genre: &Genre, known: impl Iterator<Item = &'a Genre>) -> Vec<String> {
    // Below this, names have little more in common than their length.
    const ALIKE: f64 = 0.8;
    let mut near: Vec<(f64, &Genre)> = known
        .map(|other| (strsim::jaro_winkler(genre.key(), other.key()), other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter()
        .take(3)
        .map(|(_, genre)| genre.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_genre_is_named_beside_those_that_there_are() {
        let message_with = |known: &[&str]| {
            let known: Vec<Genre> = known.iter().map(|name| Genre::plain(name)).collect();
            GenreError::unknown_genre(&Genre::plain("Gamelan"), known.iter()).to_string()
        };
        assert_eq!(
            message_with(&[]),
            "no track of genre \"Gamelan\": there are no genres at all"
        );
        assert_eq!(
            message_with(&["Zeuhl"]),
            "no track of genre \"Gamelan\": there is only Zeuhl"
        );
        assert_eq!(
            message_with(&["Zeuhl", "Pop"]),
            "no track of genre \"Gamelan\": there are Zeuhl, Pop"
        );
    }
}
