//! The tables as SQL: for one server, for partitions on several, for Citus. Names are fixed; only numbers vary.

use std::fmt::Write as _;

/// Version of the tables.
pub(super) const SCHEMA: i32 = 5;

/// The oldest version that can be upgraded ([`upgrade`]).
pub(super) const OLDEST_SCHEMA: i32 = 2;

/// How the tracks are distributed over servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One server.
    Single,
    /// Hash partitions on this many other servers (`postgres_fdw`).
    Partitioned(u32),
    /// Citus.
    Citus,
}

/// The encoding of vectors in the vector index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexCodes {
    /// 16 bits of each number.
    #[default]
    Halves,
    /// The sign of each number, one bit; candidates are re-ranked by the 16-bit vectors of the table.
    Signs,
}

/// Columns of the table of tracks in the order of sending: name, type, description. `$N` stands for the vectors' length.
const TRACK: [(&str, &str, &str); 28] = [
    (
        "id",
        "bigint not null",
        "the first 63 bits of the content id",
    ),
    (
        "content",
        "bytea not null",
        "content id: BLAKE3 of the compressed packets of the audio",
    ),
    (
        "source",
        "text not null",
        "identity of the library whose facts these are; empty: a worker or a program",
    ),
    (
        "path",
        "text not null",
        "one of the recording''s files, for people and other programs; any bytes are in facts",
    ),
    ("title", "text", "tag of that file"),
    ("artist", "text", "tag of that file"),
    ("album", "text", "tag of that file"),
    ("album_artist", "text", "tag of that file"),
    (
        "genres",
        "text[] not null",
        "genres by the label source of the library that sent it",
    ),
    ("year", "integer", "tag of that file"),
    (
        "seconds",
        "double precision not null",
        "length of the audio, s",
    ),
    (
        "tempo",
        "double precision",
        "beats per minute; null: not measured",
    ),
    (
        "key",
        "smallint",
        "musical key, 0 to 11 C to B major, 12 to 23 C to B minor; null: not measured",
    ),
    (
        "loudness",
        "double precision",
        "integrated loudness by EBU R 128, LUFS; null: not measured",
    ),
    ("licences", "text[] not null", "licences of all files"),
    ("year_min", "integer", "earliest year of all files"),
    ("year_max", "integer", "latest year of all files"),
    (
        "paths",
        "bigint[] not null",
        "for filters: the first 8 bytes of BLAKE3, little-endian, of each path",
    ),
    (
        "folders",
        "bigint[] not null",
        "as paths, of all folders above the files",
    ),
    (
        "artist_keys",
        "bigint[] not null",
        "as paths, of the folded names of artists and album artists",
    ),
    (
        "album_keys",
        "bigint[] not null",
        "as paths, of the folded names of albums",
    ),
    (
        "genre_keys",
        "bigint[] not null",
        "as paths, of the folded names of genres",
    ),
    (
        "words",
        "text not null",
        "folded artists, titles, albums and file names of all files, for searches by words",
    ),
    (
        "facts",
        "jsonb not null",
        "all facts of the recording; text with NUL, which jsonb cannot hold, as {\"hex\": its bytes}",
    ),
    (
        "windows",
        "bytea",
        "window vectors, if they were sent: count (u32), starts in s (f32), vectors (f16), little-endian",
    ),
    (
        "digest",
        "bytea not null",
        "digest of facts and vectors: rows with the same one are not sent again",
    ),
    (
        "changed",
        "bigint not null",
        "generation in which this row was stored",
    ),
    (
        "embedding",
        "halfvec($N) not null",
        "the searched vector: relative to voisin_mean, of length 1, at 16 bits",
    ),
];

/// Names of the columns of the table of tracks, in the order in which they are sent.
pub(super) fn columns() -> String {
    TRACK.map(|(name, ..)| name).join(", ")
}

fn track_columns(dimension: usize) -> String {
    let n = dimension.to_string();
    let line = |(name, kind, _): (&str, &str, &str)| format!("  {name} {}", kind.replace("$N", &n));
    TRACK.map(line).join(",\n")
}

