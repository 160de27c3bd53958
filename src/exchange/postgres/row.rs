//! Conversion between recordings and rows of the table of tracks.

use std::fmt::Write as _;

use half::f16;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use serde_json::Value;

use super::Result;
use super::parameter::SqlParameter;
use voisin::LibrarySpace;
use voisin_base::track::{ContentId, TrackId};
use voisin_library::artists::artists;
use voisin_library::{TaggedFile, TrackFacts, TrackRecord, TrackTags, fold, path_to_bytes};

type Boxed = Box<dyn std::error::Error + Sync + Send>;

/// The id that a recording has in every database: the first 63 bits of its content id.
pub(super) fn id_of(content: &ContentId) -> TrackId {
    let mut first = [0; 8];
    first.copy_from_slice(&content.0[..8]);
    // Big-endian, so that ids sort as digests do; without the sign bit, as ids are never negative.
    TrackId((u64::from_be_bytes(first) >> 1) as i64)
}

/// The hash of a name or path in filters: of fixed length, for any bytes. A collision costs one
/// more comparison, since fetched tracks are filtered again.
pub(super) fn hash(bytes: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    i64::from_le_bytes(first)
}

pub(super) fn name_hash(name: &str) -> i64 {
    hash(fold(name).as_bytes())
}

/// Text as PostgreSQL accepts it, without NUL.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A vector of 16 bits a number. pgvector's types have another OID in every database, which a
/// client looks up with statements that stay in the session. So vectors are sent as
/// `$1::real[]::halfvec`, except by COPY, and fetched as the bytes of [`halfvec_send`](FETCHED).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HalfVector(pub(super) Vec<f16>);

impl HalfVector {
    pub(super) fn new(vector: &[f32]) -> Self {
        Self(vector.iter().map(|&value| f16::from_f32(value)).collect())
    }

    pub(super) fn values(&self) -> Vec<f32> {
        self.0.iter().map(|value| value.to_f32()).collect()
    }
}

impl SqlParameter for HalfVector {
    fn kind(&self) -> Type {
        Type::FLOAT4_ARRAY
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        self
    }
}

/// The expression by which an embedding is fetched.
pub(super) const FETCHED: &str = "halfvec_send(embedding)";
/// The first parameter as a query vector.
pub(super) const QUERY: &str = "$1::real[]::halfvec";

impl FromSql<'_> for HalfVector {
    fn from_sql(_: &Type, bytes: &[u8]) -> Result<Self, Boxed> {
        // pgvector's form: length (u16), an unused u16, then the numbers, big-endian.
        let values = bytes.get(4..).unwrap_or_default().as_chunks::<2>().0;
        Ok(Self(
            values
                .iter()
                .map(|bytes| f16::from_bits(u16::from_be_bytes(*bytes)))
                .collect(),
        ))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }
}

