//! Ids of tracks at other servers, and look-up of tracks by the end of their path.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension as _;

use super::parts::{FileTable, LinkTable};
use super::{Library, Result, TrackSet, paths};
use voisin_base::path_matching::KnownFiles;
use voisin_base::track::TrackId;

impl<L: DerefMut<Target = Library>> LinkTable<L> {
    /// Stores the track or artist of each id of a server, replacing all former links to that server.
    #[doc(hidden)]
    pub fn set_links(
        &mut self,
        server: &str,
        links: &[(String, TrackId)],
        artists: &BTreeMap<String, String>,
    ) -> Result<()> {
        // All or none: with half the links a server would play half of a list.
        self.write(|tx| {
            tx.execute("DELETE FROM links WHERE server = ?1", [server])?;
            tx.execute("DELETE FROM linked_artists WHERE server = ?1", [server])?;
            let mut insert =
                tx.prepare("INSERT INTO linked_artists (server, item, name) VALUES (?1, ?2, ?3)")?;
            for (item, name) in artists {
                insert.execute((server, item, name))?;
            }
            let mut insert = tx.prepare(
                // Selected from `audio`, so that a track that was removed meanwhile is left out,
                // not an error.
                "INSERT INTO links (server, item, track) SELECT ?1, ?2, id FROM audio WHERE id = ?3
                 ON CONFLICT (server, item) DO UPDATE SET track = excluded.track",
            )?;
            for (item, track) in links {
                insert.execute((server, item, track.0))?;
            }
            Ok(())
        })
    }
}

impl<L: Deref<Target = Library>> LinkTable<L> {
    /// The track with this id at a server.
    #[doc(hidden)]
    pub fn linked_track(&self, server: &str, item: &str) -> Result<Option<TrackId>> {
        let sql = "SELECT track FROM links WHERE server = ?1 AND item = ?2";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([server, item], |row| row.get(0).map(TrackId))
                    .optional()
            });
        self.sql(found)
    }

    /// The artist with this id at a server.
    #[doc(hidden)]
    pub fn linked_artist(&self, server: &str, item: &str) -> Result<Option<String>> {
        let sql = "SELECT name FROM linked_artists WHERE server = ?1 AND item = ?2";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([server, item], |row| row.get(0))
                    .optional()
            });
        self.sql(found)
    }

    /// The id of an artist at a server; the first one where it has several.
    #[doc(hidden)]
    pub fn item_of_artist(&self, server: &str, name: &str) -> Result<Option<String>> {
        let sql =
            "SELECT min(item) FROM linked_artists WHERE server = ?1 AND name = ?2 COLLATE NOCASE";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([server, name], |row| row.get(0)));
        self.sql(found)
    }

    /// All tracks that are linked to a server.
    #[doc(hidden)]
    pub fn linked_tracks(&self, server: &str) -> Result<TrackSet> {
        let sql = "SELECT track FROM links WHERE server = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([server], |row| row.get(0).map(TrackId))?
                    .collect()
            });
        self.sql(found)
    }

    /// The ids of these tracks at a server, of those that are linked; the first one of several.
    #[doc(hidden)]
    pub fn items_of(&self, server: &str, tracks: &[TrackId]) -> Result<HashMap<TrackId, String>> {
        let list = serde_json::json!(tracks).to_string();
        let sql = "SELECT track, min(item) FROM links
             WHERE server = ?1 AND track IN (SELECT value FROM json_each(?2)) GROUP BY track";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([server, &list], |row| {
                        Ok((TrackId(row.get(0)?), row.get(1)?))
                    })?
                    .collect()
            });
        self.sql(found)
    }

    /// The linked servers, with the number of ids of each.
    #[doc(hidden)]
    pub fn linked_servers(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT server, count(*) FROM links GROUP BY server ORDER BY server";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let rows = statement
                    .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
                rows.collect()
            });
        self.sql(found)
    }
}

impl<L: Deref<Target = Library>> FileTable<L> {
    /// Every file with its track.
    #[doc(hidden)]
    pub fn paths_of_tracks(&self) -> Result<Vec<(PathBuf, TrackId)>> {
        let found = self
            .connection
            .prepare_cached("SELECT path, track FROM files")
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((
                        paths::from_bytes(row.get_ref(0)?.as_blob()?),
                        TrackId(row.get(1)?),
                    ))
                };
                statement.query_map([], read)?.collect()
            });
        self.sql(found)
    }

    /// The files whose path is this one or ends with it, in whole path components: `Artist/Album/1.ogg`.
    #[doc(hidden)]
    pub fn find_by_path_end(&self, end: &Path) -> Result<Vec<(PathBuf, TrackId)>> {
        let bytes = paths::to_bytes(end)?;
        // With a slash before it, "1.ogg" does not match "11.ogg": an end is made of whole names.
        let name = bytes.strip_prefix(b"/").unwrap_or(bytes);
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let below = [b"/", name].concat();
        let sql = "SELECT path, track FROM files WHERE path = ?1 OR substr(path, -length(?2)) = ?2 ORDER BY id";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((
                        paths::from_bytes(row.get_ref(0)?.as_blob()?),
                        TrackId(row.get(1)?),
                    ))
                };
                statement.query_map((bytes, &below), read)?.collect()
            });
        self.sql(found)
    }
}

/// Looks up paths in lists, from this system or another: as they are, else by their most similar end (see
/// [`KnownFiles`]).
pub struct PathLookup<'a> {
    library: &'a Library,
    /// Read when the first path is not found as it is.
    files: Option<KnownPaths>,
}

/// All files of a library, and an index of them by the ends of their paths.
struct KnownPaths {
    files: Vec<(PathBuf, TrackId)>,
    ends: KnownFiles<usize>,
}

impl<'a> PathLookup<'a> {
    /// Reads nothing yet.
    pub fn new(library: &'a Library) -> Self {
        Self {
            library,
            files: None,
        }
    }

    /// The track of the file that a path means; `None` where there is none, or several.
    pub fn track(&mut self, path: &Path) -> Result<Option<TrackId>> {
        if let Some(track) = self.library.files().find_by_path(path)? {
            return Ok(Some(track));
        }
        let meant = self.meant(path)?;
        let track = meant.first().map(|(_, track)| *track);
        // Several files of one track, such as exact copies, are one match.
        Ok(track.filter(|track| meant.iter().all(|(_, other)| other == track)))
    }

    /// The file of the library that a path means; `None` where there is none, or several.
    pub fn file(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        if self.library.files().find_by_path(path)?.is_some() {
            return Ok(Some(path.to_owned()));
        }
        let mut meant = self.meant(path)?;
        Ok(meant
            .pop()
            .map(|(file, _)| file)
            .filter(|_| meant.is_empty()))
    }

    fn meant(&mut self, path: &Path) -> Result<Vec<(PathBuf, TrackId)>> {
        // Most lists have paths that exist as they are, and never need all files.
        if self.files.is_none() {
            let files = self.library.files().paths_of_tracks()?;
            let paths = files.iter().map(|(path, _)| path.as_path());
            let ends = KnownFiles::new(paths.zip(0..));
            self.files = Some(KnownPaths { files, ends });
        }
        let Some(KnownPaths { files, ends }) = &self.files else {
            return Ok(Vec::new());
        };
        let found = ends.find(path.as_os_str().as_encoded_bytes());
        Ok(found.into_iter().map(|at| files[at].clone()).collect())
    }
}
