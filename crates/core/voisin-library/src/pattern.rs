//! Regular expressions over tags.

use regex::bytes::{Regex, RegexBuilder};

/// Fields that a pattern can be limited to.
const FIELDS: [&str; 4] = ["artist", "title", "album", "path"];
/// Bytes of the largest compiled pattern.
// A short expression with counted repetitions can compile to gigabytes, and servers accept
// expressions.
const MOST_BYTES: usize = 1 << 20;

/// A regular expression that one field of a track must fit, or any of artist, title, album and path.
#[derive(Debug, Clone)]
pub struct TagPattern {
    text: String,
    /// Which of [`FIELDS`]; `None`: any.
    field: Option<usize>,
    regex: Regex,
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TagPattern {
    /// Parses a pattern: `^The `, or `title:remix` for one field.
    ///
    /// # Errors
    /// A message with the expected form, if the expression is invalid or too large, or there is no such field.
    pub fn new(text: &str) -> Result<Self, String> {
        // Only a plain word before the first colon is a
        // field: `(?i:x)` and `[[:alpha:]]` stay expressions.
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let (field, expression) = match text.split_once(':').filter(|(name, _)| is_name(name)) {
            None => (None, text),
            Some((name, expression)) => match FIELDS.iter().position(|field| *field == name) {
                Some(field) => (Some(field), expression),
                None => {
                    return Err(format!(
                        "{} before the colon ([:] is a colon as such)",
                        FIELDS.join(", ")
                    ));
                }
            },
        };
        let regex = RegexBuilder::new(expression).size_limit(MOST_BYTES).build();
        let regex = regex.map_err(|error| format!("a regular expression ({})", reason(&error)))?;
        Ok(Self {
            text: text.to_owned(),
            field,
            regex,
        })
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a track matches.
    ///
    /// - `artists`: artist and album artist
    pub(super) fn fits(&self, artists: [&str; 2], title: &str, album: &str, path: &[u8]) -> bool {
        let fields: [&[&[u8]]; FIELDS.len()] = [
            // As `&[u8]`: paths need not be UTF-8.
            &artists.map(str::as_bytes),
            &[title.as_bytes()],
            &[album.as_bytes()],
            &[path],
        ];
        let searched = self
            .field
            .map_or(&fields[..], |field| &fields[field..=field]);
        searched
            .iter()
            .copied()
            .flatten()
            .any(|text| self.regex.is_match(text))
    }
}

/// The error in an expression on one line: the last line of `regex`'s message.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_looks_at_the_field_that_it_names() {
        let fits = |text: &str| {
            let pattern = TagPattern::new(text).unwrap();
            pattern.fits(
                ["Sigur Rós", "Various"],
                "Ágætis byrjun",
                "The Best: Live",
                b"/m/\xff/01.mp3",
            )
        };
        for yes in [
            "^The ",
            "artist:^Sigur",
            "artist:^Various$",
            "title:(?i)^ágæ",
            "path:/01\\.mp3$",
            "[:] Live",
            "R.s$",
            "",
        ] {
            assert!(fits(yes), "{yes}");
        }
        for no in [
            "^best",
            "title:^The",
            "artist:Live",
            "path:Sigur",
            "album:mp3",
            "^Best$",
        ] {
            assert!(!fits(no), "{no}");
        }
    }

    #[test]
    fn an_unreadable_expression_is_refused() {
        let refused = |text: &str| TagPattern::new(text).unwrap_err();
        assert_eq!(refused("title:(a"), "a regular expression (unclosed group)");
        assert!(refused("genre:rock").starts_with("artist, title, album, path before the colon"));
        assert!(
            refused(r"(\w{1000}){1000}").contains("size limit"),
            "{}",
            refused(r"(\w{1000}){1000}")
        );
    }
}
