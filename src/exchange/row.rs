//! Recordings as rows, and the columns that Parquet files and databases share.

use serde_json::{Value, json};

use voisin_library::TrackRecord;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Texts,
    Int,
    Real,
    Bool,
    Bytes,
    /// A list or an object, as text.
    Json,
    Floats,
    /// A vector of the model, at 16 bits a number.
    Vector,
}

/// A column: its name, its type, and the place of its value in the facts of a track: names of fields with slashes
/// between. It is empty where [`cells`] and [`record`] have a rule of their own.
pub(crate) type Column = (&'static str, Kind, &'static str);

/// The columns of a track.
pub(crate) const COLUMNS: [Column; 39] = [
    ("path", Kind::Text, "files/0/record/path"),
    // Of a path that is not UTF-8.
    ("path_bytes", Kind::Bytes, "files/0/record/path"),
    ("size", Kind::Int, "files/0/record/size"),
    ("mtime_ns", Kind::Int, "files/0/record/mtime_ns"),
    ("content", Kind::Bytes, "audio/content"),
    ("title", Kind::Text, "files/0/tags/title"),
    ("artist", Kind::Text, "files/0/tags/artist"),
    ("album", Kind::Text, "files/0/tags/album"),
    ("album_artist", Kind::Text, "files/0/tags/album_artist"),
    ("composer", Kind::Text, "files/0/tags/composer"),
    ("genres", Kind::Texts, "files/0/tags/genres"),
    ("year", Kind::Int, "files/0/tags/year"),
    ("track_number", Kind::Int, "files/0/tags/track_number"),
    ("disc_number", Kind::Int, "files/0/tags/disc_number"),
    ("mbid", Kind::Text, "files/0/tags/mbid"),
    ("isrc", Kind::Text, "files/0/tags/isrc"),
    ("licence", Kind::Text, "files/0/tags/licence"),
    ("bpm", Kind::Real, "files/0/tags/bpm"),
    ("musical_key", Kind::Text, "files/0/tags/musical_key"),
    ("replay_gain", Kind::Real, "files/0/tags/replay_gain"),
    // The files after the first one.
    ("more_files", Kind::Json, ""),
    ("seconds", Kind::Real, "audio/seconds"),
    ("sample_rate", Kind::Int, "audio/sample_rate"),
    ("channels", Kind::Int, "audio/channels"),
    ("container", Kind::Text, "audio/container"),
    ("codec", Kind::Text, "audio/codec"),
    ("packets", Kind::Int, "audio/packets"),
    ("damaged_packets", Kind::Int, "audio/damaged_packets"),
    ("added_at", Kind::Int, "added_at"),
    ("descriptors_version", Kind::Int, "descriptors/version"),
    ("tempo", Kind::Real, "descriptors/tempo"),
    ("key", Kind::Int, "descriptors/key"),
    ("loudness", Kind::Real, "descriptors/loudness"),
    (
        "loudness_is_exact",
        Kind::Bool,
        "descriptors/loudness_is_exact",
    ),
    ("is_steady", Kind::Bool, "descriptors/is_steady"),
    ("scales", Kind::Json, "descriptors/scales"),
    ("label", Kind::Text, "label"),
    ("vector", Kind::Vector, ""),
    ("logits", Kind::Floats, ""),
];

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Texts(Vec<String>),
    Int(i64),
    Real(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Cell {
    #[cfg(feature = "parquet")]
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    #[cfg(feature = "parquet")]
    pub(crate) fn floats(&self) -> &[f32] {
        match self {
            Self::Floats(numbers) => numbers,
            _ => &[],
        }
    }

    /// A value of the facts; null where it is not of this type.
    fn of(kind: Kind, value: &Value) -> Self {
        let list = || value.as_array().into_iter().flatten();
        let known = match kind {
            Kind::Text => value.as_str().map(|text| Self::Text(text.to_owned())),
            Kind::Texts => {
                let texts = list().filter_map(Value::as_str).map(str::to_owned);
                Some(Self::Texts(texts.collect()))
            }
            Kind::Int => value.as_i64().map(Self::Int),
            Kind::Real => value.as_f64().map(Self::Real),
            Kind::Bool => value.as_bool().map(Self::Bool),
            Kind::Bytes => {
                let bytes = list().filter_map(Value::as_u64).map(|byte| byte as u8);
                value.is_array().then(|| Self::Bytes(bytes.collect()))
            }
            Kind::Json => (!value.is_null()).then(|| Self::Text(value.to_string())),
            Kind::Floats | Kind::Vector => None,
        };
        known.unwrap_or(Self::Null)
    }

    /// The value as the facts have it.
    fn value(self, kind: Kind) -> serde_json::Result<Value> {
        Ok(match self {
            Self::Text(text) if kind == Kind::Json => serde_json::from_str(&text)?,
            Self::Text(text) => text.into(),
            Self::Texts(texts) => texts.into(),
            Self::Int(number) => number.into(),
            Self::Real(number) => number.into(),
            Self::Bool(is) => is.into(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Null | Self::Floats(_) => Value::Null,
        })
    }
}

/// The values of a track, in the order of [`COLUMNS`].
pub(crate) fn cells(record: &TrackRecord) -> serde_json::Result<Vec<Cell>> {
    let facts = serde_json::to_value(&record.facts)?;
    // A library gives each track at least one file.
    let path = &record.facts.files[0].record.path;
    let cell = |(name, kind, at): Column| match name {
        "path" => Cell::Text(path.to_string_lossy().into_owned()),
        "more_files" => match facts["files"].as_array().map(Vec::as_slice) {
            Some([_, more @ ..]) if !more.is_empty() => Cell::Text(json!(more).to_string()),
            _ => Cell::Null,
        },
        "vector" => Cell::Floats(record.vector.clone()),
        "logits" => Cell::Floats(record.logits.clone()),
        _ => {
            let value = facts.pointer(&format!("/{at}"));
            Cell::of(kind, value.unwrap_or(&Value::Null))
        }
    };
    Ok(COLUMNS.map(cell).into())
}

/// The track of a row; an error where it is none.
pub(crate) fn record(cells: Vec<Cell>) -> serde_json::Result<TrackRecord> {
    let mut facts = json!({ "files": [{}] });
    let mut more = Value::Null;
    let mut vector = Vec::new();
    let mut logits = Vec::new();
    for ((name, kind, at), cell) in COLUMNS.into_iter().zip(cells) {
        match (name, cell) {
            (_, Cell::Null) => {}
            ("vector", Cell::Floats(values)) => vector = values,
            ("logits", Cell::Floats(values)) => logits = values,
            ("more_files", cell) => more = cell.value(kind)?,
            (_, cell) => *place(&mut facts, at) = cell.value(kind)?,
        }
    }
    if let (Some(files), Value::Array(more)) = (facts["files"].as_array_mut(), more) {
        files.extend(more);
    }
    if facts["descriptors"]["version"].is_null() {
        facts["descriptors"] = Value::Null;
    }
    Ok(TrackRecord {
        facts: serde_json::from_value(facts)?,
        vector,
        logits,
    })
}

/// A place in the facts, which is made where it is missing.
fn place<'a>(facts: &'a mut Value, at: &str) -> &'a mut Value {
    at.split('/').fold(facts, |part, name| match name {
        "0" => &mut part[0],
        name => &mut part[name],
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use voisin_base::track::ContentId;
    use voisin_library::{
        AudioFacts, Descriptors, FileRecord, MusicalKey, ScaleValue, Scales, TaggedFile,
        TrackFacts, TrackTags, path_from_bytes,
    };

    fn file(path: PathBuf, title: &str) -> TaggedFile {
        TaggedFile {
            record: FileRecord {
                path,
                size: 7,
                mtime_ns: i64::MIN,
            },
            tags: TrackTags {
                title: Some(title.into()),
                genres: vec!["Rock".into(), "Jazz".into()],
                bpm: Some(1e-300 / 3.0),
                replay_gain: Some(-0.0),
                ..TrackTags::default()
            },
        }
    }

    #[test]
    fn a_track_comes_back_as_it_was() {
        let odd = path_from_bytes(b"/m/\xff\n.mp3");
        let value = ScaleValue {
            value: 12.34,
            error: Some(0.5),
        };
        let measured = Descriptors {
            version: 2,
            tempo: Some(0.1 + 0.2),
            key: MusicalKey::from_number(9),
            scales: Scales::from([("energy".parse().unwrap(), value)]),
            ..Descriptors::default()
        };
        for (files, descriptors) in [
            (vec![file(odd.clone(), "a\u{1}\"b")], Some(measured)),
            (vec![file("/m/a.mp3".into(), ""), file(odd, "2")], None),
        ] {
            let facts = TrackFacts {
                audio: AudioFacts {
                    content: ContentId([0xab; 32]),
                    seconds: 180.036_281_179_138_3,
                    sample_rate: 44_100,
                    channels: 2,
                    container: "flac".into(),
                    codec: "flac".into(),
                    packets: u64::MAX >> 1,
                    damaged_packets: 0,
                },
                added_at: -1,
                files,
                descriptors,
                label: Some("Zouk".into()),
            };
            let track = TrackRecord {
                facts,
                vector: vec![0.6, 0.8],
                logits: vec![1.0 / 3.0],
            };
            assert_eq!(record(cells(&track).unwrap()).unwrap(), track);
        }
    }

    #[test]
    fn a_row_that_lacks_something_is_no_track() {
        assert!(record(vec![Cell::Null; COLUMNS.len()]).is_err());
    }
}
