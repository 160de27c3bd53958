//! `voisin lab features`: the numbers of `lab train` as files, arrays of each track, pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::Value;

use crate::common::{Sandbox, code, fine, json, noise_wav, samples_wav, text, tone_wav};

/// Tones and noises by eight artists, one file that is no audio, and a table of them all.
fn shelf(sandbox: &Sandbox) -> String {
    fs::create_dir_all(sandbox.path("audio")).unwrap();
    let mut table = "titre,id_genre,artist\n".to_owned();
    for i in 0..24u32 {
        let name = format!("{i}.wav");
        let sound = if i % 2 == 0 {
            tone_wav(22_050, 1.5, 200.0 + 40.0 * f64::from(i), 0.4)
        } else {
            noise_wav(22_050, 1.5, u64::from(i))
        };
        fs::write(sandbox.path("audio").join(&name), sound).unwrap();
        table += &format!("{name},{},artist {}\n", 3 + i % 2, i / 3);
    }
    fs::write(sandbox.path("audio").join("broken.wav"), "no audio").unwrap();
    table += "broken.wav,3,artist 9\n";
    fs::write(sandbox.path("table.csv"), table).unwrap();
    format!(
        "table:{},audio={}",
        sandbox.path("table.csv").display(),
        sandbox.path("audio").display()
    )
}

/// `voisin lab features DATA --set SETS --output PATH`: exit code, standard output, standard error.
fn features(sandbox: &Sandbox, data: &str, sets: &str, output: &Path) -> (i32, String, String) {
    let output = sandbox.run([
        "lab",
        "features",
        data,
        "--set",
        sets,
        "--output",
        output.to_str().unwrap(),
    ]);
    (code(&output), text(&output.stdout), text(&output.stderr))
}

/// Columns of a CSV file.
fn columns(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in reader.records() {
        for (name, cell) in header.iter().zip(&record.unwrap()) {
            all.entry(name.to_owned())
                .or_default()
                .push(cell.to_owned());
        }
    }
    all
}

fn array(path: &Path) -> Array2<f32> {
    ndarray_npy::read_npy(path).unwrap()
}

#[test]
fn a_table_of_features_gives_the_report_of_the_audio() {
    let sandbox = Sandbox::new();
    let data = shelf(&sandbox);
    let table = sandbox.path("features.csv");
    let matrix = sandbox.path("features.npy");
    let (ended, stdout, stderr) = features(&sandbox, &data, "mfcc+mel", &table);
    assert_eq!((ended, stderr.lines().count()), (1, 1), "{stdout}{stderr}");
    assert!(
        stderr.contains("broken.wav") && stdout.starts_with("24 tracks, 396 columns in "),
        "{stdout}{stderr}"
    );
    let train = |data: &str, run: &str, more: &[&str]| -> Value {
        let run = sandbox.path(run);
        let base = [
            "lab",
            "train",
            data,
            run.to_str().unwrap(),
            "--format",
            "json",
        ];
        json(sandbox.run([&base, more, &["--algorithm", "knn,logistic"]].concat()))
    };
    let from_audio = train(&data, "heard", &["--features", "mfcc+mel"]);
    let read = train(&format!("features:{}", table.display()), "read", &[]);
    for part in ["figures", "methods", "split"] {
        let mut both = [from_audio[part].clone(), read[part].clone()];
        if let [Value::Array(a), Value::Array(b)] = &mut both {
            a.iter_mut()
                .chain(b)
                .for_each(|method| method["seconds"] = Value::Null);
        }
        assert_eq!(both[0], both[1], "{part}");
    }
    let predictions =
        |run: &str| fs::read_to_string(sandbox.path(run).join("predictions.csv")).unwrap();
    assert_eq!(predictions("heard"), predictions("read"));
    assert!(predictions("read").contains(".wav"));

    // the same numbers as a matrix, and in a folder with their names
    let folder = sandbox.path("folder");
    assert_eq!(features(&sandbox, &data, "mfcc+mel", &matrix).0, 1);
    assert_eq!(features(&sandbox, &data, "mfcc+mel", &folder).0, 1);
    let cells = columns(&table);
    let values = array(&matrix);
    assert_eq!(
        (values.dim(), &values),
        ((24, 396), &array(&folder.join("features.npy")))
    );
    let names = &columns(&folder.join("columns.csv"))["name"];
    for (at, name) in names.iter().enumerate() {
        let numbers: Vec<f32> = cells[name]
            .iter()
            .map(|cell| cell.parse().unwrap())
            .collect();
        assert_eq!(
            values.column(at).to_vec(),
            numbers,
            "{name}: a number is read bit for bit"
        );
    }
    let tracks = columns(&folder.join("tracks.csv"));
    assert_eq!(
        tracks.keys().collect::<Vec<_>>(),
        ["artist", "id_genre", "titre"]
    );
    assert_eq!(
        (&tracks["titre"], &tracks["id_genre"]),
        (&cells["titre"], &cells["id_genre"])
    );

    // another run replaces them
    for place in [&table, &matrix, &folder] {
        let (ended, stdout, stderr) = features(&sandbox, &data, "mfcc", place);
        assert!(
            ended == 1 && stdout.starts_with("24 tracks, 140 columns"),
            "{stderr}"
        );
    }
}

