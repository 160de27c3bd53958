//! The order's own test: a command for each point of the order and of the documents that the project started from, on the
//! demo's music and on a miniature of the Free Music Archive, with its numbers.
//!
//! A point may change its spelling, and is never lost.

// A failing helper ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use ndarray::{Array2, s};
use serde_json::Value;
use voisin_base::track::TrackId;
use voisin_encoder::{Architecture, CpuPath, DeviceChoice, Encoder, Weights};
use voisin_index::{GraphBuilder, IndexOptions, Neighbor, SearchParams, VectorIndex};

use common::{DEMO, Sandbox, code, fine, json, miniature, noise_wav, text, tone_wav};

/// Runs a line of words. `@x` is a file of the sandbox, `~x` one of the demo, `%x` one of the miniature, whose broken files
/// are no failure of the command.
fn run(sandbox: &Sandbox, line: &str) -> Output {
    let written = |path: &Path| path.to_str().unwrap().to_owned();
    let words = line.split_whitespace().map(|word| {
        let word = word.replace('%', &format!("{}/", miniature().display()));
        match word.split_at_checked(1) {
            Some(("@", name)) => written(&sandbox.path(name)),
            Some(("~", name)) => written(&Path::new(DEMO).join(name)),
            _ => word,
        }
    });
    let output = sandbox.run(words);
    assert!(code(&output) <= 1, "{line}: {}", text(&output.stderr));
    output
}

fn ask(sandbox: &Sandbox, line: &str) -> Value {
    json(run(sandbox, &format!("{line} --format json")))
}

/// The report of a classifier that is trained on the miniature.
fn trained(sandbox: &Sandbox, name: &str, settings: &str) -> Value {
    let line = format!("lab train fma:%fma @{name} {settings}");
    ask(sandbox, &line)
}

/// The value at a place of an answer.
fn at<'a>(answer: &'a Value, place: &str) -> &'a Value {
    let found = answer.pointer(place);
    found.unwrap_or_else(|| panic!("no {place} in {answer}"))
}

fn list<'a>(answer: &'a Value, place: &str) -> &'a [Value] {
    at(answer, place).as_array().unwrap()
}

fn number(answer: &Value, place: &str) -> f64 {
    at(answer, place).as_f64().unwrap()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Asserts what stands at places of an answer, each after its place.
fn holds(answer: &Value, expected: &str) {
    for one in expected.split(" | ") {
        let (place, expected) = one.split_once(' ').unwrap();
        assert_eq!(plain(at(answer, place)), expected, "{place} of {answer}");
    }
}

/// Asserts that a number of an answer is large enough.
fn above(answer: &Value, place: &str, least: f64) {
    assert!(number(answer, place) > least, "{place} of {answer}");
}

/// Asserts that a text has these parts.
fn has(text: &str, parts: &str) {
    for part in parts.split(" | ") {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// A text of each row of a list.
fn each(answer: &Value, rows: &str, place: &str) -> Vec<String> {
    let rows = list(answer, rows).iter();
    rows.map(|row| plain(at(row, place))).collect()
}

/// The numbers of `tests/data/encoder/formulas.py`: `SplitMix64`, started at FNV-1a of a name.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let draw = |i: usize| {
        let mut z = start.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64 + 1));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(draw).collect()
}

#[test]
fn an_openl3_network_in_candle_gives_its_golden_vectors() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/encoder/openl3.npy");
    let golden: Array2<f32> = ndarray_npy::read_npy(golden).unwrap();
    let cpu = DeviceChoice::Cpu.resolve().unwrap();
    let weights = Weights::random(Architecture::OpenL3, 7);
    let encoder =
        Encoder::with_weights(Architecture::OpenL3, weights, &cpu, CpuPath::Candle).unwrap();
    // Five windows of 128 mel bands in 199 frames, the last of which is constant.
    let [cell, band, frame] = [("cell", 128 * 199), ("band", 128), ("frame", 199)]
        .map(|(name, count)| uniform(name, 5 * count));
    let level = |i: usize| {
        let row = i / 199;
        let at = i % 199;
        (-80.0 * cell[i] * band[row] * frame[row / 128 * 199 + at]) as f32
    };
    let windows: Vec<f32> = (0..4 * 128 * 199).map(level).collect();
    let found = encoder.encode(&windows, 4).unwrap();
    assert_eq!(found.dim(), (4, 512));
    for (found, golden) in found.outer_iter().zip(golden.outer_iter()) {
        let most = golden.fold(0.0_f32, |most, x| most.max(x.abs()));
        let apart = (&found - &golden).fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!(apart <= 1e-4 * most, "{apart} of {most}");
    }
}

