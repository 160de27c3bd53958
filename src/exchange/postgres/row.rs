//! Rows of the table of tracks.

use half::f16;
use postgres::Row;
use postgres::types::{FromSql, IsNull, Kind as TypeKind, ToSql, Type, to_sql_checked};

use super::ddl::columns;
use crate::row::{COLUMNS, Cell, Kind, cells, record};
use voisin::LibrarySpace;
use voisin_base::track::{ContentId, TrackId};
use voisin_genre::Genre;
use voisin_library::artists::artists;
use voisin_library::{TrackFacts, TrackRecord, fold};

type Boxed = Box<dyn std::error::Error + Sync + Send>;

/// The id that a recording has in every database: the first 63 bits of its content id.
pub(super) fn id_of(content: &ContentId) -> TrackId {
    let mut first = [0; 8];
    first.copy_from_slice(&content.0[..8]);
    // Without the sign bit, as ids are never negative.
    TrackId((u64::from_be_bytes(first) >> 1) as i64)
}

/// A text by which rows are found. PostgreSQL indexes no text of more than 2.7 kB.
pub(super) fn key(text: &str) -> String {
    plain(text).chars().take(600).collect()
}

/// Text as PostgreSQL accepts it, without NUL.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn genre_keys(genres: &[Genre]) -> Vec<String> {
    genres.iter().map(|genre| key(genre.key())).collect()
}

