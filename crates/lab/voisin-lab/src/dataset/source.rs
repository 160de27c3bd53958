//! `KIND:PATH[,KEY=VALUE…]`, or a bare path.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use voisin_base::directories;
use voisin_base::text::{did_you_mean, spelt_alike};

/// The layout of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `tracks.csv` of the Free Music Archive and its folders of clips.
    Fma,
    /// A folder for each genre.
    Folder,
    /// A CSV file.
    Table,
    /// A CSV file of computed features.
    Features,
}

const KINDS: [(&str, Kind); 4] = [
    ("fma", Kind::Fma),
    ("folder", Kind::Folder),
    ("table", Kind::Table),
    ("features", Kind::Features),
];

/// Options of a kind.
fn options_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Fma => &["subset", "label"],
        Kind::Folder => &[],
        Kind::Table => &["audio", "path", "label", "artist", "split"],
        Kind::Features => &["tracks", "subset", "label", "artist", "split", "path"],
    }
}

/// The place and layout of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its layout.
    pub kind: Kind,
    /// The folder or file.
    pub path: PathBuf,
    options: BTreeMap<String, String>,
    /// Whether the layout was guessed from the path rather than given.
    pub guessed: bool,
}

impl Source {
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// An option that names a file or folder.
    pub(crate) fn path_option(&self, name: &str) -> Option<PathBuf> {
        self.option(name).map(at_home)
    }

    /// Adds the option `label`, if the kind has it and it is not set.
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Self {
        if options_of(self.kind).contains(&"label") {
            self.options
                .entry("label".to_owned())
                .or_insert_with(|| label.to_owned());
        }
        self
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS
            .iter()
            .find(|(_, kind)| *kind == self.kind)
            .map_or("", |(name, _)| name);
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
            KINDS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, kind)| (*kind, rest))
        });
        // A bare path has no options, since a comma may be part of its name.
        let Some((kind, rest)) = named else {
            let path = at_home(text);
            let Some(kind) = super::kind_of(&path) else {
                return Err(format!(
                    "expected KIND:PATH (fma, folder, table, features), or the path of a folder or of a CSV file that is there; found \"{text}\""
                ));
            };
            return Ok(Self {
                kind,
                path,
                options: BTreeMap::new(),
                guessed: true,
            });
        };
        let known = options_of(kind);
        let mut options = BTreeMap::new();
        let (path, mut rest) = before_option(rest);
        while let Some(here) = rest {
            let (option, after) = before_option(here);
            rest = after;
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !known.contains(&key) {
                let near = spelt_alike(key, known.iter().copied());
                return Err(format!(
                    "no option \"{key}\"; {}expected {}",
                    did_you_mean(&near),
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ));
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
        let word = text[at + 1..].split('=').next().unwrap_or_default();
        word.len() < text.len() - at - 1
            && !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
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
        let source: Source = "table:a, b,c.csv,audio=my, music,label=id_genre"
            .parse()
            .unwrap();
        assert_eq!(source.kind, Kind::Table);
        assert_eq!(source.path, Path::new("a, b,c.csv"));
        assert_eq!(
            (source.option("audio"), source.option("label")),
            (Some("my, music"), Some("id_genre"))
        );
        assert_eq!(
            source.to_string(),
            "table:a, b,c.csv,audio=my, music,label=id_genre"
        );
        assert_eq!(source.to_string().parse(), Ok(source));
    }

    #[test]
    fn a_malformed_source_is_refused_with_the_expected_form() {
        let message = |text: &str| text.parse::<Source>().unwrap_err();
        assert!(
            message("table:a.csv,audoi=x").contains("did you mean audio? expected audio, path")
        );
        assert!(message("fma:").contains("expected a path"));
        assert!(message("/nowhere/at/all").contains("expected KIND:PATH"));
        assert!(message("table:a.csv,label=").contains("expected a value after label="));
    }
}