#[test]
fn frames_are_what_the_statistics_are_of() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(music.join("a")).unwrap();
    fs::create_dir_all(music.join("b")).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library");
    fs::copy(
        demo.join("metal/muldjord-chaos-god.mp3"),
        music.join("a/song.mp3"),
    )
    .unwrap();
    fs::write(music.join("b/noise.wav"), noise_wav(44_100, 2.0, 5)).unwrap();
    fs::write(music.join("b/song.wav"), samples_wav(22_050, &[])).unwrap();
    let data = music.to_str().unwrap();
    let frames = sandbox.path("frames");
    let table = sandbox.path("fma.csv");
    let (ended, stdout, stderr) = features(&sandbox, data, "frames", &frames);
    assert!(
        ended == 1 && stderr.contains("b/song.wav: "),
        "{stdout}{stderr}"
    );
    assert!(stdout.starts_with("2 new arrays of frames in "), "{stdout}");
    assert_eq!(features(&sandbox, data, "fma", &table).0, 1);
    let names = &columns(&frames.join("columns.csv"))["name"];
    let statistics = columns(&table);
    assert_eq!(
        (
            names.len(),
            names[0].as_str(),
            statistics["genre"][0].as_str()
        ),
        (75, "seconds", "a")
    );
    let tracks = columns(&frames.join("tracks.csv"));
    // two files are called song: both keep their folders
    assert_eq!(
        tracks["array"],
        [
            Path::new("a").join("song.npy").to_str().unwrap(),
            "noise.npy"
        ]
    );
    for (row, place) in tracks["array"].iter().enumerate() {
        let values = array(&frames.join(place));
        for (at, name) in names.iter().enumerate().skip(1) {
            let (kind, number) = name.rsplit_once('_').unwrap();
            let theirs: f64 = statistics[&format!("{kind}_mean_{number}")][row]
                .parse()
                .unwrap();
            let mine = values.column(at).mapv(f64::from).mean().unwrap();
            assert!(
                (mine - theirs).abs() <= 1e-5 * theirs.abs().max(1.0),
                "{name}: {mine} {theirs}"
            );
        }
        let times = values.column(0);
        assert_eq!((times[0], times[2]), (0.0, 2.0 * (512.0 / 44_100.0) as f32));
    }
    let one = array(&frames.join("noise.npy"));
    assert_eq!(one.nrows(), 1 + 88_200 / 512);

    // again: only missing arrays are made; other features are refused in that folder
    fs::remove_file(frames.join("noise.npy")).unwrap();
    let (_, stdout, stderr) = features(&sandbox, data, "frames", &frames);
    assert!(
        stdout.starts_with("1 new array of frames") && stderr.contains("1 array there already"),
        "{stdout}{stderr}"
    );
    assert_eq!(array(&frames.join("noise.npy")), one);
    // another program's table of the same name stays
    let existing = sandbox.path("own");
    fs::create_dir(&existing).unwrap();
    fs::write(existing.join("tracks.csv"), "mine").unwrap();
    let (ended, _, stderr) = features(&sandbox, data, "frames", &existing);
    assert!(ended == 2 && stderr.contains("tracks.csv"), "{stderr}");
    assert_eq!(
        fs::read_to_string(existing.join("tracks.csv")).unwrap(),
        "mine"
    );
}

