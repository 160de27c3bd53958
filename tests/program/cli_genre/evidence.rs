//! Certainty needs evidence: every answer has the number of labelled tracks, and with too few of them no answer uses
//! them and nothing is written.

use std::fs;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use voisin_audio::tags::read_tags;

use super::AUDIO;
use super::shelf::Shelf;
use crate::common::{
    Sandbox, code, fine, fine_json, json as answers, samples_wav, six_tracks, text, tone_wav,
};

/// Demo music, labelled only by a table.
struct RealMusic {
    sandbox: Sandbox,
    /// Three of metal, then three of ambient.
    files: Vec<PathBuf>,
    /// Ten seconds of white noise, in the library too.
    noise: PathBuf,
}

impl RealMusic {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let music = six_tracks(&sandbox);
        let mut files = Vec::new();
        for genre in ["metal", "ambient"] {
            let mut of_genre: Vec<PathBuf> = fs::read_dir(music.join(genre))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            of_genre.sort();
            files.extend(of_genre);
        }
        let mut rng = StdRng::seed_from_u64(3);
        let samples: Vec<f32> = (0..160_000).map(|_| rng.random_range(-0.3..0.3)).collect();
        let noise = music.join("noise.wav");
        fs::write(&noise, samples_wav(16_000, &samples)).unwrap();
        fine(sandbox.run([Path::new("add"), &music]));
        Self {
            sandbox,
            files,
            noise,
        }
    }

    /// Labels the first tracks of metal and of ambient, and nothing else.
    fn label(&self, metal: (usize, &str), ambient: (usize, &str)) {
        let mut table = "path,genre\n".to_owned();
        for ((tracks, genre), files) in [(metal, &self.files[..3]), (ambient, &self.files[3..])] {
            for file in &files[..tracks] {
                table += &format!("{},{genre}\n", file.display());
            }
        }
        let path = self.sandbox.path("labels.csv");
        fs::write(&path, table).unwrap();
        fine(self.sandbox.run([Path::new("labels"), &path]));
    }

    fn ask(&self, file: &Path) -> Value {
        let output = self
            .sandbox
            .command(["classify", "--format", "json"])
            .arg(file)
            .output()
            .unwrap();
        answers(output)[0].clone()
    }

    /// The answer without any library.
    fn guess(&self, file: &Path) -> Value {
        let mut command = self
            .sandbox
            .command(["classify", "--format", "json", "--library"]);
        answers(
            command
                .arg(self.sandbox.path("none"))
                .arg(file)
                .output()
                .unwrap(),
        )[0]
        .clone()
    }

    /// Writing is refused with expected, found and the next step, with and without `--dry-run`, and no file changes.
    fn refuses_to_write(&self, found: &str) {
        let before: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect();
        for more in [
            &["--dry-run"][..],
            &[],
            &["--overwrite", "--precision", "0.5"],
        ] {
            let output = self.sandbox.run(["tag", "--all"].iter().chain(more));
            let stderr = text(&output.stderr);
            assert_eq!(code(&output), 2, "{more:?}: {stderr}");
            assert!(
                stderr.contains("expected at least 2 genres with 8 labelled tracks each"),
                "{stderr}"
            );
            assert!(
                stderr.contains(found) && stderr.contains("voisin labels"),
                "{stderr}"
            );
            assert!(text(&output.stdout).is_empty(), "{}", text(&output.stdout));
        }
        let after: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect();
        assert!(before == after, "{found}: a file was written");
    }
}

#[test]
fn too_few_labels_leave_the_first_guess_of_real_music() {
    let music = RealMusic::new();
    let files = [&music.files[2], &music.files[5], &music.noise];
    // The guess does not depend on labels.
    let guesses = files.map(|file| music.guess(file));
    for (metal, ambient, found) in [
        ((1, "Zeuhl"), (0, ""), "found 1 labelled track of 1 genre"),
        // one genre is not enough, with any number of tracks
        (
            (3, "Zeuhl"),
            (3, "Zeuhl"),
            "found 6 labelled tracks of 1 genre",
        ),
        // a track below the least
        (
            (2, "Zeuhl"),
            (1, "Quiet"),
            "found 3 labelled tracks of 2 genres",
        ),
    ] {
        music.label(metal, ambient);
        let lacking = format!("{found}, expected at least 4 of 2 genres");
        let guessed = found.replace("found", "a first guess, with");
        for (file, fresh) in files.iter().zip(&guesses) {
            let answer = music.ask(file);
            assert_eq!(answer["source"], "first_guess", "{answer}");
            for key in ["genre", "best", "unknown"] {
                assert_eq!(answer[key], fresh[key], "{key}: {answer}");
            }
            // The library keeps halves of the tags' logits.
            let [stored, fresh] = [&answer, fresh].map(|of| of["probability"].as_f64().unwrap());
            assert!((stored - fresh).abs() < 0.01, "{fresh}: {answer}");
            assert_ne!(answer["best"], "Zeuhl");
            assert_eq!(answer["labelled_tracks"], metal.0 + ambient.0);
            assert_eq!(
                answer["labelled_genres"],
                if ambient.1 == "Quiet" { 2 } else { 1 }
            );
            assert!(
                answer["summary"].as_str().unwrap().contains(&guessed),
                "{answer}"
            );
            assert_eq!(
                (&answer["evidence"], &answer["votes"]),
                (&json!([]), &json!({}))
            );
        }
        // commands that need the library's labels are refused too
        for refused in [&["train"][..], &["labels", "suspects"]] {
            let output = music.sandbox.run(refused);
            assert_eq!(code(&output), 2, "{refused:?}");
            assert!(
                text(&output.stderr).contains(&lacking),
                "{refused:?}: {}",
                text(&output.stderr)
            );
        }
        music.refuses_to_write(found);
    }
    // The library has its tags, also when the file is gone.
    fs::remove_file(files[0]).unwrap();
    assert_eq!(music.ask(files[0])["best"], guesses[0]["best"]);
}

