//! Parquet files: what `embed` and `export` write is read alike by pyarrow, `DuckDB` and voisin, and survives kills.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Sandbox, code, fine, json, noise_wav, text};
use half::f16;
use serde_json::Value;
use voisin_library::{Library, OpenMode};
use voisin_parquet::arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder};
use voisin_parquet::arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray};
use voisin_parquet::arrow_schema::Schema;
use voisin_parquet::parquet::arrow::ArrowWriter;
use voisin_parquet::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use voisin_parquet::parquet::basic::{Compression, GzipLevel};
use voisin_parquet::parquet::file::properties::WriterProperties;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo/library");
const TRACKS: [&str; 6] = [
    "metal/muldjord-chaos-god.mp3",
    "metal/muldjord-armygeddon.m4a",
    "metal/obsidian-shell-wings-of-cruelty.opus",
    "ambient/maxstack-nebula.ogg",
    "ambient/nikola-whallon-ambient-2.mp3",
    "ambient/askyel-ambient-4.wav",
];

/// Six tracks and a file that is no audio.
fn music(sandbox: &Sandbox) -> PathBuf {
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for name in TRACKS {
        let name = Path::new(name);
        fs::copy(Path::new(DEMO).join(name), music.join(name.file_name().unwrap())).unwrap();
    }
    fs::write(music.join("bad.mp3"), b"no audio at all").unwrap();
    music
}

/// A Python that has these packages; `None`, with a message, where there is none. An error where CI could have had it.
fn python(packages: &str) -> Option<PathBuf> {
    let python =
        std::env::var_os("VOISIN_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let imports = Command::new(&python).args(["-c", &format!("import {packages}")]).output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "VOISIN_TEST_PYTHON must name a Python with {packages}");
    eprintln!("skipped: no Python with {packages} (VOISIN_TEST_PYTHON names one)");
    None
}

fn run_python(python: &Path, script: &str, arguments: &[&Path]) -> String {
    let output = Command::new(python).arg("-c").arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn parquet_files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind)).collect();
    files.sort();
    files
}

/// Bits of the track's and of the windows' vectors, 16 bits a number, by content id.
fn half_vectors(sandbox: &Sandbox) -> BTreeMap<String, (Vec<u16>, Vec<u16>)> {
    let half =
        |bits: Vec<u32>| bits.into_iter().map(|bits| f16::from_f32(f32::from_bits(bits)).to_bits()).collect();
    sandbox
        .vectors()
        .into_iter()
        .map(|(content, (vector, windows))| (content, (half(vector), windows)))
        .collect()
}

/// The row of one track, as `embed` writes it.
fn one_row(sandbox: &Sandbox) -> RecordBatch {
    let (music, vectors) = (sandbox.path("one"), sandbox.path("row"));
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("noise.wav"), noise_wav(22_050, 8.0, 7)).unwrap();
    let music = music.to_str().unwrap();
    fine(sandbox.run(["embed", music, "--format", "parquet", "--output", vectors.to_str().unwrap()]));
    let file = fs::File::open(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    // A batch has the schema without the file's metadata.
    let schema = Arc::clone(builder.schema());
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap()
}

/// The same row with another value in a column; of another recording in a file of its own.
fn with(row: &RecordBatch, seed: u8, name: &str, value: ArrayRef) -> RecordBatch {
    let content = FixedSizeBinaryArray::try_from_iter(std::iter::once([seed; 32])).unwrap();
    let path = StringArray::from(vec![format!("/music/{seed}.ogg")]);
    let values: [(&str, ArrayRef); 3] =
        [("content", Arc::new(content)), ("path", Arc::new(path)), (name, value)];
    let mut columns = row.columns().to_vec();
    for (name, value) in values {
        columns[row.schema().index_of(name).unwrap()] = value;
    }
    RecordBatch::try_new(row.schema(), columns).unwrap()
}

/// A file of these rows, in one group, in which each text stands once.
fn write_rows(path: &Path, schema: &Arc<Schema>, rows: impl IntoIterator<Item = RecordBatch>) {
    write_rows_as(Compression::SNAPPY, path, schema, rows);
}

fn write_rows_as(
    compression: Compression,
    path: &Path,
    schema: &Arc<Schema>,
    rows: impl IntoIterator<Item = RecordBatch>,
) {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_page_size_limit(64 << 20)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties)).unwrap();
    for row in rows {
        writer.write(&row).unwrap();
    }
    writer.close().unwrap();
}

/// What a run printed, and the most memory that it took, in MB; 0 where the system does not tell.
fn run_measured(sandbox: &Sandbox, arguments: &[&str]) -> (Output, u64) {
    let mut command = sandbox.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(found.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    (child.wait_with_output().unwrap(), most)
}

#[test]
fn a_text_that_all_rows_share_takes_its_room_once() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let text_of = |length: usize| -> ArrayRef { Arc::new(StringArray::from(vec!["t".repeat(length)])) };
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
    assert!(bytes < 4_000_000, "each text stands once: {bytes} bytes");
    let (taken, memory) =
        run_measured(&sandbox, &["add", "--format", "json", "--from-parquet", file.to_str().unwrap()]);
    let said = text(&taken.stderr);
    assert_eq!(code(&taken), 1, "{said}");
    assert!(said.contains("voisin failed"), "{said}");
    let answer = json(&taken);
    assert_eq!((&answer["added"], &answer["refused"]), (&1.into(), &39.into()));
    assert!(memory < 300, "{memory} MB");
    let library = fs::metadata(sandbox.path("library/voisin.db")).unwrap().len();
    assert!(library < 8 << 20, "{library} bytes");
    let failed = json(sandbox.run(["failed", "--format", "json"]));
    let reasons: BTreeMap<&str, &str> = failed
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["path"].as_str().unwrap(), failure["reason"].as_str().unwrap()))
        .collect();
    // A path that is too long names no file.
    assert_eq!(reasons.len(), 38);
    for (path, column, found) in [
        ("/music/1.ogg", "genres", "1 440 000"),
        ("/music/2.ogg", "genres", "1 600 192"),
        ("/music/39.ogg", "title", "20 000 000"),
    ] {
        let expected = format!(
            "column \"{column}\" of {} has {found} bytes for it, expected at most 1 048 576: listen to the file again",
            file.display()
        );
        assert_eq!(reasons[path], expected);
    }
    // A library that holds such texts, from before they were bounded, gives them to no other.
    let database = rusqlite::Connection::open(sandbox.path("library/voisin.db")).unwrap();
    database.execute("UPDATE tags SET title = title || title", []).unwrap();
    drop(database);
    let other = Sandbox::new();
    let merged = other.run(["merge", "--format", "json", sandbox.path("library").to_str().unwrap()]);
    assert_eq!((code(&merged), &json(&merged)["refused"]), (1, &1.into()));
    let failed = json(other.run(["failed", "--format", "json"]));
    let failed = failed.as_array().unwrap().iter().find(|failure| failure["path"] == "/music/0.ogg").unwrap();
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("has 2 097 152 bytes, expected at most 1 048 576"), "{reason}");
}

