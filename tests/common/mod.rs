//! Signals, a sandbox and the output of runs, for the tests that drive the program.

#![allow(dead_code, reason = "each test program uses its share of this file")]

pub(crate) mod server;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use voisin_library::{Library, OpenMode};

/// A temporary folder with a library in it.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        // Canonical, as the library stores paths.
        dunce::canonicalize(self.folder.path())
            .expect("it exists")
            .join(name)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .env_clear()
            .env("VOISIN_LIBRARY", self.path("library"))
            .env("VOISIN_MODELS", self.path("models"))
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // Without these, programs find neither the system's libraries nor a folder for temporary files on Windows.
        for name in ["SystemRoot", "TEMP", "TMP"] {
            if let Some(value) = std::env::var_os(name).filter(|_| cfg!(windows)) {
                command.env(name, value);
            }
        }
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments)
            .output()
            .expect("the program starts")
    }

    /// Every track's content and the bits of its vector and logits.
    pub(crate) fn vectors(&self) -> BTreeMap<String, (Vec<u32>, Vec<u32>)> {
        let library = Library::open(&self.path("library"), OpenMode::ReadOnly).expect("a library");
        let mut all = BTreeMap::new();
        for track in library.tracks().expect("tracks") {
            let record = library.record(track.id).expect("readable");
            let record = record.expect("a vector");
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
            let content = track.audio.content.to_string();
            all.insert(content, (bits(record.vector), bits(record.logits)));
        }
        all
    }
}

/// The program: by itself, or through the emulator that `VOISIN_TEST_RUNNER` names.
pub(crate) fn program() -> Command {
    let runner = std::env::var("VOISIN_TEST_RUNNER").unwrap_or_default();
    let mut words = runner
        .split_whitespace()
        .chain([env!("CARGO_BIN_EXE_voisin")]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words);
    command
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The exit code of a run; -1 where a signal ended it.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Standard output of a run, which must be JSON in the common envelope, whatever the exit code: its content, a list
/// where it holds `items`.
pub(crate) fn json(output: impl Borrow<Output>) -> serde_json::Value {
    let output = output.borrow();
    let mut answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "not JSON ({error}): {}{}",
                text(&output.stdout),
                text(&output.stderr)
            )
        });
    assert!(answer["version"] == 1, "no envelope: {answer}");
    match answer.get_mut("items") {
        Some(items) => items.take(),
        None => answer,
    }
}