#[test]
fn the_fewest_labels_answer_and_report_their_number() {
    let music = RealMusic::new();
    music.label((2, "Loud"), (2, "Quiet"));
    for (file, genre) in [(&music.files[2], "Loud"), (&music.files[5], "Quiet")] {
        let answer = music.ask(file);
        assert_eq!(
            (&answer["source"], &answer["genre"]),
            (&json!("neighbours"), &json!(genre)),
            "{answer}"
        );
        assert_eq!(
            (&answer["labelled_tracks"], &answer["labelled_genres"]),
            (&json!(4), &json!(2))
        );
        let summary = answer["summary"].as_str().unwrap();
        assert!(
            summary.ends_with("% likely, from 4 labelled tracks of 2 genres)"),
            "{summary}"
        );
    }
    let all = fine(music.sandbox.run(["classify", "--all"]));
    assert!(
        all.trim_end()
            .ends_with("from 4 labelled tracks of 2 genres"),
        "{all}"
    );
    // enough for answers, not for writing
    music.refuses_to_write("found 4 labelled tracks of 2 genres (0 genres with as many)");
    // so does a trained model of so few labels
    fine(music.sandbox.run(["train"]));
    let trained = music.ask(&music.files[2]);
    assert_eq!(trained["source"], "head");
    assert!(
        trained["summary"]
            .as_str()
            .unwrap()
            .ends_with("% likely, from 4 labelled tracks of 2 genres)"),
        "{trained}"
    );
    music.refuses_to_write("found 4 labelled tracks of 2 genres");
    // and it is not used once too few labels are left
    music.label((2, "Loud"), (1, "Quiet"));
    assert_eq!(music.ask(&music.files[2])["source"], "first_guess");
}

#[test]
fn noise_and_tones_are_unknown_to_every_method() {
    let music = RealMusic::new();
    let [tone, clicks] = ["tone.wav", "clicks.wav"].map(|name| music.sandbox.path(name));
    fs::write(&tone, tone_wav(16_000, 10.0, 440.0, 0.3)).unwrap();
    let click = |i: usize| if i % 4_000 < 8 { 0.5 } else { 0.0 };
    fs::write(
        &clicks,
        samples_wav(16_000, &(0..160_000).map(click).collect::<Vec<f32>>()),
    )
    .unwrap();
    let unknown = |source: &str, answer: Value| {
        assert_eq!(
            (&answer["source"], &answer["genre"]),
            (&json!(source), &Value::Null),
            "{answer}"
        );
        assert_eq!(answer["unknown"], "steady", "{answer}");
        assert!(
            answer["best"].is_string() && answer["kin"][0] == answer["best"],
            "{answer}"
        );
        let summary = answer["summary"].as_str().unwrap();
        assert!(
            summary.starts_with("unknown: it hardly changes, as a tone or noise; nearest to "),
            "{summary}"
        );
    };
    let files = [&music.noise, &tone, &clicks];
    files
        .iter()
        .for_each(|file| unknown("first_guess", music.guess(file)));
    assert!(music.guess(&music.files[0])["genre"].is_string());
    music.label((3, "Loud"), (3, "Quiet"));
    for source in ["neighbours", "head"] {
        if source == "head" {
            fine(music.sandbox.run(["train", "--min-tracks", "3"]));
        }
        files
            .iter()
            .for_each(|file| unknown(source, music.ask(file)));
        for file in &music.files {
            assert_ne!(music.ask(file)["unknown"], "steady", "music changes");
        }
        let table = fine(music.sandbox.run(["classify", "--all"]));
        assert!(table.contains("a tone or noise"), "{table}");
    }
}

