//! Rows of the table of tracks: sending, removing, fetching.

use std::collections::HashSet;

use postgres::Row;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{Kind, Type};

use super::{Fetched, Postgres, ROWS, Transaction, WantedVectors, order};
use crate::Result;
use crate::ddl;
use crate::row::{FETCHED, HalfVector, SortRow, TrackRow, id_of, record, vector_of};
use voisin_base::text::LONGEST_TEXT;
use voisin_base::track::{ContentId, TrackId};

/// The longest facts of a track that are fetched (bytes): a thousand rows are in memory at once.
const MOST_OF_FACTS: usize = 2 * LONGEST_TEXT;

impl Postgres {
    /// Sends rows, replacing those of the same recordings; returns their generation.
    pub(crate) fn send(&mut self, rows: &[TrackRow], source: &str) -> Result<u64> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.as_slice()).collect();
        let names = ddl::columns();
        let sorted_by: Vec<&SortRow> = rows.iter().map(|row| &row.sorted_by).collect();
        // A collision of ids violates the primary key: rows of other recordings are not deleted.
        self.run(|tx| {
            // First, since it locks the counter's row until the end, so that generations follow the order of commits.
            let changed: i64 = next_generation(tx)?;
            // Foreign tables support neither "on conflict" nor binary COPY of 16-bit vectors. The
            // staging table ends with the transaction, after which a pooler may give the session to
            // another client.
            tx.batch_execute(
                "create temporary table voisin_staging (like voisin_track, vector bytea not null) on commit drop",
            )?;
            let types = types(tx, &format!("{names}, vector"))?;
            let sink = tx.copy_in(&format!("copy voisin_staging ({names}, vector) from stdin binary"))?;
            let mut writer = BinaryCopyInWriter::new(sink, &types);
            for row in rows {
                row.write(source, changed, |values| writer.write(values))?;
            }
            writer.finish()?;
            tx.execute(
                "delete from voisin_track where id = any ($1) and content = any ($2)",
                &[&ids, &contents],
            )?;
            tx.execute("delete from voisin_vector where id = any ($1)", &[&ids])?;
            tx.execute("delete from voisin_gone where id = any ($1) and not barred", &[&ids])?;
            // A recording that was taken down is not inserted, whichever library sends it.
            tx.execute("delete from voisin_staging where id in (select id from voisin_gone where barred)", &[])?;
            tx.execute(&format!("insert into voisin_track ({names}) select {names} from voisin_staging"), &[])?;
            tx.execute("insert into voisin_vector (id, vector) select id, vector from voisin_staging", &[])?;
            tx.execute(
                "insert into voisin_held (id, library) select id, source from voisin_staging
                 on conflict do nothing",
                &[],
            )?;
            order::upsert(tx, &sorted_by)?;
            tx.execute(
                "delete from voisin_order where id = any ($1) and id in (select id from voisin_gone where barred)",
                &[&ids],
            )?;
            tx.batch_execute("drop table voisin_staging")?;
            Ok(changed as u64)
        })
    }

    /// Takes recordings down, whichever libraries hold them: no push and no worker adds them again.
    /// Returns how many were there.
    pub fn take_down(&mut self, contents: &[ContentId]) -> Result<u64> {
        self.take_out(contents, true)
    }

    /// Removes rows, whichever libraries hold them.
    ///
    /// - `barred`: also refuse them from now on
    pub(crate) fn take_out(&mut self, contents: &[ContentId], barred: bool) -> Result<u64> {
        let mut removed = 0;
        for some in contents.chunks(ROWS) {
            let ids: Vec<i64> = some.iter().map(|content| id_of(content).0).collect();
            let contents: Vec<&[u8]> = some.iter().map(|content| &content.0[..]).collect();
            removed += self.run(|tx| {
                let changed: i64 = next_generation(tx)?;
                let sql =
                    "delete from voisin_track where id = any ($1) and content = any ($2) returning id, content";
                let rows = tx.query(sql, &[&ids, &contents])?;
                note_gone(tx, &rows, changed, barred)?;
                Ok(rows.len() as u64)
            })?;
        }
        Ok(removed)
    }

    /// Stores that a library holds recordings that another one sent.
    pub(crate) fn hold(&mut self, ids: &[i64], library: &str) -> Result<()> {
        for some in ids.chunks(ROWS) {
            self.run(|tx| {
                tx.execute(
                    "insert into voisin_held (id, library) select id, $2 from voisin_track where id = any ($1)
                     on conflict do nothing",
                    &[&some, &library],
                )
            })?;
        }
        Ok(())
    }

    /// Stores that a library no longer holds recordings, and removes those that no library holds. A
    /// row that another library holds passes to it, and its next push sends its facts. Returns how
    /// many were removed.
    pub(crate) fn release(&mut self, ids: &[i64], library: &str) -> Result<u64> {
        let mut removed = 0;
        for some in ids.chunks(ROWS) {
            removed += self.run(|tx| {
                let changed: i64 = next_generation(tx)?;
                tx.execute("delete from voisin_held where id = any ($1) and library = $2", &[&some, &library])?;
                let sql = "select min(library), array_agg(id) from
                    (select id, min(library) as library from voisin_held where id = any ($1) group by id) held
                    group by library";
                let mut left: HashSet<i64> = some.iter().copied().collect();
                for row in tx.query(sql, &[&some])? {
                    let heir: String = row.get(0);
                    let ids: Vec<i64> = row.get(1);
                    ids.iter().for_each(|id| {
                        left.remove(id);
                    });
                    let sql = "update voisin_track set source = $2, digest = '' where id = any ($1) and source = $3";
                    tx.execute(sql, &[&ids, &heir, &library])?;
                }
                let left: Vec<i64> = left.into_iter().collect();
                let rows = tx.query("delete from voisin_track where id = any ($1) returning id, content", &[&left])?;
                note_gone(tx, &rows, changed, false)?;
                Ok(rows.len() as u64)
            })?;
        }
        Ok(removed)
    }

    /// The recordings among `ids` that no library holds.
    pub(crate) fn without_library(&mut self, ids: &[TrackId]) -> Result<Vec<TrackId>> {
        let some: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.run(|tx| {
            let sql = "select unnest($1::bigint[]) except select id from voisin_held where id = any ($1) and library <> ''";
            Ok(tx.query(sql, &[&some])?.iter().map(|row| TrackId(row.get(0))).collect())
        })
    }

    /// Ids of recordings that were taken down.
    pub(crate) fn barred(&mut self) -> Result<HashSet<i64>> {
        self.run(|tx| {
            let rows = tx.query("select id from voisin_gone where barred", &[])?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    /// Fetches tracks in no order; missing ones are left out. The second number counts damaged rows.
    pub(crate) fn fetch(
        &mut self,
        ids: &[TrackId],
        wanted: WantedVectors,
    ) -> Result<(Vec<Fetched>, u64)> {
        let parts = match self.on_shards(|shard| shard.fetch_here(ids, wanted)) {
            Some(parts) => parts,
            None => vec![self.fetch_here(ids, wanted)?],
        };
        let [damaged, missing] =
            [0, 1].map(|i| parts.iter().map(|(_, faults)| faults[i]).sum::<u64>());
        if missing > 0 {
            return Err(self.unloaded(missing, ids.len() as u64));
        }
        Ok((
            parts.into_iter().flat_map(|(records, _)| records).collect(),
            damaged,
        ))
    }

    /// Fetches tracks, and counts damaged rows and those without exact vectors.
    fn fetch_here(
        &mut self,
        ids: &[TrackId],
        wanted: WantedVectors,
    ) -> Result<(Vec<Fetched>, [u64; 2])> {
        let mut records = Vec::with_capacity(ids.len());
        let mut damaged = 0;
        let mut missing = 0;
        let dimension = self.model().dimension;
        let space = self.held_space();
        let windows = if wanted.windows {
            "windows"
        } else {
            "null::bytea"
        };
        let (vector, join) = if wanted.exact {
            let vectors = ddl::vectors_beside(&self.table);
            (
                // Both tables are restricted to the ids, so that each shard looks up only these.
                "v.vector",
                format!("left join {vectors} v on v.id = t.id and v.id = any ($1)"),
            )
        } else {
            (FETCHED, String::new())
        };
        let sql = format!(
            "select t.id, case when octet_length(facts::text) <= {MOST_OF_FACTS} then facts::text end, {windows}, {vector}, genres
             from {} t {join} where t.id = any ($1)",
            self.table
        );
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows = self.run(|tx| tx.query(&sql, &[&some]))?;
            for row in rows {
                let vector = if wanted.exact {
                    row.get::<_, Option<&[u8]>>(3).map(vector_of)
                } else {
                    Some(space.restore(&row.get::<_, HalfVector>(3).values()))
                };
                let Some(vector) = vector else {
                    missing += 1;
                    continue;
                };
                let facts = row.get::<_, Option<&str>>(1);
                let record = facts.and_then(|facts| record(facts, row.get(2), vector));
                match record.filter(|record| record.vector.len() == dimension) {
                    Some(record) => records.push((TrackId(row.get(0)), record, row.get(4))),
                    None => damaged += 1,
                }
            }
        }
        Ok((records, [damaged, missing]))
    }
}

/// Stores tombstones of rows (id, content) that were removed.
fn note_gone(
    tx: &mut Transaction<'_>,
    rows: &[Row],
    changed: i64,
    barred: bool,
) -> Result<(), postgres::Error> {
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let contents: Vec<&[u8]> = rows.iter().map(|row| row.get(1)).collect();
    // By separate statements: foreign partitions have no cascading keys.
    tx.execute("delete from voisin_vector where id = any ($1)", &[&ids])?;
    tx.execute("delete from voisin_held where id = any ($1)", &[&ids])?;
    tx.execute("delete from voisin_order where id = any ($1)", &[&ids])?;
    tx.execute(
        "insert into voisin_gone (id, content, changed, barred) select id, content, $3, $4
         from unnest($1::bigint[], $2::bytea[]) as gone (id, content)
         on conflict (id) do update set content = excluded.content, changed = excluded.changed,
             barred = excluded.barred",
        &[&ids, &contents, &changed, &barred],
    )?;
    Ok(())
}

pub(super) fn next_generation(tx: &mut Transaction<'_>) -> Result<i64, postgres::Error> {
    let sql = "update voisin_state set generation = generation + 1 returning generation";
    Ok(tx.query_one(sql, &[])?.get(0))
}

/// The types of columns of the staging table, as COPY writes them.
///
/// - `names`: separated by commas
fn types(tx: &mut Transaction<'_>, names: &str) -> Result<Vec<Type>, postgres::Error> {
    let sql = "select atttypid, typname::text from unnest(string_to_array($1, ', ')) with ordinality as c (name, place)
        join pg_attribute on attrelid = 'pg_temp.voisin_staging'::regclass and attname = name
        join pg_type t on t.oid = atttypid order by place";
    let known = |row: &Row| {
        let number: u32 = row.get(0);
        // pgvector's types are recognised by name.
        Type::from_oid(number)
            .unwrap_or_else(|| Type::new(row.get(1), number, Kind::Simple, String::new()))
    };
    Ok(tx.query(sql, &[&names])?.iter().map(known).collect())
}