/// Standard output of a run that must succeed.
pub(crate) fn fine(output: impl Borrow<Output>) -> String {
    let output = output.borrow();
    assert_eq!(
        code(output),
        0,
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Standard output of a run that must succeed, as JSON.
pub(crate) fn fine_json(output: impl Borrow<Output>) -> serde_json::Value {
    fine(output.borrow());
    json(output)
}

pub(crate) fn wav(sample_rate: u32, samples: impl ExactSizeIterator<Item = f64>) -> Vec<u8> {
    let bytes = 2 * samples.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(sample_rate.to_le_bytes());
    file.extend((2 * sample_rate).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(bytes.to_le_bytes());
    for sample in samples {
        file.extend(((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16).to_le_bytes());
    }
    file
}

/// A Python with these packages; `None` where there is none. In CI a failed installation is an error.
pub(crate) fn python(packages: &str) -> Option<PathBuf> {
    let python = std::env::var_os("VOISIN_TEST_PYTHON")
        .map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let imports = Command::new(&python)
        .args(["-c", &format!("import {packages}")])
        .output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "VOISIN_TEST_PYTHON must name a Python with {packages}"
    );
    None
}

/// A mono 16-bit WAV file of these samples.
pub(crate) fn samples_wav(sample_rate: u32, samples: &[f32]) -> Vec<u8> {
    wav(sample_rate, samples.iter().map(|&sample| f64::from(sample)))
}

/// A mono 16-bit WAV file of a sine.
pub(crate) fn tone_wav(sample_rate: u32, seconds: f64, frequency: f64, amplitude: f64) -> Vec<u8> {
    let n = (seconds * f64::from(sample_rate)) as u32;
    let step = std::f64::consts::TAU * frequency / f64::from(sample_rate);
    wav(
        sample_rate,
        (0..n).map(|i| amplitude * (step * f64::from(i)).sin()),
    )
}

/// Writes a WAV file with an `ID3v2` tag of these text frames.
pub(crate) fn tagged(path: &Path, mut wav: Vec<u8>, frames: &[(&str, &str)]) {
    let mut tag = Vec::new();
    for (id, value) in frames {
        // The text of an address has no encoding byte.
        let mark: &[u8] = if id.starts_with('W') { b"" } else { b"\x03" };
        let body = [mark, value.as_bytes()].concat();
        tag.extend([id.as_bytes(), &[0, 0, 0, body.len() as u8, 0, 0], &body].concat());
    }
    let size = [(tag.len() >> 7) as u8, tag.len() as u8 & 0x7f];
    let mut tag = [&b"ID3\x04\0\0\0\0"[..], &size, &tag].concat();
    tag.resize(tag.len().next_multiple_of(2), 0);
    wav.extend([&b"id3 "[..], &(tag.len() as u32).to_le_bytes(), &tag].concat());
    let riff = (wav.len() - 8) as u32;
    wav[4..8].copy_from_slice(&riff.to_le_bytes());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, wav).unwrap();
}

/// A mono 16-bit WAV file of pulsed, coloured noise; every seed sounds different.
pub(crate) fn noise_wav(sample_rate: u32, seconds: f64, seed: u64) -> Vec<u8> {
    let n = (seconds * f64::from(sample_rate)) as usize;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let colour = 0.2 + 0.7 * (seed % 10) as f64 / 10.0;
    let pulse = 1.0 + (seed % 7) as f64;
    let mut level = 0.0;
    let samples: Vec<f64> = (0..n)
        .map(|i| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let white = state as f64 / u64::MAX as f64 - 0.5;
            level = colour * level + (1.0 - colour) * white;
            let beat = (i as f64 / f64::from(sample_rate) * pulse).fract();
            level * (1.0 - beat)
        })
        .collect();
    wav(sample_rate, samples.into_iter())
}

/// The data sets of `scripts/make_lab_data.py`: 64 clips of eight styles by 32 artists in the archive's layout, some of
/// them broken, and a challenge.
pub(crate) fn miniature() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut python = Command::new("python3");
        python.arg("scripts/make_lab_data.py").arg(folder.path());
        python.current_dir(env!("CARGO_MANIFEST_DIR"));
        fine(python.output().unwrap());
        folder
    });
    made.path()
}

/// Writes noises of that many seconds into a folder, which is made: `07.wav` for 7.
pub(crate) fn write_noises(folder: &Path, numbers: Range<u64>, seconds: f64) {
    fs::create_dir_all(folder).unwrap();
    for i in numbers {
        let wav = noise_wav(16_000, seconds, 100 + i);
        fs::write(folder.join(format!("{i:02}.wav")), wav).unwrap();
    }
}

pub(crate) const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo");

/// A folder with six tracks of the demo: three of metal, three of ambient.
pub(crate) fn six_tracks(sandbox: &Sandbox) -> PathBuf {
    let music = sandbox.path("music");
    for (genre, names) in [
        (
            "metal",
            [
                "muldjord-chaos-god.mp3",
                "muldjord-armygeddon.m4a",
                "obsidian-shell-wings-of-cruelty.opus",
            ],
        ),
        (
            "ambient",
            [
                "maxstack-nebula.ogg",
                "nikola-whallon-ambient-2.mp3",
                "askyel-ambient-4.wav",
            ],
        ),
    ] {
        std::fs::create_dir_all(music.join(genre)).unwrap();
        for name in names {
            std::fs::copy(
                format!("{DEMO}/library/{genre}/{name}"),
                music.join(genre).join(name),
            )
            .unwrap();
        }
    }
    music
}

/// A copy of a library of the six tracks, which is made once, and the folder of its music, which no test changes.
pub(crate) fn six_tracks_added() -> (Sandbox, PathBuf) {
    static PREPARED: OnceLock<Sandbox> = OnceLock::new();
    let prepared = PREPARED.get_or_init(|| {
        let sandbox = Sandbox::new();
        fine(sandbox.run([Path::new("add"), &six_tracks(&sandbox)]));
        sandbox
    });
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("library")).unwrap();
    for entry in std::fs::read_dir(prepared.path("library")).unwrap() {
        let entry = entry.unwrap();
        let copy = sandbox.path("library").join(entry.file_name());
        std::fs::copy(entry.path(), copy).unwrap();
    }
    (sandbox, prepared.path("music"))
}
