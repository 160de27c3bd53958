//! Vectors and metadata for other programs: NumPy arrays and CSV in one row order.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ndarray_npy::{WriteNpyError, WriteNpyExt as _};
use serde_json::{Value, json};
use voisin_base::atomic_file::AtomicFile;
use voisin_base::output::{OutputError, OutputTarget, check_folder};
use voisin_base::track::TrackId;
use voisin_explore::playlist::address;
use voisin_library::Track;

use super::{Engine, EngineError, LibrarySpace};

type Writer = BufWriter<AtomicFile>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSummary {
    pub tracks: usize,
    pub dimension: usize,
}

pub const EXPORT_FILES: [&str; 4] = ["vectors.npy", "mean.npy", "model.json", "tracks.csv"];

const TRACK_COLUMNS: &str =
    "row id path artist title album album_artist composer genres year seconds codec content";

/// Writes `vectors.npy` (float32 `[tracks, dimension]`, raw, unit norm), `mean.npy` (float32 `[dimension]`, subtracted from
/// them before comparisons), `model.json` (what else `similar` does with them) and `tracks.csv` in the same row order. Genres
/// are those of the library's label source, several joined by `;`.
pub fn export(engine: &Engine, dir: &Path) -> Result<ExportSummary, EngineError> {
    // Before anything is read, so that an error does not come after minutes.
    check_folder(dir)?;
    let library = engine.library();
    // All files of an export are from one state of the library.
    let _snapshot = library.snapshot()?;
    std::fs::create_dir_all(dir).map_err(OutputError::io(dir))?;
    let vectors = library.vectors()?;
    let dimension = vectors.values.ncols();
    let space = LibrarySpace::of(library, &vectors)?;
    let mean = ndarray::aview1(space.mean());
    let model = serde_json::to_vec_pretty(&model(engine, &space)?).unwrap_or_default();

    // Files are renamed together at the end, so that an interrupted export leaves no partial files under these names.
    let npy = |written: Result<(), WriteNpyError>| written.map_err(io::Error::other);
    let finished = [
        finished(dir, "vectors.npy", |file| {
            npy(vectors.values.write_npy(file))
        })?,
        finished(dir, "model.json", |file| file.write_all(&model))?,
        finished(dir, "mean.npy", |file| npy(mean.write_npy(file)))?,
        finished(dir, "tracks.csv", |file| {
            write_tracks(engine, &vectors.ids, file)
        })?,
    ];
    for (path, file) in finished {
        file.commit().map_err(OutputError::io(&path))?;
    }
    Ok(ExportSummary {
        tracks: vectors.ids.len(),
        dimension,
    })
}

/// The model, and the parts of its vectors: of each the mean's is subtracted, and the rest scaled to the part's weight; the
/// cosine of two such vectors is their similarity.
fn model(engine: &Engine, space: &LibrarySpace) -> Result<Value, EngineError> {
    let model = engine.model()?;
    let part =
        |(dimension, weight): &(usize, f64)| json!({"dimension": dimension, "weight": weight});
    let parts: Vec<Value> = space.parts().iter().map(part).collect();
    Ok(json!({
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dimension": model.dimension,
        "parts": parts,
        "mean": "mean.npy",
    }))
}

fn finished(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> Result<(PathBuf, AtomicFile), EngineError> {
    let path = dir.join(name);
    let mut writer = BufWriter::new(OutputTarget::whole(&path)?.open()?);
    let written = write(&mut writer)
        .and_then(|()| writer.into_inner().map_err(io::IntoInnerError::into_error))
        .map_err(OutputError::io(&path))?;
    Ok((path, written))
}

fn write_tracks(engine: &Engine, ids: &[TrackId], file: &mut Writer) -> io::Result<()> {
    const TOGETHER: usize = 1000;
    let mut table = csv::Writer::from_writer(file);
    table.write_record(TRACK_COLUMNS.split(' '))?;
    for (part, ids) in ids.chunks(TOGETHER).enumerate() {
        let mut tracks = engine
            .library()
            .tracks_by_id(ids)
            .map_err(io::Error::other)?;
        engine.label(&mut tracks).map_err(io::Error::other)?;
        for (at, track) in tracks.iter().enumerate() {
            let cells = cells(part * TOGETHER + at, track);
            let safe = cells.iter().map(|cell| spreadsheet_safe(cell));
            table.write_record(safe.map(std::borrow::Cow::into_owned))?;
        }
    }
    table.flush()
}

fn cells(row: usize, track: &Track) -> [String; 13] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let tags = &track.tags;
    [
        row.to_string(),
        track.id.to_string(),
        table_path(&track.path, |_| true),
        text(&tags.artist),
        text(&tags.title),
        text(&tags.album),
        text(&tags.album_artist),
        text(&tags.composer),
        tags.genres.join(";"),
        tags.year.map_or_else(String::new, |year| year.to_string()),
        format!("{:.3}", track.audio.seconds),
        track.audio.codec.clone(),
        track.audio.content.to_string(),
    ]
}

/// A path for a table cell: unchanged, or as a `file:` address if it could not be read back otherwise: because it is not
/// UTF-8, has characters that a spreadsheet would change or for which `is_shown` is false, or begins or ends with a blank.
pub fn table_path(path: &Path, is_shown: impl Fn(&str) -> bool) -> String {
    let is_exact = |text: &&str| {
        !text.chars().any(char::is_control)
            && is_shown(text)
            && spreadsheet_safe(text) == *text
            && text.trim() == *text
            // Such a path would be read back as an address.
            && !text.starts_with("file:")
    };
    // Spreadsheets may split at a semicolon, and a formula could begin there.
    let escaped = || address(path.as_os_str().as_encoded_bytes()).replace(';', "%3B");
    path.to_str()
        .filter(is_exact)
        .map_or_else(escaped, str::to_owned)
}

/// Puts an apostrophe before text that a spreadsheet would evaluate as a formula; numbers are unchanged.
///
/// A formula may also begin after a semicolon or a tab, where some programs split, or with full-width forms of the marks,
/// which some programs fold.
pub fn spreadsheet_safe(text: &str) -> std::borrow::Cow<'_, str> {
    const MARKS: [char; 11] = [
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    let formula = |part: &str| part.starts_with(MARKS) && part.parse::<f64>().is_err();
    if !text.split([';', '\t']).any(formula) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 2);
    for part in text.split_inclusive([';', '\t']) {
        if formula(part.trim_end_matches([';', '\t'])) || part.starts_with('\t') {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    safe.into()
}