#[test]
fn a_spectrogram_equals_the_networks_input() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tone.wav");
    fs::write(&file, tone_wav(22_050, 5.0, 1000.0, 0.4)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let folder = sandbox.path("spectrograms");
    assert_eq!(features(&sandbox, &file, "spectrogram", &folder).0, 0);
    let input = array(&folder.join("tone.npy"));
    assert_eq!(input.dim(), (128, 1288));
    // mean 0 and deviation 1; the tone's band is the loudest while it sounds, and the zeros behind it are silent
    let (mean, square) = (
        input.mapv(f64::from).mean().unwrap(),
        input.mapv(|x| f64::from(x).powi(2)).mean().unwrap(),
    );
    assert!(
        mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-4,
        "{mean} {square}"
    );
    let loudest = |frame: usize| {
        (0..128)
            .max_by(|a, b| input[[*a, frame]].total_cmp(&input[[*b, frame]]))
            .unwrap()
    };
    assert_eq!((loudest(20), loudest(200)), (loudest(100), loudest(100)));
    assert!(input[[loudest(100), 100]] > input[[loudest(100), 1200]] + 1.0);
    assert_eq!(
        fs::read_to_string(folder.join("recipe.txt")).unwrap(),
        "baseline-cnn\n"
    );
    let other = sandbox.path("other");
    let more = |recipe: &str, place: &PathBuf| {
        let words = [
            "lab",
            "features",
            &file,
            "--set",
            "spectrogram",
            "--recipe",
            recipe,
            "--output",
        ];
        sandbox.run(words.iter().copied().chain([place.to_str().unwrap()]))
    };
    fine(more("cnn-gap", &other));
    assert_eq!(array(&other.join("tone.npy")).dim(), (128, 1288));
    let refused = more("cnn-gap", &folder);
    assert!(code(&refused) == 2 && text(&refused.stderr).contains("name another folder"));
    let refused = more("cnn", &sandbox.path("third"));
    assert!(code(&refused) == 2 && text(&refused.stderr).contains("expected baseline-cnn"));
    assert!(!sandbox.path("third").exists());
}

#[test]
fn a_picture_is_drawn() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tone <1>.wav");
    let broken = sandbox.path("broken.mp3");
    fs::write(&file, tone_wav(44_100, 3.0, 440.0, 0.5)).unwrap();
    fs::write(&broken, "no audio").unwrap();
    let draw = |file: &Path, name: &str| {
        let place = sandbox.path(name);
        let words = [
            "lab",
            "features",
            file.to_str().unwrap(),
            "--picture",
            place.to_str().unwrap(),
        ];
        let output = sandbox.run(words);
        (
            code(&output),
            text(&output.stderr),
            fs::read(place).unwrap_or_default(),
        )
    };
    let (ended, stderr, svg) = draw(&file, "tone.svg");
    let svg = text(&svg);
    assert_eq!(ended, 0, "{stderr}");
    for title in [
        "tone &lt;1&gt;.wav: 3.0 s",
        "Waveform",
        "Amplitude spectrum",
        "Spectrogram",
        "Mel spec",
        "cepstral",
        "Chroma",
    ] {
        assert!(svg.contains(title), "{title}");
    }
    // the wave, and four matrices, each with its colour scale
    assert_eq!(
        (
            svg.matches("<image").count(),
            svg.contains(",NaN") || svg.contains("\"NaN")
        ),
        (9, false)
    );
    let (ended, stderr, none) = draw(&broken, "broken.svg");
    assert!(
        ended == 1
            && none.is_empty()
            && stderr.lines().count() == 1
            && stderr.contains("broken.mp3"),
        "{stderr}"
    );
}

#[test]
fn mistakes_name_the_expected_value() {
    let sandbox = Sandbox::new();
    let song = sandbox.path("song.wav");
    fs::write(&song, noise_wav(22_050, 1.0, 1)).unwrap();
    let at = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let song = at("song.wav");
    for (words, ended, expected) in [
        (
            vec![song.as_str()],
            2,
            "expected --set and --output, or --picture",
        ),
        (
            vec![&song, "--set", "mfcc", "--output", "x.npz"],
            2,
            "expected FILE.csv, FILE.npy or a folder",
        ),
        (
            vec![&song, "--set", "mfc", "--output", "x.csv"],
            2,
            "there is no set of features \"mfc\"",
        ),
        (
            vec![&song, "--set", "frames", "--output", "x.csv"],
            2,
            "expected a folder",
        ),
        (
            vec![&song, "--set", "frames+mfcc", "--output", "x"],
            2,
            "frames cannot be joined with others",
        ),
        (
            vec![&song, "--set", "mfcc", "--output", "nowhere/x.csv"],
            2,
            "there is no folder nowhere",
        ),
        (
            vec![&song, &song, "--picture", "x.svg"],
            2,
            "expected one audio file, found 2",
        ),
        (vec![&song, "--picture", "x.gif"], 2, "expected FILE.svg"),
        (
            vec!["nothing.wav", "--picture", "x.svg"],
            1,
            "expected an audio file to draw, found nothing",
        ),
        (
            vec!["nothing.wav", "--set", "mfcc", "--output", "x.csv"],
            2,
            "expected audio files, found none",
        ),
    ] {
        let mut command =
            sandbox.command(["lab", "features"].into_iter().chain(words.iter().copied()));
        let output = command.current_dir(sandbox.path("")).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), ended, "{words:?}: {stderr}");
        assert!(stderr.contains(expected), "{words:?}: {stderr}");
    }
    let all: Vec<_> = fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(all, ["song.wav"], "nothing but the named file");
}
