//! `voisin lab data` on the layouts of `scripts/make_lab_data.py`, and on tables in the forms that people write.

use std::fs;

use serde_json::{Value, json};

use super::{ask, refused, run};
use crate::common::{Sandbox, miniature, noise_wav, text};

#[test]
fn a_bare_path_is_detected_and_its_table_read_again() {
    let sandbox = Sandbox::new();
    let bare = miniature().join("fma");
    let line = format!("lab data {} --output @table.csv", bare.display());
    let output = run(&sandbox, &line);
    assert!(text(&output.stderr).contains("read as fma:"));
    let stdout = text(&output.stdout);
    assert!(stdout.contains("55 tracks, 8 classes; 4 that cannot be used"));
    assert!(stdout.contains("0 artists on two sides"));
    assert_eq!(ask(&sandbox, "lab data table:@table.csv")["tracks"], 55);
}

/// The report of a table beside a folder of distinct noises.
fn report(files: &[&str], table: &[u8]) -> Value {
    let sandbox = Sandbox::new();
    for (seed, name) in files.iter().enumerate() {
        let path = sandbox.path("audio").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise_wav(8000, 1.0, seed as u64 + 1)).unwrap();
    }
    fs::write(sandbox.path("table.csv"), table).unwrap();
    ask(
        &sandbox,
        "lab data table:@table.csv,audio=@audio --split track",
    )
}

#[test]
fn tables_are_read_as_people_write_them() {
    let files = ["été.wav", "b.wav", "c/d.wav"];
    // a byte order mark, semicolons, Windows line ends, a decomposed accent
    let marked = "\u{feff}Titre;ID_Genre\r\ne\u{301}te\u{301};3\r\nb.wav;3\r\nc/d.wav;10\r\n";
    // no mark, Windows-1252
    let western = b"fichier,genre\n\xe9t\xe9,3\nb,3\nd,10\n";
    let bare = "été.wav\t3\nb.wav\t3\nd.wav\t10\n";
    for (table, note) in [
        (marked.as_bytes(), ""),
        (western, ""),
        (bare.as_bytes(), "no header"),
    ] {
        let report = report(&files, table);
        assert_eq!(report["failures"], json!([]), "{report}");
        // in the order of numbers, and text all the same
        let names = [0, 1].map(|class| &report["classes"][class]["name"]);
        assert_eq!(names, ["3", "10"], "{report}");
        assert!(report["notes"].to_string().contains(note), "{report}");
    }
}

#[test]
fn missing_and_double_titles_are_reported_and_stop_nothing() {
    let files = ["a.wav", "b.wav", "x/b.wav", "left over.wav"];
    let table = b"titre,genre\na,rock\na,rock\na,pop\nb,pop\nnowhere,pop\n,rock\n";
    let report = report(&files, table);
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
}

#[test]
fn a_table_without_audio_is_one_of_numbers() {
    let sandbox = Sandbox::new();
    let mut table = "path,genre,x_1,x_2,word\n".to_owned();
    for row in 0..30usize {
        let genre = ["a", "b"][row % 2];
        table += &format!("t{row},{genre},{row}.1,{},w\n", row * row);
    }
    // a key with other numbers, a cell that is none
    table += "t5,b,77,7.25,w\nt31,a,5,abc,w\n";
    fs::write(sandbox.path("f.csv"), &table).unwrap();
    let report = ask(&sandbox, "lab data table:@f.csv");
    assert_eq!(report["tracks"], 32, "{report}");
    let notes = report["notes"].to_string();
    for expected in [
        "its 2 columns of numbers",
        "1 cell is no number, the first line 33, x_2",
    ] {
        assert!(notes.contains(expected), "{notes}");
    }
}

#[test]
fn mistakes_say_the_next_step() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("odd.csv"), "x,y,z\n1,2,3\n").unwrap();
    fs::write(sandbox.path("empty.csv"), "").unwrap();
    fs::create_dir(sandbox.path("bare")).unwrap();
    for (data, expected) in [
        ("table:@odd.csv", "name it with ,path=COLUMN"),
        (
            "table:@odd.csv,label=w,path=x",
            "expected the column w, found x, y, z",
        ),
        ("table:@empty.csv", "found an empty file"),
        ("table:@none.csv", "none.csv: "),
        ("fma:@bare", "expected tracks.csv there"),
        (
            "folder:@bare",
            "expected a folder of audio files for each genre",
        ),
        ("nowhere", "expected KIND:PATH"),
    ] {
        let stderr = refused(&sandbox, &format!("lab data {data}"));
        assert!(stderr.contains(expected), "{data}: {stderr}");
    }
}
