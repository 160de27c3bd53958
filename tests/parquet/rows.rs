//! Rows that voisin did not write: hostile ones, incomplete ones, and vectors of other programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use voisin_exchange::parquet::arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder};
use voisin_exchange::parquet::arrow_array::{
    ArrayRef, FixedSizeBinaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
};
use voisin_exchange::parquet::arrow_schema::{DataType, Field, Schema};
use voisin_exchange::parquet::parquet::arrow::ArrowWriter;
use voisin_exchange::parquet::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use voisin_exchange::parquet::parquet::basic::Compression;
use voisin_exchange::parquet::parquet::file::properties::WriterProperties;
use voisin_library::{Library, OpenMode};

use crate::common::{Sandbox, code, fine, json, noise_wav, text};
use crate::{music, parquet_files};

fn import(sandbox: &Sandbox, file: &Path) -> Output {
    let file = file.to_str().unwrap();
    sandbox.run(["add", "--format", "json", "--from-parquet", file])
}

/// The row of one track, as `embed` writes it.
fn one_row(sandbox: &Sandbox) -> RecordBatch {
    let music = sandbox.path("one");
    let vectors = sandbox.path("row");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("noise.wav"), noise_wav(22_050, 8.0, 7)).unwrap();
    let music = music.to_str().unwrap();
    fine(sandbox.run([
        "embed",
        music,
        "--format",
        "parquet",
        "--output",
        vectors.to_str().unwrap(),
    ]));
    let file = fs::File::open(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    // A batch has the schema without the file's metadata.
    let schema = Arc::clone(builder.schema());
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap()
}

/// The same row with another value in a column; of another recording in another file.
fn with(row: &RecordBatch, seed: u8, name: &str, value: ArrayRef) -> RecordBatch {
    let content = FixedSizeBinaryArray::try_from_iter(std::iter::once([seed; 32])).unwrap();
    let path = StringArray::from(vec![format!("/music/{seed}.ogg")]);
    let values: [(&str, ArrayRef); 3] = [
        ("content", Arc::new(content)),
        ("path", Arc::new(path)),
        (name, value),
    ];
    let mut columns = row.columns().to_vec();
    for (name, value) in values {
        columns[row.schema().index_of(name).unwrap()] = value;
    }
    RecordBatch::try_new(row.schema(), columns).unwrap()
}

/// The same row without some columns.
fn without(row: &RecordBatch, names: &[&str]) -> RecordBatch {
    let schema = row.schema();
    let kept: Vec<usize> = (0..row.num_columns())
        .filter(|&at| !names.contains(&schema.field(at).name().as_str()))
        .collect();
    row.project(&kept).unwrap()
}

