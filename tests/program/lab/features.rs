//! `voisin lab features`: the numbers of `lab train` as files, arrays of each track, pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::Value;

use super::{ask, refused, run};
use crate::common::{Sandbox, code, fine, noise_wav, samples_wav, text, tone_wav};

/// Columns of a CSV file.
fn columns(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in reader.records() {
        for (name, cell) in header.iter().zip(&record.unwrap()) {
            let column = all.entry(name.to_owned()).or_default();
            column.push(cell.to_owned());
        }
    }
    all
}

fn array(path: &Path) -> Array2<f32> {
    ndarray_npy::read_npy(path).unwrap()
}

/// Tones and noises by eight artists, one file that is no audio, and a table of them all.
fn shelf(sandbox: &Sandbox) {
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
}

#[test]
fn a_table_of_features_gives_the_report_of_the_audio() {
    let sandbox = Sandbox::new();
    shelf(&sandbox);
    let data = "table:@table.csv,audio=@audio";
    for place in ["features.csv", "folder"] {
        let line = format!("lab features {data} --set mfcc+mel --output @{place}");
        let output = run(&sandbox, &line);
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| text(bytes));
        assert_eq!((code(&output), stderr.lines().count()), (1, 1), "{stderr}");
        assert!(stderr.contains("broken.wav"), "{stderr}");
        assert!(stdout.starts_with("24 tracks, 396 columns in "), "{stdout}");
    }
    let train = |data: &str, name: &str, more: &str| -> Value {
        let line = format!("lab train {data} @{name} {more} --algorithm knn,logistic");
        ask(&sandbox, &line)
    };
    let from_audio = train(data, "heard", "--features mfcc+mel");
    let read = train("@features.csv", "read", "");
    for part in ["figures", "split"] {
        assert_eq!(from_audio[part], read[part]);
    }
    let predictions =
        |name: &str| fs::read_to_string(sandbox.path(name).join("predictions.csv")).unwrap();
    assert_eq!(predictions("heard"), predictions("read"));

    // The same numbers in a folder, with their names.
    let folder = sandbox.path("folder");
    let cells = columns(&sandbox.path("features.csv"));
    let values = array(&folder.join("features.npy"));
    let names = &columns(&folder.join("columns.csv"))["name"];
    for (at, name) in names.iter().enumerate() {
        let numbers = cells[name].iter().map(|cell| cell.parse().unwrap());
        let numbers: Vec<f32> = numbers.collect();
        assert_eq!(values.column(at).to_vec(), numbers, "{name}");
    }
    let tracks = columns(&folder.join("tracks.csv"));
    let headers: Vec<&String> = tracks.keys().collect();
    assert_eq!(headers, ["artist", "id_genre", "titre"]);
    assert_eq!(tracks["titre"], cells["titre"]);

    // Another run replaces them.
    let line = format!("lab features {data} --set mfcc --output @folder");
    let stdout = text(&run(&sandbox, &line).stdout);
    assert!(stdout.starts_with("24 tracks, 140 columns"), "{stdout}");
}

