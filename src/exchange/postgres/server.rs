//! PostgreSQL with pgvector as a store of tracks.

use postgres::types::{ToSql, Type};
use postgres::{Client, Row, Transaction};

use super::ddl::SCHEMA;
use super::filter::{Conditions, scale_value};
use super::row::{fetched, track_of};
use super::{BackendError, PostgresAddress, Result};
use voisin::{EngineError, LibrarySpace, check_model};
use voisin_base::track::{ContentId, TrackId};
use voisin_index::Neighbor;
use voisin_library::{SortBy, StoredModel, TrackRecord};

/// Rows that one statement fetches at most.
const ROWS: usize = 1000;

/// If at most this many tracks pass a filter, comparing with each is faster than the index, and exact: some 20 ms.
const COMPARED: usize = 20_000;

/// The largest width of a walk through the index that pgvector allows (`hnsw.ef_search`). With a filter that follows the
/// clusters of the music, a narrower one ends among tracks that do not match.
const WIDEST: usize = 1000;

/// Width of a walk without a filter.
const WIDTH: usize = 100;

/// A filtered walk collects this many times the limit: the first matches are not the nearest.
const FILTERED_MORE: usize = 8;

/// A library in PostgreSQL.
pub struct Postgres {
    client: Client,
    place: PostgresAddress,
    head: Head,
}

pub(super) struct Head {
    /// Identity of these tables; a copy has the same.
    pub(super) identity: String,
    /// Counter of pushes.
    pub(super) generation: i64,
    pub(super) model: StoredModel,
    pub(super) mean: Vec<f32>,
    pub(super) labels: Option<String>,
    pub(super) synonyms: Option<Vec<u8>>,
}

/// A track with its genres in the library that was pushed.
pub(super) type Fetched = (TrackId, TrackRecord, Vec<String>);