/// Files whose few bytes claim to hold much: of each kind the file is refused, and the next one read.
#[test]
fn a_file_that_claims_more_than_it_has_is_refused() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let folder = sandbox.path("files");
    fs::create_dir_all(&folder).unwrap();
    let title: ArrayRef = Arc::new(StringArray::from(vec!["t".repeat(1_000_000)]));
    // Texts within the bound, in more rows than the file's bytes stand for.
    let rows = (0..200).map(|seed| with(&row, seed, "title", Arc::clone(&title)));
    write_rows(&folder.join("a-rows.parquet"), &row.schema(), rows);
    // Five million genres in a row, of no letter each.
    let mut genres = ListBuilder::new(StringBuilder::new());
    for _ in 0..5_000_000 {
        genres.values().append_value("");
    }
    genres.append(true);
    let genres: ArrayRef = Arc::new(genres.finish());
    write_rows(&folder.join("b-values.parquet"), &row.schema(), [with(&row, 1, "genres", genres)]);
    // A page of two gigabytes, by its header: type, size, packed size, each behind the kind of field.
    let page = folder.join("c-page.parquet");
    write_rows(
        &page,
        &row.schema(),
        [with(&row, 2, "title", Arc::new(StringArray::from(vec!["t".repeat(20_000_000)])))],
    );
    let mut bytes = fs::read(&page).unwrap();
    let header = [0x15, 0x04, 0x15, 0x88, 0xb4, 0x89, 0x13, 0x15];
    let at = bytes.windows(header.len()).position(|window| window == header).expect("a dictionary's header");
    let claimed = [0x15, 0x04, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15];
    bytes[at..at + claimed.len()].copy_from_slice(&claimed);
    fs::write(&page, bytes).unwrap();
    write_rows(&folder.join("d-good.parquet"), &row.schema(), [with(&row, 3, "title", title)]);
    // A page that unpacks to 140 MB, and has 1000 bytes by its header.
    let bomb = folder.join("e-bomb.parquet");
    let large: ArrayRef = Arc::new(StringArray::from(vec!["t".repeat(140_000_000)]));
    let gzip = Compression::GZIP(GzipLevel::default());
    write_rows_as(gzip, &bomb, &row.schema(), [with(&row, 4, "title", large)]);
    let mut bytes = fs::read(&bomb).unwrap();
    let header = [0x15, 0x04, 0x15, 0x88, 0xec, 0xc1, 0x85, 0x01, 0x15];
    let at = bytes.windows(header.len()).position(|window| window == header).expect("a dictionary's header");
    bytes[at + 3..at + 8].copy_from_slice(&[0xd0, 0x8f, 0x80, 0x80, 0x00]);
    fs::write(&bomb, bytes).unwrap();
    let lz4 = folder.join("f-lz4.parquet");
    write_rows_as(Compression::LZ4, &lz4, &row.schema(), [with(&row, 5, "label", row.column(0).clone())]);
    let (taken, memory) =
        run_measured(&sandbox, &["add", "--format", "json", "--from-parquet", folder.to_str().unwrap()]);
    let said = text(&taken.stderr);
    assert_eq!(code(&taken), 1, "{said}");
    for expected in [
        "a-rows.parquet: expected at most",
        "MB of text in a file of",
        "b-values.parquet: cannot be read: Parquet error: column \"genres.list.item\": expected at most",
        "found 5000000",
        "c-page.parquet: cannot be read: Parquet error: expected a page of at most 128 MB, found one of 2048 MB",
        "e-bomb.parquet: cannot be read: Parquet error: expected a page of at most 128 MB, found one of 129 MB",
        "f-lz4.parquet: cannot be read: Parquet error: column \"model_fingerprint\": expected pages that are not compressed, or with snappy, lz4_raw, gzip or zstd, found LZ4",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(memory < 400, "{memory} MB");
    assert!(json(sandbox.run(["list", "--format", "json"]))["tracks"].to_string().contains("/music/3.ogg"));
}

/// The same row without some columns.
fn without(row: &RecordBatch, names: &[&str]) -> RecordBatch {
    let schema = row.schema();
    let kept: Vec<usize> =
        (0..row.num_columns()).filter(|&at| !names.contains(&schema.field(at).name().as_str())).collect();
    row.project(&kept).unwrap()
}

/// Files of before a column was written, and those of programs that know less of a track.
#[test]
fn columns_that_a_file_lacks_are_null() {
    let sandbox = Sandbox::new();
    let title: ArrayRef = Arc::new(StringArray::from(vec!["Kreisleriana"]));
    let row = with(&one_row(&sandbox), 1, "title", title);
    let composer: ArrayRef = Arc::new(StringArray::from(vec!["Robert Schumann"]));
    let row = with(&row, 1, "composer", composer);
    let (all, few) = (sandbox.path("all.parquet"), sandbox.path("few.parquet"));
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
            "label",
            "failure",
            "transient",
            "composer",
        ],
    );
    write_rows(&few, &fewer.schema(), [fewer.clone()]);
    for (file, composer) in [(&all, Some("Robert Schumann")), (&few, None)] {
        let new = Sandbox::new();
        let taken = json(new.run(["add", "--format", "json", "--from-parquet", file.to_str().unwrap()]));
        assert_eq!(taken["added"], 1, "{taken}");
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly).unwrap();
        let tags = library.tracks().unwrap().remove(0).tags;
        assert_eq!((tags.title.as_deref(), tags.composer.as_deref()), (Some("Kreisleriana"), composer));
        assert_eq!(new.vectors().len(), 1);
    }
    let nowhere = without(&row, &["path"]);
    write_rows(&few, &nowhere.schema(), [nowhere.clone()]);
    let refused = sandbox.run(["add", "--from-parquet", few.to_str().unwrap()]);
    let said = text(&refused.stderr);
    assert!(said.contains("column \"path\": expected the type"), "{said}");
}