impl ToSql for HalfVector {
    fn to_sql(&self, kind: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Boxed> {
        use bytes::BufMut as _;
        if *kind == Type::FLOAT4_ARRAY {
            return self.values().to_sql(kind, out);
        }
        out.put_u16(u16::try_from(self.0.len())?);
        out.put_u16(0);
        for value in &self.0 {
            out.put_u16(value.to_bits());
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::FLOAT4_ARRAY || kind.name() == "halfvec"
    }

    to_sql_checked!();
}

/// A recording's facts, for a column of `jsonb`.
#[derive(Debug)]
pub(super) struct FactsJson(String);

/// The only member of an object that replaces text which `jsonb` cannot hold: its bytes in hexadecimal.
const ESCAPE: &str = "hex";

impl FactsJson {
    fn new(facts: &TrackFacts) -> Result<Self> {
        let mut json = serde_json::to_value(facts).map_err(std::io::Error::other)?;
        // In hexadecimal, as people search for it; serde writes an array of 32 numbers.
        json["audio"]["content"] = facts.audio.content.to_string().into();
        to_jsonb(&mut json);
        Ok(Self(json.to_string()))
    }
}

impl ToSql for FactsJson {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Boxed> {
        use bytes::BufMut as _;
        // The version of jsonb's binary form.
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }

    to_sql_checked!();
}

fn to_jsonb(value: &mut Value) {
    match value {
        // jsonb refuses \u0000, and a tag may hold one.
        Value::String(text) if text.contains('\0') => {
            *value = serde_json::json!({ ESCAPE: hex(text.as_bytes()) });
        }
        Value::Array(values) => values.iter_mut().for_each(to_jsonb),
        Value::Object(members) => members.values_mut().for_each(to_jsonb),
        _ => {}
    }
}

fn from_jsonb(name: &str, value: &mut Value) {
    match value {
        Value::String(hex) if name == "content" => {
            if let Some(bytes) = bytes_of(hex) {
                *value = bytes.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| from_jsonb("", value)),
        Value::Object(members) => match escaped(members).map(String::from_utf8) {
            Some(Ok(text)) => *value = text.into(),
            _ => members
                .iter_mut()
                .for_each(|(name, value)| from_jsonb(name, value)),
        },
        _ => {}
    }
}

/// The bytes that an object replaces.
fn escaped(members: &serde_json::Map<String, Value>) -> Option<Vec<u8>> {
    bytes_of(
        members
            .get(ESCAPE)
            .filter(|_| members.len() == 1)?
            .as_str()?,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Parses hexadecimal bytes.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
}

/// A row to be sent.
pub(crate) struct TrackRow {
    pub(super) id: i64,
    pub(super) content: Vec<u8>,
    pub(super) digest: Vec<u8>,
    /// In the order of [`columns`](super::ddl::columns), as binary COPY has no names; all but the last.
    values: Vec<Box<dyn ToSql + Sync>>,
}

/// Bytes of each half of a digest: that of the facts and that of the vectors.
pub(super) const HALF_DIGEST: usize = 16;

/// The first half of a digest, which changes with anything but the vectors.
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

pub(super) fn genre_keys(genres: &[voisin_genre::Genre]) -> Vec<i64> {
    unique(
        genres
            .iter()
            .map(|genre| hash(genre.key().as_bytes()))
            .collect(),
    )
}

/// A recording's facts in the form in which libraries exchange them, of which a push compares the digest.
pub(super) fn facts_bytes(facts: &TrackFacts) -> Result<Vec<u8>> {
    serde_json::to_vec(facts).map_err(|error| std::io::Error::other(error).into())
}

/// Keys of every artist named in artist and album artist, and of both texts as they are.
fn artist_keys<'a>(tags: impl Iterator<Item = &'a TrackTags>) -> Vec<i64> {
    let texts = tags
        .flat_map(|tags| [tags.artist.as_deref(), tags.album_artist.as_deref()])
        .flatten();
    unique(
        texts
            .flat_map(|text| artists(text).into_iter().chain([text]))
            .map(name_hash)
            .collect(),
    )
}

fn unique(mut keys: Vec<i64>) -> Vec<i64> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

impl TrackRow {
    /// - `genres`: by the library's label source
    /// - `space`: the one in which the database compares
    pub(super) fn new(
        record: &TrackRecord,
        genres: &[voisin_genre::Genre],
        space: &LibrarySpace,
    ) -> Result<Self> {
        let facts = &record.facts;
        let first = facts.files.first();
        let tags = || facts.files.iter().map(|file| &file.tags);
        let path = first.map(|file| plain(&file.record.path.to_string_lossy()));
        let first = first.map(|file| file.tags.clone()).unwrap_or_default();
        let text = |text: &Option<String>| Box::new(text.as_deref().map(plain));
        let years = || tags().filter_map(|tags| tags.year);
        let genre_keys = genre_keys(genres);
        let albums = tags().filter_map(|tags| tags.album.as_deref());
        let licences = tags().filter_map(|tags| tags.licence.as_deref());
        let mut licences: Vec<String> = licences.map(plain).collect();
        licences.dedup();
        let measured = facts.descriptors.clone().unwrap_or_default();
        let SearchKeys {
            paths,
            folders,
            words,
        } = SearchKeys::of(facts)?;
        let id = id_of(&facts.audio.content).0;
        let content = facts.audio.content.0.to_vec();
        let digest = digest(record, &genre_keys)?;
        let names: Vec<String> = genres.iter().map(|genre| plain(genre.name())).collect();
        let values: Vec<Box<dyn ToSql + Sync>> = vec![
            Box::new(id),
            Box::new(content.clone()),
            Box::new(path.unwrap_or_default()),
            text(&first.title),
            text(&first.artist),
            text(&first.album),
            text(&first.album_artist),
            Box::new(names),
            Box::new(first.year),
            Box::new(facts.audio.seconds),
            Box::new(measured.tempo),
            Box::new(measured.key.map(|key| i16::from(key.number()))),
            Box::new(measured.loudness),
            Box::new(licences),
            Box::new(years().min()),
            Box::new(years().max()),
            Box::new(paths),
            Box::new(folders),
            Box::new(artist_keys(tags())),
            Box::new(unique(albums.map(name_hash).collect())),
            Box::new(genre_keys),
            Box::new(words),
            Box::new(FactsJson::new(facts)?),
            Box::new(record.logits.clone()),
            Box::new(digest.clone()),
            Box::new(HalfVector::new(&space.centre(&record.vector))),
        ];
        Ok(Self {
            id,
            content,
            digest,
            values,
        })
    }

    /// The values, with the generation in which the row is stored.
    pub(super) fn values<'a>(&'a self, changed: &'a i64) -> Vec<&'a (dyn ToSql + Sync)> {
        let values = self.values.iter().map(|value| &**value);
        values.chain([changed as &(dyn ToSql + Sync)]).collect()
    }
}

/// The texts that a search by paths and words compares.
struct SearchKeys {
    paths: Vec<i64>,
    folders: Vec<i64>,
    words: String,
}

impl SearchKeys {
    fn of(facts: &TrackFacts) -> Result<Self> {
        let mut paths = Vec::new();
        let mut folders = Vec::new();
        // A space on both sides of every text, so that whole words are found as " word ".
        let mut words = String::from(" ");
        for TaggedFile { record, tags } in &facts.files {
            let path = &record.path;
            paths.push(hash(path_to_bytes(path)?));
            // All folders up to the root, so that "below this folder" is one key.
            for folder in path.ancestors().skip(1) {
                folders.push(hash(path_to_bytes(folder)?));
            }
            let texts = [&tags.artist, &tags.title, &tags.album, &tags.album_artist];
            let stem = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned());
            for text in texts.into_iter().chain([&stem]).flatten() {
                words.push_str(&plain(&fold(text)));
                words.push(' ');
            }
        }
        Ok(Self {
            paths: unique(paths),
            folders: unique(folders),
            words,
        })
    }
}

/// In two halves, so that a push can compare the facts without reading the vectors.
fn digest(record: &TrackRecord, genre_keys: &[i64]) -> Result<Vec<u8>> {
    let mut digest = facts_digest(&facts_bytes(&record.facts)?, genre_keys).to_vec();
    let mut hasher = blake3::Hasher::new();
    for value in record.vector.iter().chain(&record.logits) {
        hasher.update(&value.to_le_bytes());
    }
    digest.extend_from_slice(&hasher.finalize().as_bytes()[..HALF_DIGEST]);
    Ok(digest)
}

/// Parses a vector.
pub(super) fn vector_of(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

/// A recording's facts; `None` if another program has made them unreadable.
pub(super) fn facts_of(jsonb: &str) -> Option<TrackFacts> {
    let mut json: Value = serde_json::from_str(jsonb).ok()?;
    from_jsonb("", &mut json);
    serde_json::from_value(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use voisin_library::{AudioFacts, Descriptors, FileRecord};

    fn facts(numbers: [f64; 5], path: PathBuf, title: &str) -> TrackFacts {
        let [seconds, tempo, loudness, bpm, replay_gain] = numbers;
        TrackFacts {
            audio: AudioFacts {
                content: ContentId([0xab; 32]),
                seconds,
                sample_rate: 44_100,
                channels: 2,
                container: "flac".into(),
                codec: "flac".into(),
                packets: u64::MAX >> 1,
                damaged_packets: 0,
            },
            added_at: i64::MIN,
            files: vec![TaggedFile {
                record: FileRecord {
                    path,
                    size: u64::MAX,
                    mtime_ns: i64::MAX,
                },
                tags: TrackTags {
                    title: Some(title.into()),
                    bpm: Some(bpm),
                    replay_gain: Some(replay_gain),
                    musical_key: Some("1".into()),
                    ..TrackTags::default()
                },
            }],
            descriptors: Some(Descriptors {
                version: 1,
                tempo: Some(tempo),
                loudness: Some(loudness),
                ..Descriptors::default()
            }),
            label: Some("a\0b".into()),
        }
    }

    #[test]
    fn facts_come_back_as_they_were() {
        let odd = PathBuf::from("/music/\u{fffd} \"seconds\":\"3\"");
        for numbers in [
            [
                180.036_281_179_138_3,
                119.999_999_999_999_99,
                -7.519_999_999_999_999,
                120.0,
                0.0,
            ],
            [f64::MAX, f64::MIN_POSITIVE, -1e300, 5e-324, 1e-7],
            [0.1 + 0.2, 1.0 / 3.0, -0.0, 1e15 + 0.3, f64::EPSILON],
        ] {
            for title in ["nul\0 \\u0000", "{\"hex\": \"00\"}", "12"] {
                let facts = facts(numbers, odd.clone(), title);
                let json = FactsJson::new(&facts).unwrap().0;
                assert!(!json.contains("\\u0000"), "{json}");
                let back = facts_of(&json).unwrap();
                assert_eq!(
                    facts_bytes(&back).unwrap(),
                    facts_bytes(&facts).unwrap(),
                    "{json}"
                );
            }
        }
        let facts = facts([200.5, 120.0, -9.5, 1.0, 1.0], odd.clone(), "a");
        let json: Value = serde_json::from_str(&FactsJson::new(&facts).unwrap().0).unwrap();
        assert_eq!(json["audio"]["content"], "ab".repeat(32));
        assert_eq!(
            (&json["audio"]["seconds"], &json["descriptors"]["tempo"]),
            (&200.5.into(), &120.0.into())
        );
        assert_eq!(json["files"][0]["tags"]["musical_key"], "1");
        assert_eq!(json["label"], serde_json::json!({ "hex": "610062" }));
    }

    #[test]
    fn damaged_facts_are_refused() {
        for damaged in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            "{\"hex\": \"7\"}",
            "{\"hex\": \"7b7d\"}",
            "{\"hex\": 7}",
        ] {
            assert!(facts_of(damaged).is_none(), "{damaged}");
        }
    }
}
