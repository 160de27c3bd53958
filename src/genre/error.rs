//! Errors of the genre engine.

use std::path::PathBuf;

use super::{Genre, LEAST_GENRES, LabelCount, WELL_KNOWN};
use voisin_base::text::{count, did_you_mean, spelt_alike};

/// How to have enough labels.
pub const GIVE_GENRES: &str =
    "give more tracks a genre (\"voisin labels\" shows the source of genres)";

/// Errors of the genre engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenreError {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A line of a synonym file is not two columns.
    #[error("{}, line {line}: expected a spelling, a tab and a genre, found {columns} column(s)", path.display())]
    SynonymLine {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        columns: usize,
    },
    /// The default genre head or its input is invalid.
    #[error("the default genre head cannot be used: {reason}")]
    DefaultHead { reason: String },
    /// Inputs with different numbers of rows.
    #[error("{what}: expected {expected} rows, found {found}")]
    Rows {
        what: &'static str,
        expected: usize,
        found: usize,
    },
    /// Vectors of another dimension than the model's.
    #[error("{what} have {found} dimensions, the genre model expects {expected}: train it again")]
    Dimension {
        what: &'static str,
        expected: usize,
        found: usize,
    },
    /// A vector has NaN or infinity.
    #[error("{what}, row {row}: not a finite number; analyse or remove that track first")]
    NotFinite { what: &'static str, row: usize },
    /// Too few labels for a classification.
    #[error("{}: {GIVE_GENRES}", .0.shortage())]
    TooFew(LabelCount),
    /// Too few labels to write genres into files.
    #[error(
        "too few labels to write genres into files: expected at least {LEAST_GENRES} genres with {WELL_KNOWN} labelled tracks each, found {0} ({well_known} with as many): {GIVE_GENRES}, or write genres of your own with --from-list",
        well_known = count(.0.well_known as u64, "genre")
    )]
    TooFewToWrite(LabelCount),
    /// A genre that no track has.
    #[error("no track of genre \"{requested}\": {}{known}", did_you_mean(.suggestions))]
    UnknownGenre {
        requested: String,
        /// Genres with a similar spelling.
        suggestions: Vec<String>,
        known: String,
    },
    /// A saved genre model that does not match or is damaged.
    #[error("{}: {problem}: \"voisin train\" trains one", path.display())]
    Model { path: PathBuf, problem: String },
}

impl GenreError {
    pub fn check_enough(labels: LabelCount) -> Result<(), Self> {
        if labels.is_enough() {
            Ok(())
        } else {
            Err(Self::TooFew(labels))
        }
    }

    pub fn check_enough_to_write(labels: LabelCount) -> Result<(), Self> {
        if labels.is_enough_to_write() {
            Ok(())
        } else {
            Err(Self::TooFewToWrite(labels))
        }
    }

    /// [`GenreError::UnknownGenre`] with known genres of a similar spelling.
    pub fn unknown_genre<'a>(
        genre: &Genre,
        known: impl Iterator<Item = &'a Genre> + Clone,
    ) -> Self {
        /// More would hide the suggestions.
        const NAMED: usize = 30;
        let count = known.clone().count();
        let mut names: Vec<&str> = known.clone().take(NAMED).map(Genre::name).collect();
        // Declared here because the list borrows it.
        let more = format!("{} more", count.saturating_sub(NAMED));
        // A short list is complete; for a long one the message names the command that lists all.
        let next = match count {
            0 => {
                names.push("no genres at all");
                format!(": {GIVE_GENRES}")
            }
            _ if count > NAMED => {
                names.push(&more);
                ": \"voisin genres\" lists all genres".to_owned()
            }
            _ => String::new(),
        };
        let verb = if count == 1 {
            "there is only"
        } else {
            "there are"
        };
        let known_names = format!("{verb} {}{next}", names.join(", "));
        let alike = spelt_alike(genre.name(), known.map(Genre::name));
        let suggestions = alike.into_iter().map(str::to_owned).collect();
        Self::UnknownGenre {
            requested: genre.to_string(),
            suggestions,
            known: known_names,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_unknown_genre_lists_the_existing_ones() {
        let message_with = |known: &[&str]| {
            let known: Vec<Genre> = known.iter().map(|name| Genre::plain(name)).collect();
            GenreError::unknown_genre(&Genre::plain("Gamelan"), known.iter()).to_string()
        };
        assert_eq!(
            message_with(&[]),
            format!("no track of genre \"Gamelan\": there are no genres at all: {GIVE_GENRES}")
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