#[test]
fn a_file_whose_model_or_paths_cannot_be_is_not_believed() {
    let sandbox = Sandbox::new();
    let row = one_row(&sandbox);
    let schema = row.schema();
    let of = |key: &str| schema.metadata()[key].clone();
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
        fields[at] = Arc::new(voisin_parquet::arrow_schema::Field::new(
            "title",
            voisin_parquet::arrow_schema::DataType::Int32,
            true,
        ));
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let mut columns = row.columns().to_vec();
        columns[at] = Arc::new(voisin_parquet::arrow_array::Int32Array::from(vec![1]));
        RecordBatch::try_new(schema, columns).unwrap()
    };
    let (fingerprint, dimension) = (of("voisin.fingerprint"), of("voisin.dimension"));
    let negative: ArrayRef = Arc::new(voisin_parquet::arrow_array::Int32Array::from(vec![-1]));
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
                of("voisin.model")
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
            "column \"title\": expected the type Utf8 or one that docs/parquet.md lets stand for it, found Int32"
                .to_owned(),
        ),
    ] {
        let file = write(name, &row);
        let new = Sandbox::new();
        let refused = new.run(["add", "--from-parquet", file.to_str().unwrap()]);
        let said = text(&refused.stderr);
        assert_eq!(code(&refused), 2, "{name}: {said}");
        assert!(said.contains(&expected), "{name}: {said}");
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly).unwrap();
        assert_eq!(library.model().unwrap(), None, "{name}: nothing is stored");
    }

    // Paths: each row for itself.
    let paths =
        ["/music/good.ogg", "/music/a\nb.ogg", "relative/../x.ogg", "/music/../x.ogg", "/music/a\0b.ogg", ""];
    let rows = paths.iter().enumerate().map(|(seed, path)| {
        let path: ArrayRef = Arc::new(StringArray::from(vec![*path]));
        with(&row, seed as u8, "path", path)
    });
    let file = sandbox.path("paths.parquet");
    write_rows(&file, &schema, rows);
    let taken = sandbox.run(["add", "--format", "json", "--from-parquet", file.to_str().unwrap()]);
    let said = text(&taken.stderr);
    assert_eq!(
        (code(&taken), &json(&taken)["added"], &json(&taken)["refused"]),
        (1, &2.into(), &4.into()),
        "{said}"
    );
    assert!(said.contains("path \"relative/../x.ogg\": expected an absolute one"), "{said}");
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let stored: BTreeSet<PathBuf> = library.tracks().unwrap().into_iter().map(|track| track.path).collect();
    assert_eq!(stored, paths[..2].iter().map(PathBuf::from).collect());
    assert_eq!(library.failures().unwrap(), [], "what has no path is no file that failed");
    drop(library);

    // A library that was changed by hand is merged into no other.
    let database = rusqlite::Connection::open(sandbox.path("library/voisin.db")).unwrap();
    database.execute("UPDATE models SET name = '../../../x'", []).unwrap();
    drop(database);
    let other = Sandbox::new();
    let merged = other.run(["merge", sandbox.path("library").to_str().unwrap()]);
    let said = text(&merged.stderr);
    assert_eq!(code(&merged), 2, "{said}");
    assert!(said.contains("the model of its vectors is refused: its name is \"../../../x\""), "{said}");
    let library = Library::open(&other.path("library"), OpenMode::ReadOnly).unwrap();
    assert_eq!(library.model().unwrap(), None);
}