/// Descriptions of the columns of the table of tracks, for the database's own catalogue.
fn comments(table: &str, dimension: usize) -> String {
    let n = dimension.to_string();
    let mut sql = format!(
        "comment on table {table} is 'voisin: recordings, with the columns that are searched';\n"
    );
    for (column, _, text) in TRACK {
        let text = text.replace("$N", &n);
        let _ = writeln!(sql, "comment on column {table}.{column} is '{text}';");
    }
    sql
}

/// Columns of the table of exact vectors.
const VECTOR: &str = "  id bigint not null,\n  vector bytea not null";

/// The name of the table of exact vectors for a table of tracks.
pub(super) fn vectors_beside(table: &str) -> String {
    // A name of a shard, perhaps with a schema: `music.voisin_track_3` has `music.voisin_vector_3`.
    let (before, after) = table.rsplit_once("voisin_track").unwrap_or_default();
    format!("{before}voisin_vector{after}")
}

/// The table of exact vectors for a table of tracks on a server or a shard.
fn vectors(table: &str) -> String {
    let table = vectors_beside(table);
    // Compression does not make floats smaller.
    format!(
        "create table {table} (\n{VECTOR},\n  primary key (id)\n);\nalter table {table} alter column vector set storage external;\n"
    )
}

/// Descriptions of the table of exact vectors.
fn vector_comments(dimension: usize) -> String {
    format!(
        "comment on table voisin_vector is 'voisin: exact vectors of recordings, which no search reads';
comment on column voisin_vector.id is 'of the recording';
comment on column voisin_vector.vector is 'raw vector of length 1, {dimension} numbers: f32, little-endian';
"
    )
}

/// Columns of the table of sort keys: name, type, description. Text is folded and compared byte by byte.
pub(super) const SORTED_BY: [(&str, &str, &str); 17] = [
    ("id", "bigint", "of the recording"),
    ("artist", "text", "artist, else album artist"),
    ("album", "text", ""),
    ("title", "text", ""),
    ("genre", "text", "the first genre of the tags"),
    ("disc", "bigint", "number of the disc"),
    ("number", "bigint", "number on the disc"),
    ("year", "bigint", ""),
    ("seconds", "double precision", ""),
    (
        "added",
        "bigint",
        "when its library took it in, seconds since 1970",
    ),
    ("path", "bytea", ""),
    ("size", "bigint", "of the file, bytes"),
    ("codec", "text", ""),
    ("licence", "text", ""),
    ("tempo", "double precision", ""),
    ("key", "bigint", ""),
    ("loudness", "double precision", ""),
];

/// Columns with an index; a list sorted by another one scans this table.
const SORTED_BY_INDEX: [&str; 6] = ["artist", "album", "title", "path", "year", "added"];

/// The table of sort keys on the first server, with its indexes.
fn order() -> String {
    let column = |(name, kind, _): (&str, &str, &str)| {
        // Byte by byte, the order of a library on disk, instead of the database's collation.
        let how = if kind == "text" { " collate \"C\"" } else { "" };
        format!("  {name} {kind}{how}")
    };
    let columns: Vec<String> = SORTED_BY.map(column).into();
    let mut sql = format!(
        "create table voisin_order (\n{},\n  primary key (id)\n);\n",
        columns.join(",\n")
    );
    for column in SORTED_BY_INDEX {
        let _ = writeln!(sql, "create index on voisin_order ({column});");
    }
    sql.push_str("comment on table voisin_order is 'voisin: what lists are sorted by, of the first file; folded text';\n");
    for (name, _, text) in SORTED_BY.iter().filter(|(.., text)| !text.is_empty()) {
        let _ = writeln!(sql, "comment on column voisin_order.{name} is '{text}';");
    }
    sql
}

/// Small tables, on the first server only.
// `one … check (one = 1)` keeps a table at one row.
const STATE: &str = "create table voisin_state (
  one integer primary key default 1 check (one = 1),
  schema integer not null,
  identity uuid not null default gen_random_uuid(),
  model text, fingerprint text, dimension integer, manifest text,
  generation bigint not null default 0,
  width integer not null default 100
);
create table voisin_mean (
  one integer primary key default 1 check (one = 1),
  mean bytea not null,
  generation bigint not null
);
create table voisin_source (library text primary key, generation bigint not null);
create table voisin_held (id bigint, library text, primary key (id, library));
create table voisin_setting (name text primary key, value bytea not null);
create table voisin_gone (
  id bigint primary key, content bytea not null, changed bigint not null,
  barred boolean not null default false
);
";

