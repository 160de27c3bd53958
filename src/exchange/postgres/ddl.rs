//! The tables as SQL. Names are fixed; only numbers vary.

use std::fmt::Write as _;

/// Version of the tables: the day on which they got this form.
pub(super) const SCHEMA: i32 = 20_261_130;

/// Columns of the table of tracks in the order of sending: name, type, description. `$N` stands for the vectors' length.
const TRACK: [(&str, &str, &str); 27] = [
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
        "genres by the label source of the library",
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
        "logits",
        "real[] not null",
        "what the model says besides (tags, voice), in the order of its manifest''s tags and outputs",
    ),
    (
        "digest",
        "bytea not null",
        "digest of facts and vectors: rows with the same one are not sent again",
    ),
    (
        "embedding",
        "halfvec($N) not null",
        "the searched vector: relative to the mean in voisin_state, of length 1, at 16 bits",
    ),
    (
        "changed",
        "bigint not null",
        "generation in which this row was stored",
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
fn comments(dimension: usize) -> String {
    let n = dimension.to_string();
    let mut sql =
        "comment on table voisin_track is 'voisin: recordings, with the columns that are searched';\n"
            .to_owned();
    for (column, _, text) in TRACK {
        let text = text.replace("$N", &n);
        let _ = writeln!(sql, "comment on column voisin_track.{column} is '{text}';");
    }
    sql
}

/// Small tables.
// `one … check (one = 1)` keeps a table at one row.
const STATE: &str = "create table voisin_state (
  one integer primary key default 1 check (one = 1),
  schema integer not null,
  identity uuid not null default gen_random_uuid(),
  model text, fingerprint text, dimension integer, manifest text, mean bytea,
  generation bigint not null default 0,
  library text, pushed bigint
);
create table voisin_setting (name text primary key, value bytea not null);
create table voisin_gone (id bigint primary key, content bytea not null, changed bigint not null);
";

/// Descriptions of these tables.
const STATE_COMMENTS: &str =
    "comment on table voisin_state is 'voisin: version of these tables, model of the vectors, counter of changes';
comment on column voisin_state.mean is 'what is taken off vectors before they are compared (f32, little-endian), set by the first push';
comment on column voisin_state.library is 'identity of the library that is pushed here';
comment on column voisin_state.pushed is 'generation of that library at its last whole push';
comment on table voisin_setting is 'voisin: settings and small files of the library, for those who pull it';
comment on table voisin_gone is 'voisin: recordings that were taken out, and with which generation';
";

/// Extensions besides pgvector: indexes of parts of words.
const EXTENSIONS: &str = "create extension if not exists pg_trgm;\n";

/// Indexes of the table of tracks: access method, columns.
const INDEXES: [(&str, &str); 13] = [
    ("gin", "paths"),
    ("gin", "folders"),
    ("gin", "artist_keys"),
    ("gin", "album_keys"),
    ("gin", "genre_keys"),
    ("btree", "changed"),
    ("gin", "words gin_trgm_ops"),
    ("gin", "licences"),
    ("btree", "year_min, year_max"),
    ("btree", "seconds"),
    ("btree", "tempo"),
    ("btree", "key"),
    ("btree", "loudness"),
];

/// Keeps short vectors in their row, where a search reads them without a lookup in the TOAST table.
fn storage(dimension: usize) -> &'static str {
    // Plain values cannot move out of their row, and a row must fit into a page of 8 kB.
    if dimension > 900 {
        return "";
    }
    "alter table voisin_track alter column embedding set storage plain;\n"
}

/// The statement that builds the vector index; vectors have length 1, so the inner product is the cosine.
pub(super) const VECTOR_INDEX: &str = "create index concurrently on voisin_track using hnsw (embedding halfvec_ip_ops) with (m = 16, ef_construction = 128)";

/// A condition that selects the vector indexes of a table, however they were created.
pub(super) const OF_VECTORS: &str = "pg_get_indexdef(indexrelid) like '%embedding%'";

/// The tables.
pub(super) fn tables(dimension: usize) -> String {
    let mut sql = format!(
        "{EXTENSIONS}{STATE}create table voisin_track (\n{},\n  primary key (id)\n);\n{}",
        track_columns(dimension),
        storage(dimension),
    );
    for (method, columns) in INDEXES {
        let _ = writeln!(
            sql,
            "create index on voisin_track using {method} ({columns});"
        );
    }
    sql.push_str(&comments(dimension));
    sql.push_str(STATE_COMMENTS);
    sql
}

/// All statements, for an operator to run.
pub fn print(dimension: usize) -> String {
    format!(
        "-- Tables of voisin, schema {SCHEMA}, for vectors of {dimension} numbers. Run it once with psql, then: voisin push
create extension if not exists vector;
{}insert into voisin_state (schema) values ({SCHEMA});
-- After the first push, which does this itself:
-- {VECTOR_INDEX};
",
        tables(dimension)
    )
}
