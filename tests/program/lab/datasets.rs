//! `voisin lab data` on the layouts of `scripts/make_lab_data.py`, and on tables in the forms that people write.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::{Sandbox, code, fine_json, json, noise_wav, text, tone_wav};

/// The data sets of `scripts/make_lab_data.py`, made once; `None` where there is no Python.
pub(crate) fn made() -> Option<&'static Path> {
    static MADE: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/make_lab_data.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(folder.path()).args([
            "--wav",
            "--seconds",
            "3.5",
            "--artists",
            "4",
            "--tracks",
            "2",
        ]);
        match command.output() {
            Ok(output) if output.status.success() => Some(folder),
            other => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "scripts/make_lab_data.py: {other:?}"
                );
                eprintln!("skipped: python3 is needed for scripts/make_lab_data.py");
                None
            }
        }
    });
    made.as_ref().map(tempfile::TempDir::path)
}

fn data(kind: &str, path: &Path) -> String {
    format!("{kind}:{}", path.display())
}

#[test]
fn a_bare_path_is_detected_and_its_table_read_again() {
    let Some(made) = made() else { return };
    let sandbox = Sandbox::new();
    let table = sandbox.path("table.csv");
    let bare = made.join("fma");
    let output = sandbox.run([
        "lab",
        "data",
        bare.to_str().unwrap(),
        "--output",
        table.to_str().unwrap(),
    ]);
    assert!(
        text(&output.stderr).contains("read as fma:"),
        "{}",
        text(&output.stderr)
    );
    assert!(
        text(&output.stdout)
            .contains("55 tracks, 8 classes; 4 that cannot be used; 0 artists on two sides")
    );
    let again = json(sandbox.run(["lab", "data", &data("table", &table), "--format", "json"]));
    assert_eq!(again["tracks"], 55);
}

/// A folder of distinct tones and noises, and a table beside it.
struct Shelf {
    sandbox: Sandbox,
    table: PathBuf,
}

impl Shelf {
    fn new(files: &[&str], table: &[u8]) -> Self {
        let sandbox = Sandbox::new();
        for (seed, name) in files.iter().enumerate() {
            let path = sandbox.path("audio").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, noise_wav(8000, 1.0, seed as u64 + 1)).unwrap();
        }
        let path = sandbox.path("table.csv");
        fs::write(&path, table).unwrap();
        Self {
            sandbox,
            table: path,
        }
    }

    fn report(&self) -> serde_json::Value {
        let data = format!(
            "table:{},audio={}",
            self.table.display(),
            self.sandbox.path("audio").display()
        );
        json(
            self.sandbox
                .run(["lab", "data", &data, "--split", "track", "--format", "json"]),
        )
    }
}

#[test]
fn tables_are_read_as_people_write_them() {
    let files = ["été.wav", "b.wav", "c/d.wav"];
    // a byte order mark, semicolons, Windows line ends, a decomposed accent
    let marked = "\u{feff}Titre;ID_Genre\r\ne\u{301}te\u{301};3\r\nb.wav;3\r\nc/d.wav;10\r\n";
    // no mark, Windows-1252
    let western = b"fichier,genre\n\xe9t\xe9,3\nb,3\nd,10\n";
    // no header at all
    let bare = "été.wav\t3\nb.wav\t3\nd.wav\t10\n";
    for (table, note) in [
        (marked.as_bytes(), None),
        (western, Some("read as windows-1252")),
        (bare.as_bytes(), Some("no header")),
    ] {
        let report = Shelf::new(&files, table).report();
        assert_eq!(report["failures"].as_array().unwrap().len(), 0, "{report}");
        let classes = report["classes"].as_array().unwrap();
        // in the order of numbers, and text all the same
        assert_eq!(
            (&classes[0]["name"], &classes[1]["name"]),
            (&"3".into(), &"10".into()),
            "{report}"
        );
        let notes = report["notes"].to_string();
        assert!(note.is_none_or(|note| notes.contains(note)), "{notes}");
    }
}

#[test]
fn missing_and_double_titles_are_reported_and_stop_nothing() {
    let files = ["a.wav", "b.wav", "x/b.wav", "left over.wav"];
    let report = Shelf::new(
        &files,
        b"titre,genre\na,rock\na,rock\na,pop\nb,pop\nnowhere,pop\n,rock\n",
    )
    .report();
    assert_eq!(report["tracks"], 1);
    let failures = report["failures"].to_string();
    for expected in [
        "line 3: the same as on line 2; the first counts",
        "line 4: listed with another label than on line 2; the first counts",
        "line 5: two files have this name, ",
        "line 6: no audio file has this path, name or stem",
        "line 7\",\"no titre",
    ] {
        assert!(failures.contains(expected), "{expected}: {failures}");
    }
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .starts_with("3 files below audio= that no row"),
        "{report}"
    );
    // a table of half a folder is the usual case, and no failure
    let shelf = Shelf::new(
        &["a.wav", "b.wav", "c.wav"],
        b"titre,genre\na,rock\nb,pop\n",
    );
    let data = format!(
        "table:{},audio={}",
        shelf.table.display(),
        shelf.sandbox.path("audio").display()
    );
    assert_eq!(code(&shelf.sandbox.run(["lab", "data", &data])), 0);
}