#[test]
fn a_graph_finds_what_hnsw_rs_beside_it_finds() {
    // Around forty centres, off the origin like embeddings.
    let centres = uniform("centres", 40 * 64);
    let points = |name: &str, n: usize| {
        let noise = uniform(name, n * 64);
        let at = |(i, d)| (centres[i % 40 * 64 + d] + noise[i * 64 + d]) as f32;
        let mut points = Array2::from_shape_fn((n, 64), at);
        for mut point in points.outer_iter_mut() {
            point /= point.dot(&point).sqrt();
        }
        points
    };
    let vectors = points("points", 6000);
    let questions = points("questions", 100);
    let ids: Vec<TrackId> = (0..6000).map(TrackId).collect();
    let [own, theirs] = [GraphBuilder::Lists, GraphBuilder::HnswRs].map(|builder| {
        let options = IndexOptions {
            builder,
            ..IndexOptions::default()
        };
        let params = SearchParams::default();
        let index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        let right = questions.outer_iter().map(|question| {
            let products = vectors.dot(&question);
            let mut order: Vec<usize> = (0..ids.len()).collect();
            order.sort_by(|&a, &b| products[b].total_cmp(&products[a]));
            let found = index.search(&question.to_vec(), 10, &params).unwrap();
            let hit = |one: &&Neighbor| order[..10].contains(&(one.id.0 as usize));
            found.iter().filter(hit).count()
        });
        right.sum::<usize>() as f64 / 1000.0
    });
    assert!(own >= 0.98 && own >= theirs - 0.01, "{own} {theirs}");
}

#[test]
fn the_demo_is_searched_classified_and_punk_lies_by_rock() {
    let sandbox = Sandbox::new();
    fine(run(&sandbox, "add ~library ~songs ~punk"));
    let database = fs::read(sandbox.path("library/voisin.db")).unwrap();
    assert!(database.starts_with(b"SQLite format 3\0"));
    holds(&ask(&sandbox, "status"), "/tracks 60 | /dimension 256");
    let chaos = "~library/metal/muldjord-chaos-god.mp3";
    let near = ask(&sandbox, &format!("similar {chaos} --limit 3"));
    assert_eq!(each(&near, "/neighbours", "/genres/0"), ["Metal"; 3]);
    above(&near, "/neighbours/2/similarity", 0.7);

    // Where a track is from, and where a network is from.
    let card = ask(&sandbox, &format!("show {chaos}"));
    holds(&card, "/0/artist Muldjord | /0/licence cc-by-sa-3.0");
    let models = ask(&sandbox, "model list");
    let is_it = |model: &&Value| model["name"] == "voisin-3";
    let model = list(&models, "").iter().find(is_it).unwrap();
    holds(model, "/licence CC0-1.0 | /architecture openl3");

    // The neighbours vote alone, then a head is joined to them.
    let stranger = "~held-out/sectoid-war-of-freedom.mp3";
    let voted = ask(&sandbox, &format!("classify {stranger}"));
    holds(&voted, "/0/source neighbours | /0/genre Metal");
    fine(run(&sandbox, "train"));
    let joined = ask(&sandbox, &format!("classify {stranger} ~punk"));
    let genres = each(&joined, "", "/genre");
    assert_eq!(genres, ["Metal", "Rock", "Rock", "Rock"]);
    for (answer, genre) in list(&joined, "").iter().zip(genres) {
        above(answer, &format!("/head/{genre}"), 0.2);
        above(answer, &format!("/votes/{genre}"), 0.5);
        above(answer, &format!("/probabilities/{genre}"), 0.25);
        assert!(list(answer, "/evidence").len() > 3, "{answer}");
    }

    fine(run(&sandbox, "labels folder"));
    let punk = ask(&sandbox, "genres punk");
    let order = each(&punk, "/nearest", "/genre");
    assert_eq!(order[..2], ["rock", "metal"], "{punk}");
    let rock = number(&punk, "/nearest/0/distance");
    assert!((rock - 0.41).abs() < 0.05, "{punk}");
    above(&punk, "/nearest/1/distance", rock + 0.15);
    let lounge = order.iter().position(|genre| genre == "lounge").unwrap();
    above(&punk, &format!("/nearest/{lounge}/distance"), 0.85);
}

