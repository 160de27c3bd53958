//! The tables, as SQL: for one server, for partitions on several, for Citus. Names in it are fixed, numbers are its only
//! variables.

use std::fmt::Write as _;

/// Version of the tables.
pub(super) const SCHEMA: i32 = 2;

/// Servers of the partitioned form, as it is printed.
const SHARDS: usize = 3;

/// On how many servers the tracks lie, and who divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One server.
    Single,
    /// Partitions by hash that lie on other servers (`postgres_fdw`).
    Partitioned,
    /// Citus.
    Citus,
}

/// Columns of the table of tracks, in the order in which they are sent.
pub(super) const COLUMNS: &str = "id, content, source, path, title, artist, album, album_artist, genres, year, seconds, \
    tempo, key, loudness, licences, year_min, year_max, paths, folders, artist_keys, album_keys, genre_keys, words, \
    facts, windows, digest, changed, vector, embedding";

fn track_columns(dimension: usize) -> String {
    format!(
        "  id bigint not null,               -- the first 63 bits of the content id
  content bytea not null,           -- BLAKE3 of the audio's packets
  source text not null,             -- the library that sent it
  path text not null,               -- these are for people and for other programs
  title text, artist text, album text, album_artist text,
  genres text[] not null, year integer,
  seconds double precision not null, tempo double precision, key smallint, loudness double precision,
  licences text[] not null, year_min integer, year_max integer,
  paths bigint[] not null,          -- these are for filters: the first 8 bytes of BLAKE3 of paths,
  folders bigint[] not null,        -- of all folders above them, and of folded names
  artist_keys bigint[] not null, album_keys bigint[] not null, genre_keys bigint[] not null,
  words text not null,              -- folded artist, title, album and file name
  facts bytea not null,             -- all that is known of the recording, JSON
  windows bytea,                    -- starts (f32) and vectors (f16), little-endian, if they were sent
  digest bytea not null,            -- of facts and vectors: what need not be sent again
  changed bigint not null,          -- the generation that it came with
  vector bytea not null,            -- f32, little-endian, of length 1: what answers are made of
  -- relative to the mean in voisin_mean, of length 1, at 16 bits: what is searched
  embedding halfvec({dimension}) not null"
    )
}

/// Small tables that one server alone has.
pub(super) const STATE: &str = "create table voisin_state (
  one integer primary key default 1 check (one = 1),
  schema integer not null,
  identity uuid not null default gen_random_uuid(),
  model text, fingerprint text, dimension integer, manifest text,
  generation bigint not null default 0,
  width integer not null default 100
);
-- What similarity is relative to: taken off vectors before they are compared (f32, little-endian). Since which generation
-- it holds; the first push brings it, and only push --recentre renews it.
create table voisin_mean (
  one integer primary key default 1 check (one = 1),
  mean bytea not null,
  generation bigint not null
);
create table voisin_source (library text primary key, generation bigint not null);
create table voisin_setting (name text primary key, value bytea not null);
create table voisin_gone (id bigint primary key, content bytea not null, changed bigint not null);";

/// What a shard or a server alone has besides its columns.
fn indexes(table: &str) -> String {
    let mut sql = String::new();
    for column in ["paths", "folders", "artist_keys", "album_keys", "genre_keys"] {
        let _ = writeln!(sql, "create index on {table} using gin ({column});");
    }
    for columns in ["(source)", "(year_min)", "(changed)"] {
        let _ = writeln!(sql, "create index on {table} {columns};");
    }
    sql
}

/// Short vectors stay in their row, where a search reads them without a detour.
fn storage(table: &str, dimension: usize) -> String {
    // Floats do not become smaller by compressing.
    let mut sql = format!("alter table {table} alter column vector set storage external;\n");
    if dimension <= 900 {
        let _ = writeln!(sql, "alter table {table} alter column embedding set storage plain;");
    }
    sql
}

/// The statement that makes the vector index; vectors are of length 1, so the inner product is the cosine.
pub(super) fn vector_index(table: &str) -> String {
    format!(
        "create index on {table} using hnsw (embedding halfvec_ip_ops) with (m = 16, ef_construction = 128)"
    )
}

/// The tables of one server.
pub(super) fn single(dimension: usize) -> String {
    format!(
        "{STATE}\ncreate table voisin_track (\n{},\n  primary key (id),\n  unique (content)\n);\n{}{}",
        track_columns(dimension),
        storage("voisin_track", dimension),
        indexes("voisin_track"),
    )
}

/// All statements of a form, for an operator to run.
pub fn print(form: Form, dimension: usize) -> String {
    let header = format!(
        "-- Tables of voisin, schema {SCHEMA}, for vectors of {dimension} numbers. Run it once with psql, then: voisin push\n"
    );
    let extension = "create extension if not exists vector;\n";
    let state = format!("insert into voisin_state (schema) values ({SCHEMA});\n");
    match form {
        Form::Single => format!(
            "{header}{extension}{}{state}-- After the first push, which does this itself:\n-- {};\n",
            single(dimension),
            vector_index("voisin_track"),
        ),
        Form::Citus => format!(
            "{header}{extension}create extension if not exists citus;\n{STATE}\ncreate table voisin_track (\n{},\n  primary key (id)\n);\n{}select create_distributed_table('voisin_track', 'id');\n{}{state}-- Searches set their width within their transaction, which is to reach the workers:\nalter database :\"DBNAME\" set citus.propagate_set_commands = 'local';\n-- After the first push, which does this itself:\n-- {};\n",
            track_columns(dimension),
            storage("voisin_track", dimension),
            indexes("voisin_track"),
            vector_index("voisin_track"),
        ),
        Form::Partitioned => partitioned(&header, extension, &state, dimension),
    }
}

fn partitioned(header: &str, extension: &str, state: &str, dimension: usize) -> String {
    let mut sql = header.to_owned();
    sql.push_str(
        "-- Fill in the variables (psql -v shard0_host=… and so on), run each part on its server, the shards first.\n",
    );
    for shard in 0..SHARDS {
        let table = format!("voisin_track_{shard}");
        let _ = write!(
            sql,
            "\n-- == shard {shard}\n{extension}create table {table} (\n{},\n  primary key (id),\n  unique (content)\n);\n{}{}-- After the first push, on the shard (see maintenance_work_mem):\n-- {};\n",
            track_columns(dimension),
            storage(&table, dimension),
            indexes(&table),
            vector_index(&table),
        );
    }
    let _ = write!(
        sql,
        "\n-- == coordinator\n{extension}create extension if not exists postgres_fdw;\n{STATE}\ncreate table voisin_track (\n{}\n) partition by hash (id);\n",
        track_columns(dimension),
    );
    for shard in 0..SHARDS {
        // What is set here holds in the shard's sessions: settings of the coordinator's do not reach them.
        let _ = writeln!(
            sql,
            "create server voisin_shard_{shard} foreign data wrapper postgres_fdw options (host :'shard{shard}_host', port :'shard{shard}_port', dbname :'shard{shard}_dbname', extensions 'vector', async_capable 'true', fetch_size '20', batch_size '1000', use_remote_estimate 'false', options '-c hnsw.ef_search=100 -c hnsw.iterative_scan=relaxed_order -c plan_cache_mode=force_custom_plan -c jit=off');\ncreate user mapping for current_user server voisin_shard_{shard} options (user :'shard{shard}_user');\ncreate foreign table voisin_track_{shard} partition of voisin_track for values with (modulus {SHARDS}, remainder {shard}) server voisin_shard_{shard};"
        );
    }
    sql.push_str(state);
    sql
}