#[test]
fn strangers_are_unknown_to_neighbours_and_head() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(2, 30, 0.7);
    // near one of the genres, then near to none
    shelf.put(Path::new("/music/known.mp3"), 0, "", 0.5);
    for i in 0..5 {
        shelf.put(Path::new(&format!("/music/stranger/{i}.mp3")), 6, "", 0.5);
    }
    for source in ["neighbours", "head"] {
        if source == "head" {
            fine(sandbox.run(["train"]));
        }
        let all = fine_json(sandbox.run(["classify", "--all", "--format", "json"]));
        let answers = all.as_array().unwrap();
        let (labelled, unlabelled) = answers.split_at(60);
        assert_eq!(
            (&unlabelled[0]["source"], &unlabelled[0]["genre"]),
            (&json!(source), &json!("Genre 0")),
            "{}",
            unlabelled[0]
        );
        for answer in &unlabelled[1..] {
            assert_eq!(
                (&answer["genre"], &answer["unknown"]),
                (&Value::Null, &json!("novel")),
                "{answer}"
            );
            assert!(
                answer["kin"][0].is_string() && answer["novelty"].as_f64().unwrap() > 0.9,
                "{answer}"
            );
            let summary = answer["summary"].as_str().unwrap();
            assert!(
                summary.contains("unlike anything labelled here; nearest to Genre"),
                "{summary}"
            );
        }
        let lost = labelled
            .iter()
            .filter(|answer| answer["unknown"] == "novel")
            .count();
        assert!(lost <= 7, "{lost} of 60 labelled tracks are called unknown");
    }
}

/// Fourteen seconds of espeak-ng 1.51, voice "de", 150 words a minute, as Opus of 12 kbit/s.
#[test]
fn speech_is_distinguished_from_music() {
    let music = RealMusic::new();
    let speech = music.sandbox.path("speech.opus");
    fs::copy("tests/data/genre/speech.opus", &speech).unwrap();
    music.label((1, "Metal"), (0, "Ambient"));
    let guess = music.ask(&speech);
    assert_eq!(
        (&guess["source"], &guess["genre"]),
        (&json!("first_guess"), &json!("Speech")),
        "{guess}"
    );
    assert!(guess["probability"].as_f64() >= Some(0.85), "{guess}");
    music.label((3, "Metal"), (3, "Ambient"));
    fine(music.sandbox.run([Path::new("add"), &speech]));
    let found = fine_json(
        music
            .sandbox
            .run(["find", "talking", "--limit", "1", "--format", "json"]),
    );
    assert_eq!(found["tracks"][0]["id"], 8, "{found}");
}

#[test]
fn writing_takes_two_genres_of_eight_tracks() {
    // how many are labelled with either genre, and whether that is enough
    for (first, second, is_enough) in [(8, 7, false), (40, 1, false), (8, 8, true)] {
        let sandbox = Sandbox::new();
        let mut shelf = Shelf::new(&sandbox);
        for (style, tracks) in [first, second].into_iter().enumerate() {
            for i in 0..tracks {
                shelf.tracks_of(style, &format!("/music/genre {style}/{i:03}.mp3"), 0.5);
            }
        }
        let file = sandbox.path("asked.flac");
        fs::copy(format!("{AUDIO}/mono.flac"), &file).unwrap();
        shelf.put(&file, 0, "", 0.2);
        let id = format!("id:{}", first + second + 1);
        let sure = answers(sandbox.run(["classify", &id, "--format", "json"]))[0].clone();
        assert!(sure["probability"].as_f64().unwrap() > 0.8, "{sure}");
        // by the neighbours alone, then by a trained model
        for trained in [false, true] {
            if trained {
                fine(sandbox.run(["train", "--min-tracks", "2"]));
            }
            // Of sixteen tracks the collection's own vote leaves no answer 90 %.
            let tag = ["tag", &id, "--precision", "0.8"];
            let dry = sandbox.run(tag.iter().chain(&["--dry-run"]));
            let done = sandbox.run(tag);
            for output in [&dry, &done] {
                let stderr = text(&output.stderr);
                assert_eq!(
                    code(output),
                    if is_enough { 0 } else { 2 },
                    "{first} {second} {trained}: {stderr}"
                );
                if !is_enough {
                    let found = format!(
                        "found {} labelled tracks of 2 genres (1 genre with as many)",
                        first + second
                    );
                    assert!(stderr.contains(&found), "{stderr}");
                    // genres of the user's table are written without that bound
                    assert!(stderr.contains("--from"), "{stderr}");
                }
            }
            let expected: &[&str] = if is_enough { &["Genre 0"] } else { &[] };
            assert_eq!(
                read_tags(&file).unwrap().genres,
                expected,
                "{first} {second} {trained}"
            );
        }
    }
}