/// Descriptions of these tables.
const STATE_COMMENTS: &str =
    "comment on table voisin_state is 'voisin: version of these tables, model of the vectors, counter of changes';
comment on column voisin_state.width is 'candidates that a search keeps (hnsw.ef_search); set by voisin eval index';
comment on table voisin_mean is 'voisin: what is taken off vectors before they are compared (f32, little-endian), and since which generation; renewed by push --recentre alone';
comment on table voisin_source is 'voisin: libraries that were pushed here, and their own generation then';
comment on table voisin_held is 'voisin: which libraries hold a recording (empty: a worker or a program): it stays until none does';
comment on table voisin_setting is 'voisin: settings and small files of the library, for those who pull it';
comment on table voisin_gone is 'voisin: recordings that were taken out, and with which generation';
comment on column voisin_gone.barred is 'taken down by remove --backend: no push and no worker brings it back';
";

/// Extensions besides pgvector: indexes of parts of words.
const EXTENSIONS: &str = "create extension if not exists pg_trgm;\n";

/// Indexes of the table of tracks on a server or shard: the schema version that added them, access method, columns.
const INDEXES: [(i32, &str, &str); 13] = [
    (1, "gin", "paths"),
    (1, "gin", "folders"),
    (1, "gin", "artist_keys"),
    (1, "gin", "album_keys"),
    (1, "gin", "genre_keys"),
    (1, "btree", "changed"),
    (3, "gin", "words gin_trgm_ops"),
    (3, "gin", "licences"),
    (3, "btree", "year_min, year_max"),
    (3, "btree", "seconds"),
    (3, "btree", "tempo"),
    (3, "btree", "key"),
    (3, "btree", "loudness"),
];

/// Statements that create the indexes of a server's or shard's table.
///
/// - `since`: the version of the tables, whose indexes exist already
fn indexes(table: &str, since: i32) -> String {
    let mut sql = String::new();
    for (_, method, columns) in INDEXES.iter().filter(|(version, ..)| *version > since) {
        let _ = writeln!(sql, "create index on {table} using {method} ({columns});");
    }
    sql
}

/// Statements that upgrade the tables of the first server to the newest version.
///
/// - `shards`: the number of shards, upgraded first by [`upgrade_of_shard`]; 0: the tracks are on this server
pub(super) fn upgrade(from: i32, shards: usize, dimension: usize) -> String {
    let mut sql = String::new();
    // One step for each version; tables of version 2 go through all of them.
    if from < 3 {
        sql.push_str(
            "create table voisin_held (id bigint, library text, primary key (id, library));
insert into voisin_held (id, library) select id, source from voisin_track;
alter table voisin_gone add column barred boolean not null default false;
",
        );
        sql.push_str(STATE_COMMENTS);
    }
    if from < 4 {
        sql.push_str(&order());
    }
    if from < 5 {
        if shards == 0 {
            sql.push_str(&upgrade_of_part(from, "voisin_track"));
        } else {
            sql.push_str(&foreign_vectors(shards));
            sql.push_str(UPGRADED_PARTITIONS);
            // Fails if a shard has not been upgraded, before anything is changed here.
            for shard in 0..shards {
                let _ = writeln!(sql, "select from voisin_vector_{shard} limit 1;");
            }
        }
        sql.push_str(&comments("voisin_track", dimension));
        sql.push_str(&vector_comments(dimension));
    }
    sql
}

/// A condition that selects the vector indexes of a table, however they were created.
pub(super) const OF_VECTORS: &str = "pg_get_indexdef(indexrelid) like '%embedding%'";

/// Drops the vector indexes of a table that is rewritten: PostgreSQL would rebuild them in the same
/// transaction, which locks the table, and with the server's default memory.
fn without_vector_indexes(table: &str) -> String {
    format!(
        "do $$ declare name regclass; begin
  for name in select indexrelid::regclass from pg_index where indrelid = '{table}'::regclass and {OF_VECTORS} loop
    execute 'drop index ' || name;
  end loop;
end $$;
"
    )
}

