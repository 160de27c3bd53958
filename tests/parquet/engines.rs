//! Other programs read voisin's files, voisin reads theirs, and the recipes of docs/scale.md run.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Sandbox, code, fine, json, noise_wav, text};
use crate::{DEMO, TRACKS, half_vectors, music, parquet_files, python};

fn run_python(python: &Path, script: &str, arguments: &[&Path]) -> String {
    let output = Command::new(python)
        .arg("-c")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn three_programs_read_the_same() {
    let Some(python) = python("pyarrow.parquet, duckdb") else {
        return;
    };
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let vectors = sandbox.path("vectors");
    let arguments = [
        "embed",
        music.to_str().unwrap(),
        "--format",
        "parquet",
        "--output",
        vectors.to_str().unwrap(),
    ];
    let ran = sandbox.run(arguments.iter().chain(&["--per-file", "2"]));
    assert_eq!(
        code(&ran),
        1,
        "a file that fails is a partial success: {}",
        text(&ran.stderr)
    );
    assert!(
        text(&ran.stdout).contains("6 files and 1 failure"),
        "{}",
        text(&ran.stdout)
    );
    assert_eq!(code(&sandbox.run(["add", music.to_str().unwrap()])), 1);
    let expected = half_vectors(&sandbox);
    assert_eq!(expected.len(), 6);

    // Bits of both programs' answers; DuckDB has no type of 16 bits and widens without loss.
    let script = r"
import sys, json, glob, struct, duckdb, pyarrow.parquet as pq
folder = sys.argv[1]
bits = lambda values: [struct.unpack('<H', struct.pack('<e', value))[0] for value in values]
floats = lambda values: [struct.unpack('<I', struct.pack('<f', value))[0] for value in values]
answers = []
table = pq.read_table(sorted(glob.glob(folder + '/tracks-*.parquet')))
assert str(table.schema.field('vector').type) == 'fixed_size_list<item: halffloat>[256]', table.schema
rows = {}
for row in table.to_pylist():
    rows[row['content'].hex()] = [row['path'], row['title'], row['genres'], round(row['seconds'], 6), bits(row['vector']), floats(row['logits'])]
answers.append(rows)
rows = {}
names = 'content, path, title, genres, seconds, vector, logits'
for content, path, title, genres, seconds, vector, logits in duckdb.sql(
        f'select {names} from read_parquet(\'{folder}/tracks-*.parquet\')').fetchall():
    rows[content.hex()] = [path, title, genres, round(seconds, 6), bits(vector), floats(logits)]
answers.append(rows)
failures = duckdb.sql(f'select path, failure from read_parquet(\'{folder}/failures-*.parquet\')').fetchall()
print(json.dumps([answers, failures]))
";
    let answers: Value = serde_json::from_str(&run_python(&python, script, &[&vectors])).unwrap();
    let [arrow, duckdb] = [&answers[0][0], &answers[0][1]];
    assert_eq!(arrow, duckdb);
    let rows = arrow.as_object().unwrap();
    assert_eq!(rows.len(), 6);
    for (content, (vector, logits)) in &expected {
        assert_eq!(rows[content][4], json!(vector), "the vector of {content}");
        assert_eq!(rows[content][5], json!(logits), "the logits of {content}");
    }
    let failed = answers[1].as_array().unwrap();
    assert_eq!(failed.len(), 1);
    assert!(failed[0][0].as_str().unwrap().ends_with("bad.mp3"));
    assert!(
        failed[0][1].as_str().unwrap().contains("not an audio file"),
        "{failed:?}"
    );

    // Files with a row are not analysed again; those whose rows are gone are.
    let again = sandbox.run(arguments);
    assert_eq!(code(&again), 0, "{}", text(&again.stderr));
    assert!(
        text(&again.stdout).contains("0 files and 0 failures")
            && text(&again.stdout).contains("7 there")
    );
    fs::remove_file(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    let third = text(&sandbox.run(arguments).stdout);
    assert!(
        third.contains(" and 0 failures") && !third.starts_with("0 files"),
        "{third}"
    );
    assert!(text(&sandbox.run(arguments).stdout).contains("0 files and 0 failures"));
}

/// Files that went through other programs: other codecs, types and orders of columns, and no metadata.
#[test]
fn files_of_other_programs_are_imported() {
    let Some(python) = python("pyarrow.parquet, duckdb, polars, pandas") else {
        return;
    };
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for name in [TRACKS[0], TRACKS[4]] {
        let from = Path::new(DEMO).join(name);
        fs::copy(&from, music.join(from.file_name().unwrap())).unwrap();
    }
    fs::write(music.join("noise.wav"), noise_wav(22_050, 8.0, 7)).unwrap();
    let vectors = sandbox.path("vectors");
    let arguments = [
        "embed",
        music.to_str().unwrap(),
        "--format",
        "parquet",
        "--windows",
        "3",
        "--output",
        vectors.to_str().unwrap(),
    ];
    fine(sandbox.run(arguments));
    fine(sandbox.run(["add", "--from-parquet", vectors.to_str().unwrap()]));
    let script = r"
import glob, sys, duckdb, pandas, polars, pyarrow as pa, pyarrow.parquet as pq
file, out = glob.glob(sys.argv[1] + '/tracks-*.parquet')[0], sys.argv[2]
table = pq.read_table(file)
for codec in 'snappy', 'zstd', 'none':
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
pq.write_table(pa.table(columns), f'{out}/lost-wide.parquet', row_group_size=2, data_page_version='2.0')
";
    let out = sandbox.path("out");
    fs::create_dir_all(&out).unwrap();
    run_python(&python, script, &[&vectors, &out]);
    let listed = |sandbox: &Sandbox| {
        let mut list =
            json(sandbox.run(["list", "--sort", "path", "--format", "json"]))["tracks"].clone();
        for track in list.as_array_mut().unwrap() {
            track.as_object_mut().unwrap().remove("id");
        }
        list
    };
    let files = parquet_files(&out, "");
    assert_eq!(files.len(), 7);
    for file in files {
        let new = Sandbox::new();
        let path = file.to_str().unwrap();
        let lost = path.contains("lost-");
        if lost {
            let refused = new.run(["add", "--from-parquet", path]);
            let stderr = text(&refused.stderr);
            assert_eq!(code(&refused), 2, "{path}: {stderr}");
            assert!(
                stderr.contains("\"voisin.dimension\" in its metadata, found none: name the model"),
                "{stderr}"
            );
            let other = new.run(["add", "--from-parquet", path, "--model", "musicnn-msd"]);
            assert_eq!(code(&other), 2, "{path}: of another model");
            fine(new.run(["add", "--from-parquet", path, "--model", "voisin-equal"]));
        } else {
            fine(new.run(["add", "--from-parquet", path]));
        }
        assert_eq!(half_vectors(&new), half_vectors(&sandbox), "{path}");
        assert_eq!(listed(&new), listed(&sandbox), "{path}");
        // A library has its model: it need not be named again.
        assert_eq!(
            json(new.run(["add", "--format", "json", "--from-parquet", path]))["unchanged"],
            3
        );
    }
}

/// A code block of docs/scale.md, by the heading above it.
fn recipe(name: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scale.md")).unwrap();
    let (_, rest) = page.split_once(&format!("### {name}\n")).unwrap();
    rest.split_once("```python\n")
        .unwrap()
        .1
        .split_once("```")
        .unwrap()
        .0
        .to_owned()
}

/// The recipes of docs/scale.md, for the installed programs.
#[test]
fn the_recipes_of_the_document_run() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let arguments = [
        "embed",
        music.to_str().unwrap(),
        "--format",
        "parquet",
        "--output",
    ];
    let vectors = sandbox.path("vectors");
    assert_eq!(
        code(&sandbox.run(arguments.iter().chain(&[vectors.to_str().unwrap()]))),
        1
    );
    for failures in parquet_files(&vectors, "failures-") {
        fs::remove_file(failures).unwrap();
    }
    for (name, packages, check) in [
        (
            "DuckDB",
            "duckdb",
            "near = near.fetchall(); assert len(near) == 6 and near[0][1] > 0.999, near",
        ),
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
        let Some(python) = python(packages) else {
            continue;
        };
        let script = format!("{}\n{check}\n", recipe(name));
        let output = Command::new(&python)
            .arg("-c")
            .arg(script)
            .current_dir(sandbox.path(""))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
}
