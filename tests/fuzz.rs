//! The fuzz targets of `fuzz/` without libFuzzer: each runs on its seeds and mutations of them for a while, so that it
//! keeps compiling and its assertions keep holding. Coverage-guided runs are `fuzz/run.sh`.
//!
//! `VOISIN_FUZZ_SECONDS` for each target (1 by default), `VOISIN_FUZZ_SEED` seeds the random numbers,
//! `VOISIN_FUZZ_TARGET` selects one target. A panic, ten seconds on one input, or two gigabytes at once is a finding;
//! the message names the temporary file with the input.

#![cfg(unix)]
// The targets are compiled as modules here, and linted nowhere.
#![allow(missing_docs, unused_attributes, unused_imports, dead_code)]
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    unsafe_code
)]

extern crate self as libfuzzer_sys;
extern crate self as voisin_fuzz;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

#[path = "../fuzz/lib.rs"]
mod shared;
pub use shared::{odd_tags, only_guarded_panics, scratch};

/// Bytes allocated at once that make an input a finding; the same limit as in `fuzz/run.sh`.
const MOST_BYTES: usize = 2048 << 20;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// The current input.
static FED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Ends the process with the input saved to a file; the system would abort it without a message.
struct Bounded;

fn allocated(bytes: usize) {
    let before = LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed);
    if before <= MOST_BYTES && before + bytes > MOST_BYTES {
        let path = keep("memory", &FED.lock().unwrap());
        let megabytes = (before + bytes) >> 20;
        // Not by a macro: the test runner captures that output until the test ends.
        let _ = writeln!(
            std::io::stderr(),
            "{megabytes} MB at once: {}",
            path.display()
        );
        std::process::abort();
    }
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        allocated(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let file = tempfile::Builder::new().prefix(name).tempfile().unwrap();
    let (_, path) = file.keep().unwrap();
    std::fs::write(&path, input).unwrap();
    path
}

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

#[path = "../fuzz/targets/audio.rs"]
mod audio;
#[path = "../fuzz/targets/id3.rs"]
mod id3;
#[path = "../fuzz/targets/index.rs"]
mod index;
#[path = "../fuzz/targets/lab.rs"]
mod lab;
#[path = "../fuzz/targets/npy.rs"]
mod npy;
#[path = "../fuzz/targets/playlist.rs"]
mod playlist;
#[path = "../fuzz/targets/query.rs"]
mod query;
#[path = "../fuzz/targets/safetensors.rs"]
mod safetensors;
#[path = "../fuzz/targets/tags.rs"]
mod tags;
#[path = "../fuzz/targets/torch.rs"]
mod torch;
#[path = "../fuzz/targets/write_tags.rs"]
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
    let packed = root.join(format!("fuzz/seeds/{target}.tar.gz"));
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
    files(&root.join("fuzz/seeds").join(target), 200_000, &mut all);
    match target {
        "audio" | "tags" => files(&root.join("tests/data/audio"), 200_000, &mut all),
        "torch" | "safetensors" => {
            files(&root.join("tests/data/importers"), 200_000, &mut all);
        }
        _ => {}
    }
    all
}

/// A seed with some of its bytes changed, removed, doubled, or inserted.
fn mutated(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..[1, 1, 2, 4, 16][random.random_range(0..5)] {
        if bytes.is_empty() {
            bytes.push(random.random());
        }
        let n = bytes.len();
        // headers lie at the front
        let within = [n.min(64), n.min(1024), n][random.random_range(0..3)];
        let at = random.random_range(0..within);
        let length = [1, 4, 30, 300][random.random_range(0..4)].min(n - at);
        match random.random_range(0..7) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random.random()][random.random_range(0..6)],
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => random.fill_bytes(&mut bytes[at..at + length]),
            5 => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                bytes.splice(
                    at..at + length,
                    other[from..(from + 300).min(other.len())].iter().copied(),
                );
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(200_000);
    bytes
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn every_target_takes_its_seeds_and_mutations_of_them() {
    let time = Duration::from_secs(number("VOISIN_FUZZ_SECONDS", 1));
    let seed = number("VOISIN_FUZZ_SEED", u64::from(std::process::id()));
    let targets: Vec<(&str, fn(), fn(&[u8]))> = vec![
        ("audio", audio::begin, audio::feed),
        ("tags", tags::begin, tags::feed),
        ("write_tags", write_tags::begin, write_tags::feed),
        ("id3", id3::begin, id3::feed),
        ("torch", torch::begin, torch::feed),
        ("safetensors", safetensors::begin, safetensors::feed),
        ("index", index::begin, index::feed),
        ("playlist", playlist::begin, playlist::feed),
        ("query", query::begin, query::feed),
        ("npy", npy::begin, npy::feed),
        ("lab", lab::begin, lab::feed),
    ];
    let only = std::env::var("VOISIN_FUZZ_TARGET");
    let mut findings = Vec::new();
    for (name, begin, feed) in targets {
        if only.as_ref().is_ok_and(|only| only != name) {
            continue;
        }
        begin();
        let seeds = seeds(name);
        let mut random = StdRng::seed_from_u64(seed);
        let start = Instant::now();
        let mut fed = 0_usize;
        let mut slowest = Duration::ZERO;
        while start.elapsed() < time {
            let input = if fed < seeds.len() {
                seeds[fed].clone()
            } else {
                mutated(&seeds, &mut random)
            };
            FED.lock().unwrap().clone_from(&input);
            let before = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| feed(&input)));
            let took = before.elapsed();
            (fed, slowest) = (fed + 1, slowest.max(took));
            if outcome.is_err() || took > Duration::from_secs(10) {
                let path = keep(name, &input);
                findings.push(format!("{name}: {}, {took:.1?}", path.display()));
                break;
            }
        }
        println!(
            "{name}: {fed} inputs ({} seeds), the slowest took {slowest:.1?}",
            seeds.len()
        );
    }
    let _ = std::fs::remove_dir_all(scratch());
    assert!(findings.is_empty(), "numbers from {seed}: {findings:#?}");
}
