//! Sorted lists of tracks, in the order of a library on disk: a narrow table with indexes, besides that of tracks.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use super::{OWN_PLAN, Postgres, Transaction, filter};
use crate::Result;
use crate::ddl;
use crate::parameter::SqlParameter;
use crate::row::{SortRow, facts_of};
use voisin_base::track::TrackId;
use voisin_library::{FilterSql, LibraryError, SortBy};

/// Rows that are read at once when the table is filled from existing tracks.
const ROWS: i64 = 1000;

/// Sort keys of an order, the primary one first.
fn columns(by: SortBy) -> Vec<Cow<'static, str>> {
    let named: &[&str] = match by {
        SortBy::Id => &[],
        SortBy::Artist => &["artist", "album", "disc", "number", "title"],
        SortBy::Album => &["album", "artist", "disc", "number", "title"],
        SortBy::Title => &["title", "artist"],
        SortBy::Genre => &["genre", "artist"],
        SortBy::Year => &["year", "artist", "album", "disc", "number"],
        SortBy::Time => &["seconds"],
        SortBy::Added => &["added"],
        SortBy::Path => &["path"],
        SortBy::Size => &["size"],
        SortBy::Codec => &["codec", "artist"],
        SortBy::Licence => &["licence", "artist"],
        SortBy::Bpm => &["tempo"],
        SortBy::Key => &["key"],
        SortBy::Loudness => &["loudness"],
        // From the table of tracks; names of scales contain no quotes.
        SortBy::Scale(scale) => {
            return vec![Cow::Owned(format!(
                "(select (facts->'descriptors'->'scales'->'{scale}'->>'value')::float8 from voisin_track t where t.id = voisin_order.id)"
            ))];
        }
    };
    named.iter().copied().map(Cow::Borrowed).collect()
}

/// A position in the sorted list of all tracks; those without the primary key come last.
pub(crate) struct SortedWalk {
    by: SortBy,
    descending: bool,
    /// The track after which the page begins.
    after: Option<TrackId>,
    /// Whether that track has been passed.
    begun: bool,
    part: WalkPart,
    /// Rows of this part that have been read.
    at: usize,
    /// The tracks to sort, if they are few; else all.
    among: Option<Vec<i64>>,
}

/// The part of the list that is read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WalkPart {
    /// Tracks with the primary key.
    Known,
    /// Tracks without it.
    Missing,
    /// Nothing.
    End,
}

impl SortedWalk {
    fn sql(&self, limit: usize) -> String {
        let order = if self.descending { "desc" } else { "asc" };
        let (which, sorted) = match columns(self.by).split_first() {
            // In two parts: an index gives nulls first in descending order, and "nulls last" would
            // sort the whole table.
            Some((first, rest)) if self.part == WalkPart::Missing => {
                let rest = rest
                    .iter()
                    .map(|column| format!("{column} {order} nulls last, "));
                (format!("{first} is null"), rest.collect::<String>() + "id")
            }
            Some((first, rest)) => {
                let mut which = format!("{first} is not null");
                if self.after.is_some() {
                    let reached = if self.descending { "<=" } else { ">=" };
                    let _ = write!(
                        which,
                        " and {first} {reached} (select {first} from voisin_order where id = $1)"
                    );
                }
                let rest = rest
                    .iter()
                    .map(|column| format!("{column} {order} nulls last, "));
                (
                    which,
                    format!("{first} {order}, {}id", rest.collect::<String>()),
                )
            }
            None => {
                let reached = if self.descending { "<=" } else { ">=" };
                (
                    self.after
                        .map_or("true".to_owned(), |_| format!("id {reached} $1")),
                    format!("id {order}"),
                )
            }
        };
        let among = self.among.as_ref().map_or(String::new(), |_| {
            format!(
                " and id = any (${})",
                if which.contains("$1") { 2 } else { 1 }
            )
        });
        format!(
            "select id from voisin_order where {which}{among} order by {sorted} limit {limit} offset {}",
            // Each step skips the rows of the steps before it, but only in the narrow table.
            self.at
        )
    }

    /// Advances by rows that were read, and returns those after the track after which the page begins.
    fn step(&mut self, mut found: Vec<TrackId>, limit: usize) -> Vec<TrackId> {
        self.at += found.len();
        if found.len() < limit {
            let is_last = self.part == WalkPart::Missing || columns(self.by).is_empty();
            (self.part, self.at) = (
                if is_last {
                    WalkPart::End
                } else {
                    WalkPart::Missing
                },
                0,
            );
        }
        // Tracks with the same key before that track come again and are skipped.
        if !self.begun {
            let place = found.iter().position(|&id| Some(id) == self.after);
            self.begun = place.is_some();
            found.drain(..place.map_or(found.len(), |place| place + 1));
        }
        found
    }
}

impl Postgres {
    /// Begins a sorted list of all tracks, or of those after a track.
    ///
    /// - `among`: leave out all others
    pub(crate) fn sorted(
        &mut self,
        by: SortBy,
        descending: bool,
        after: Option<TrackId>,
        among: Option<Vec<TrackId>>,
    ) -> Result<SortedWalk> {
        let part = WalkPart::Known;
        // `after` has to be in the list, whether it matches or not.
        let among = among.map(|ids| ids.into_iter().chain(after).map(|id| id.0).collect());
        let mut walk = SortedWalk {
            by,
            descending,
            after,
            begun: after.is_none(),
            part,
            at: 0,
            among,
        };
        if let Some(after) = after {
            let is_missing = columns(by)
                .first()
                .map_or("false".to_owned(), |first| format!("{first} is null"));
            let sql = format!("select {is_missing} from voisin_order where id = $1");
            let missing =
                self.run(|tx| Ok(tx.query_opt(&sql, &[&after.0])?.map(|row| row.get(0))))?;
            if missing.ok_or(LibraryError::UnknownTrack(after))? {
                walk.part = WalkPart::Missing;
            }
        }
        Ok(walk)
    }

