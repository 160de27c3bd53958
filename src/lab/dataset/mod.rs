//! Data sets: tracks with labels, groups and splits, read from any layout into one form.
//!
//! For: FMA's tables, a folder for each genre, CSV files of titles and labels or of numbers. None of them is trusted: sizes are bounded, nothing panics, and a bad row
//! does not affect the others. Not for: decoding audio, splitting, training.

mod fma;
mod folder;
mod source;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rayon::prelude::*;

use crate::LabError;
pub use source::{Kind, Source};
pub(crate) use table::{Cells, KEYS, LABELS, read_cells};
use voisin_audio::tags::read_tags;
use voisin_base::text::{clean, count};
use voisin_genre::{Genre, Spellings};
use voisin_library::artists::{artists, is_no_album};

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Training,
    Validation,
    Test,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Training, Self::Validation, Self::Test];

    /// Parses the words of FMA and most tables.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "training" | "train" => Some(Self::Training),
            "validation" | "valid" | "val" | "dev" => Some(Self::Validation),
            "test" | "testing" | "eval" => Some(Self::Test),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    /// Its audio; `None` in a table of features.
    pub path: Option<PathBuf>,
    /// Its key in the data set: a title, an id, a path below the folder. Predictions are written
    /// with it.
    pub key: String,
    pub label: Option<String>,
    pub artist: Option<String>,
    pub album: Option<String>,
    pub licence: Option<String>,
    pub part: Option<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub key: String,
    pub reason: String,
}

/// Features in a data set, a row for each item.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    pub names: Vec<String>,
    /// `[items, columns]`; NaN for missing numbers.
    pub values: Array2<f32>,
}

/// A data set as read, without decoding.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Its source: `KIND:PATH` with all of its options.
    pub source: String,
    pub items: Vec<Item>,
    /// The key of every row in order, including rows that cannot be used.
    pub keys: Vec<String>,
    pub faults: Vec<Fault>,
    pub notes: Vec<String>,
    pub key_name: String,
    pub label_name: String,
    pub columns: Option<Columns>,
}

impl Dataset {
    pub(crate) fn new(source: &Source, key_name: &str, label_name: &str) -> Self {
        Self {
            source: source.to_string(),
            items: Vec::new(),
            keys: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            key_name: key_name.to_owned(),
            label_name: label_name.to_owned(),
            columns: None,
        }
    }

    fn fault(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(Fault {
            key: key.into(),
            reason: reason.into(),
        });
    }

    /// Reads artists and albums from the files' tags, as `add` does, if the data set names no artist.
    pub fn read_tags(&mut self) {
        if self.items.iter().any(|item| item.artist.is_some()) {
            return;
        }
        self.items.par_iter_mut().for_each(|item| {
            // a file that cannot be read is reported when it is decoded
            let tags = item.path.as_deref().and_then(|path| read_tags(path).ok());
            let Some(tags) = tags else { return };
            let named = [tags.artist, tags.album_artist];
            item.artist = named
                .iter()
                .flatten()
                .find_map(|names| artists(names).first().map(|lead| (*lead).to_owned()));
            let album = tags.album.filter(|album| !is_no_album(album));
            item.album = item.album.take().or(album);
        });
        let known = self.items.iter().filter(|item| item.artist.is_some());
        let known = known.count() as u64;
        if known > 0 {
            let tracks = count(known, "track");
            self.notes.push(format!(
                "The artists of {tracks} are from the files' tags (--split track ignores them)."
            ));
        }
    }

    /// Merges labels that differ only in case, Unicode composition or spaces into the most frequent spelling, and adds a note.
    fn join_spellings(&mut self) {
        // Not the key of a library's genres, which has no signs: labels may be -1 and 1.
        let class = |label: &String| Genre::from_parts(&**label, clean(label).to_lowercase());
        let labels = self.items.iter().filter_map(|item| item.label.as_ref());
        let labels: Vec<Genre> = labels.map(class).collect();
        let classes = Spellings::count(&labels).genres();
        let mut joined = BTreeSet::new();
        for label in self.items.iter_mut().filter_map(|item| item.label.as_mut()) {
            let spelt = classes.binary_search(&class(label));
            let name = spelt.map_or("", |at| classes[at].name());
            if label != name {
                joined.insert(name);
                name.clone_into(label);
            }
        }
        if !joined.is_empty() {
            let joined = joined.into_iter().collect::<Vec<_>>().join(", ");
            let note = format!("Labels that differ only in spelling are one class: {joined}.");
            self.notes.push(note);
        }
    }