#[test]
fn three_programs_read_the_same() {
    let Some(python) = python("pyarrow.parquet, duckdb") else { return };
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let vectors = sandbox.path("vectors");
    let arguments =
        ["embed", music.to_str().unwrap(), "--format", "parquet", "--output", vectors.to_str().unwrap()];
    let ran = sandbox.run(arguments.iter().chain(&["--per-file", "2"]));
    assert_eq!(code(&ran), 1, "a file that fails is a partial success: {}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("6 files and 1 failure"), "{}", text(&ran.stdout));
    assert_eq!(code(&sandbox.run(["add", music.to_str().unwrap()])), 1);
    let expected = half_vectors(&sandbox);
    assert_eq!(expected.len(), 6);

    // Bits of both programs' answers; DuckDB has no type of 16 bits and widens without loss.
    let script = r"
import sys, json, glob, struct, duckdb, pyarrow.parquet as pq
folder = sys.argv[1]
bits = lambda values: [struct.unpack('<H', struct.pack('<e', value))[0] for value in values]
answers = []
table = pq.read_table(sorted(glob.glob(folder + '/tracks-*.parquet')))
assert str(table.schema.field('vector').type) == 'fixed_size_list<item: halffloat>[256]', table.schema
rows = {}
for row in table.to_pylist():
    rows[row['content'].hex()] = [row['path'], row['title'], row['genres'], round(row['seconds'], 6), bits(row['vector']),
        [bit for window in row['windows'] for bit in bits(window)], [round(x, 4) for x in row['starts']]]
answers.append(rows)
rows = {}
names = 'content, path, title, genres, seconds, vector, windows, starts'
for content, path, title, genres, seconds, vector, windows, starts in duckdb.sql(
        f'select {names} from read_parquet(\'{folder}/tracks-*.parquet\')').fetchall():
    rows[content.hex()] = [path, title, genres, round(seconds, 6), bits(vector), [bit for window in windows for bit in bits(window)],
        [round(x, 4) for x in starts]]
answers.append(rows)
failures = duckdb.sql(f'select path, failure from read_parquet(\'{folder}/failures-*.parquet\')').fetchall()
print(json.dumps([answers, failures]))
";
    let answers: Value = serde_json::from_str(&run_python(&python, script, &[&vectors])).unwrap();
    let [arrow, duckdb] = [&answers[0][0], &answers[0][1]];
    assert_eq!(arrow, duckdb);
    let rows = arrow.as_object().unwrap();
    assert_eq!(rows.len(), 6);
    for (content, (vector, windows)) in &expected {
        let numbers = |value: &Value| -> Vec<u16> {
            value.as_array().unwrap().iter().map(|bit| bit.as_u64().unwrap() as u16).collect()
        };
        assert_eq!(&numbers(&rows[content][4]), vector, "the vector of {content}");
        assert_eq!(&numbers(&rows[content][5]), windows, "the windows of {content}");
    }
    let failed = answers[1].as_array().unwrap();
    assert_eq!(failed.len(), 1);
    assert!(failed[0][0].as_str().unwrap().ends_with("bad.mp3"));
    assert!(failed[0][1].as_str().unwrap().contains("not an audio file"), "{failed:?}");

    // What is there is not listened to again; what is gone from there is.
    let again = sandbox.run(arguments);
    assert_eq!(code(&again), 0, "{}", text(&again.stderr));
    assert!(
        text(&again.stdout).contains("0 files and 0 failures") && text(&again.stdout).contains("7 there")
    );
    fs::remove_file(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    let third = text(&sandbox.run(arguments).stdout);
    assert!(third.contains(" and 0 failures") && !third.starts_with("0 files"), "{third}");
    assert!(text(&sandbox.run(arguments).stdout).contains("0 files and 0 failures"));
}

/// Files that went through other programs: other codecs, types and orders of columns, and no metadata.
#[test]
fn files_of_other_programs_come_back() {
    let Some(python) = python("pyarrow.parquet, duckdb, polars, pandas") else { return };
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for name in [TRACKS[0], TRACKS[4]] {
        let from = Path::new(DEMO).join(name);
        fs::copy(&from, music.join(from.file_name().unwrap())).unwrap();
    }
    fs::write(music.join("noise.wav"), noise_wav(22_050, 8.0, 7)).unwrap();
    let vectors = sandbox.path("vectors");
    for (codec, written) in [
        ("none", "UNCOMPRESSED"),
        ("lz4", "LZ4_RAW"),
        ("gzip", "GZIP"),
        ("zstd", "ZSTD"),
        ("snappy", "SNAPPY"),
    ] {
        let mut arguments = vec!["embed", music.to_str().unwrap(), "--format", "parquet", "--windows", "3"];
        arguments.extend(["--force", "--compression", codec, "--output", vectors.to_str().unwrap()]);
        fine(sandbox.run(arguments));
        let file = fs::File::open(&parquet_files(&vectors, "tracks-")[0]).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let found = builder.metadata().row_group(0).column(0).compression().to_string();
        assert!(found.starts_with(written), "{codec}: {found}");
        let new = Sandbox::new();
        fine(new.run(["add", "--from-parquet", vectors.to_str().unwrap()]));
        assert_eq!(new.vectors().len(), 3);
    }
    fine(sandbox.run(["add", "--from-parquet", vectors.to_str().unwrap()]));
    let script = r"
import glob, sys, duckdb, pandas, polars, pyarrow as pa, pyarrow.parquet as pq
file, out = glob.glob(sys.argv[1] + '/tracks-*.parquet')[0], sys.argv[2]
table = pq.read_table(file)
for codec in 'snappy', 'gzip', 'lz4', 'zstd', 'none':
    pq.write_table(table, f'{out}/pyarrow-{codec}.parquet', compression=codec)
polars.read_parquet(file).write_parquet(f'{out}/lost-polars.parquet')
duckdb.read_parquet(file).write_parquet(f'{out}/lost-duckdb.parquet', compression='zstd')
pandas.read_parquet(file).sample(frac=1, random_state=1).to_parquet(f'{out}/lost-pandas.parquet')
wide = lambda kind: (pa.large_list(pa.float64()) if pa.types.is_fixed_size_list(kind) else
    pa.large_list(pa.large_list(pa.float32())) if pa.types.is_list(kind) and pa.types.is_nested(kind.value_type) else
    pa.large_string() if pa.types.is_string(kind) else pa.int64() if pa.types.is_integer(kind) else kind)
types = {field.name: wide(field.type) for field in table.schema}
columns = {name: table[name].cast(kind) for name, kind in types.items()}
columns['artist'] = table['artist'].dictionary_encode()
columns['title'] = table['title'].cast(pa.string_view())
columns['size'] = table['size'].cast(pa.float64())
columns['packets'] = table['packets'].cast(pa.decimal128(20, 0))
columns['composer'] = pa.nulls(len(table))
del columns['path_bytes']
pq.write_table(pa.table(columns), f'{out}/lost-wide.parquet', row_group_size=2, data_page_version='2.0', compression='gzip')
";
    let out = sandbox.path("out");
    fs::create_dir_all(&out).unwrap();
    run_python(&python, script, &[&vectors, &out]);
    let listed = |sandbox: &Sandbox| {
        let mut list = json(sandbox.run(["list", "--sort", "path", "--format", "json"]))["tracks"].clone();
        for track in list.as_array_mut().unwrap() {
            track.as_object_mut().unwrap().remove("id");
        }
        list
    };
    let files = parquet_files(&out, "");
    assert_eq!(files.len(), 9);
    for file in files {
        let new = Sandbox::new();
        let path = file.to_str().unwrap();
        let lost = path.contains("lost-");
        if lost {
            let refused = new.run(["add", "--from-parquet", path]);
            let said = text(&refused.stderr);
            assert_eq!(code(&refused), 2, "{path}: {said}");
            assert!(
                said.contains("\"voisin.dimension\" in its metadata, found none: name the model"),
                "{said}"
            );
            let other = new.run(["add", "--from-parquet", path, "--model", "musicnn-msd"]);
            assert_eq!(code(&other), 2, "{path}: of another model");
            fine(new.run(["add", "--from-parquet", path, "--model", "voisin-256"]));
        } else {
            fine(new.run(["add", "--from-parquet", path]));
        }
        assert_eq!(half_vectors(&new), half_vectors(&sandbox), "{path}");
        assert_eq!(listed(&new), listed(&sandbox), "{path}");
        // A library has its model: nobody need name it again.
        assert_eq!(json(new.run(["add", "--format", "json", "--from-parquet", path]))["unchanged"], 3);
    }
}

/// Paths and vectors of another program's, in a file that says no more.
fn external_file(file: &Path, rows: &[(String, [f64; 4])]) {
    let mut vectors = ListBuilder::new(Float64Builder::new());
    for (_, vector) in rows {
        vectors.values().append_slice(vector);
        vectors.append(true);
    }
    let paths: StringArray = rows.iter().map(|(path, _)| Some(path)).collect();
    let columns: [(&str, ArrayRef); 2] = [("path", Arc::new(paths)), ("vector", Arc::new(vectors.finish()))];
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
            (format!("/elsewhere/{i:02}.ogg"), [3.0 * angle.cos(), 3.0 * angle.sin(), 0.5, -0.25])
        })
        .collect();
    let music = music(&sandbox);
    rows.push((music.join("muldjord-chaos-god.mp3").to_str().unwrap().to_owned(), [0.0, 0.0, 1.0, 0.0]));
    rows.push(("/elsewhere/zero.ogg".to_owned(), [0.0; 4]));
    let file = sandbox.path("clap.parquet");
    external_file(&file, &rows);
    let path = file.to_str().unwrap();
    let add = |name: &str, path: &str| {
        sandbox.run(["add", "--format", "json", "--from-parquet", path, "--vectors-of", name])
    };
    for (name, expected) in [
        ("musicnn-msd", "voisin has a model musicnn-msd itself"),
        ("../clap", "expected a name of at most 100 letters and no file"),
        ("", "expected a name of at most 100 letters and no file"),
    ] {
        let said = text(&add(name, path).stderr);
        assert!(said.contains(expected), "{name}: {said}");
    }
    let taken = add("clap-htsat", path);
    assert_eq!(code(&taken), 1, "{}", text(&taken.stderr));
    assert_eq!((&json(&taken)["added"], &json(&taken)["refused"]), (&41.into(), &1.into()));
    let again = json(add("clap-htsat", path));
    assert_eq!((&again["added"], &again["unchanged"]), (&0.into(), &41.into()));
    let status = json(sandbox.run(["status", "--format", "json"]));
    assert_eq!((&status["model"], &status["dimension"]), (&"clap-htsat".into(), &4.into()));

    // Neighbours are those of the angles.
    let near = json(sandbox.run(["similar", "/elsewhere/20.ogg", "--limit", "2", "--format", "json"]));
    let near: BTreeSet<&str> =
        near["neighbours"].as_array().unwrap().iter().map(|track| track["path"].as_str().unwrap()).collect();
    assert_eq!(near, BTreeSet::from(["/elsewhere/19.ogg", "/elsewhere/21.ogg"]));
    // A file that is there says what it is.
    let found = json(sandbox.run(["list", "chaos god", "--format", "json"]));
    assert_eq!(found["tracks"][0]["artist"], "Muldjord", "{found}");
    assert!(found["tracks"][0]["seconds"].as_f64().unwrap() > 10.0, "{found}");
    let shown = fine(sandbox.run(["show", "chaos god"]));
    assert!(!shown.contains("(changed)"), "{shown}");
    fine(sandbox.run(["verify"]));

    // What goes out comes in again; other vectors do not.
    let exported = sandbox.path("exported");
    fine(sandbox.run(["export", exported.to_str().unwrap(), "--format", "parquet"]));
    let third = Sandbox::new();
    fine(third.run(["add", "--from-parquet", exported.to_str().unwrap()]));
    assert_eq!(half_vectors(&third), half_vectors(&sandbox));
    let heard = sandbox.run(["add", music.to_str().unwrap()]);
    let said = text(&heard.stderr);
    assert_eq!(code(&heard), 2, "{said}");
    assert!(said.contains("were made elsewhere, by clap-htsat"), "{said}");
    assert_eq!(code(&add("openl3-original", path)), 2, "another name");
    let other = with(&one_row(&Sandbox::new()), 1, "title", Arc::new(StringArray::from(vec!["x"])));
    let own = sandbox.path("own.parquet");
    write_rows(&own, &other.schema(), [other.clone()]);
    let refused = sandbox.run(["add", "--from-parquet", own.to_str().unwrap()]);
    assert_eq!(code(&refused), 2, "vectors of a model of voisin's: {}", text(&refused.stderr));
    let named = Sandbox::new().run(["add", "--from-parquet", own.to_str().unwrap(), "--vectors-of", "clap"]);
    assert!(text(&named.stderr).contains("expected vectors of clap, found those of voisin-256"));
}

