//! Rows of the table of tracks: sent, taken out, fetched.

use postgres::Transaction;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::Type;

use super::{Fetched, Postgres, ROWS};
use crate::ddl::COLUMNS;
use crate::row::{TrackRow, id_of, record};
use crate::{BackendError, Result};
use voisin_base::text::LONGEST_TEXT;
use voisin_base::track::{ContentId, TrackId};

/// What is known of a track, as it is fetched (bytes): a thousand at once are in memory.
const MOST_OF_FACTS: usize = 2 * LONGEST_TEXT;

impl Postgres {
    /// Takes the lock of those who send tracks, for as long as the connection lasts.
    pub(crate) fn lock(&mut self) -> Result<()> {
        let sql = "select pg_try_advisory_lock(1987013491, hashint8('voisin_state'::regclass::oid::bigint))";
        if self.run(|tx| Ok(tx.query_one(sql, &[])?.get(0)))? {
            return Ok(());
        }
        Err(BackendError::Busy { place: self.place().to_string() })
    }

    /// Sends rows, in place of those of the same recordings, and says with which generation.
    pub(crate) fn send(&mut self, rows: &[TrackRow], source: &str) -> Result<u64> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.as_slice()).collect();
        // A clash of ids ends in an error of the key: rows of other recordings are not taken out.
        self.run(|tx| {
            let changed: i64 = next_generation(tx)?;
            // Foreign tables know neither "on conflict" nor copies of 16-bit vectors in one round.
            tx.batch_execute(
                "create temporary table if not exists voisin_staging (like voisin_track) on commit delete rows",
            )?;
            let columns = tx.prepare(&format!("select {COLUMNS} from voisin_staging"))?;
            let types: Vec<Type> = columns.columns().iter().map(|column| column.type_().clone()).collect();
            let sink = tx.copy_in(&format!("copy voisin_staging ({COLUMNS}) from stdin binary"))?;
            let mut writer = BinaryCopyInWriter::new(sink, &types);
            for row in rows {
                row.write(source, changed, |values| writer.write(values))?;
            }
            writer.finish()?;
            tx.execute(
                "delete from voisin_track where id = any ($1) and content = any ($2)",
                &[&ids, &contents],
            )?;
            tx.execute("delete from voisin_gone where id = any ($1)", &[&ids])?;
            tx.execute(
                &format!("insert into voisin_track ({COLUMNS}) select {COLUMNS} from voisin_staging"),
                &[],
            )?;
            Ok(changed as u64)
        })
    }

    /// Takes rows out.
    pub(crate) fn take_out(&mut self, contents: &[ContentId]) -> Result<u64> {
        let mut removed = 0;
        for some in contents.chunks(ROWS) {
            let ids: Vec<i64> = some.iter().map(|content| id_of(content).0).collect();
            let contents: Vec<&[u8]> = some.iter().map(|content| &content.0[..]).collect();
            removed += self.run(|tx| {
                let changed: i64 = next_generation(tx)?;
                let sql =
                    "delete from voisin_track where id = any ($1) and content = any ($2) returning id, content";
                let rows = tx.query(sql, &[&ids, &contents])?;
                let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                let contents: Vec<&[u8]> = rows.iter().map(|row| row.get(1)).collect();
                tx.execute(
                    "insert into voisin_gone (id, content, changed) select id, content, $3
                     from unnest($1::bigint[], $2::bytea[]) as gone (id, content)
                     on conflict (id) do update set content = excluded.content, changed = excluded.changed",
                    &[&ids, &contents, &changed],
                )?;
                Ok(rows.len() as u64)
            })?;
        }
        Ok(removed)
    }

    /// Fetches tracks, in no order; those that are not there are left out. The second number counts rows that make no sense.
    pub(crate) fn fetch(&mut self, ids: &[TrackId], windows: bool) -> Result<(Vec<Fetched>, u64)> {
        let (mut records, mut damaged) = (Vec::with_capacity(ids.len()), 0);
        let column = if windows { "windows" } else { "null::bytea" };
        let sql = format!(
            "select id, case when octet_length(facts) <= {MOST_OF_FACTS} then facts end, {column}, vector, genres
             from voisin_track where id = any ($1)"
        );
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows = self.run(|tx| tx.query(&sql, &[&some]))?;
            for row in rows {
                let facts = row.get::<_, Option<&[u8]>>(1);
                match facts.and_then(|facts| record(facts, row.get(2), row.get(3))) {
                    Some(record) => records.push((TrackId(row.get(0)), record, row.get(4))),
                    None => damaged += 1,
                }
            }
        }
        Ok((records, damaged))
    }
}

pub(super) fn next_generation(tx: &mut Transaction<'_>) -> Result<i64, postgres::Error> {
    let sql = "update voisin_state set generation = generation + 1 returning generation";
    Ok(tx.query_one(sql, &[])?.get(0))
}