/// The upgrade of a shard, which its operator runs; its vector index is built while queries are answered.
pub(super) fn upgrade_of_shard(from: i32, table: &str) -> String {
    format!(
        // The index stays outside: `create index concurrently` runs in no transaction.
        "begin;\n{}commit;\n-- Give it the memory that the index needs (set maintenance_work_mem):\n{};\n",
        upgrade_of_part(from, table),
        vector_index(table, IndexCodes::Halves, 0)
    )
}

/// Statements that upgrade the tables of a server or shard to the newest version, without their vector indexes.
fn upgrade_of_part(from: i32, table: &str) -> String {
    let mut sql = without_vector_indexes(table);
    if from < 3 {
        let _ = write!(
            sql,
            "{EXTENSIONS}drop index if exists {table}_source_idx, {table}_year_min_idx;\n{}",
            indexes(table, from)
        );
    }
    let _ = write!(
        sql,
        "{}insert into {} (id, vector) select id, vector from {table};\n{}",
        vectors(table),
        vectors_beside(table),
        UPGRADED_COLUMNS.replace("voisin_track", table)
    );
    sql
}

/// Converts the columns of a table of tracks to schema 5. Facts that jsonb cannot hold stay as their bytes.
const UPGRADED_COLUMNS: &str = r#"create function pg_temp.facts(facts bytea, content bytea) returns jsonb language plpgsql as $$
begin
  return (regexp_replace(
    regexp_replace(convert_from(facts, 'UTF8'), '"content":\[[0-9,]*\]', '"content":"' || encode(content, 'hex') || '"'),
    '"(seconds|tempo|loudness|bpm|replay_gain)":"(0|-?[0-9.]*[1-9][0-9.]*)"', '"\1":\2', 'g'))::jsonb;
exception when others then
  return jsonb_build_object('hex', encode(facts, 'hex'));
end $$;
alter table voisin_track drop column vector, alter column facts type jsonb using pg_temp.facts(facts, content);
drop function pg_temp.facts(bytea, bytea);
"#;

/// The same for the partitioned table, whose rows are on the shards.
const UPGRADED_PARTITIONS: &str = "alter table voisin_track drop column vector, drop column facts;\nalter table voisin_track add column facts jsonb not null;\n";

/// Keeps short vectors in their row, where a search reads them without a lookup in the TOAST table.
fn storage(table: &str, dimension: usize) -> String {
    // Plain values cannot move out of their row, and a row must fit into a page of 8 kB.
    if dimension > 900 {
        return String::new();
    }
    format!("alter table {table} alter column embedding set storage plain;\n")
}

/// The signs of a vector's numbers.
pub(super) fn signs(dimension: usize) -> String {
    format!("binary_quantize(embedding)::bit({dimension})")
}

/// The statement that builds the vector index; vectors have length 1, so the inner product is the cosine.
pub(super) fn vector_index(table: &str, codes: IndexCodes, dimension: usize) -> String {
    let operand = match codes {
        IndexCodes::Halves => "embedding halfvec_ip_ops".to_owned(),
        IndexCodes::Signs => format!("({}) bit_hamming_ops", signs(dimension)),
    };
    format!(
        "create index concurrently on {table} using hnsw ({operand}) with (m = 16, ef_construction = 128)"
    )
}

/// The other tables, which the first server has in every form.
fn beside_tracks(dimension: usize) -> String {
    let [tracks, vectors] = [
        comments("voisin_track", dimension),
        vector_comments(dimension),
    ];
    format!("{tracks}{vectors}{STATE_COMMENTS}{}", order())
}

/// The tables of one server.
pub(super) fn single(dimension: usize) -> String {
    format!(
        "{EXTENSIONS}{STATE}create table voisin_track (\n{},\n  primary key (id),\n  unique (content)\n);\n{}{}{}{}",
        track_columns(dimension),
        vectors("voisin_track"),
        storage("voisin_track", dimension),
        indexes("voisin_track", 0),
        beside_tracks(dimension),
    )
}