impl Postgres {
    /// Opens an existing library.
    pub fn open(place: &PostgresAddress) -> Result<Self> {
        let mut client = place.connect()?;
        let mut tx = client.transaction()?;
        if !has_tables(&mut tx)? {
            return Err(BackendError::NoLibrary {
                place: place.to_string(),
            });
        }
        let head = read_head(&mut tx, place)?;
        tx.commit()?;
        Ok(Self {
            client,
            place: place.clone(),
            head,
        })
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The space in which the database compares.
    pub(super) fn space(&self) -> LibrarySpace {
        LibrarySpace::new(self.head.mean.clone(), &self.head.model.manifest_json)
    }

    fn query(&mut self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        Ok(self.client.query_typed(sql, values)?)
    }

    /// The number of matching tracks.
    ///
    /// - `most`: count only up to this one
    pub(super) fn count(&mut self, conditions: &Conditions, most: usize) -> Result<usize> {
        let sql = format!(
            "select count(*) from (select 1 from voisin_track where {} limit {most}) few",
            conditions.sql
        );
        let rows = self.query(&sql, &conditions.values())?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)) as usize)
    }

    /// The first ids that match conditions, ascending.
    pub(super) fn ids(&mut self, conditions: &Conditions, limit: usize) -> Result<Vec<TrackId>> {
        self.sorted(SortBy::Id, false, conditions, 0, limit)
    }

    /// Ids of matching tracks in an order; those without its primary key come last.
    ///
    /// - `from`: rows to leave out before
    pub(super) fn sorted(
        &mut self,
        by: SortBy,
        descending: bool,
        conditions: &Conditions,
        from: usize,
        limit: usize,
    ) -> Result<Vec<TrackId>> {
        let order = if descending { "desc" } else { "asc" };
        let keys = sort_keys(by).into_iter();
        let keys: String = keys
            .map(|key| format!("{key} {order} nulls last, "))
            .collect();
        let sql = format!(
            "select id from voisin_track where {} order by {keys}id limit {limit} offset {from}",
            conditions.sql
        );
        let rows = self.query(&sql, &conditions.values())?;
        Ok(rows.iter().map(|row| TrackId(row.get(0))).collect())
    }

    /// All licences, as files spell them.
    pub(super) fn licences(&mut self) -> Result<Vec<String>> {
        let sql = "select distinct unnest(licences) from voisin_track";
        let rows = self.query(sql, &[])?;
        Ok(rows.iter().filter_map(|row| row.get(0)).collect())
    }

    /// The tracks stored since a generation, and the recordings removed since.
    pub(super) fn changes(&mut self, since: i64) -> Result<(Vec<TrackId>, Vec<ContentId>)> {
        let since: [(&(dyn ToSql + Sync), Type); 1] = [(&since, Type::INT8)];
        let sql = "select id from voisin_track where changed > $1 order by id";
        let stored = self.query(sql, &since)?;
        let gone = self.query("select content from voisin_gone where changed > $1", &since)?;
        let gone = gone
            .iter()
            .filter_map(|row| row.try_get::<_, &[u8]>(0).ok()?.try_into().ok());
        let stored = stored.iter().map(|row| TrackId(row.get(0)));
        Ok((stored.collect(), gone.map(ContentId).collect()))
    }

    /// Fetches tracks in no order; missing ones are left out, and unreadable ones counted.
    pub(super) fn fetch(&mut self, ids: &[TrackId]) -> Result<(Vec<Fetched>, usize)> {
        let space = self.space();
        let sql = format!(
            "select {}, id, labels from voisin_track where id = any ($1)",
            fetched()
        );
        let mut tracks = Vec::with_capacity(ids.len());
        let mut damaged = 0;
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            for row in self.query(&sql, &[(&some, Type::INT8_ARRAY)])? {
                // Another program may have put nulls into the array.
                match (track_of(&row, &space), row.try_get("labels")) {
                    (Some(track), Ok(labels)) => {
                        tracks.push((TrackId(row.get("id")), track, labels));
                    }
                    _ => damaged += 1,
                }
            }
        }
        Ok((tracks, damaged))
    }

    /// The tracks nearest to a unit vector of [`space`](Self::space) that fit conditions, nearest first, at 16 bits a
    /// number: by the index, or by comparing all if the conditions leave few or `exact` is set.
    pub(super) fn nearest(
        &mut self,
        query: &[f32],
        limit: usize,
        conditions: &Conditions,
        exact: bool,
    ) -> Result<Vec<Neighbor>> {
        let is_filtered = !conditions.values().is_empty();
        // A walk returns at most its width, so longer lists compare all tracks.
        let compares_all = exact
            || limit > WIDEST / 2
            || is_filtered && self.count(conditions, COMPARED + 1)? <= COMPARED;
        let distance = distance(conditions);
        // "+ 0.0" keeps the planner from using any vector index.
        let all = format!("({distance}) + 0.0, id");
        if compares_all {
            return self.search(query, &all, conditions, limit, "");
        }
        let (width, candidates, scan) = if is_filtered {
            (WIDEST, FILTERED_MORE * limit, "relaxed_order")
        } else {
            // Without a filter every candidate matches, and the walk need not continue.
            (WIDTH.max(limit), limit, "off")
        };
        let settings = format!(
            "set local hnsw.ef_search = {width}; set local hnsw.iterative_scan = {scan}; set local hnsw.max_scan_tuples = 100000;"
        );
        let mut found = self.search(query, &distance, conditions, candidates, &settings)?;
        if found.len() < limit {
            // The walk ended before it found enough matches.
            return self.search(query, &all, conditions, limit, "");
        }
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
        found.truncate(limit);
        Ok(found)
    }

    /// - `order`: the expression that the rows are sorted by
    fn search(
        &mut self,
        query: &[f32],
        order: &str,
        conditions: &Conditions,
        limit: usize,
        settings: &str,
    ) -> Result<Vec<Neighbor>> {
        let sql = format!(
            "select id, -({}) from voisin_track where {} order by {order} limit {limit}",
            distance(conditions),
            conditions.sql
        );
        let mut values = conditions.values();
        values.push((&query, Type::FLOAT4_ARRAY));
        let mut tx = self.client.transaction()?;
        // JIT compilation takes longer than it saves.
        tx.batch_execute(&format!("{settings}set local jit = off"))?;
        let rows = tx.query_typed(&sql, &values)?;
        tx.commit()?;
        let found = rows.iter().map(|row| Neighbor {
            id: TrackId(row.get(0)),
            similarity: row.get::<_, f64>(1) as f32,
        });
        Ok(found.collect())
    }

    /// The error for unreadable rows.
    pub(super) fn damaged(&self, count: usize) -> BackendError {
        BackendError::Refused {
            place: self.place.to_string(),
            problem: format!(
                "{count} of the tracks are damaged: delete their rows from voisin_track and push again"
            ),
        }
    }
}

