//! Vectors and metadata for other programs: NumPy arrays and CSV in one row order.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ndarray_npy::WriteNpyExt as _;
use serde_json::{Value, json};
use voisin_base::output::{OutputFile, OutputTarget, check_folder};
use voisin_explore::playlist::address;

use super::{Engine, EngineError, LibrarySpace};

/// Counts of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSummary {
    /// Rows of `vectors.npy` and `tracks.csv`.
    pub tracks: usize,
    /// Columns of `vectors.npy`.
    pub dimension: usize,
}

/// The names of the files of an export.
pub const EXPORT_FILES: [&str; 4] = ["vectors.npy", "mean.npy", "model.json", "tracks.csv"];

const TRACK_COLUMNS: [&str; 13] = [
    "row",
    "id",
    "path",
    "artist",
    "title",
    "album",
    "album_artist",
    "composer",
    "genres",
    "year",
    "seconds",
    "codec",
    "content",
];

/// Writes `vectors.npy` (float32 `[tracks, dimension]`, raw, unit norm), `mean.npy` (float32 `[dimension]`, subtracted from
/// them before comparisons), `model.json` (what else `similar` does with them) and `tracks.csv` in the same row order. Genres
/// are those of the library's label source, several joined by `;`.
pub fn export(engine: &Engine, dir: &Path) -> Result<ExportSummary, EngineError> {
    /// Tracks whose tags are in memory at once.
    const TOGETHER: usize = 1000;
    // Before anything is read, so that an error does not come after minutes.
    check_folder(dir)?;
    let library = engine.library();
    // All files of an export are from one state of the library.
    let _snapshot = library.snapshot()?;
    std::fs::create_dir_all(dir).map_err(|source| EngineError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let vectors = library.vectors()?;
    let dimension = vectors.values.ncols();

    // Files are renamed together at the end, so that an interrupted export leaves no partial files under these names.
    let mut finished = Vec::new();
    let npy = ExportFile::create(dir, "vectors.npy")?;
    finished.push(npy.finish(|writer| {
        vectors
            .values
            .write_npy(writer)
            .map_err(std::io::Error::other)
    })?);
    let space = LibrarySpace::of(library, &vectors)?;
    let model = serde_json::to_vec_pretty(&model(engine, &space)?).unwrap_or_default();
    let file = ExportFile::create(dir, "model.json")?;
    finished.push(file.finish(|writer| writer.write_all(&model))?);
    let mean = ndarray::aview1(space.mean()).to_owned();
    let npy = ExportFile::create(dir, "mean.npy")?;
    finished.push(npy.finish(|writer| mean.write_npy(writer).map_err(std::io::Error::other))?);

    let mut tracks = ExportFile::create(dir, "tracks.csv")?.csv();
    tracks.row(TRACK_COLUMNS)?;
    for (part, ids) in vectors.ids.chunks(TOGETHER).enumerate() {
        let mut some = library.tracks_by_id(ids)?;
        engine.label(&mut some)?;
        for (at, track) in some.iter().enumerate() {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            tracks.row([
                (part * TOGETHER + at).to_string(),
                track.id.to_string(),
                table_path(&track.path, |_| true),
                text(&track.tags.artist),
                text(&track.tags.title),
                text(&track.tags.album),
                text(&track.tags.album_artist),
                text(&track.tags.composer),
                track.tags.genres.join(";"),
                track
                    .tags
                    .year
                    .map_or_else(String::new, |year| year.to_string()),
                format!("{:.3}", track.audio.seconds),
                track.audio.codec.clone(),
                track.audio.content.to_string(),
            ])?;
        }
    }
    finished.push(tracks.finish()?);
    for FinishedFile { path, file } in finished {
        file.commit()
            .map_err(|source| EngineError::Write { path, source })?;
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

struct ExportFile {
    path: PathBuf,
    writer: BufWriter<OutputFile>,
}

/// A complete file that has no name yet.
struct FinishedFile {
    path: PathBuf,
    file: OutputFile,
}

fn flushed(path: PathBuf, writer: BufWriter<OutputFile>) -> Result<FinishedFile, EngineError> {
    let file = writer
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error);
    match file {
        Ok(file) => Ok(FinishedFile { path, file }),
        Err(source) => Err(EngineError::Write { path, source }),
    }
}

impl ExportFile {
    fn create(dir: &Path, name: &str) -> Result<Self, EngineError> {
        let path = dir.join(name);
        let file = OutputTarget::whole(&path)?.open()?;
        Ok(Self {
            path,
            writer: BufWriter::new(file),
        })
    }

    fn finish(
        mut self,
        write: impl FnOnce(&mut BufWriter<OutputFile>) -> std::io::Result<()>,
    ) -> Result<FinishedFile, EngineError> {
        match write(&mut self.writer) {
            Ok(()) => flushed(self.path, self.writer),
            Err(source) => Err(EngineError::Write {
                path: self.path,
                source,
            }),
        }
    }

    fn csv(self) -> CsvOutput {
        CsvOutput {
            path: self.path,
            writer: csv::Writer::from_writer(self.writer),
        }
    }
}

struct CsvOutput {
    path: PathBuf,
    writer: csv::Writer<BufWriter<OutputFile>>,
}

impl CsvOutput {
    fn row<S: AsRef<str>, const N: usize>(&mut self, cells: [S; N]) -> Result<(), EngineError> {
        let safe = cells
            .iter()
            .map(|cell| spreadsheet_safe(cell.as_ref()).into_owned());
        self.writer
            .write_record(safe.collect::<Vec<_>>())
            .map_err(|source| EngineError::Write {
                path: self.path.clone(),
                source: source.into(),
            })
    }

    fn finish(self) -> Result<FinishedFile, EngineError> {
        match self.writer.into_inner() {
            Ok(writer) => flushed(self.path, writer),
            Err(error) => Err(EngineError::Write {
                path: self.path,
                source: error.into_error(),
            }),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text() {
        assert_eq!(
            spreadsheet_safe("=HYPERLINK(\"http://x\")"),
            "'=HYPERLINK(\"http://x\")"
        );
        assert_eq!(spreadsheet_safe("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(spreadsheet_safe("-0.25"), "-0.25");
        assert_eq!(spreadsheet_safe("-minus-"), "'-minus-");
        assert_eq!(
            spreadsheet_safe("Rock;=1+1;Jazz;-2;+x"),
            "Rock;'=1+1;Jazz;-2;'+x"
        );
        assert_eq!(spreadsheet_safe("\t=1"), "'\t'=1");
        assert_eq!(spreadsheet_safe("\u{ff1d}1"), "'\u{ff1d}1");
        assert_eq!(spreadsheet_safe("Rock;Jazz"), "Rock;Jazz");
    }
}