impl ToSql for Cell {
    fn to_sql(&self, kind: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Boxed> {
        use bytes::BufMut as _;
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Text(text) => plain(text).to_sql(kind, out),
            Self::Texts(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| plain(text)).collect();
                texts.to_sql(kind, out)
            }
            Self::Int(number) => number.to_sql(kind, out),
            Self::Real(number) => number.to_sql(kind, out),
            Self::Bool(is) => is.to_sql(kind, out),
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
            // pgvector's form: length (u16), an unused u16, then the numbers, big-endian.
            Self::Floats(numbers) if kind.name() == HALF_VECTOR => {
                out.put_u16(u16::try_from(numbers.len())?);
                out.put_u16(0);
                for number in numbers {
                    out.put_u16(f16::from_f32(*number).to_bits());
                }
                Ok(IsNull::No)
            }
            Self::Floats(numbers) => numbers.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// pgvector's type.
const HALF_VECTOR: &str = "halfvec";

/// The types of all columns of the table of tracks, `id` first, as COPY writes them.
pub(super) fn types() -> Vec<Type> {
    let of_column = columns().map(|(_, kind, _)| match kind {
        Kind::Text | Kind::Json => Type::TEXT,
        Kind::Texts => Type::TEXT_ARRAY,
        Kind::Int => Type::INT8,
        Kind::Real => Type::FLOAT8,
        Kind::Bool => Type::BOOL,
        Kind::Bytes => Type::BYTEA,
        Kind::Floats => Type::FLOAT4_ARRAY,
        // Its number differs between databases, and is not sent.
        Kind::Vector => Type::new(HALF_VECTOR.into(), 0, TypeKind::Simple, String::new()),
    });
    std::iter::once(Type::INT8).chain(of_column).collect()
}

/// A row to be sent.
pub(super) struct TrackRow {
    pub(super) id: i64,
    pub(super) digest: Vec<u8>,
    pub(super) cells: Vec<Cell>,
}

impl TrackRow {
    /// - `genres`: by the library's label source
    /// - `space`: the one in which the database compares
    /// - `changed`: the generation in which it is stored
    pub(super) fn new(
        record: &TrackRecord,
        genres: &[Genre],
        space: &LibrarySpace,
        changed: i64,
    ) -> serde_json::Result<Self> {
        let id = id_of(&record.facts.audio.content).0;
        let mut cells = cells(record)?;
        let labels = genres.iter().map(|genre| genre.name().to_owned());
        cells.push(Cell::Texts(labels.collect()));
        cells.push(Cell::Texts(genre_keys(genres)));
        cells.extend(search_keys(&record.facts));
        let digest = digest(&cells);
        cells.push(Cell::Bytes(digest.clone()));
        cells.push(Cell::Int(changed));
        let vector = COLUMNS
            .iter()
            .position(|(_, kind, _)| *kind == Kind::Vector);
        if let Some(vector) = vector {
            cells[vector] = Cell::Floats(space.centre(&record.vector));
        }
        cells.insert(0, Cell::Int(id));
        Ok(Self { id, digest, cells })
    }
}

fn digest(cells: &[Cell]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for cell in cells {
        match cell {
            Cell::Floats(numbers) => numbers.iter().for_each(|number| {
                hasher.update(&number.to_le_bytes());
            }),
            cell => {
                hasher.update(format!("{cell:?}").as_bytes());
            }
        }
    }
    hasher.finalize().as_bytes()[..16].to_vec()
}

/// The cells from `artist_keys` to `words`, of all files.
fn search_keys(facts: &TrackFacts) -> [Cell; 7] {
    let tags = || facts.files.iter().map(|file| &file.tags);
    let named = tags()
        .flat_map(|tags| [&tags.artist, &tags.album_artist])
        .flatten();
    // Every artist who is named, and the texts as they are.
    let named = named.flat_map(|text| artists(text).into_iter().chain([text.as_str()]));
    let albums = tags().filter_map(|tags| tags.album.as_deref());
    let paths = facts
        .files
        .iter()
        .flat_map(|file| file.record.path.ancestors());
    let licences = tags().filter_map(|tags| tags.licence.clone());
    let years = || tags().filter_map(|tags| tags.year).map(i64::from);
    let mut words = String::new();
    for file in &facts.files {
        let tags = &file.tags;
        let stem = file.record.path.file_stem();
        let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
        for text in [
            &tags.artist,
            &tags.title,
            &tags.album,
            &tags.album_artist,
            &stem,
        ]
        .into_iter()
        .flatten()
        {
            words.push(' ');
            words.push_str(&fold(text));
        }
    }
    let year = |year: Option<i64>| year.map_or(Cell::Null, Cell::Int);
    [
        Cell::Texts(named.map(|name| key(&fold(name))).collect()),
        Cell::Texts(albums.map(|name| key(&fold(name))).collect()),
        Cell::Texts(paths.map(|path| key(&path.to_string_lossy())).collect()),
        Cell::Texts(licences.collect()),
        year(years().min()),
        year(years().max()),
        Cell::Text(words),
    ]
}

/// A vector of 16 bits a number, as `halfvec_send` writes it.
struct HalfVector(Vec<f32>);

impl FromSql<'_> for HalfVector {
    fn from_sql(_: &Type, bytes: &[u8]) -> Result<Self, Boxed> {
        let halves = bytes.get(4..).unwrap_or_default().as_chunks::<2>().0;
        let half = |bytes: &[u8; 2]| f16::from_bits(u16::from_be_bytes(*bytes)).to_f32();
        Ok(Self(halves.iter().map(half).collect()))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }
}

/// The expressions of [`COLUMNS`] in a query.
pub(super) fn fetched() -> String {
    let expressions = COLUMNS.map(|(name, kind, _)| match kind {
        Kind::Vector => format!("halfvec_send({name})"),
        _ => name.to_owned(),
    });
    expressions.join(", ")
}

/// The track of a row that begins with these expressions; `None` if another program has made it unreadable.
pub(super) fn track_of(row: &Row, space: &LibrarySpace) -> Option<TrackRecord> {
    let cell = |(at, (_, kind, _)): (usize, &crate::row::Column)| cell(row, at, *kind).ok();
    let cells: Option<Vec<Cell>> = COLUMNS.iter().enumerate().map(cell).collect();
    let mut track = record(cells?).ok()?;
    let is_whole = track.vector.len() == space.mean().len();
    track.vector = is_whole.then(|| space.restore(&track.vector))?;
    Some(track)
}

fn cell(row: &Row, at: usize, kind: Kind) -> Result<Cell, postgres::Error> {
    let cell = match kind {
        Kind::Text | Kind::Json => row.try_get::<_, Option<String>>(at)?.map(Cell::Text),
        Kind::Texts => row.try_get::<_, Option<Vec<String>>>(at)?.map(Cell::Texts),
        Kind::Int => row.try_get::<_, Option<i64>>(at)?.map(Cell::Int),
        Kind::Real => row.try_get::<_, Option<f64>>(at)?.map(Cell::Real),
        Kind::Bool => row.try_get::<_, Option<bool>>(at)?.map(Cell::Bool),
        Kind::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Cell::Bytes),
        Kind::Floats => row.try_get::<_, Option<Vec<f32>>>(at)?.map(Cell::Floats),
        Kind::Vector => {
            let vector = row.try_get::<_, Option<HalfVector>>(at)?;
            vector.map(|vector| Cell::Floats(vector.0))
        }
    };
    Ok(cell.unwrap_or(Cell::Null))
}
