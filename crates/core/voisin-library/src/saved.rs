//! Saved lists and queries by name, stored as text in the format of `voisin-questions`.

use super::parts::ListTable;
use super::{Library, Result};
use std::ops::{Deref, DerefMut};

/// Prefix of their settings.
const PREFIX: &str = "list.";

impl<L: Deref<Target = Library>> ListTable<L> {
    /// All names with their texts, sorted by name.
    #[doc(hidden)]
    pub fn saved_lists(&self) -> Result<Vec<(String, String)>> {
        let sql =
            // `substr` counts from 1: after the five bytes of the prefix. GLOB can use the table's
            // key.
            "SELECT substr(name, 6), value FROM settings WHERE name GLOB 'list.*' ORDER BY name";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            });
        self.sql(found)
    }

    /// The text stored under a name.
    #[doc(hidden)]
    pub fn saved_list(&self, name: &str) -> Result<Option<String>> {
        self.settings().setting(&format!("{PREFIX}{name}"))
    }
}

impl<L: DerefMut<Target = Library>> ListTable<L> {
    /// Stores a text under a name, replacing the former one; `None` deletes it.
    #[doc(hidden)]
    pub fn save_list(&mut self, name: &str, text: Option<&str>) -> Result<()> {
        self.settings_mut()
            .set_setting(&format!("{PREFIX}{name}"), text)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::library;

    #[test]
    fn lists_are_kept_apart_from_other_settings() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        library
            .settings_mut()
            .set_setting("listing", Some("no list"))
            .unwrap();
        for (name, text) in [("b", "1"), ("a * ü", "2"), ("b", "3")] {
            library.lists_mut().save_list(name, Some(text)).unwrap();
        }
        let expected = [
            ("a * ü".to_owned(), "2".to_owned()),
            ("b".to_owned(), "3".to_owned()),
        ];
        assert_eq!(library.lists().saved_lists().unwrap(), expected);
        library.lists_mut().save_list("b", None).unwrap();
        assert_eq!(
            (
                library.lists().saved_list("b").unwrap(),
                library.lists().saved_lists().unwrap().len()
            ),
            (None, 1)
        );
        assert_eq!(
            library.settings().setting("listing").unwrap().as_deref(),
            Some("no list")
        );
    }
}