#[test]
fn a_library_of_voisin_3_is_whole() {
    let sandbox = Sandbox::new();
    let music = "~library/metal ~library/ambient";
    fine(run(&sandbox, &format!("--model voisin-3 add {music}")));
    holds(&ask(&sandbox, "status"), "/model voisin-3 | /dimension 512");
    let near = ask(&sandbox, "similar chaos --limit 5");
    assert_eq!(each(&near, "/neighbours", "/genres/0"), ["Metal"; 5]);
    let answer = ask(&sandbox, "classify ~held-out/sectoid-war-of-freedom.mp3");
    holds(&answer, "/0/genre Metal");
}

#[test]
fn a_data_set_is_read_with_its_header_subsets_splits_and_broken_files() {
    let sandbox = Sandbox::new();
    let report = ask(&sandbox, "lab data fma:%fma");
    holds(&report, "/tracks 55 | /classes/7/name Rock");
    let broken = each(&report, "/failures", "/1").join("; ");
    has(
        &broken,
        "no audio | empty | ends within its header | silent",
    );
    assert_eq!(list(&report, "/failures").len(), 4, "{broken}");
    let licences = at(&report, "/licences").as_object().unwrap();
    assert_eq!(licences.len(), 3, "{report}");
    let split = plain(at(&report, "/split"));
    has(
        &split,
        "by the data set: 28 / 14 / 13; 0 artists on two sides",
    );
    let medium = ask(&sandbox, "lab data fma:%fma,subset=medium");
    holds(&medium, "/tracks 57");
}

#[test]
fn a_sound_is_described_by_spectrogram_picture_bands_and_coefficients() {
    let sandbox = Sandbox::new();
    let tone = tone_wav(44_100, 5.0, 1000.0, 0.4);
    fs::write(sandbox.path("tone.wav"), tone).unwrap();
    fs::write(sandbox.path("noise.wav"), noise_wav(44_100, 5.0, 3)).unwrap();
    let features = |set: &str, to: &str| {
        let line = format!("lab features @tone.wav @noise.wav --set {set} --output @{to}");
        fine(run(&sandbox, &line));
        sandbox.path(to)
    };
    let input = features("spectrogram", "spectrograms").join("tone.npy");
    let input: Array2<f32> = ndarray_npy::read_npy(input).unwrap();
    // 29.9 s at 22 050 Hz, a frame each 512 samples, 128 bands, normalised.
    assert_eq!(input.dim(), (128, 1 + 659_295 / 512));
    assert!(input.mean().unwrap().abs() < 1e-3);
    assert!((input.std(0.0) - 1.0).abs() < 1e-3);
    // On Slaney's scale 1000 Hz is 15 of 50, and a band 0.387.
    let column = input.column(100);
    let loudest = (0..128).max_by(|&a, &b| column[a].total_cmp(&column[b]));
    assert!(matches!(loudest, Some(37 | 38)), "{loudest:?}");
    // The tone ends in frame 215; behind its last window all is at the floor of the decibels.
    assert!(input[[38, 212]] > input[[38, 219]] + 1.0);
    let first = input[[0, 219]];
    let last = input.slice(s![.., 219..]);
    assert!(last.iter().all(|cell| (cell - first).abs() < 1e-3));

    fine(run(&sandbox, "lab features @tone.wav --picture @tone.svg"));
    let picture = fs::read_to_string(sandbox.path("tone.svg")).unwrap();
    has(
        &picture,
        "Waveform | Amplitude spectrum | Spectrogram | Mel spec | cepstral",
    );
    for (set, columns, name) in [
        ("mel", 256, "mel_mean_128"),
        ("bark", 48, "bark_mean_24"),
        ("mfcc", 140, "mfcc_mean_20"),
        ("fma", 518, "chroma_cens_mean_01"),
    ] {
        let table = fs::read_to_string(features(set, &format!("{set}.csv"))).unwrap();
        let (header, rows) = table.split_once('\n').unwrap();
        assert_eq!(header.split(',').count(), 1 + columns, "{header}");
        assert_eq!(rows.lines().count(), 2, "{rows}");
        has(header, name);
    }
    let frames = features("frames", "frames").join("tone.npy");
    let frames: Array2<f32> = ndarray_npy::read_npy(frames).unwrap();
    assert_eq!(frames.dim(), (1 + 220_500 / 512, 75));
}

