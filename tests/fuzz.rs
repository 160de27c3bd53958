//! The fuzz targets of `fuzz/` without libFuzzer: each takes its seeds, so that it keeps compiling and its assertions keep
//! holding. Coverage-guided runs are `scripts/fuzz/run.sh`.

#![cfg(unix)]
// The targets are compiled as modules here, and linted nowhere.
#![allow(missing_docs, unused_attributes, unused_imports, dead_code)]
#![allow(clippy::all, clippy::pedantic, clippy::unwrap_used, unsafe_code)]

extern crate self as libfuzzer_sys;
extern crate self as voisin_fuzz;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../scripts/fuzz/lib.rs"]
mod shared;
pub use shared::{odd_tags, only_guarded_panics, scratch};

/// libFuzzer's macro, as a function of the module.
#[macro_export]
macro_rules! fuzz_target {
    (init: $init:expr, |$bytes:ident: &[u8]| $body:block $(,)?) => {
        pub(crate) fn begin() {
            $init;
        }
        pub(crate) fn feed($bytes: &[u8]) {
            $body
        }
    };
    (|$bytes:ident: &[u8]| $body:block $(,)?) => {
        pub(crate) fn begin() {}
        pub(crate) fn feed($bytes: &[u8]) {
            $body
        }
    };
}

#[path = "../scripts/fuzz/targets/audio.rs"]
mod audio;
#[path = "../scripts/fuzz/targets/index.rs"]
mod index;
#[path = "../scripts/fuzz/targets/lab.rs"]
mod lab;
#[path = "../scripts/fuzz/targets/npy.rs"]
mod npy;
#[path = "../scripts/fuzz/targets/playlist.rs"]
mod playlist;
#[path = "../scripts/fuzz/targets/query.rs"]
mod query;
#[path = "../scripts/fuzz/targets/safetensors.rs"]
mod safetensors;
#[path = "../scripts/fuzz/targets/tags.rs"]
mod tags;
#[path = "../scripts/fuzz/targets/torch.rs"]
mod torch;
#[path = "../scripts/fuzz/targets/write_tags.rs"]
mod write_tags;

/// The files of a folder that are smaller than `most` bytes.
fn files(folder: &Path, most: u64, into: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, most, into);
        } else if path.metadata().is_ok_and(|metadata| metadata.len() <= most) {
            into.push(std::fs::read(path).unwrap());
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![Vec::new()];
    let packed = root.join(format!("scripts/fuzz/seeds/{target}.tar.gz"));
    if packed.exists() {
        let folder = tempfile::tempdir().unwrap();
        let tar = std::process::Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .arg("-xzf")
            .arg(packed)
            .status();
        assert!(tar.unwrap().success(), "seeds of {target}");
        files(folder.path(), 200_000, &mut all);
    }
    files(
        &root.join("scripts/fuzz/seeds").join(target),
        200_000,
        &mut all,
    );
    match target {
        "audio" | "tags" => files(&root.join("tests/data/audio"), 200_000, &mut all),
        "torch" | "safetensors" => {
            files(&root.join("tests/data/importers"), 200_000, &mut all);
        }
        _ => {}
    }
    all
}

#[test]
fn every_target_takes_its_seeds() {
    let targets: [(&str, fn(), fn(&[u8])); 10] = [
        ("audio", audio::begin, audio::feed),
        ("tags", tags::begin, tags::feed),
        ("write_tags", write_tags::begin, write_tags::feed),
        ("torch", torch::begin, torch::feed),
        ("safetensors", safetensors::begin, safetensors::feed),
        ("index", index::begin, index::feed),
        ("playlist", playlist::begin, playlist::feed),
        ("query", query::begin, query::feed),
        ("npy", npy::begin, npy::feed),
        ("lab", lab::begin, lab::feed),
    ];
    for (name, begin, feed) in targets {
        begin();
        for (at, input) in seeds(name).iter().enumerate() {
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| feed(input)));
            let took = start.elapsed();
            assert!(
                outcome.is_ok() && took < Duration::from_secs(10),
                "{name}: seed {at} of {} bytes, {took:.1?}",
                input.len()
            );
        }
    }
    let _ = std::fs::remove_dir_all(scratch());
}