/// A file of these rows, in one group, with a dictionary of texts.
fn write_rows(path: &Path, schema: &Arc<Schema>, rows: impl IntoIterator<Item = RecordBatch>) {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_page_size_limit(64 << 20)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties)).unwrap();
    for row in rows {
        writer.write(&row).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn a_text_that_all_rows_share_takes_its_room_once() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let text_of =
        |length: usize| -> ArrayRef { Arc::new(StringArray::from(vec!["t".repeat(length)])) };
    let genres = |count: usize, length: usize| -> ArrayRef {
        let mut genres = ListBuilder::new(StringBuilder::new());
        for _ in 0..count {
            genres.values().append_value("g".repeat(length));
        }
        genres.append(true);
        Arc::new(genres.finish())
    };
    let file = sandbox.path("large.parquet");
    let large = text_of(20_000_000);
    let rows = (0..40).map(|seed| match seed {
        0 => with(&row, seed, "title", text_of(1 << 20)),
        1 => with(&row, seed, "genres", genres(40_000, 12)),
        2 => with(&row, seed, "genres", genres(8, 200_000)),
        3 => with(&row, seed, "path", text_of(2_000_000)),
        _ => with(&row, seed, "title", Arc::clone(&large)),
    });
    write_rows(&file, &row.schema(), rows);
    let bytes = fs::metadata(&file).unwrap().len();
    assert!(bytes < 4_000_000, "each text is stored once: {bytes} bytes");
    let taken = import(&sandbox, &file);
    let stderr = text(&taken.stderr);
    assert_eq!(code(&taken), 1, "{stderr}");
    assert!(stderr.contains("voisin list --failed"), "{stderr}");
    let answer = json(&taken);
    assert_eq!(
        (&answer["added"], &answer["refused"]),
        (&1.into(), &39.into())
    );
    let library = fs::metadata(sandbox.path("library/voisin.db"))
        .unwrap()
        .len();
    assert!(library < 8 << 20, "{library} bytes");
    let failed = json(sandbox.run(["list", "--failed", "--format", "json"]));
    let reasons: BTreeMap<&str, &str> = failed
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| {
            (
                failure["path"].as_str().unwrap(),
                failure["reason"].as_str().unwrap(),
            )
        })
        .collect();
    // A path that is too long names no file.
    assert_eq!(reasons.len(), 38);
    for (path, column, found) in [
        ("/music/1.ogg", "genres", "1 440 000"),
        ("/music/2.ogg", "genres", "1 600 192"),
        ("/music/39.ogg", "title", "20 000 000"),
    ] {
        let expected = format!(
            "column \"{column}\" of {} has {found} bytes for it, expected at most 1 048 576: analyse the file again",
            file.display()
        );
        assert_eq!(reasons[path], expected);
    }
}

/// An invalid row ends neither its file nor the rows after it.
#[test]
fn one_bad_row_is_left_out_and_named() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let scales = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let rows = [(1, "{}"), (2, "no scales"), (3, "{}")];
    let rows = rows.map(|(seed, text)| with(&row, seed, "scales", scales(text)));
    let file = sandbox.path("rows.parquet");
    write_rows(&file, &row.schema(), rows);
    let taken = import(&sandbox, &file);
    let report: serde_json::Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!((&report["added"], code(&taken)), (&2.into(), 1), "{report}");
    let message = text(&taken.stderr);
    assert!(message.contains("rows.parquet, row 2: column"), "{message}");
    let failed = json(sandbox.run(["list", "--failed", "--format", "json"]));
    assert_eq!(failed[0]["path"], "/music/2.ogg");
}