#[test]
fn the_cnn_of_four_blocks_is_trained_with_and_without_batch_norm() {
    let sandbox = Sandbox::new();
    for (recipe, norm, parameters) in [
        ("baseline-cnn", "", "752520"),
        ("baseline-cnn-bn", "batch-norm,", "753000"),
    ] {
        let plan = format!("lab train fma:%fma @plan --recipe {recipe} --dry-run");
        let plan = text(&run(&sandbox, &plan).stdout);
        has(&plan, "128 x 8 x 80 | 81920 | epochs = 20 | rate = 0.001");
        has(&plan, parameters);
        let small = "--set network.seconds=3 --set network.training.epochs=4 --set network.training.batch=8";
        let report = trained(&sandbox, recipe, &format!("--recipe {recipe} {small}"));
        let block = |n| format!("conv {n} 3x3 same,{norm}relu,pool 2x2,dropout 0.1,");
        let blocks = [16, 32, 64, 128].map(block).concat();
        let layers = each(&report, "/learning/layers", "/0").join(",");
        assert_eq!(layers, blocks + "flatten,linear classes");
        // Curves of four epochs, of which the best for validation is taken.
        let right = |epoch: usize| number(&report, &format!("/learning/accuracy/1/{epoch}"));
        let best = (0..4).rev().max_by(|&a, &b| right(a).total_cmp(&right(b)));
        let note = format!("/methods/0/note epoch {} of 4", best.unwrap() + 1);
        holds(&report, &note);
        let page = fs::read_to_string(sandbox.path(recipe).join("report.html")).unwrap();
        has(&page, "Loss after each epoch");
        // By chance one of eight would be right.
        above(&report, "/figures/accuracy/value", 0.3);
    }
}

