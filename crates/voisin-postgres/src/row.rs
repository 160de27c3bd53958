//! A recording as a row of the table of tracks, and back.

use half::f16;
use ndarray::Array2;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::{Result, StoredTrack};
use voisin::LibrarySpace;
use voisin_base::artists::artists;
use voisin_base::track::{ContentId, TrackId};
use voisin_library::{TrackFacts, TrackRecord, TrackTags, TrackWindows, fold, path_to_bytes};

type Boxed = Box<dyn std::error::Error + Sync + Send>;

/// The id that a recording has in every database: the first 63 bits of its content id.
pub(super) fn id_of(content: &ContentId) -> TrackId {
    let mut first = [0; 8];
    first.copy_from_slice(&content.0[..8]);
    TrackId((u64::from_be_bytes(first) >> 1) as i64)
}

/// What stands for a name or path in filters: short whatever its length, and any bytes will do. Two that meet cost a
/// comparison more, since what is fetched is filtered again.
pub(super) fn hash(bytes: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    i64::from_le_bytes(first)
}

pub(super) fn name_hash(name: &str) -> i64 {
    hash(fold(name).as_bytes())
}

/// Text as PostgreSQL takes it: it knows no NUL.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A vector of 16 bits a number, in pgvector's own form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HalfVector(pub(super) Vec<f16>);

impl HalfVector {
    pub(super) fn new(vector: &[f32]) -> Self {
        Self(vector.iter().map(|&value| f16::from_f32(value)).collect())
    }

    pub(super) fn values(&self) -> Vec<f32> {
        self.0.iter().map(|value| value.to_f32()).collect()
    }

    fn is_type(kind: &Type) -> bool {
        kind.name() == "halfvec"
    }
}

impl FromSql<'_> for HalfVector {
    fn from_sql(_: &Type, bytes: &[u8]) -> Result<Self, Boxed> {
        let values = bytes.get(4..).unwrap_or_default().as_chunks::<2>().0;
        Ok(Self(values.iter().map(|bytes| f16::from_bits(u16::from_be_bytes(*bytes))).collect()))
    }

    fn accepts(kind: &Type) -> bool {
        Self::is_type(kind)
    }
}

impl ToSql for HalfVector {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Boxed> {
        use bytes::BufMut as _;
        out.put_u16(u16::try_from(self.0.len())?);
        out.put_u16(0);
        for value in &self.0 {
            out.put_u16(value.to_bits());
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        Self::is_type(kind)
    }

    to_sql_checked!();
}

/// What lists are sorted by of a track: as of a library on a disk, by the tags of its first file.
#[derive(Debug)]
pub(super) struct SortRow {
    id: i64,
    artist: Option<String>,
    album: Option<String>,
    title: Option<String>,
    genre: Option<String>,
    disc: Option<i64>,
    number: Option<i64>,
    year: Option<i64>,
    seconds: f64,
    added: i64,
    path: Option<Vec<u8>>,
    size: Option<i64>,
    codec: String,
    licence: Option<String>,
    tempo: Option<f64>,
    key: Option<i64>,
    loudness: Option<f64>,
}

impl SortRow {
    pub(super) fn new(id: i64, facts: &TrackFacts) -> Self {
        let file = facts.files.first();
        let tags = file.map(|file| &file.tags);
        let of = |tag: fn(&TrackTags) -> Option<&String>| tags.and_then(tag).map(|text| plain(&fold(text)));
        let measured = facts.descriptors.unwrap_or_default();
        Self {
            id,
            artist: of(|tags| tags.artist.as_ref().or(tags.album_artist.as_ref())),
            album: of(|tags| tags.album.as_ref()),
            title: of(|tags| tags.title.as_ref()),
            genre: of(|tags| tags.genres.first()),
            disc: tags.and_then(|tags| tags.disc_number).map(i64::from),
            number: tags.and_then(|tags| tags.track_number).map(i64::from),
            year: tags.and_then(|tags| tags.year).map(i64::from),
            seconds: facts.audio.seconds,
            added: facts.added_at,
            path: file.and_then(|file| path_to_bytes(&file.record.path).ok()).map(<[u8]>::to_vec),
            size: file.map(|file| file.record.size as i64),
            codec: plain(&fold(&facts.audio.codec)),
            licence: of(|tags| tags.licence.as_ref()),
            tempo: measured.tempo,
            key: measured.key.map(|key| i64::from(key.number())),
            loudness: measured.loudness,
        }
    }