#[test]
fn results_of_several_machines_become_one_library_twice_over() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let vectors = sandbox.path("vectors");
    let list: String =
        fs::read_dir(&music).unwrap().map(|entry| format!("{}\n", entry.unwrap().path().display())).collect();
    fs::write(sandbox.path("list"), list).unwrap();
    for shard in ["0/3", "1/3", "2/3"] {
        let mut command =
            sandbox.command(["embed", "-", "--format", "parquet", "--shard", shard, "--output"]);
        let output =
            command.arg(&vectors).stdin(fs::File::open(sandbox.path("list")).unwrap()).output().unwrap();
        assert!(code(&output) <= 1, "{}", text(&output.stderr));
    }
    let taken = sandbox.run(["add", "--format", "json", "--from-parquet", vectors.to_str().unwrap()]);
    assert_eq!(code(&taken), 0, "{}", text(&taken.stderr));
    assert_eq!(json(&taken)["added"], 6);
    let again = json(sandbox.run(["add", "--format", "json", "--from-parquet", vectors.to_str().unwrap()]));
    assert_eq!((&again["added"], &again["updated"], &again["unchanged"]), (&0.into(), &0.into(), &6.into()));
    assert_eq!(json(sandbox.run(["failed", "--format", "json"])).as_array().unwrap().len(), 1);

    // The same as if it had been added here, but for the last bits of 16.
    let here = Sandbox::new();
    assert_eq!(code(&here.run(["add", music.to_str().unwrap()])), 1);
    let (taken, added) = (half_vectors(&sandbox), half_vectors(&here));
    assert_eq!(taken.keys().collect::<Vec<_>>(), added.keys().collect::<Vec<_>>());
    for (content, (_, windows)) in &added {
        assert_eq!(&taken[content].1, windows);
    }
    for (content, (vector, _)) in here.vectors() {
        let own = &sandbox.vectors()[&content].0;
        let dot: f32 = vector.iter().zip(own).map(|(a, b)| f32::from_bits(*a) * f32::from_bits(*b)).sum();
        assert!((dot - 1.0).abs() < 1e-6, "{dot}");
    }
    let nearest = |sandbox: &Sandbox| {
        let found = json(sandbox.run(["similar", "chaos god", "--format", "json"]));
        let tracks = found["neighbours"].as_array().unwrap().clone();
        tracks.iter().map(|track| (track["path"].clone(), track["genres"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(nearest(&sandbox), nearest(&here));
    let measured = |sandbox: &Sandbox| {
        let mut list = json(sandbox.run(["list", "--sort", "path", "--format", "json"]))["tracks"].clone();
        for track in list.as_array_mut().unwrap() {
            for key in ["id", "added", "words"] {
                track.as_object_mut().unwrap().remove(key);
            }
        }
        list
    };
    assert_eq!(measured(&sandbox), measured(&here));

    // And what this library exports is what another one takes in.
    let exported = sandbox.path("exported");
    let ran = sandbox.run(["export", exported.to_str().unwrap(), "--format", "parquet"]);
    assert_eq!(code(&ran), 0, "{}", text(&ran.stderr));
    let third = Sandbox::new();
    assert_eq!(code(&third.run(["add", "--from-parquet", exported.to_str().unwrap()])), 0);
    assert_eq!(measured(&third), measured(&sandbox));
    assert_eq!(half_vectors(&third), half_vectors(&sandbox));
}

#[test]
fn a_run_that_is_killed_goes_on() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let vectors = sandbox.path("vectors");
    let arguments = [
        "embed",
        music.to_str().unwrap(),
        "--format",
        "parquet",
        "--per-file",
        "1",
        "--windows",
        "4",
        "--output",
        vectors.to_str().unwrap(),
    ];
    let mut kills = 0;
    for wait in [80, 200, 350, 500, 700] {
        let mut child = sandbox.command(arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        kills += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(kills > 0, "the machine is too fast for this test");
    assert!(code(&sandbox.run(arguments)) <= 1);
    assert_eq!(parquet_files(&vectors, "tracks-").len(), 6);
    assert_eq!(parquet_files(&vectors, "failures-").len(), 1);
    let taken = json(sandbox.run(["add", "--format", "json", "--from-parquet", vectors.to_str().unwrap()]));
    assert_eq!((&taken["added"], &taken["unchanged"]), (&6.into(), &0.into()));
}

#[test]
fn hostile_files_are_told_and_the_others_taken() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    // A name that is not UTF-8, and one with a line end.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = music.join(std::ffi::OsStr::from_bytes(b"od\xffd\n.wav"));
        fs::write(odd, noise_wav(22_050, 8.0, 7)).unwrap();
    }
    let vectors = sandbox.path("vectors");
    let arguments =
        ["embed", music.to_str().unwrap(), "--format", "parquet", "--output", vectors.to_str().unwrap()];
    assert_eq!(code(&sandbox.run(arguments)), 1);
    let whole = fs::read(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    fs::write(vectors.join("cut.parquet"), &whole[..whole.len() / 2]).unwrap();
    fs::write(vectors.join("empty.parquet"), b"").unwrap();
    fs::write(vectors.join("noise.parquet"), b"PAR1 but nothing that follows makes sense PAR1").unwrap();
    // Bytes turned over one after the other: refused or read, never a panic.
    for (i, at) in (0..whole.len()).step_by(whole.len() / 40).enumerate() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(vectors.join(format!("turned-{i}.parquet")), bytes).unwrap();
    }
    let taken = sandbox.run(["add", "--format", "json", "--from-parquet", vectors.to_str().unwrap()]);
    assert_eq!(code(&taken), 1, "{}", text(&taken.stderr));
    let said = text(&taken.stderr);
    assert!(said.contains("cut.parquet: expected a Parquet file"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
    let paths: BTreeSet<PathBuf> = library.tracks().unwrap().into_iter().map(|track| track.path).collect();
    for file in fs::read_dir(&music).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(paths.contains(&file), !file.ends_with("bad.mp3"), "{}", file.display());
    }
    // Options of other formats are refused.
    for extra in [["--hop", "0.5"], ["--no-center", "--quiet"]] {
        assert_eq!(code(&sandbox.run(arguments.iter().chain(&extra))), 2);
    }
    let npz = ["embed", music.to_str().unwrap(), "--output", vectors.to_str().unwrap(), "--per-file", "3"];
    assert_eq!(code(&sandbox.run(npz)), 2);
}

#[test]
fn libraries_merge_by_their_audio() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let music = music(&sandbox);
    let files: Vec<PathBuf> =
        TRACKS.iter().map(|name| music.join(Path::new(name).file_name().unwrap())).collect();
    let add = |sandbox: &Sandbox, files: &[PathBuf]| {
        let mut arguments = vec!["add".to_owned()];
        arguments.extend(files.iter().map(|file| file.to_str().unwrap().to_owned()));
        assert_eq!(code(&sandbox.run(&arguments)), 0);
    };
    add(&sandbox, &files[..4]);
    add(&other, &files[2..]);
    assert_eq!(code(&other.run(["labels", "set", "nebula", "Doom"])), 0);
    let before = sandbox.vectors();
    let merge = ["merge", "--format", "json", other.path("library").to_str().unwrap()].map(str::to_owned);
    let first = sandbox.run(&merge);
    assert_eq!(code(&first), 0, "{}", text(&first.stderr));
    let first = json(&first);
    assert_eq!((&first["added"], &first["updated"], &first["unchanged"]), (&2.into(), &1.into(), &1.into()));
    let again = json(sandbox.run(&merge));
    assert_eq!((&again["added"], &again["updated"], &again["unchanged"]), (&0.into(), &0.into(), &4.into()));
    let after = sandbox.vectors();
    assert!(after.len() == 6 && before.iter().all(|(content, vector)| after[content] == *vector));
    for (content, vector) in other.vectors() {
        assert_eq!(after[&content], vector, "a vector comes over bit by bit");
    }
    let listed = json(sandbox.run(["list", "nebula", "--format", "json"]));
    assert_eq!(listed["tracks"][0]["genres"][0], "Doom");
    assert_eq!(json(sandbox.run(["verify", "--format", "json"]))["ok"], true);
    assert_eq!(code(&sandbox.run(["merge", sandbox.path("library").to_str().unwrap()])), 2);
    assert_eq!(code(&sandbox.run(["merge", "/no/such/library"])), 2);
}

/// A code block of docs/parquet.md, by the heading above it.
fn recipe(name: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/parquet.md")).unwrap();
    let (_, rest) = page.split_once(&format!("### {name}\n")).unwrap();
    rest.split_once("```python\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

/// Other engines follow a library from one export of changes to the next.
#[test]
fn engines_follow_what_changed() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let name = |i: u64| music.join(format!("{i}.wav"));
    for i in 1..=4 {
        fs::write(name(i), noise_wav(22_050, 8.0, i)).unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let folder = sandbox.path("changes");
    let export = |more: &[&str]| {
        let mut arguments = vec!["export", folder.to_str().unwrap(), "--format", "parquet", "--changes"];
        arguments.extend(more);
        sandbox.run(arguments)
    };
    let follow = |expected: &[(u64, Option<&str>)]| {
        let expected: Vec<Value> = expected
            .iter()
            .map(|(i, label)| serde_json::json!([name(*i).to_str().unwrap(), label]))
            .collect();
        for (engine, packages, answer) in [
            (
                "DuckDB follows",
                "duckdb",
                "duckdb.sql('select path, label from music order by path').fetchall()",
            ),
            (
                "LanceDB follows",
                "lancedb, pyarrow.parquet",
                "sorted((row['path'], row['label']) for row in table.to_arrow().to_pylist())",
            ),
        ] {
            let Some(python) = python(packages) else { continue };
            let script = format!("{}\nimport json; print(json.dumps({answer}))", recipe(engine));
            let ran =
                Command::new(&python).arg("-c").arg(script).current_dir(sandbox.path("")).output().unwrap();
            assert!(ran.status.success(), "{engine}: {}", text(&ran.stderr));
            let found: Vec<Value> = serde_json::from_str(&text(&ran.stdout)).unwrap();
            assert_eq!(found, expected, "{engine}");
        }
    };
    let said = |output: Output| fine(output);
    assert!(said(export(&[])).starts_with("4 files changed and 0 gone in"));
    follow(&[(1, None), (2, None), (3, None), (4, None)]);
    let again = said(export(&[]));
    assert!(
        again.starts_with("0 files changed and 0 gone in") && again.trim_end().ends_with("change 1"),
        "{again}"
    );
    assert_eq!(parquet_files(&folder, "").len(), 1, "nothing changed, nothing is written");

    // A label alone, a file that moved, one that is gone and one that is new.
    fine(sandbox.run(["labels", "set", name(2).to_str().unwrap(), "Noise"]));
    fs::rename(name(3), name(5)).unwrap();
    fs::remove_file(name(4)).unwrap();
    fs::write(name(6), noise_wav(22_050, 8.0, 6)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap(), "--remove-missing"]));
    let second = said(export(&["--compression", "zstd"]));
    assert!(second.starts_with("3 files changed and 2 gone in"), "{second}");
    let now = [(1, None), (2, Some("Noise")), (5, None), (6, None)];
    follow(&now);
    // Its own way back: what was gone is there again.
    fs::write(name(4), noise_wav(22_050, 8.0, 4)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    assert!(said(export(&["--no-windows"])).contains("change 3"));
    // Whether windows are written is part of what a row says: all are other than before.
    assert!(said(export(&["--no-windows"])).starts_with("0 files"));
    follow(&[now[0], now[1], (4, None), now[2], now[3]]);

    // Changes are no library, and belong into a folder of their own.
    let taken = Sandbox::new().run(["add", "--from-parquet", folder.to_str().unwrap()]);
    assert_eq!(code(&taken), 1);
    assert!(text(&taken.stderr).contains("found what changed in one"), "{}", text(&taken.stderr));
    let first = parquet_files(&folder, "")[0].clone();
    let bytes = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    let gap = export(&[]);
    assert!(
        code(&gap) == 2 && text(&gap.stderr).contains("expected the changes number 1"),
        "{}",
        text(&gap.stderr)
    );
    fs::write(&first, bytes).unwrap();
    fine(sandbox.run(["export", folder.to_str().unwrap(), "--format", "parquet"]));
    let mixed = export(&[]);
    assert!(code(&mixed) == 2 && text(&mixed.stderr).contains("a folder of nothing but changes"));
    let npy = sandbox.run(["export", folder.to_str().unwrap(), "--changes"]);
    assert!(code(&npy) == 2 && text(&npy.stderr).contains("--changes: expected with it --format parquet"));
}

/// The recipes of docs/parquet.md, as they stand there, for the programs that can be had.
#[test]
fn the_recipes_run() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let arguments = ["embed", music.to_str().unwrap(), "--format", "parquet", "--no-windows", "--output"];
    let vectors = sandbox.path("vectors");
    assert_eq!(code(&sandbox.run(arguments.iter().chain(&[vectors.to_str().unwrap()]))), 1);
    for failures in parquet_files(&vectors, "failures-") {
        fs::remove_file(failures).unwrap();
    }
    for (name, packages, check) in [
        ("DuckDB", "duckdb", "near = near.fetchall(); assert len(near) == 6 and near[0][1] > 0.999, near"),
        (
            "LanceDB",
            "lancedb, pyarrow",
            "assert len(near) == 6 and near[0]['path'] == tracks['path'][0].as_py(), near",
        ),
        (
            "Milvus",
            "pymilvus, milvus_lite, pyarrow",
            "assert len(near[0]) == 6 and near[0][0]['entity']['path'] == rows[0]['path'], near",
        ),
    ] {
        let Some(python) = python(packages) else { continue };
        let script = format!("{}\n{check}\n", recipe(name));
        let output =
            Command::new(&python).arg("-c").arg(script).current_dir(sandbox.path("")).output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
}

/// Ids of size, ends and samples: the same vectors, recordings known again, and never mixed with ids of all packets.
#[test]
fn quick_identities_know_recordings_again_and_never_mix() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    // Long enough that most of it lies between the samples.
    fs::write(music.join("long.wav"), noise_wav(44_100, 60.0, 5)).unwrap();
    for name in ["folk/omri-lahav-an-old-warhorse-goes-to-pasture.flac", "metal/muldjord-chaos-god.mp3"] {
        let from = Path::new(DEMO).join(name);
        fs::copy(&from, music.join(from.file_name().unwrap())).unwrap();
    }
    let flac = music.join("omri-lahav-an-old-warhorse-goes-to-pasture.flac");
    // A file that promises more than it has is read as a whole.
    let whole = fs::read(&flac).unwrap();
    fs::write(music.join("cut.flac"), &whole[..whole.len() / 2]).unwrap();
    let music = music.to_str().unwrap().to_owned();
    let (full, quick) = (Sandbox::new(), Sandbox::new());
    fine(full.run(["add", &music]));
    let added = quick.run(["add", &music, "--identity", "quick"]);
    assert!(code(&added) == 0 && text(&added.stderr).contains("--identity quick"), "{}", text(&added.stderr));
    let vectors = |sandbox: &Sandbox| {
        let mut all: Vec<_> = sandbox.vectors().into_values().collect();
        all.sort();
        all
    };
    assert_eq!(vectors(&full), vectors(&quick), "the same is heard");
    let facts = |sandbox: &Sandbox| -> Vec<(String, u64, u64)> {
        let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
        let tracks = library.tracks().unwrap().into_iter();
        let mut all: Vec<_> = tracks
            .map(|track| {
                let frames = track.audio.seconds * f64::from(track.audio.sample_rate);
                (track.path.display().to_string(), frames.round() as u64, track.audio.packets)
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(facts(&full), facts(&quick), "the same lengths and packets");
    let both: Vec<_> =
        full.vectors().into_keys().filter(|content| quick.vectors().contains_key(content)).collect();
    assert!(both.is_empty(), "no id of one kind is one of the other: {both:?}");

    // Moved and retagged: the same recording. The library's kind holds without being named.
    fs::rename(&flac, sandbox.path("music/moved.flac")).unwrap();
    let mut tagged = fs::read(sandbox.path("music/muldjord-chaos-god.mp3")).unwrap();
    tagged.splice(0..0, *b"ID3\x04\0\0\0\0\0\x0a0123456789");
    fs::write(sandbox.path("music/muldjord-chaos-god.mp3"), tagged).unwrap();
    let again = json(quick.run(["add", &music, "--format", "json"]));
    assert_eq!((&again["added"], &again["moved"], &again["updated"]), (&0.into(), &1.into(), &1.into()));
    // What lies between the samples is not looked at; what is told by `verify`.
    let wav = sandbox.path("music/long.wav");
    let change = |at: usize| {
        let time = fs::metadata(&wav).unwrap().modified().unwrap();
        let mut bytes = fs::read(&wav).unwrap();
        bytes[at] ^= 0x55;
        fs::write(&wav, bytes).unwrap();
        fs::File::options().write(true).open(&wav).unwrap().set_modified(time).unwrap();
    };
    change(44 + 64 * 1024 + 16 * 1024 + 100);
    let deep = quick.run(["verify", "--deep"]);
    assert!(code(&deep) == 0 && text(&deep.stdout).contains("--identity quick"), "{}", text(&deep.stdout));
    change(44 + 1000);
    let deep = quick.run(["verify", "--deep"]);
    assert!(code(&deep) == 1 && text(&deep.stdout).contains("long.wav"), "{}", text(&deep.stdout));

    // The other kind is refused wherever the two could meet.
    let folder = |sandbox: &Sandbox, more: &[&str]| {
        let folder = sandbox.path("vectors");
        let mut words = vec!["embed", &music, "--format", "parquet", "--output", folder.to_str().unwrap()];
        words.extend(more);
        (sandbox.run(words), folder)
    };
    let (made, of_quick) = folder(&quick, &["--identity", "quick"]);
    fine(made);
    for (sandbox, words) in [
        (&quick, vec!["add", &music, "--identity", "full"]),
        (&full, vec!["add", &music, "--identity", "quick"]),
        (&full, vec!["merge", quick.path("library").to_str().unwrap()]),
        (&full, vec!["add", "--from-parquet", of_quick.to_str().unwrap()]),
        (&quick, vec!["embed", &music, "--format", "parquet", "--output", of_quick.to_str().unwrap()]),
    ] {
        let refused = sandbox.run(&words);
        let said = text(&refused.stderr);
        assert_eq!(code(&refused), 2, "{words:?}: {said}");
        assert!(said.contains("quick") && said.contains("full"), "{words:?}: {said}");
    }
    // An empty library takes over the kind.
    let taken = Sandbox::new();
    fine(taken.run(["add", "--from-parquet", of_quick.to_str().unwrap()]));
    let merged = Sandbox::new();
    fine(merged.run(["merge", quick.path("library").to_str().unwrap()]));
    for sandbox in [&taken, &merged] {
        let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
        assert_eq!(library.content_kind().unwrap().name(), "quick");
    }
}