    /// The next tracks of a list; empty only at its end.
    pub(crate) fn next_sorted(
        &mut self,
        walk: &mut SortedWalk,
        limit: usize,
    ) -> Result<Vec<TrackId>> {
        while walk.part != WalkPart::End {
            let sql = walk.sql(limit);
            let after = walk.after.map_or(0, |after| after.0);
            let mut values: Vec<&dyn SqlParameter> = Vec::new();
            if sql.contains("= $1") {
                values.push(&after);
            }
            values.extend(walk.among.as_ref().map(|among| among as &dyn SqlParameter));
            let found = self.run(|tx| {
                tx.batch_execute(OWN_PLAN)?;
                Ok(tx
                    .query(&sql, &values)?
                    .iter()
                    .map(|row| TrackId(row.get(0)))
                    .collect())
            })?;
            let found = walk.step(found, limit);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The tracks among `ids` that match conditions, in the given order; the values are numbered from 2.
    pub(crate) fn matching(
        &mut self,
        ids: &[TrackId],
        conditions: &FilterSql,
    ) -> Result<Vec<TrackId>> {
        let matching: HashSet<TrackId> =
            match self.on_shards(|shard| shard.matching_here(ids, conditions)) {
                Some(parts) => parts.into_iter().flatten().collect(),
                None => self.matching_here(ids, conditions)?,
            };
        Ok(ids
            .iter()
            .copied()
            .filter(|id| matching.contains(id))
            .collect())
    }

    fn matching_here(
        &mut self,
        ids: &[TrackId],
        conditions: &FilterSql,
    ) -> Result<HashSet<TrackId>> {
        let sql = format!(
            "select id from {} where id = any ($1) and {}",
            self.table, conditions.sql
        );
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.run(|tx| {
            let first: &dyn SqlParameter = &ids;
            let values: Vec<_> = std::iter::once(first)
                .chain(filter::values(conditions))
                .collect();
            Ok(tx
                .query(&sql, &values)?
                .iter()
                .map(|row| TrackId(row.get(0)))
                .collect())
        })
    }
}

/// Inserts rows, replacing those of the same tracks.
pub(super) fn upsert(tx: &mut Transaction<'_>, rows: &[&SortRow]) -> Result<(), postgres::Error> {
    let names = ddl::SORTED_BY.map(|(name, ..)| name);
    // All columns but the id, by which rows are found.
    let set: Vec<String> = names[1..]
        .iter()
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let numbers: Vec<String> = ddl::SORTED_BY
        .iter()
        .enumerate()
        .map(|(i, (_, kind, _))| format!("${}::{kind}[]", i + 1))
        .collect();
    let sql = format!(
        "insert into voisin_order ({names}) select * from unnest({}) on conflict (id) do update set {}",
        numbers.join(", "),
        set.join(", "),
        names = names.join(", "),
    );
    SortRow::columns(rows, |values| tx.execute(&sql, values)).map(drop)
}

/// Fills the table from the stored facts.
pub(super) fn fill(tx: &mut Transaction<'_>) -> Result<(), postgres::Error> {
    let mut after = -1_i64;
    loop {
        let sql = "select id, facts::text from voisin_track where id > $1 order by id limit $2";
        let found = tx.query(sql, &[&after, &ROWS])?;
        let Some(last) = found.last() else {
            return Ok(());
        };
        after = last.get(0);
        let rows = found
            .iter()
            .filter_map(|row| Some(SortRow::new(row.get(0), &facts_of(row.get(1))?)));
        let rows: Vec<SortRow> = rows.collect();
        upsert(tx, &rows.iter().collect::<Vec<_>>())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_begins_after_a_track_and_ends_with_missing_keys() {
        let ids = |ids: &[i64]| ids.iter().map(|&id| TrackId(id)).collect::<Vec<_>>();
        let mut walk = SortedWalk {
            by: SortBy::Artist,
            descending: true,
            after: Some(TrackId(5)),
            begun: false,
            part: WalkPart::Known,
            at: 0,
            among: None,
        };
        let sql = walk.sql(3);
        assert!(
            sql.contains("artist is not null and artist <= (select artist"),
            "{sql}"
        );
        assert!(
            sql.contains("order by artist desc, album desc nulls last")
                && sql.ends_with("offset 0"),
            "{sql}"
        );
        assert_eq!(walk.step(ids(&[9, 8, 7]), 3), ids(&[]));
        assert_eq!(walk.step(ids(&[6, 5, 4]), 3), ids(&[4]));
        assert!(walk.sql(3).ends_with("limit 3 offset 6"));
        assert_eq!(
            walk.step(ids(&[5]), 3),
            ids(&[5]),
            "skipped rows count once"
        );
        assert!(walk.sql(3).contains("artist is null order by album desc"));
        walk.among = Some(vec![1]);
        assert!(
            walk.sql(3)
                .contains("artist is null and id = any ($1) order by")
        );
        assert_eq!(walk.step(ids(&[1]), 3), ids(&[1]));
        assert_eq!(walk.part, WalkPart::End);
        walk.part = WalkPart::Known;
        assert!(
            walk.sql(3)
                .contains("where id = $1) and id = any ($2) order by artist desc")
        );
    }
}
