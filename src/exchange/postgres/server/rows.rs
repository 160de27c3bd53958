//! Rows of the table of tracks: sending, removing, fetching.

use postgres::Row;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{Kind, Type};

use super::{Fetched, Postgres, ROWS, Transaction};
use crate::postgres::Result;
use crate::postgres::ddl;
use crate::postgres::row::{FETCHED, HalfVector, TrackRow, facts_of};
use voisin_base::text::LONGEST_TEXT;
use voisin_base::track::TrackId;
use voisin_library::TrackRecord;

/// The longest facts of a track that are fetched (bytes): a thousand rows are in memory at once.
const MOST_OF_FACTS: usize = 2 * LONGEST_TEXT;

impl Postgres {
    /// Sends rows, replacing those of the same recordings.
    pub(crate) fn send(&mut self, rows: &[TrackRow]) -> Result<()> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.as_slice()).collect();
        let names = ddl::columns();
        // A collision of ids violates the primary key: rows of other recordings are not deleted.
        self.run(|tx| {
            // First, since it locks the counter's row until the end, so that generations follow the order of commits.
            let changed = next_generation(tx)?;
            // The staging table ends with the transaction, after which a pooler may give the session to another client.
            tx.batch_execute(
                "create temporary table voisin_staging (like voisin_track) on commit drop",
            )?;
            let types = types(tx, &names)?;
            let sink = tx.copy_in(&format!("copy voisin_staging ({names}) from stdin binary"))?;
            let mut writer = BinaryCopyInWriter::new(sink, &types);
            for row in rows {
                writer.write(&row.values(&changed))?;
            }
            writer.finish()?;
            tx.execute(
                "delete from voisin_track where id = any ($1) and content = any ($2)",
                &[&ids, &contents],
            )?;
            tx.execute("delete from voisin_gone where id = any ($1)", &[&ids])?;
            let insert =
                format!("insert into voisin_track ({names}) select {names} from voisin_staging");
            tx.execute(&insert, &[])?;
            tx.batch_execute("drop table voisin_staging")
        })
    }

    /// Removes rows; returns how many were there.
    pub(crate) fn remove(&mut self, ids: &[i64]) -> Result<u64> {
        let mut removed = 0;
        for some in ids.chunks(ROWS) {
            removed += self.run(|tx| {
                let changed = next_generation(tx)?;
                let sql = "delete from voisin_track where id = any ($1) returning id, content";
                let rows = tx.query(sql, &[&some])?;
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

    /// Fetches tracks in no order; missing ones are left out. The second number counts damaged rows.
    pub(crate) fn fetch(&mut self, ids: &[TrackId]) -> Result<(Vec<Fetched>, u64)> {
        let mut records = Vec::with_capacity(ids.len());
        let mut damaged = 0;
        let dimension = self.model().dimension;
        let space = self.held_space();
        let sql = format!(
            "select id, case when octet_length(facts::text) <= {MOST_OF_FACTS} then facts::text end, logits, {FETCHED}, genres
             from voisin_track where id = any ($1)"
        );
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows = self.run(|tx| tx.query(&sql, &[&some]))?;
            for row in rows {
                let vector = space.restore(&row.get::<_, HalfVector>(3).values());
                let facts = row.get::<_, Option<&str>>(1).and_then(facts_of);
                // Another program may have put nulls into the array.
                let logits = row.try_get(2).ok();
                match facts.zip(logits).filter(|_| vector.len() == dimension) {
                    Some((facts, logits)) => {
                        let record = TrackRecord {
                            facts,
                            vector,
                            logits,
                        };
                        records.push((TrackId(row.get(0)), record, row.get(4)));
                    }
                    None => damaged += 1,
                }
            }
        }
        Ok((records, damaged))
    }
}

fn next_generation(tx: &mut Transaction<'_>) -> Result<i64, postgres::Error> {
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
