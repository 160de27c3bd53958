//! Parquet files of `embed` and `export`: pyarrow, `DuckDB` and voisin read the same.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod engines;
mod exchange;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::Sandbox;
pub(crate) use common::python;
use half::f16;

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
pub(crate) fn music(sandbox: &Sandbox) -> PathBuf {
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for name in TRACKS {
        let name = Path::new(name);
        fs::copy(
            Path::new(DEMO).join(name),
            music.join(name.file_name().unwrap()),
        )
        .unwrap();
    }
    fs::write(music.join("bad.mp3"), b"no audio at all").unwrap();
    music
}

pub(crate) fn parquet_files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(kind)
        })
        .collect();
    files.sort();
    files
}

/// Bits of the vector, 16 bits a number, and of the logits, by content id.
pub(crate) fn half_vectors(sandbox: &Sandbox) -> BTreeMap<String, (Vec<u16>, Vec<u32>)> {
    let half = |bits: Vec<u32>| {
        bits.into_iter()
            .map(|bits| f16::from_f32(f32::from_bits(bits)).to_bits())
            .collect()
    };
    sandbox
        .vectors()
        .into_iter()
        .map(|(content, (vector, logits))| (content, (half(vector), logits)))
        .collect()
}
