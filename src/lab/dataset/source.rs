//! `KIND:PATH[,KEY=VALUE…]`, or a bare path.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::LabError;
use voisin_base::directories;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `tracks.csv` of the Free Music Archive and its folders of clips.
    Fma,
    Folder,
    Table,
}

/// Name and options of each kind.
const KINDS: [(&str, Kind, &[&str]); 3] = [
    ("fma", Kind::Fma, &["subset"]),
    ("folder", Kind::Folder, &[]),
    (
        "table",
        Kind::Table,
        &["audio", "path", "label", "artist", "split"],
    ),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub kind: Kind,
    pub path: PathBuf,
    options: BTreeMap<String, String>,
    /// Whether the layout was guessed from the path rather than given.
    pub guessed: bool,
}

impl Source {
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(crate) fn path_option(&self, name: &str) -> Option<PathBuf> {
        self.option(name).map(at_home)
    }

    pub(super) fn wrong(&self, problem: impl fmt::Display) -> LabError {
        LabError::Options(format!("{self}: {problem}"))
    }

    /// Adds the option `label` to a table, if it is not set.
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Self {
        if self.kind == Kind::Table {
            let options = self.options.entry("label".to_owned());
            options.or_insert_with(|| label.to_owned());
        }
        self
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind, _)| *kind == self.kind);
        let name = name.map_or("", |(name, ..)| name);
        write!(f, "{name}:{}", self.path.display())?;
        self.options
            .iter()
            .try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Only a known kind before the colon, since a path may contain one too.
        let named = text.split_once(':').and_then(|(name, rest)| {
            let kind = KINDS.iter().find(|(known, ..)| *known == name);
            kind.map(|(_, kind, options)| (*kind, *options, rest))
        });
        // A bare path has no options, since a comma may be part of its name.
        let Some((kind, known, rest)) = named else {
            let path = at_home(text);
            let kind = super::kind_of(&path).ok_or_else(|| {
                format!("expected KIND:PATH (fma, folder, table), or the path of a folder or of a CSV file that is there; found \"{text}\"")
            })?;
            return Ok(Self {
                kind,
                path,
                options: BTreeMap::new(),
                guessed: true,
            });
        };
        let mut options = BTreeMap::new();
        let (path, mut rest) = before_option(rest);
        while let Some(here) = rest {
            let (option, after) = before_option(here);
            rest = after;
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !known.contains(&key) {
                let known = known.join(", ");
                return Err(format!("no option \"{key}\"; expected {known}"));
            }
            if value.is_empty() {
                return Err(format!("expected a value after {key}="));
            }
            options.insert(key.to_owned(), value.to_owned());
        }
        if path.is_empty() {
            return Err(format!("expected a path after the colon, found \"{text}\""));
        }
        Ok(Self {
            kind,
            path: at_home(path),
            options,
            guessed: false,
        })
    }
}

/// Text up to a comma that is followed by `word=`, and what follows it.
fn before_option(text: &str) -> (&str, Option<&str>) {
    let is_option = |at: usize| {
        let word = text[at + 1..].split_once('=').map_or("", |(word, _)| word);
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    match text.match_indices(',').find(|(at, _)| is_option(*at)) {
        Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Expands `~`, which the shell does only at the start of a word.
fn at_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), directories::home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn options_are_distinguished_from_commas_in_names() {
        let text = "table:a, b,c.csv,audio=my, music,label=id_genre";
        let source: Source = text.parse().unwrap();
        assert_eq!(source.kind, Kind::Table);
        assert_eq!(source.path, Path::new("a, b,c.csv"));
        let options = ["audio", "label"].map(|name| source.option(name));
        assert_eq!(options, [Some("my, music"), Some("id_genre")]);
        assert_eq!(source.to_string(), text);
        assert_eq!(source.to_string().parse(), Ok(source));
    }
}