/// As pandas writes them: genres as text, years as real numbers, and faults of single cells.
#[test]
fn a_fault_of_a_cell_leaves_the_rest_of_its_file() {
    let sandbox = Sandbox::new();
    let mut vectors = ListBuilder::new(Float64Builder::new());
    // The last are of lengths that single precision lacks.
    let lengths = [1.0, 1.0, 1.0, 1e300, 1e-300];
    for (length, numbers) in lengths.into_iter().zip([1, 3, 3, 3, 3]) {
        let vector = [1.0, 0.5, 0.25].map(|x| x * length);
        vectors.values().append_slice(&vector[..numbers]);
        vectors.append(true);
    }
    let paths = [
        Some("/x/0.ogg"),
        Some("/x/1.ogg"),
        None,
        Some("/x/3.ogg"),
        Some("/x/4.ogg"),
    ];
    let genres = [None, Some("Rock; Jazz"), None, Some("Folk"), None];
    let years = [f64::NAN, 1999.0, 1e300, 2001.5, f64::NAN];
    let columns: [(&str, ArrayRef); 4] = [
        ("path", Arc::new(StringArray::from(paths.to_vec()))),
        ("vector", Arc::new(vectors.finish())),
        ("genre", Arc::new(StringArray::from(genres.to_vec()))),
        ("year", Arc::new(Float64Array::from(years.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = sandbox.path("pandas.parquet");
    write_rows(&file, &batch.schema(), [batch.clone()]);
    let file = file.to_str().unwrap();
    let add = [
        "add",
        "--format",
        "json",
        "--from-parquet",
        file,
        "--vectors-of",
        "clap",
    ];
    let taken = sandbox.run(add);
    let stderr = text(&taken.stderr);
    assert_eq!(code(&taken), 1, "{stderr}");
    let report = json(&taken);
    assert_eq!(
        (&report["added"], &report["refused"]),
        (&3.into(), &2.into()),
        "{stderr}"
    );
    assert!(stderr.contains("1 number of tags left out"), "{stderr}");
    assert!(
        stderr.contains("row 1: expected vectors of 3 numbers, found one of 1"),
        "{stderr}"
    );
    let expected = serde_json::json!([
        ["/x/1.ogg", ["Rock", "Jazz"], 1999],
        ["/x/3.ogg", ["Folk"], null],
        ["/x/4.ogg", [], null],
    ]);
    let tracks = json(sandbox.run(["list", "--sort", "path", "--format", "json"]));
    let tracks = tracks["tracks"].as_array().unwrap().iter();
    let tracks = tracks.map(|track| ["path", "genres", "year"].map(|key| track[key].clone()));
    assert_eq!(serde_json::json!(tracks.collect::<Vec<_>>()), expected);
}

/// Files of older versions without a column, and of other programs with fewer columns.
#[test]
fn columns_that_a_file_lacks_are_null() {
    let sandbox = Sandbox::new();
    let title: ArrayRef = Arc::new(StringArray::from(vec!["Kreisleriana"]));
    let row = with(&one_row(&sandbox), 1, "title", title);
    let composer: ArrayRef = Arc::new(StringArray::from(vec!["Robert Schumann"]));
    let row = with(&row, 1, "composer", composer);
    let all = sandbox.path("all.parquet");
    let few = sandbox.path("few.parquet");
    write_rows(&all, &row.schema(), [row.clone()]);
    let fewer = without(
        &row,
        &[
            "path_bytes",
            "artist",
            "album",
            "album_artist",
            "genres",
            "year",
            "track_number",
            "disc_number",
            "mbid",
            "isrc",
            "licence",
            "bpm",
            "musical_key",
            "replay_gain",
            "descriptors_version",
            "tempo",
            "key",
            "loudness",
            "loudness_is_exact",
            "is_steady",
            "label",
            "failure",
            "transient",
            "composer",
        ],
    );
    write_rows(&few, &fewer.schema(), [fewer.clone()]);
    for (file, composer) in [(&all, Some("Robert Schumann")), (&few, None)] {
        let new = Sandbox::new();
        let taken = json(import(&new, file));
        assert_eq!(taken["added"], 1, "{taken}");
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly).unwrap();
        let tags = library.tracks().unwrap().remove(0).tags;
        assert_eq!(
            (tags.title.as_deref(), tags.composer.as_deref()),
            (Some("Kreisleriana"), composer)
        );
        assert_eq!(new.vectors().len(), 1);
    }
    let nowhere = without(&row, &["path"]);
    write_rows(&few, &nowhere.schema(), [nowhere.clone()]);
    let refused = sandbox.run(["add", "--from-parquet", few.to_str().unwrap()]);
    let stderr = text(&refused.stderr);
    assert!(
        stderr.contains("column \"path\": expected the type"),
        "{stderr}"
    );
}

#[test]
fn a_file_with_an_impossible_model_or_path_is_refused() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let schema = row.schema();
    let value_of = |key: &str| schema.metadata()[key].clone();
    let write = |name: &str, row: &RecordBatch| {
        let file = sandbox.path(&format!("{name}.parquet"));
        write_rows(&file, &row.schema(), [row.clone()]);
        file
    };
    let with_metadata = |key: &str, value: &str| {
        let mut metadata = schema.metadata().clone();
        metadata.insert(key.to_owned(), value.to_owned());
        let schema = Arc::new(schema.as_ref().clone().with_metadata(metadata));
        RecordBatch::try_new(schema, row.columns().to_vec()).unwrap()
    };
    let other_type = {
        let at = schema.index_of("title").unwrap();
        let mut fields = schema.fields().to_vec();
        fields[at] = Arc::new(Field::new("title", DataType::Int32, true));
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let mut columns = row.columns().to_vec();
        columns[at] = Arc::new(Int32Array::from(vec![1]));
        RecordBatch::try_new(schema, columns).unwrap()
    };
    let fingerprint = value_of("voisin.fingerprint");
    let dimension = value_of("voisin.dimension");
    let negative: ArrayRef = Arc::new(Int32Array::from(vec![-1]));
    let stranger: ArrayRef = Arc::new(StringArray::from(vec!["f".repeat(32)]));
    for (name, row, expected) in [
        (
            "fingerprint",
            with_metadata("voisin.fingerprint", "../../x"),
            format!("its fingerprint is \"../../x\", expected \"{fingerprint}\", as its manifest has it"),
        ),
        (
            "name",
            with_metadata("voisin.model", "../../../x"),
            format!(
                "its name is \"../../../x\", expected \"{}\", as its manifest has it",
                value_of("voisin.model")
            ),
        ),
        (
            "dimension",
            with_metadata("voisin.dimension", "711"),
            format!("its dimension is \"711\", expected \"{dimension}\", as its manifest has it"),
        ),
        ("manifest", with_metadata("voisin.manifest", &"{".repeat(100)), "its manifest".to_owned()),
        (
            "newer",
            with_metadata("voisin.schema", "2"),
            "expected schema 1 or older, found \"2\": update voisin".to_owned(),
        ),
        ("deep", with_metadata("voisin.manifest", &"[".repeat(100_000)), "its manifest".to_owned()),
        (
            "minus",
            with(&row, 1, "dimension", negative),
            format!("found \"{fingerprint}\" with -1: write the file again"),
        ),
        (
            "rows",
            with(&row, 1, "model_fingerprint", stranger),
            format!("found \"{}\" with {dimension}: write the file again", "f".repeat(32)),
        ),
        (
            "type",
            other_type,
            "column \"title\": expected the type Utf8 or a compatible one (docs/scale.md), found Int32"
                .to_owned(),
        ),
    ] {
        let file = write(name, &row);
        let new = Sandbox::new();
        let refused = new.run(["add", "--from-parquet", file.to_str().unwrap()]);
        let stderr = text(&refused.stderr);
        assert_eq!(code(&refused), 2, "{name}: {stderr}");
        assert!(stderr.contains(&expected), "{name}: {stderr}");
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly).unwrap();
        assert_eq!(library.model().unwrap(), None, "{name}: nothing is stored");
    }

    // Paths are checked per row.
    let paths = [
        "/music/good.ogg",
        "/music/a\nb.ogg",
        "relative/../x.ogg",
        "/music/../x.ogg",
        "/music/a\0b.ogg",
        "",
    ];
    let rows = paths.iter().enumerate().map(|(seed, path)| {
        let path: ArrayRef = Arc::new(StringArray::from(vec![*path]));
        with(&row, seed as u8, "path", path)
    });
    let file = sandbox.path("paths.parquet");
    write_rows(&file, &schema, rows);
    let taken = import(&sandbox, &file);
    let stderr = text(&taken.stderr);
    assert_eq!(
        (
            code(&taken),
            &json(&taken)["added"],
            &json(&taken)["refused"]
        ),
        (1, &2.into(), &4.into()),
        "{stderr}"
    );
    assert!(
        stderr.contains("path \"relative/../x.ogg\": expected an absolute one"),
        "{stderr}"
    );
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let stored: BTreeSet<PathBuf> = library
        .tracks()
        .unwrap()
        .into_iter()
        .map(|track| track.path)
        .collect();
    assert_eq!(stored, paths[..2].iter().map(PathBuf::from).collect());
    assert_eq!(
        library.failures().unwrap(),
        [],
        "a row without a path is no failed file"
    );
}

/// Paths and vectors of another program, in a file without metadata.
fn external_file(file: &Path, rows: &[(String, [f64; 4])]) {
    let mut vectors = ListBuilder::new(Float64Builder::new());
    for (_, vector) in rows {
        vectors.values().append_slice(vector);
        vectors.append(true);
    }
    let paths: StringArray = rows.iter().map(|(path, _)| Some(path)).collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("path", Arc::new(paths)),
        ("vector", Arc::new(vectors.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write_rows(file, &batch.schema(), [batch.clone()]);
}

#[test]
fn vectors_that_were_made_elsewhere_are_a_model_of_their_own() {
    let sandbox = Sandbox::new();
    let mut rows: Vec<(String, [f64; 4])> = (0..40_u32)
        .map(|i| {
            let angle = f64::from(i) / 20.0;
            // Of any length.
            (
                format!("/elsewhere/{i:02}.ogg"),
                [3.0 * angle.cos(), 3.0 * angle.sin(), 0.5, -0.25],
            )
        })
        .collect();
    let music = music(&sandbox);
    rows.push((
        music
            .join("muldjord-chaos-god.mp3")
            .to_str()
            .unwrap()
            .to_owned(),
        [0.0, 0.0, 1.0, 0.0],
    ));
    rows.push(("/elsewhere/zero.ogg".to_owned(), [0.0; 4]));
    let file = sandbox.path("clap.parquet");
    external_file(&file, &rows);
    let path = file.to_str().unwrap();
    let add = |name: &str, path: &str| {
        sandbox.run([
            "add",
            "--format",
            "json",
            "--from-parquet",
            path,
            "--vectors-of",
            name,
        ])
    };
    for (name, expected) in [
        ("musicnn-msd", "voisin has a model musicnn-msd itself"),
        (
            "../clap",
            "expected a name of at most 100 letters and no file",
        ),
        ("", "expected a name of at most 100 letters and no file"),
    ] {
        let stderr = text(&add(name, path).stderr);
        assert!(stderr.contains(expected), "{name}: {stderr}");
    }
    let taken = add("clap-htsat", path);
    assert_eq!(code(&taken), 1, "{}", text(&taken.stderr));
    assert_eq!(
        (&json(&taken)["added"], &json(&taken)["refused"]),
        (&41.into(), &1.into())
    );
    // Neighbours follow the angles between the vectors.
    let near = json(sandbox.run([
        "similar",
        "/elsewhere/20.ogg",
        "--limit",
        "2",
        "--format",
        "json",
    ]));
    let near: BTreeSet<&str> = near["neighbours"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| track["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        near,
        BTreeSet::from(["/elsewhere/19.ogg", "/elsewhere/21.ogg"])
    );
    // An existing file provides its tags.
    let found = json(sandbox.run(["list", "chaos god", "--format", "json"]));
    assert_eq!(found["tracks"][0]["artist"], "Muldjord", "{found}");
    assert!(
        found["tracks"][0]["seconds"].as_f64().unwrap() > 10.0,
        "{found}"
    );
    // Other vectors are refused.
    let mixed = sandbox.run(["add", music.to_str().unwrap()]);
    let stderr = text(&mixed.stderr);
    assert_eq!(code(&mixed), 2, "{stderr}");
    assert!(
        stderr.contains("were made elsewhere, by clap-htsat"),
        "{stderr}"
    );
    assert_eq!(code(&add("openl3-original", path)), 2, "another name");
    let other = with(
        &one_row(&Sandbox::new()),
        1,
        "title",
        Arc::new(StringArray::from(vec!["x"])),
    );
    let builtin = sandbox.path("own.parquet");
    write_rows(&builtin, &other.schema(), [other.clone()]);
    let named = Sandbox::new().run([
        "add",
        "--from-parquet",
        builtin.to_str().unwrap(),
        "--vectors-of",
        "clap",
    ]);
    assert!(text(&named.stderr).contains("expected vectors of clap, found those of voisin-equal"));
}
