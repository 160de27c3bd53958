//! Rows and metadata that another program has changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use voisin_exchange::parquet::arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use voisin_exchange::parquet::parquet::arrow::ArrowWriter;
use voisin_exchange::parquet::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use voisin_library::{Library, OpenMode};

use crate::common::{Sandbox, code, fine, json, noise_wav, text};
use crate::parquet_files;

/// The row of one track, as `embed` writes it.
fn one_row(sandbox: &Sandbox) -> RecordBatch {
    let song = sandbox.path("noise.wav");
    let vectors = sandbox.path("row");
    fs::write(&song, noise_wav(22_050, 8.0, 7)).unwrap();
    let [from, to] = [&song, &vectors].map(|path| path.to_str().unwrap());
    fine(sandbox.run(["embed", from, "--format", "parquet", "--output", to]));
    let file = fs::File::open(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    // A batch has the schema without the file's metadata.
    let schema = Arc::clone(builder.schema());
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap()
}

/// The same row with another value in a column; of another recording in another file.
fn with(row: &RecordBatch, seed: u8, name: &str, value: &str) -> RecordBatch {
    let text = |text: String| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let content: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&[seed; 32]]));
    let mut columns = row.columns().to_vec();
    for (name, value) in [
        ("content", content),
        ("path", text(format!("/music/{seed}.ogg"))),
        (name, text(value.to_owned())),
    ] {
        columns[row.schema().index_of(name).unwrap()] = value;
    }
    RecordBatch::try_new(row.schema(), columns).unwrap()
}

fn write_rows(path: &Path, rows: &[RecordBatch]) {
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows[0].schema(), None).unwrap();
    for row in rows {
        writer.write(row).unwrap();
    }
    writer.close().unwrap();
}

/// An invalid row ends neither its file nor the rows after it.
#[test]
fn bad_rows_are_left_out_and_named() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let long = "t".repeat(2 << 20);
    let rows = [
        ("scales", "{}"),
        ("scales", "no scales"),
        ("title", &long),
        ("path", "/music/a\nb.ogg"),
        ("path", "relative/../x.ogg"),
        ("path", "/music/../x.ogg"),
        ("path", "/music/a\0b.ogg"),
        ("path", ""),
    ];
    let rows: Vec<RecordBatch> = (1..)
        .zip(rows)
        .map(|(seed, (name, value))| with(&row, seed, name, value))
        .collect();
    let file = sandbox.path("rows.parquet");
    write_rows(&file, &rows);
    let file = file.to_str().unwrap();
    let taken = sandbox.run(["add", "--format", "json", "--from-parquet", file]);
    assert_eq!(code(&taken), 1, "{}", text(&taken.stderr));
    let report = json(&taken);
    assert_eq!(
        (&report["added"], &report["refused"]),
        (&2.into(), &6.into()),
        "{report}"
    );
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let stored = library.tracks().unwrap().into_iter();
    let stored: BTreeSet<PathBuf> = stored.map(|track| track.path).collect();
    let expected = ["/music/1.ogg", "/music/a\nb.ogg"];
    assert_eq!(stored, expected.iter().map(PathBuf::from).collect());
    let failed = library.failures().unwrap().into_iter();
    let failed: Vec<PathBuf> = failed.map(|failure| failure.path).collect();
    let expected = ["/music/2.ogg", "/music/3.ogg"].map(PathBuf::from);
    assert_eq!(failed, expected, "a row without a path is no failed file");
}

#[test]
fn a_file_with_an_impossible_model_or_column_is_refused() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let schema = row.schema();
    let with_metadata = |key: &str, value: &str| {
        let mut metadata = schema.metadata().clone();
        metadata.insert(key.to_owned(), value.to_owned());
        let schema = Arc::new(schema.as_ref().clone().with_metadata(metadata));
        RecordBatch::try_new(schema, row.columns().to_vec()).unwrap()
    };
    let bare = RecordBatch::try_from_iter([("path", Arc::clone(row.column(0)))]).unwrap();
    let without_title: Vec<usize> = (0..row.num_columns())
        .filter(|&at| schema.field(at).name() != "title")
        .collect();
    for (row, expected) in [
        (
            with_metadata("voisin.fingerprint", "../../x"),
            "its fingerprint is \"../../x\", expected",
        ),
        (
            with_metadata("voisin.model", "../../../x"),
            "its name is \"../../../x\", expected",
        ),
        (
            with_metadata("voisin.dimension", "711"),
            "its dimension is \"711\", expected",
        ),
        (
            with_metadata("voisin.manifest", &"[".repeat(100_000)),
            "its manifest",
        ),
        (bare, "expected a file that voisin wrote"),
        (
            row.project(&without_title).unwrap(),
            "column \"title\": expected Utf8 (docs/scale.md), found none",
        ),
    ] {
        let file = sandbox.path("changed.parquet");
        write_rows(&file, &[row]);
        let new = Sandbox::new();
        let refused = new.run(["add", "--from-parquet", file.to_str().unwrap()]);
        let message = text(&refused.stderr);
        assert_eq!(code(&refused), 2, "{expected}: {message}");
        assert!(message.contains(expected), "{expected}: {message}");
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly).unwrap();
        assert_eq!(
            library.model().unwrap(),
            None,
            "{expected}: nothing is stored"
        );
    }
}