    /// All labels, without duplicates: numbers in numerical order, then the others alphabetically.
    pub fn classes(&self) -> Vec<String> {
        class_names(&self.items)
    }
}

/// The group of a column: its name up to its statistic or its number.
pub fn group_of(name: &str) -> &str {
    const STATISTICS: [&str; 7] = ["kurtosis", "max", "mean", "median", "min", "skew", "std"];
    // The first word that is a statistic ends the group's name.
    let places = STATISTICS.map(|word| name.find(&format!("_{word}")));
    let end = places.into_iter().flatten().min();
    let end = end.unwrap_or_else(|| name.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    let group = name[..end].trim_end_matches(['_', '.', '-', ' ']);
    if group.is_empty() { name } else { group }
}

/// The labels of some tracks, in the order of [`Dataset::classes`].
pub(crate) fn class_names<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<String> {
    let names: BTreeSet<String> = items
        .into_iter()
        .filter_map(|item| item.label.clone())
        .collect();
    let mut names: Vec<String> = names.into_iter().collect();
    // Stable: other labels stay after the numbers, in alphabetical order.
    names.sort_by_key(|name| name.trim().parse::<u64>().unwrap_or(u64::MAX));
    names
}

pub fn read(source: &Source) -> Result<Dataset, LabError> {
    let mut set = match source.kind {
        Kind::Fma => fma::read(source),
        Kind::Folder => folder::read(source),
        Kind::Table => table::read(source),
    }?;
    if set.items.is_empty() {
        let why = set.faults.first();
        let why = why.map_or_else(String::new, |f| format!("; {}: {}", f.key, f.reason));
        return Err(source.wrong(format!("expected tracks, found none that can be used{why}")));
    }
    // Only tables list rows that cannot be used; other kinds have the keys of their items.
    if set.keys.is_empty() {
        set.keys = set.items.iter().map(|item| item.key.clone()).collect();
    }
    // Last, for all kinds, since classes are counted from here on.
    set.join_spellings();
    Ok(set)
}

fn kind_of(path: &Path) -> Option<Kind> {
    if path.is_dir() {
        let is_fma = fma::table_of(path).is_some();
        return Some(if is_fma { Kind::Fma } else { Kind::Folder });
    }
    let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
    let is_table = matches!(ending.as_str(), "csv" | "tsv" | "txt") && path.is_file();
    is_table.then_some(Kind::Table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[&str]) -> Dataset {
        let source = "folder:music".parse().expect("a source");
        let mut set = Dataset::new(&source, "path", "genre");
        let item = |label: &&str| Item {
            label: Some((*label).to_owned()),
            ..Item::default()
        };
        set.items = labels.iter().map(item).collect();
        set
    }

    #[test]
    fn labels_that_differ_only_in_spelling_are_one_class() {
        let mut set = set(&[
            "Mu\u{301}sica",
            "M\u{fa}sica",
            "M\u{fa}sica",
            "rock ",
            "Rock",
            "Rock",
            "Musica",
        ]);
        set.join_spellings();
        assert_eq!(set.classes(), ["Musica", "M\u{fa}sica", "Rock"]);
        assert_eq!(set.notes.len(), 1, "{:?}", set.notes);
    }

    #[test]
    fn artists_come_from_tags_if_the_set_names_none() {
        let mut set = set(&["ambient", "ambient"]);
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/demo/library");
        set.items[0].path = Some(demo.join("ambient/zeropage-void-sensor.mp3"));
        let untagged = set.clone();
        set.read_tags();
        let artists = |set: &Dataset| set.items.iter().map(|item| item.artist.clone()).collect();
        let found: Vec<Option<String>> = artists(&set);
        assert_eq!(found, [Some("Zeropage".to_owned()), None]);
        assert!(set.notes[0].contains("1 track"), "{:?}", set.notes);
        // artists of the set take precedence
        let mut named = untagged;
        named.items[1].artist = Some("Muldjord".to_owned());
        named.read_tags();
        let found: Vec<Option<String>> = artists(&named);
        assert_eq!(found, [None, Some("Muldjord".to_owned())]);
    }
}
