//! Other programs read voisin's files, and the recipes of docs/scale.md run.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Sandbox, code, text};
use crate::{half_vectors, music, parquet_files, python};

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
    let [from, to] = [&music, &vectors].map(|path| path.to_str().unwrap());
    let ran = sandbox.run(["embed", from, "--format", "parquet", "--output", to]);
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