#[test]
fn a_networks_inner_layer_is_a_space_where_metal_lies_by_techno_and_rock() {
    let sandbox = Sandbox::new();
    let add_genre = |genre: &str| {
        let from = ["library", "songs"].map(|part| Path::new(DEMO).join(part).join(genre));
        let from = from.iter().find(|folder| folder.is_dir()).unwrap();
        let to = sandbox.path("music").join(genre);
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    for genre in "ambient chiptune folk orchestral techno lounge rock".split(' ') {
        add_genre(genre);
    }
    let small = "--set network.seconds=6 --set network.crop=3 --set network.training.epochs=4 --split track";
    let line = format!("lab train @music @run --recipe cnn-gap {small}");
    fine(run(&sandbox, &line));
    add_genre("metal");
    let music = sandbox.path("music");
    let line = format!(
        "lab predict @run folder:{} --vectors @x.npy",
        music.display()
    );
    fine(run(&sandbox, &line));
    fine(run(
        &sandbox,
        "add --vectors @x.npy --tracks @x.csv --model mine",
    ));
    let metal = ask(&sandbox, "genres metal");
    let mut nearest = each(&metal, "/nearest", "/genre");
    nearest[..2].sort_unstable();
    assert_eq!(nearest[..2], ["rock", "techno"], "{metal}");
}

#[test]
fn classical_classifiers_are_compared_in_folds_and_joined() {
    let sandbox = Sandbox::new();
    let small =
        "--set settings.forest.trees=50 --set settings.boost.rounds=20 --folds 3 --split artist";
    let line =
        "--features mfcc+mel --algorithm knn,svm,forest,boost --set algorithms.combine=select";
    let report = trained(&sandbox, "folds", &format!("{line} {small}"));
    holds(&report, "/split 3 folds by artist, no artist on two sides");
    let methods = ["knn", "svm", "forest", "boost", "select"];
    assert_eq!(each(&report, "/methods", "/name"), methods);
    for method in list(&report, "/methods") {
        above(method, "/accuracy/value", 0.5);
    }
    holds(&report, "/importance/0/columns mfcc");
    above(&report, "/importance/0/drop", 0.3);
    assert_eq!(list(&report, "/figures/confusion").len(), 8);
    assert_eq!(list(&report, "/figures/per_class").len(), 8);
    for class in list(&report, "/figures/per_class") {
        above(class, "/f1", 0.5);
        above(class, "/auc", 0.8);
        assert!(list(class, "/roc").len() > 2, "{class}");
    }
    // The class that swallows the others is named.
    trained(&sandbox, "majority", "--features mfcc --algorithm majority");
    let page = fs::read_to_string(sandbox.path("majority/report.html")).unwrap();
    has(&page, "is predicted too often: for 14 tracks; 2 have it");
    // A grid, and a search at random.
    let values = "settings.svm.c=0.1,1,10,100 --trials 2";
    for (name, values) in [("grid", "settings.svm.c=1,10"), ("random", values)] {
        let line = format!("--features mfcc --algorithm svm --try {values}");
        let report = trained(&sandbox, name, &line);
        let by = plain(at(&report, "/judged_by"));
        has(&by, "settings chosen among 2 trials");
    }
}

#[test]
fn a_convolution_and_an_lstm_run_along_time() {
    let sandbox = Sandbox::new();
    let settings = "l1=0.000001 l2=0.0001 patience=2 epochs=12 batch=8"
        .replace(' ', " --set network.training.");
    let line = format!(
        "--recipe cnn-lstm-time --set network.seconds=3 --set network.crop=1 --set network.copies=1 --set network.training.{settings}"
    );
    let report = trained(&sandbox, "time", &line);
    let layers = each(&report, "/learning/layers", "/0").join(",");
    has(
        &layers,
        "frames,conv1 64 5 | conv1 128 5 | dropout 0.2,lstm 128 last",
    );
    // 55 tracks, and a copy of each, faster or slower, with some noise.
    holds(&report, "/features/0 110 spectrograms of 1 x 128 x 130");
    let config = fs::read_to_string(sandbox.path("time/config.toml")).unwrap();
    has(
        &config,
        "l1 = 0.000001 | l2 = 0.0001 | copies = 1 | patience = 2",
    );
    let epochs = list(&report, "/learning/loss/0").len();
    assert!((3..12).contains(&epochs), "it ends early: {epochs}");
    // Locally and globally: windows of a second, and tracks by mean and by vote.
    let rules = ["single windows", "tracks by mean", "tracks by vote"];
    assert_eq!(each(&report, "/learning/decisions", "/0")[..3], rules);
    for rule in 0..3 {
        above(&report, &format!("/learning/decisions/{rule}/1"), 0.4);
    }
    let line = "--recipe cnn-lstm-mfcc --set network.training.epochs=3";
    let report = trained(&sandbox, "coefficients", line);
    holds(&report, "/features/0 55 spectrograms of 40");
}

#[test]
fn a_submission_has_the_samples_header_order_and_spelling_and_a_score() {
    let sandbox = Sandbox::new();
    let [train, test] = ["train", "test"]
        .map(|part| format!("table:%challenge/{part}.csv,audio=%challenge/{part}"));
    let settings = "--features mfcc --algorithm logistic --split track";
    let line = format!("lab train {train} @run {settings}");
    fine(run(&sandbox, &line));
    let submission = "--submission @mine.csv --like %challenge/sample_submission.csv";
    let line = format!("lab predict @run {test} {submission}");
    fine(run(&sandbox, &line));
    let columns = |file: &Path| -> (Vec<String>, Vec<String>) {
        let table = fs::read_to_string(file).unwrap();
        let rows = table.lines().map(|line| line.rsplit_once(',').unwrap());
        rows.map(|(title, label)| (title.to_owned(), label.to_owned()))
            .unzip()
    };
    let (titles, labels) = columns(&sandbox.path("mine.csv"));
    let sample = miniature().join("challenge/sample_submission.csv");
    assert_eq!(titles, columns(&sample).0);
    assert_eq!((&*titles[0], &*labels[0]), ("titre", "id_genre"));
    let known = |label: &String| ["1", "2", "3", "4"].contains(&label.as_str());
    assert!(labels[1..].iter().all(known), "{labels:?}");
    let truth = "--submission @mine.csv --truth %challenge/truth.csv";
    let score = ask(&sandbox, &format!("lab report {truth}"));
    holds(&score, "/rows 8 | /missing []");
    above(&score, "/accuracy/value", 0.75);
}