/// All statements of a form, for an operator to run.
pub fn print(form: Form, dimension: usize, codes: IndexCodes) -> String {
    let index = |table: &str| vector_index(table, codes, dimension);
    let header = format!(
        "-- Tables of voisin, schema {SCHEMA}, for vectors of {dimension} numbers. Run it once with psql, then: voisin push\n"
    );
    let extension = "create extension if not exists vector;\n";
    let state = format!("insert into voisin_state (schema) values ({SCHEMA});\n");
    match form {
        Form::Single => format!(
            "{header}{extension}{}{state}-- After the first push, which does this itself:\n-- {};\n",
            single(dimension),
            index("voisin_track"),
        ),
        Form::Citus => format!(
            "{header}{extension}create extension if not exists citus;\n{EXTENSIONS}{STATE}create table voisin_track (\n{},\n  primary key (id)\n);\n{}{}select create_distributed_table('voisin_track', 'id');\nselect create_distributed_table('voisin_vector', 'id', colocate_with => 'voisin_track');\n{}{}{state}-- Searches set their width within their transaction, and the workers need it:\nalter database :\"DBNAME\" set citus.propagate_set_commands = 'local';\n-- After the first push, which does this itself:\n-- {};\n",
            track_columns(dimension),
            vectors("voisin_track"),
            storage("voisin_track", dimension),
            indexes("voisin_track", 0),
            beside_tracks(dimension),
            index("voisin_track"),
        ),
        Form::Partitioned(shards) => {
            partitioned(&header, extension, &state, dimension, shards, &index)
        }
    }
}

fn partitioned(
    header: &str,
    extension: &str,
    state: &str,
    dimension: usize,
    shards: u32,
    index: &dyn Fn(&str) -> String,
) -> String {
    let mut sql = header.to_owned();
    sql.push_str(
        "-- Fill in the variables (psql -v shard0_host=… and so on), run each part on its server, the shards first.\n",
    );
    for shard in 0..shards {
        let table = format!("voisin_track_{shard}");
        let _ = write!(
            sql,
            "\n-- == shard {shard}\n{extension}{EXTENSIONS}create table {table} (\n{},\n  primary key (id),\n  unique (content)\n);\n{}{}{}-- After the first push, on the shard (see maintenance_work_mem):\n-- {};\n",
            track_columns(dimension),
            vectors(&table),
            storage(&table, dimension),
            indexes(&table, 0),
            index(&table),
        );
    }
    let _ = write!(
        sql,
        "\n-- == coordinator\n{extension}create extension if not exists postgres_fdw;\n{STATE}create table voisin_track (\n{}\n) partition by hash (id);\n",
        track_columns(dimension),
    );
    for shard in 0..shards {
        // These settings are for the shard's sessions, which the coordinator's settings do not reach.
        let _ = writeln!(
            sql,
            "create server voisin_shard_{shard} foreign data wrapper postgres_fdw options (host :'shard{shard}_host', port :'shard{shard}_port', dbname :'shard{shard}_dbname', extensions 'vector', async_capable 'true', fetch_size '1000', batch_size '1000', use_remote_estimate 'false', options '-c hnsw.ef_search=100 -c hnsw.iterative_scan=relaxed_order -c plan_cache_mode=force_custom_plan -c jit=off');\ncreate user mapping for current_user server voisin_shard_{shard} options (user :'shard{shard}_user');\ncreate foreign table voisin_track_{shard} partition of voisin_track for values with (modulus {shards}, remainder {shard}) server voisin_shard_{shard};"
        );
    }
    sql.push_str(&foreign_vectors(shards as usize));
    sql.push_str(&beside_tracks(dimension));
    sql.push_str(state);
    sql
}

/// The exact vectors of partitions: each part on the shard of its tracks.
fn foreign_vectors(shards: usize) -> String {
    let mut sql = format!("create table voisin_vector (\n{VECTOR}\n) partition by hash (id);\n");
    for shard in 0..shards {
        let _ = writeln!(
            sql,
            "create foreign table voisin_vector_{shard} partition of voisin_vector for values with (modulus {shards}, remainder {shard}) server voisin_shard_{shard};"
        );
    }
    sql
}