    /// Calls `write` with a list of values for each column, in their order.
    pub(super) fn columns<T>(rows: &[&Self], write: impl FnOnce(&[&(dyn ToSql + Sync)]) -> T) -> T {
        macro_rules! values {
            ($($field:ident)*) => { write(&[$(&rows.iter().map(|row| &row.$field).collect::<Vec<_>>()),*]) };
        }
        values!(id artist album title genre disc number year seconds added path size codec licence tempo key loudness)
    }
}

/// A row on its way out: values in the order of [`columns`](super::ddl::columns), and the exact vector.
#[derive(Debug)]
pub(super) struct TrackRow {
    pub(super) id: i64,
    pub(super) content: Vec<u8>,
    path: String,
    texts: [Option<String>; 4],
    genres: Vec<String>,
    year: Option<i32>,
    seconds: f64,
    tempo: Option<f64>,
    key: Option<i16>,
    loudness: Option<f64>,
    licences: Vec<String>,
    years: (Option<i32>, Option<i32>),
    paths: Vec<i64>,
    folders: Vec<i64>,
    artist_keys: Vec<i64>,
    album_keys: Vec<i64>,
    genre_keys: Vec<i64>,
    words: String,
    facts: Vec<u8>,
    windows: Option<Vec<u8>>,
    pub(super) digest: Vec<u8>,
    embedding: HalfVector,
    vector: Vec<u8>,
    pub(super) sorted_by: SortRow,
}

/// Bytes of each half of a digest: of what is known, and of the vectors.
pub(super) const HALF_DIGEST: usize = 16;

/// The first half of a digest, which says whether something but the vectors is new.
pub(super) fn facts_digest(facts: &[u8], genre_keys: &[i64]) -> [u8; HALF_DIGEST] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(facts);
    genre_keys.iter().for_each(|key| {
        hasher.update(&key.to_le_bytes());
    });
    let mut digest = [0; HALF_DIGEST];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..HALF_DIGEST]);
    digest
}

pub(super) fn genre_keys(genres: &[voisin_learn::genre::Genre]) -> Vec<i64> {
    unique(genres.iter().map(|genre| hash(genre.key().as_bytes())).collect())
}

pub(super) fn facts_bytes(facts: &TrackFacts) -> Result<Vec<u8>> {
    serde_json::to_vec(facts).map_err(|error| std::io::Error::other(error).into())
}

/// Everybody whom artist and album artist name, and these texts as they are.
fn artist_keys<'a>(tags: impl Iterator<Item = &'a TrackTags>) -> Vec<i64> {
    let texts = tags.flat_map(|tags| [tags.artist.as_deref(), tags.album_artist.as_deref()]).flatten();
    unique(texts.flat_map(|text| artists(text).into_iter().chain([text])).map(name_hash).collect())
}

fn unique(mut keys: Vec<i64>) -> Vec<i64> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

