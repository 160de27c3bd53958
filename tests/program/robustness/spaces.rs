//! A library of several vector spaces: killed, interrupted, extended, made the default, removed, without its model.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

const DEFAULT: &str = "voisin-equal";

fn spaces(sandbox: &Sandbox) -> Vec<Value> {
    let listed = json(fine(sandbox, &["space", "list", "--format", "json"]));
    listed.as_array().unwrap().clone()
}

/// The number of tracks in the second space.
fn done(sandbox: &Sandbox) -> u64 {
    spaces(sandbox)
        .get(1)
        .map_or(0, |space| space["tracks"].as_u64().unwrap())
}

fn wait_for_done(sandbox: &Sandbox, least: u64) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while done(sandbox) < least {
        assert!(
            Instant::now() < deadline,
            "no {least} tracks in two minutes"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Neighbours and similarities.
fn neighbours(sandbox: &Sandbox, more: &[&str]) -> Value {
    let similar = ["similar", "id:1", "--limit", "5", "--format", "json"];
    json(fine(sandbox, &[&similar[..], more].concat()))["neighbours"].clone()
}

fn long_noises(sandbox: &Sandbox, n: u64) -> PathBuf {
    let music = sandbox.path("music");
    for i in 0..n {
        let folder = music.join(if i % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&folder).unwrap();
        let noise = noise_wav(16_000, 20.0, 300 + i);
        fs::write(folder.join(format!("{i:02}.wav")), noise).unwrap();
    }
    music
}

#[test]
fn a_killed_or_interrupted_space_resumes() {
    let sandbox = Sandbox::new();
    let music = long_noises(&sandbox, 32);
    fine(&sandbox, &["add", &string(&music)]);
    let before = neighbours(&sandbox, &[]);
    let vectors = sandbox.vectors();
    let begin = || {
        sandbox
            .command(["space", "add", "voisin-3", "--threads", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut child = begin();
    wait_for_done(&sandbox, 3);
    assert_eq!(neighbours(&sandbox, &[]), before, "while it runs");
    child.kill().unwrap();
    child.wait().unwrap();
    let first = done(&sandbox);
    assert!((3..32).contains(&first), "{first}");
    fine(&sandbox, &["verify"]);
    // Existing vectors are searched.
    let some = neighbours(&sandbox, &["--space", "voisin-3"]);
    assert_eq!(
        some.as_array().unwrap().len() as u64,
        5.min(first - 1),
        "{some}"
    );
    if cfg!(unix) {
        let child = begin();
        wait_for_done(&sandbox, first + 2);
        std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(code(&output), 130, "{message}");
        assert!(
            message.contains(&format!("{} tracks to analyse", 32 - first))
                && message.contains("resumes"),
            "{message}"
        );
    }
    // Tracks that are added meanwhile are included.
    fs::write(music.join("odd/new.wav"), noise_wav(16_000, 20.0, 900)).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    let held = done(&sandbox);
    let summary = json(fine(
        &sandbox,
        &["space", "add", "voisin-3", "--format", "json"],
    ));
    assert_eq!(
        (&summary["heard"], &summary["tracks"], &summary["missing"]),
        (&(33 - held).into(), &33.into(), &0.into()),
        "{summary}"
    );
    let mut now = sandbox.vectors();
    now.retain(|file, _| vectors.contains_key(file));
    assert_eq!(now, vectors, "those of the default stay as they are");
    fine(&sandbox, &["verify"]);

    // As a second space it answers like a library of its model alone.
    let fresh = Sandbox::new();
    let other = fresh.path("music");
    fs::rename(&music, &other).unwrap();
    fine(&fresh, &["--model", "voisin-3", "add", &string(&other)]);
    fs::rename(&other, &music).unwrap();
    let ids = |found: &Value| -> Vec<(String, String)> {
        let found = found.as_array().unwrap().iter();
        found
            .map(|track| {
                let name = Path::new(track["path"].as_str().unwrap()).file_name();
                (
                    name.unwrap().to_string_lossy().into_owned(),
                    format!("{:.4}", track["similarity"].as_f64().unwrap()),
                )
            })
            .collect()
    };
    let seed = ["similar", "00", "--limit", "32", "--format", "json"];
    let expected = json(fine(&fresh, &seed))["neighbours"].clone();
    let inside = [&seed[..], &["--space", "voisin-3"]].concat();
    let found = json(fine(&sandbox, &inside))["neighbours"].clone();
    assert_eq!(ids(&found), ids(&expected));
    assert_ne!(
        ids(&json(fine(&sandbox, &seed))["neighbours"]),
        ids(&expected)
    );
    // A file outside the library is analysed by the space's model.
    let stranger = sandbox.path("stranger.wav");
    fs::copy(music.join("even/02.wav"), &stranger).unwrap();
    let near = json(fine(
        &sandbox,
        &[
            "similar",
            &string(&stranger),
            "--space",
            "voisin-3",
            "--include-seed",
            "--format",
            "json",
        ],
    ));
    assert!(near["neighbours"][0]["similarity"].as_f64().unwrap() > 0.999);
}

#[test]
fn another_default_and_a_removed_space_lose_nothing_else() {
    let sandbox = Sandbox::new();
    let music = long_noises(&sandbox, 6);
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["train", "genre", "--label-from", "folder"]);
    let before = neighbours(&sandbox, &[]);
    let vectors = sandbox.vectors();
    fine(&sandbox, &["space", "add", "voisin-3", "--name", "trial"]);
    let inside = neighbours(&sandbox, &["--space", "trial"]);
    assert_ne!(inside, before);
    let refused = sandbox.run(["similar", "id:1", "--space", "trail"]);
    assert_eq!(code(&refused), 2);
    let message = text(&refused.stderr);
    assert!(
        message.contains("expected one of voisin-equal, trial"),
        "{message}"
    );
    assert_eq!(code(&sandbox.run(["space", "remove", DEFAULT])), 2);

    fine(&sandbox, &["space", "default", "trial"]);
    let state = status(&sandbox);
    assert_eq!(
        (
            &state["model"],
            &state["index"]["state"],
            &state["genre_head"]["problem"]
        ),
        (&"voisin-3".into(), &"current".into(), &Value::Null),
        "{state}"
    );
    assert_eq!(neighbours(&sandbox, &[]), inside);
    assert_eq!(neighbours(&sandbox, &["--space", DEFAULT]), before);
    // A new track is added to the default space; the message names the command that adds it to the other.
    fs::write(music.join("odd/new.wav"), noise_wav(16_000, 20.0, 900)).unwrap();
    let added = text(&fine(&sandbox, &["add", &string(&music)]).stderr);
    let hint = format!("the space {DEFAULT} lacks 1 track: \"voisin space add {DEFAULT}\"");
    assert!(added.contains(&hint), "{added}");
    let listed = spaces(&sandbox);
    assert_eq!(
        (
            &listed[0]["name"],
            &listed[0]["tracks"],
            &listed[0]["default"]
        ),
        (&"trial".into(), &7.into(), &true.into()),
        "{listed:?}"
    );
    assert_eq!(
        (
            &listed[1]["name"],
            &listed[1]["tracks"],
            &listed[1]["missing"]
        ),
        (&DEFAULT.into(), &6.into(), &1.into()),
        "{listed:?}"
    );
    let refused = sandbox.run(["space", "default", DEFAULT]);
    assert_eq!(code(&refused), 1);
    assert!(text(&refused.stdout).contains("it lacks 1 track;"));
    fine(&sandbox, &["space", "add", DEFAULT]);
    fine(&sandbox, &["space", "default", DEFAULT]);
    let mut now = sandbox.vectors();
    now.retain(|file, _| vectors.contains_key(file));
    assert_eq!(now, vectors);
    fine(&sandbox, &["verify"]);

    // A space can be exported.
    for space in spaces(&sandbox) {
        let name = space["name"].as_str().unwrap();
        let folder = string(&sandbox.path(name));
        let stdout = text(&fine(&sandbox, &["export", &folder, "--space", name]).stdout);
        let shape = format!("of {} dimensions", space["dimension"]);
        assert!(
            stdout.starts_with("7 tracks") && stdout.contains(&shape),
            "{stdout}"
        );
    }
    let index = sandbox.path("library/index.trial.bin");
    neighbours(&sandbox, &["--space", "trial"]);
    assert!(index.exists());
    let bytes = status(&sandbox)["database_bytes"].as_u64().unwrap();
    fine(&sandbox, &["space", "remove", "trial"]);
    assert!(status(&sandbox)["database_bytes"].as_u64().unwrap() < bytes);
    assert!(!index.exists());
    let left = spaces(&sandbox);
    assert_eq!((left.len(), &left[0]["tracks"]), (1, &7.into()));
    fine(&sandbox, &["verify"]);
    fine(&sandbox, &["similar", "id:1"]);
}

#[test]
fn a_space_without_its_model_answers_with_a_note() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 4);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let folder = sandbox.path("elsewhere");
    fs::create_dir_all(&folder).unwrap();
    let mut card: Value =
        serde_json::from_slice(&fs::read(shipped.join("voisin-3.json")).unwrap()).unwrap();
    card["name"] = "mine".into();
    let weights = card["weights"].as_str().unwrap();
    fs::copy(shipped.join(weights), folder.join(weights)).unwrap();
    let manifest = folder.join("mine.json");
    fs::write(&manifest, card.to_string()).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["space", "add", &string(&manifest)]);
    let before = neighbours(&sandbox, &["--space", "mine"]);
    assert_eq!(spaces(&sandbox)[1]["model_is_there"], true);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(neighbours(&sandbox, &["--space", "mine"]), before);
    assert_eq!(spaces(&sandbox)[1]["model_is_there"], false);
    let listed = text(&fine(&sandbox, &["space", "list"]).stdout);
    assert!(listed.contains("its model's file is gone"), "{listed}");
    let refused = sandbox.run(["space", "add", "mine"]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("mine"));
    assert_eq!(done(&sandbox), 4);
}

#[test]
fn a_space_of_a_model_that_reads_answers_sentences() {
    let sandbox = Sandbox::new();
    let clap = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clap");
    fine(
        &sandbox,
        &["model", "import", &string(&clap), "--name", "small"],
    );
    let music = noises(&sandbox, 4);
    fine(&sandbox, &["--threads", "1", "add", &string(&music)]);
    fine(&sandbox, &["space", "add", "small"]);
    assert_eq!(
        (&spaces(&sandbox)[0]["reads"], &spaces(&sandbox)[1]["reads"]),
        (&false.into(), &true.into())
    );
    let fresh = Sandbox::new();
    fine(
        &fresh,
        &["model", "import", &string(&clap), "--name", "small"],
    );
    fine(
        &fresh,
        &["--threads", "1", "--model", "small", "add", &string(&music)],
    );
    let query = ["find", "rainy evening synths", "--format", "json"];
    let expected = json(fine(&fresh, &query));
    let found = json(fine(
        &sandbox,
        &[&query[..], &["--space", "small"]].concat(),
    ));
    assert_eq!(found["tracks"].as_array().unwrap().len(), 4, "{found}");
    // The space answers words that the default's tags do not cover.
    let by_itself = json(fine(&sandbox, &query));
    assert_eq!(by_itself["tracks"], found["tracks"]);
    assert_eq!(by_itself["notes"][0], "searched in the space small");
    let words = text(&fine(&sandbox, &["find", "calm"]).stderr);
    assert!(!words.contains("space"), "{words}");
    // Scales and keys are measured from what each model has decoded.
    let answers = |found: &Value| -> Vec<[Value; 4]> {
        let tracks = found["tracks"].as_array().unwrap().iter();
        tracks
            .map(|track| ["path", "rank", "terms", "captions"].map(|key| track[key].clone()))
            .collect()
    };
    assert_eq!(answers(&found), answers(&expected));
    assert_eq!(found["notes"], expected["notes"]);
}