/// The distance to the query vector, which is the value after those of conditions.
fn distance(conditions: &Conditions) -> String {
    let number = conditions.values().len() + 1;
    format!("vector <#> ${number}::real[]::halfvec")
}

/// Whether the tables exist in the first schema of the search path, where new ones would be made.
pub(super) fn has_tables(tx: &mut Transaction<'_>) -> Result<bool> {
    let sql = "select to_regclass(quote_ident(current_schema()) || '.voisin_state') is not null";
    Ok(tx.query_typed_one(sql, &[])?.get(0))
}

/// Refuses tables of another schema.
pub(super) fn check_schema(tx: &mut Transaction<'_>, place: &PostgresAddress) -> Result<()> {
    let sql = "select schema from voisin_state";
    let found: i32 = tx.query_typed_one(sql, &[])?.get(0);
    if found == SCHEMA {
        return Ok(());
    }
    Err(BackendError::Refused {
        place: place.to_string(),
        problem: format!(
            "it has tables of schema {found}, expected {SCHEMA}: drop the tables that begin with voisin_ and push again"
        ),
    })
}

fn read_head(tx: &mut Transaction<'_>, place: &PostgresAddress) -> Result<Head> {
    check_schema(tx, place)?;
    let sql = "select identity::text, generation, model, fingerprint, dimension, manifest, mean, labels, synonyms
        from voisin_state where model is not null";
    let place = place.to_string();
    let Some(row) = tx.query_typed_opt(sql, &[])? else {
        return Err(BackendError::NoLibrary { place });
    };
    let text = |at| row.get::<_, Option<String>>(at).unwrap_or_default();
    let model = StoredModel {
        name: text(2),
        fingerprint: text(3),
        dimension: row.get::<_, Option<i64>>(4).unwrap_or_default() as usize,
        manifest_json: text(5),
    };
    // The database is not trusted, so its manifest is checked.
    check_model(&model).map_err(|problem| {
        let next = "drop the tables that begin with voisin_ and push again";
        EngineError::foreign_model(&place, &problem, next)
    })?;
    let mean = row.get::<_, Option<Vec<f32>>>(6);
    let mean = mean.unwrap_or_else(|| vec![0.0; model.dimension]);
    if mean.len() != model.dimension || !mean.iter().all(|value| value.is_finite()) {
        return Err(BackendError::Refused {
            place,
            problem: format!(
                "expected a mean of {} numbers in voisin_state",
                model.dimension
            ),
        });
    }
    Ok(Head {
        identity: row.get(0),
        generation: row.get(1),
        model,
        mean,
        labels: row.get(7),
        synonyms: row.get(8),
    })
}

/// Text without case, byte by byte, instead of the database's collation.
fn folded(text: &str) -> String {
    format!("lower({text}) collate \"C\"")
}

/// Text byte by byte, with numbers of nine digits, which sort by their values.
fn numbered(text: &str) -> String {
    let long = format!("regexp_replace({text}, '([0-9]+)', '000000000\\1', 'g')");
    format!("regexp_replace({long}, '[0-9]*([0-9]{{9}})', '\\1', 'g') collate \"C\"")
}

/// Sort keys of an order, the primary one first.
fn sort_keys(by: SortBy) -> Vec<String> {
    let artist = numbered("lower(coalesce(artist, album_artist))");
    let [album, title] = ["lower(album)", "lower(title)"].map(numbered);
    let [disc, number] = ["disc_number", "track_number"].map(str::to_owned);
    match by {
        SortBy::Id => vec!["id".to_owned()],
        SortBy::Artist => vec![artist, album, disc, number, title],
        SortBy::Album => vec![album, artist, disc, number, title],
        SortBy::Title => vec![title, artist],
        SortBy::Genre => vec![numbered("lower(genres[1])"), artist],
        SortBy::Year => vec!["year".to_owned(), artist, album, disc, number],
        SortBy::Time => vec!["seconds".to_owned()],
        SortBy::Added => vec!["added_at".to_owned()],
        SortBy::Path => vec![numbered("path")],
        SortBy::Size => vec!["size".to_owned()],
        SortBy::Codec => vec![folded("codec"), artist],
        SortBy::Licence => vec![folded("licence"), artist],
        SortBy::Bpm => vec!["tempo".to_owned()],
        SortBy::Key => vec!["key".to_owned()],
        SortBy::Loudness => vec!["loudness".to_owned()],
        SortBy::Scale(scale) => vec![scale_value(scale.as_str())],
    }
}