impl TrackRow {
    /// - `with_windows`: send the window vectors too
    /// - `space`: in which the database compares
    pub(super) fn new(track: &StoredTrack, with_windows: bool, space: &LibrarySpace) -> Result<Self> {
        let StoredTrack { record, genres } = track;
        let facts = &record.facts;
        let first = facts.files.first();
        let tags = || facts.files.iter().map(|file| &file.tags);
        let first_tags = first.map(|file| file.tags.clone()).unwrap_or_default();
        let (mut paths, mut folders) = (Vec::new(), Vec::new());
        let mut words = String::from(" ");
        for file in &facts.files {
            let path = &file.record.path;
            paths.push(hash(path_to_bytes(path)?));
            for folder in path.ancestors().skip(1) {
                folders.push(hash(path_to_bytes(folder)?));
            }
            let texts = [&file.tags.artist, &file.tags.title, &file.tags.album, &file.tags.album_artist];
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            for text in texts.into_iter().chain([&stem]).flatten() {
                words.push_str(&plain(&fold(text)));
                words.push(' ');
            }
        }
        let years = || tags().filter_map(|tags| tags.year);
        let facts_json = facts_bytes(facts)?;
        let genre_keys = genre_keys(genres);
        let embedding = HalfVector::new(&space.centre(&record.vector));
        let windows =
            (with_windows && !record.windows.starts.is_empty()).then(|| windows_bytes(&record.windows));
        let mut digest = facts_digest(&facts_json, &genre_keys).to_vec();
        let mut hasher = blake3::Hasher::new();
        let vector: Vec<u8> = record.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&vector);
        hasher.update(windows.as_deref().unwrap_or_default());
        digest.extend_from_slice(&hasher.finalize().as_bytes()[..HALF_DIGEST]);
        let measured = facts.descriptors.unwrap_or_default();
        let mut licences: Vec<String> =
            tags().filter_map(|tags| tags.licence.as_deref()).map(plain).collect();
        licences.dedup();
        let text = |text: &Option<String>| text.as_deref().map(plain);
        Ok(Self {
            id: id_of(&facts.audio.content).0,
            content: facts.audio.content.0.to_vec(),
            path: first.map(|file| plain(&file.record.path.to_string_lossy())).unwrap_or_default(),
            texts: [
                text(&first_tags.title),
                text(&first_tags.artist),
                text(&first_tags.album),
                text(&first_tags.album_artist),
            ],
            genres: genres.iter().map(|genre| plain(genre.name())).collect(),
            year: first_tags.year,
            seconds: facts.audio.seconds,
            tempo: measured.tempo,
            key: measured.key.map(|key| i16::from(key.number())),
            loudness: measured.loudness,
            licences,
            years: (years().min(), years().max()),
            paths: unique(paths),
            folders: unique(folders),
            artist_keys: artist_keys(tags()),
            album_keys: unique(
                tags().filter_map(|tags| tags.album.as_ref()).map(|name| name_hash(name)).collect(),
            ),
            genre_keys,
            words,
            facts: facts_json,
            windows,
            digest,
            embedding,
            vector,
            sorted_by: SortRow::new(id_of(&facts.audio.content).0, facts),
        })
    }

    /// Calls `write` with the values in the order of the columns, the exact vector last.
    pub(super) fn write<T>(
        &self,
        source: &str,
        changed: i64,
        write: impl FnOnce(&[&(dyn ToSql + Sync)]) -> T,
    ) -> T {
        let [title, artist, album, album_artist] = &self.texts;
        write(&[
            &self.id,
            &self.content,
            &source,
            &self.path,
            title,
            artist,
            album,
            album_artist,
            &self.genres,
            &self.year,
            &self.seconds,
            &self.tempo,
            &self.key,
            &self.loudness,
            &self.licences,
            &self.years.0,
            &self.years.1,
            &self.paths,
            &self.folders,
            &self.artist_keys,
            &self.album_keys,
            &self.genre_keys,
            &self.words,
            &self.facts,
            &self.windows,
            &self.digest,
            &changed,
            &self.embedding,
            &self.vector,
        ])
    }
}

/// How many windows, their starts, and their vectors.
fn windows_bytes(windows: &TrackWindows) -> Vec<u8> {
    let mut bytes = (windows.starts.len() as u32).to_le_bytes().to_vec();
    windows.starts.iter().for_each(|start| bytes.extend_from_slice(&start.to_le_bytes()));
    windows.vectors.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

fn windows_of(bytes: &[u8], dimension: usize) -> Option<TrackWindows> {
    let (count, rest) = bytes.split_at_checked(4)?;
    let count = u32::from_le_bytes(count.try_into().ok()?) as usize;
    let (starts, vectors) = rest.split_at_checked(count.checked_mul(4)?)?;
    let starts = starts.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let (values, left) = vectors.as_chunks::<2>();
    if !left.is_empty() {
        return None;
    }
    let values = values.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
    let vectors = Array2::from_shape_vec((count, dimension), values).ok()?;
    Some(TrackWindows { vectors, starts })
}

/// A vector from its bytes.
pub(super) fn vector_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// What is known of a recording; `None` where another program has changed it beyond use.
pub(super) fn facts_of(facts: &[u8]) -> Option<TrackFacts> {
    serde_json::from_slice(facts).ok()
}

/// The recording of a row: facts, windows, vector. `None` where another program has changed it beyond use.
pub(super) fn record(facts: &[u8], windows: Option<&[u8]>, vector: Vec<f32>) -> Option<TrackRecord> {
    let facts = facts_of(facts)?;
    let windows = windows.and_then(|bytes| windows_of(bytes, vector.len()));
    let windows = windows.unwrap_or_else(|| TrackWindows::none(vector.len()));
    Some(TrackRecord { facts, vector, windows })
}
