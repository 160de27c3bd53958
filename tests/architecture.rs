//! The order of the crates, and how many lines of Rust there may be: the bounds only fall.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates, lowest first: each uses only crates before it.
const ORDER: [&str; 15] = [
    "voisin-base",
    "voisin-simd",
    "voisin-features",
    "voisin-audio",
    "voisin-encoder",
    "voisin-genre",
    "voisin-index",
    "voisin-library",
    "voisin-explore",
    "voisin",
    "voisin-exchange",
    "voisin-lab",
    "voisin-serve",
    "voisin-python",
    "voisin-cli",
];
/// Lines of Rust, with tests.
const LINES: usize = 112_911;
/// Folders of the project with Rust in them.
const FOLDERS: [&str; 4] = ["src", "index", "tests", "scripts"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder with this name or ending.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("target") {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn each_crate_uses_only_crates_below_it() {
    let mut manifests = vec![root().join("Cargo.toml")];
    for folder in ["src", "index"] {
        files(&root().join(folder), "Cargo.toml", &mut manifests);
    }
    let mut named = Vec::new();
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).unwrap();
        let name = text.split("name = \"").nth(1).unwrap();
        let name = name.split('"').next().unwrap();
        let place = ORDER.iter().position(|other| *other == name);
        let place = place.unwrap_or_else(|| panic!("{name} has no place in the order"));
        named.push(name.to_owned());
        let used = text
            .lines()
            .take_while(|line| *line != "[dev-dependencies]" && *line != "[workspace]")
            .filter_map(|line| line.split(['.', ' ']).next());
        for used in used {
            let below = ORDER.iter().position(|other| *other == used);
            assert!(
                below.is_none_or(|below| below < place),
                "{name} uses {used}, which stands above it"
            );
        }
    }
    assert_eq!(named.len(), ORDER.len(), "crates that are gone: {named:?}");
}

#[test]
fn there_is_no_more_rust_than_before() {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        files(&root().join(folder), ".rs", &mut sources);
    }
    let lines = sources
        .iter()
        .map(|file| fs::read_to_string(file).unwrap().lines().count());
    let lines: usize = lines.sum();
    assert!(lines <= LINES, "{lines} lines, at most {LINES}: take away");
}
