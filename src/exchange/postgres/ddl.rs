//! The tables as SQL. Names are fixed; only numbers vary.

use crate::row::{COLUMNS, Column, Kind};

/// Version of the tables: the day on which they got this form.
pub(super) const SCHEMA: i32 = 20_261_130;

/// Columns of the table of tracks besides [`COLUMNS`], of all files of a track: what is searched, and what tells whether
/// a row has changed. Keys are folded.
pub(super) const KEYS: [Column; 11] = [
    // Genres by the label source of the library.
    ("labels", Kind::Texts, ""),
    ("genre_keys", Kind::Texts, ""),
    ("artist_keys", Kind::Texts, ""),
    ("album_keys", Kind::Texts, ""),
    // The paths and the folders above them.
    ("folders", Kind::Texts, ""),
    ("licences", Kind::Texts, ""),
    ("year_min", Kind::Int, ""),
    ("year_max", Kind::Int, ""),
    ("words", Kind::Text, ""),
    ("digest", Kind::Bytes, ""),
    // The generation in which the row was stored.
    ("changed", Kind::Int, ""),
];

/// Indexes of the table of tracks: access method, column.
const INDEXES: [(&str, &str); 6] = [
    ("gin", "genre_keys"),
    ("gin", "artist_keys"),
    ("gin", "album_keys"),
    ("gin", "folders"),
    ("btree", "seconds"),
    ("btree", "changed"),
];

/// The statement that builds the vector index; vectors have length 1, so the inner product is the cosine.
pub(super) const VECTOR_INDEX: &str = "create index on voisin_track using hnsw (vector halfvec_ip_ops) with (m = 16, ef_construction = 128)";

/// Small tables.
// `one … check (one = 1)` keeps a table at one row. mean: what is taken off vectors before they are compared;
// library: the identity of the one that is pushed here; labels: its source of them; synonyms: its file of them.
const STATE: &str = "create table voisin_state (
  one integer primary key default 1 check (one = 1),
  schema integer not null,
  identity uuid not null default gen_random_uuid(),
  generation bigint not null default 0,
  library text, model text, fingerprint text, dimension bigint, manifest text, mean real[],
  labels text, synonyms bytea
);
create table voisin_gone (id bigint primary key, content bytea not null, changed bigint not null);
";

/// All columns of the table of tracks but its key `id`, in the order in which they are sent.
pub(super) fn columns() -> impl Iterator<Item = Column> {
    COLUMNS.into_iter().chain(KEYS)
}

/// Names of these columns.
pub(super) fn names() -> String {
    let names: Vec<&str> = columns().map(|(name, ..)| name).collect();
    names.join(", ")
}

fn sql_type(kind: Kind, dimension: usize) -> String {
    match kind {
        Kind::Text | Kind::Json => "text".to_owned(),
        Kind::Texts => "text[]".to_owned(),
        Kind::Int => "bigint".to_owned(),
        Kind::Real => "double precision".to_owned(),
        Kind::Bool => "boolean".to_owned(),
        Kind::Bytes => "bytea".to_owned(),
        Kind::Floats => "real[]".to_owned(),
        Kind::Vector => format!("halfvec({dimension})"),
    }
}

/// The tables.
pub(super) fn tables(dimension: usize) -> String {
    let columns =
        columns().map(|(name, kind, _)| format!(",\n  {name} {}", sql_type(kind, dimension)));
    let columns: String = columns.collect();
    let indexes = INDEXES.map(|(method, column)| {
        format!("create index on voisin_track using {method} ({column});\n")
    });
    format!(
        "create extension if not exists vector;\n{STATE}create table voisin_track (\n  id bigint primary key{columns}\n);\n\
         {}insert into voisin_state (schema) values ({SCHEMA});\n",
        indexes.concat()
    )
}

/// All statements, for an operator to run.
pub fn print(dimension: usize) -> String {
    format!(
        "-- Tables of voisin for vectors of {dimension} numbers. Run it once with psql, then: voisin push\n{}\
         -- After the first push, which does this itself:\n-- {VECTOR_INDEX};\n",
        tables(dimension)
    )
}