#[test]
fn dataset_check_finds_leaks_between_parts() {
    let sandbox = Sandbox::new();
    let mut table = "path,genre,artist,split\n".to_owned();
    for i in 0..8u32 {
        let path = sandbox.path(&format!("{i}.wav"));
        // the last is a copy of the first
        let tone = f64::from(if i == 7 { 0 } else { i });
        fs::write(path, tone_wav(8000, 1.0, 200.0 + 50.0 * tone, 0.4)).unwrap();
        let artist = if i == 6 {
            "Artist 1".to_owned()
        } else {
            format!("artist {i}")
        };
        table += &format!(
            "{i}.wav,{},{artist},{}\n",
            ["a", "b"][i as usize % 2],
            if i < 5 { "train" } else { "test" }
        );
    }
    fs::write(sandbox.path("t.csv"), &table).unwrap();
    let data = data("table", &sandbox.path("t.csv"));
    let leak = &fine_json(sandbox.run(["lab", "data", &data, "--format", "json"]))["leak"];
    assert_eq!(
        leak["shared"][1]["artists"],
        serde_json::json!(["artist 1"]),
        "{leak}"
    );
    assert_eq!(
        leak["shared"][1]["same_audio"],
        serde_json::json!([["0.wav", "7.wav"]])
    );
    assert_eq!(
        leak["contradictions"],
        serde_json::json!([["0.wav", "7.wav"]])
    );
    let clean = table
        .lines()
        .filter(|line| !line.starts_with(['6', '7']))
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(sandbox.path("t.csv"), clean).unwrap();
    let leak = &fine_json(sandbox.run(["lab", "data", &data, "--format", "json"]))["leak"];
    assert_eq!(leak["shared"][1]["artists"], serde_json::json!([]));
    assert_eq!(
        (&leak["shared"][1]["same_audio"], &leak["contradictions"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
}

#[test]
fn equal_rows_are_found_by_numbers() {
    let sandbox = Sandbox::new();
    // a table of numbers: a row twice, a row under another key, a key with other numbers, a bad cell
    let mut table = "path,genre,x_1,x_2,x_3,x_4\n".to_owned();
    for row in 0..30usize {
        let x = 0.1 + row as f64;
        table += &format!(
            "t{row},{},{x},{},{},1\n",
            ["a", "b"][row % 2],
            x * 0.7,
            x * x
        );
    }
    table += "t3,b,3.1,2.17,9.610000000000001,1\nsame as 4,b,4.1,2.8699999999999997,16.81,1\n";
    table += "t5,b,77,7.25,1,1\nt31,a,5,6,abc,1\n";
    fs::write(sandbox.path("f.csv"), &table).unwrap();
    let path = data("features", &sandbox.path("f.csv"));
    let report = json(sandbox.run(["lab", "data", &path, "--format", "json"]));
    assert_eq!(
        (
            &report["tracks"],
            report["leak"]["doubles"].as_array().unwrap().len()
        ),
        (&33.into(), 1),
        "{report}"
    );
    let double = &report["leak"]["doubles"][0];
    let expected =
        serde_json::json!({"first": "t4", "second": "same as 4", "why": "numbers", "apart": false});
    assert_eq!(*double, expected);
    assert_eq!(
        report["leak"]["contradictions"],
        serde_json::json!([["t4", "same as 4"]])
    );
    assert!(
        report["failures"][0][1]
            .as_str()
            .unwrap()
            .starts_with("line 32: the same as on line 5"),
        "{report}"
    );
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("1 cell is no number: taken as missing: line 35, x_3"),
        "{notes}"
    );
    assert!(
        notes.contains("1 row has the path of another with other numbers: t5"),
        "{notes}"
    );
}

#[test]
fn mistakes_say_the_next_step() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("odd.csv"), "x,y,z\n1,2,3\n").unwrap();
    fs::write(sandbox.path("empty.csv"), "").unwrap();
    fs::create_dir(sandbox.path("bare")).unwrap();
    let at = |name: &str| sandbox.path(name).display().to_string();
    for (data, expected) in [
        (
            format!("table:{}", at("odd.csv")),
            "name it with ,path=COLUMN",
        ),
        (
            format!("table:{},label=w,path=x", at("odd.csv")),
            "expected the column w, found x, y, z",
        ),
        (format!("table:{}", at("empty.csv")), "found an empty file"),
        (format!("table:{}", at("none.csv")), "none.csv: "),
        (format!("fma:{}", at("bare")), "expected tracks.csv there"),
        (format!("fma:{},subset=tiny", at("bare")), "expected"),
        (
            format!("folder:{}", at("bare")),
            "expected a folder of audio files for each genre",
        ),
        ("nowhere".to_owned(), "expected KIND:PATH"),
    ] {
        let output = sandbox.run(["lab", "data", &data]);
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{data}: {stderr}");
        assert!(stderr.contains(expected), "{data}: {stderr}");
    }
}
