//! Tempo, key and loudness, as a process: measured by `add`, filled up later, and used by filters and exports.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use common::{Sandbox, fine, samples_wav, text};
use voisin_library::{Descriptors, Library, OpenMode};

const RATE: u32 = 22_050;

/// A drum on each beat over a cadence in a key: `tonic` in semitones above C, minor or major; `gain` of the whole.
fn song(bpm: f64, tonic: i32, minor: bool, seconds: u32, gain: f64) -> Vec<u8> {
    let third = if minor { 3 } else { 4 };
    let cadence = [
        [0, third, 7],
        [5, 5 + third, 12],
        [-5, -1, 2],
        [0, third, 7],
    ];
    let beat = 60.0 / bpm;
    let samples = (0..seconds * RATE).map(|i| {
        let t = f64::from(i) / f64::from(RATE);
        let since = t % beat;
        let drum =
            (-40.0 * since).exp() * (TAU * (60.0 + 400.0 * (-60.0 * since).exp()) * since).sin();
        let chord = cadence[(t / (4.0 * beat)) as usize % 4];
        let notes: f64 = chord
            .iter()
            .map(|note| {
                let hz = 261.626 * 2f64.powf(f64::from(tonic + note) / 12.0);
                (TAU * hz * t).sin() + 0.4 * (TAU * 2.0 * hz * t).sin()
            })
            .sum();
        (gain * (0.5 * drum + 0.08 * notes * (-2.0 * since).exp())) as f32
    });
    samples_wav(RATE, &samples.collect::<Vec<_>>())
}

fn descriptors(sandbox: &Sandbox) -> Vec<(String, Option<Descriptors>)> {
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
    let tracks = library.tracks().unwrap();
    let ids: Vec<_> = tracks.iter().map(|track| track.id).collect();
    let known = library.descriptors(&ids).unwrap();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut all: Vec<_> = tracks
        .iter()
        .map(|track| (name(&track.path), known.get(&track.id).cloned()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn shelf() -> Sandbox {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for (name, bpm, tonic, minor, gain) in [
        ("a", 124.0, 9, true, 0.9),
        ("b", 126.0, 4, true, 0.7),
        ("c", 128.0, 0, false, 0.5),
        ("d", 100.0, 6, false, 0.3),
    ] {
        fs::write(
            music.join(format!("{name}.wav")),
            song(bpm, tonic, minor, 40, gain),
        )
        .unwrap();
    }
    sandbox
}

#[test]
fn add_measures_the_fields_of_similar_and_playlist() {
    let sandbox = shelf();
    let music = sandbox.path("music");
    fine(sandbox.run([Path::new("add"), &music]));
    let known = descriptors(&sandbox);
    for ((name, known), (bpm, key)) in
        known
            .iter()
            .zip([(124.0, "Am"), (126.0, "Em"), (128.0, "C"), (100.0, "F#")])
    {
        let known = known.clone().unwrap();
        assert!(
            (known.tempo.unwrap() / bpm - 1.0).abs() < 0.01,
            "{name}: {known:?}"
        );
        assert_eq!(known.key.unwrap().name(), key, "{name}");
        assert!(
            known
                .loudness
                .is_some_and(|lufs| (-40.0..-5.0).contains(&lufs)),
            "{name}: {known:?}"
        );
    }

    let path = |name: &str| music.join(format!("{name}.wav")).display().to_string();
    let found = |arguments: &[&str]| -> Vec<String> {
        let seed = path("a");
        let all = [&["similar", &seed, "--format", "json"], arguments].concat();
        let output = sandbox.run(&all);
        let found = common::json(output);
        found["neighbours"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["path"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut quick = found(&["--bpm", "120-130"]);
    quick.sort();
    assert_eq!(quick, [path("b"), path("c")]);
    assert_eq!(found(&["--bpm", "100"]), [path("d")]);
    assert!(found(&["--bpm", "-60"]).is_empty(), "slow is slow");
    assert_eq!(found(&["--key", "9A"]), [path("b")]);
    let mut compatible = found(&["--key", "compatible"]);
    compatible.sort();
    assert_eq!(compatible, [path("b"), path("c")]);

    let list = |arguments: &[&str]| -> Vec<String> {
        let seed = path("a");
        let all = [&["playlist", &seed, "--format", "paths"], arguments].concat();
        fine(sandbox.run(&all)).lines().map(str::to_owned).collect()
    };
    assert_eq!(list(&["--bpm", "90-110"]), [path("a"), path("d")]);
    let refused = sandbox.run(["similar", &path("a"), "--key", "H"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("expected a key such as Am"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn scales_are_measured_filtered_and_sorted() {
    let sandbox = shelf();
    let music = sandbox.path("music");
    fine(sandbox.run([Path::new("add"), &music]));
    let list = |more: &[&str]| {
        let arguments = [&["list", "--format", "json"][..], more].concat();
        common::json(sandbox.run(arguments))["tracks"]
            .as_array()
            .unwrap()
            .clone()
    };
    let energy = |track: &serde_json::Value| track["scales"]["energy"].as_f64().unwrap();
    let tracks = list(&["--sort", "energy", "--reverse"]);
    let values: Vec<f64> = tracks.iter().map(energy).collect();
    assert!(values.is_sorted_by(|a, b| a > b), "{values:?}");
    assert_eq!(tracks[0]["scales"].as_object().unwrap().len(), 13);
    assert!(tracks[0]["title"] == "a" && tracks[3]["title"] == "d");
    for track in &tracks {
        let value = |name: &str| track["scales"][name].as_f64().unwrap();
        let energy = value("energy");
        // Ranks of tags add at most 100 each to the share of energy.
        let ranks = [
            (2.0 * value("calm") - (100.0 - energy), 100.0),
            (3.0 * value("party") - 2.0 * energy, 100.0),
            (4.0 * value("happy") - energy, 300.0),
        ];
        for (ranks, most) in ranks {
            assert!(ranks > -0.1 && ranks < most + 0.1, "{track}");
        }
    }
    let bound = format!("{:.0}-", values[1]);
    assert_eq!(list(&["--energy", &bound]).len(), 2);
    let csv = fine(sandbox.run(["list", "--format", "csv"]));
    let header = csv.lines().next().unwrap();
    assert!(
        header.ends_with(
            ",beautiful,brightness,calm,danceability,dfa,dynamics,energy,happy,mellow,party,percussiveness,pulse-clarity,sad"
        ),
        "{header}"
    );
    let shown = fine(sandbox.run(["list", "--sort", "energy"]));
    assert!(shown.lines().next().unwrap().contains("energy"));
    let card = fine(sandbox.run(["show", "id:1"]));
    assert!(card.contains("energy "), "{card}");

    let refused = sandbox.run(["list", "--sort", "colour"]);
    assert_eq!(common::code(&refused), 2);
    assert!(text(&refused.stderr).contains("energy"));
    // A list has a column for the scale of its filter.
    let csv = fine(sandbox.run(["similar", "id:1", "--energy", "0-100", "--format", "csv"]));
    assert!(csv.lines().next().unwrap().ends_with(",energy"), "{csv}");
}