#[test]
fn frames_are_what_the_statistics_are_of() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(music.join("a")).unwrap();
    fs::create_dir_all(music.join("b")).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library");
    let song = demo.join("metal/muldjord-chaos-god.mp3");
    fs::copy(song, music.join("a/song.mp3")).unwrap();
    fs::write(music.join("b/noise.wav"), noise_wav(44_100, 2.0, 5)).unwrap();
    fs::write(music.join("b/song.wav"), samples_wav(22_050, &[])).unwrap();
    let features = |rest: &str| run(&sandbox, &format!("lab features @music {rest}"));
    let output = features("--set frames --output @frames");
    let stderr = text(&output.stderr);
    assert!(
        code(&output) == 1 && stderr.contains("b/song.wav: "),
        "{stderr}"
    );
    assert!(text(&output.stdout).starts_with("2 new arrays of frames in "));
    assert_eq!(code(&features("--set fma --output @fma.csv")), 1);
    let frames = sandbox.path("frames");
    let names = &columns(&frames.join("columns.csv"))["name"];
    let statistics = columns(&sandbox.path("fma.csv"));
    assert_eq!((names.len(), names[0].as_str()), (75, "seconds"));
    let tracks = columns(&frames.join("tracks.csv"));
    // folders are mirrored
    let [song, noise] = [["a", "song.npy"], ["b", "noise.npy"]].map(PathBuf::from_iter);
    let places = [&song, &noise].map(|place| place.to_str().unwrap());
    assert_eq!(tracks["array"], places);
    let noise = frames.join(noise);
    for (row, place) in tracks["array"].iter().enumerate() {
        let values = array(&frames.join(place));
        for (at, name) in names.iter().enumerate().skip(1) {
            let (kind, number) = name.rsplit_once('_').unwrap();
            let theirs = &statistics[&format!("{kind}_mean_{number}")][row];
            let theirs: f64 = theirs.parse().unwrap();
            let mine = values.column(at).mapv(f64::from).mean().unwrap();
            let bound = 1e-5 * theirs.abs().max(1.0);
            assert!((mine - theirs).abs() <= bound, "{name}: {mine} {theirs}");
        }
        let times = values.column(0);
        let step = 2.0 * (512.0 / 44_100.0) as f32;
        assert_eq!((times[0], times[2]), (0.0, step));
    }
    let one = array(&noise);
    assert_eq!(one.nrows(), 1 + 88_200 / 512);

    // Again: only missing arrays are made; other features are refused in that folder.
    fs::remove_file(&noise).unwrap();
    let stdout = text(&features("--set frames --output @frames").stdout);
    assert!(stdout.starts_with("1 new array of frames"), "{stdout}");
    assert_eq!(array(&noise), one);
    let message = refused(
        &sandbox,
        "lab features @music --set spectrogram --output @frames",
    );
    assert!(message.contains("name another folder"), "{message}");
}

#[test]
fn a_picture_is_drawn() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tone <1>.wav");
    fs::write(&file, tone_wav(44_100, 3.0, 440.0, 0.5)).unwrap();
    let place = sandbox.path("tone.svg");
    let words = ["lab", "features", "--picture"].map(str::to_owned);
    let paths = [&place, &file].map(|path| path.display().to_string());
    fine(sandbox.run(words.iter().chain(&paths)));
    let svg = fs::read_to_string(place).unwrap();
    assert!(svg.contains("tone &lt;1&gt;.wav: 3.0 s"));
    // three matrices, each with its colour scale
    assert_eq!(svg.matches("<image").count(), 6);
    // base64 may spell anything
    let drawn = |part: &&str| !part.starts_with("data:image");
    assert!(
        !svg.split('"')
            .filter(drawn)
            .any(|part| part.contains("NaN"))
    );
    fs::write(sandbox.path("broken.mp3"), "no audio").unwrap();
    let output = run(&sandbox, "lab features @broken.mp3 --picture @broken.svg");
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("broken.mp3"));
    assert!(!sandbox.path("broken.svg").exists());
}

#[test]
fn mistakes_name_the_expected_value() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("song.wav"), noise_wav(22_050, 1.0, 1)).unwrap();
    for (words, expected) in [
        ("@song.wav", "expected --set and --output, or --picture"),
        (
            "@song.wav --set mfcc --output @x.npz",
            "expected FILE.csv or a folder",
        ),
        (
            "@song.wav --set mfc --output @x.csv",
            "there is no set of features \"mfc\"",
        ),
        (
            "@song.wav --set frames --output @x.csv",
            "expected a folder",
        ),
        (
            "@song.wav --set frames+mfcc --output @x",
            "frames cannot be joined with others",
        ),
        (
            "@song.wav @song.wav --picture @x.svg",
            "expected one audio file, found 2",
        ),
        ("@song.wav --picture @x.gif", "expected FILE.svg"),
        (
            "@nothing.wav --set mfcc --output @x.csv",
            "expected audio files, found none",
        ),
    ] {
        let stderr = refused(&sandbox, &format!("lab features {words}"));
        assert!(stderr.contains(expected), "{words}: {stderr}");
    }
    let all = fs::read_dir(sandbox.path("")).unwrap();
    let all: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(all, ["song.wav"], "nothing but the named file");
}
