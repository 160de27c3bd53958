//! A library's upgrade to another model: killed in the middle, with missing files, given up.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

/// The model of a new library.
const DEFAULT: &str = "voisin-equal";

/// Waits until at least `least` tracks of an upgrade are done; returns their number.
fn wait_for_done(sandbox: &Sandbox, least: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(2);
    while Instant::now() < deadline {
        if let Some(done) = status(sandbox)["upgrade"]["done"]
            .as_u64()
            .filter(|&done| done >= least)
        {
            return done;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no {least} tracks in two minutes");
}

fn neighbours(sandbox: &Sandbox) -> Value {
    json(fine(
        sandbox,
        &["similar", "id:1", "--limit", "5", "--format", "json"],
    ))["neighbours"]
        .clone()
}

#[test]
fn a_killed_upgrade_resumes_while_the_old_vectors_answer() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for i in 0..24 {
        let folder = music.join(if i % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(format!("{i:02}.wav")),
            noise_wav(16_000, 20.0, 300 + i),
        )
        .unwrap();
    }
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["train", "genre", "--label-from", "folder"]);
    let before = neighbours(&sandbox);
    let vectors = sandbox.vectors();
    assert_eq!(status(&sandbox)["upgrade"], Value::Null);

    let mut child = sandbox
        .command(["model", "upgrade", "voisin-3", "--threads", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_done(&sandbox, 3);
    assert_eq!(neighbours(&sandbox), before, "while it runs");
    child.kill().unwrap();
    child.wait().unwrap();
    let state = status(&sandbox);
    let done = state["upgrade"]["done"].as_u64().unwrap();
    assert!((3..24).contains(&done), "{state}");
    assert_eq!(
        (&state["model"], &state["upgrade"]["model"]),
        (&DEFAULT.into(), &"voisin-3".into())
    );
    let stdout = text(&fine(&sandbox, &["status"]).stdout);
    assert!(
        stdout.contains(&format!("to voisin-3: {done} of 24 tracks")),
        "{stdout}"
    );
    assert_eq!(
        (neighbours(&sandbox), sandbox.vectors()),
        (before, vectors),
        "after the kill"
    );
    fine(&sandbox, &["verify"]);

    // Tracks that are added meanwhile get the old model first, and are upgraded at the end.
    fs::write(music.join("odd/new.wav"), noise_wav(16_000, 20.0, 900)).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    let done = status(&sandbox)["upgrade"]["done"].as_u64().unwrap();
    let summary = json(fine(&sandbox, &["model", "upgrade", "--format", "json"]));
    assert_eq!(
        (&summary["switched"], &summary["heard"], &summary["missing"]),
        (&true.into(), &(25 - done).into(), &0.into()),
        "{summary}"
    );
    let state = status(&sandbox);
    assert_eq!(
        (&state["model"], &state["upgrade"]),
        (&"voisin-3".into(), &Value::Null)
    );
    assert_eq!(
        (&state["index"]["state"], &state["dimension"]),
        (&"current".into(), &512.into())
    );
    assert_eq!(
        state["genre_head"]["problem"],
        Value::Null,
        "the head was trained again: {state}"
    );
    fine(&sandbox, &["classify", "id:2", "--format", "json"]);
    fine(&sandbox, &["verify"]);

    let fresh = Sandbox::new();
    fine(&fresh, &["--model", "voisin-3", "add", &string(&music)]);
    assert_eq!(sandbox.vectors(), fresh.vectors());
    let windows = |sandbox: &Sandbox| status(sandbox)["windows"].clone();
    assert_eq!(windows(&sandbox), windows(&fresh));

    let again = fine(&sandbox, &["model", "upgrade", "voisin-3"]);
    assert!(
        text(&again.stdout).contains("from model voisin-3 already: there is nothing to upgrade")
    );
    let again = json(fine(
        &sandbox,
        &["model", "upgrade", "voisin-3", "--format", "json"],
    ));
    assert_eq!(
        (&again["model"], &again["switched"], &again["heard"]),
        (&"voisin-3".into(), &false.into(), &0.into())
    );
}

/// A library of the former default model: nothing changes until its owner upgrades it.
#[test]
fn a_library_of_an_older_default_upgrades_on_request() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 6);
    let file = |i: usize| string(&music.join(format!("{i:02}.wav")));
    fine(
        &sandbox,
        &[
            "--model",
            "musicnn-msd",
            "add",
            &file(0),
            &file(1),
            &file(2),
        ],
    );
    let before = sandbox.vectors();
    fine(&sandbox, &["add", &string(&music)]);
    let state = status(&sandbox);
    assert_eq!(
        (&state["tracks"], &state["model"]),
        (&6.into(), &"musicnn-msd".into()),
        "{state}"
    );
    // It never was the default, so the user chose it.
    assert_eq!(state["newer_default"], Value::Null);
    assert!(text(&fine(&sandbox, &["status"]).stdout).contains("musicnn-msd"));
    let now = sandbox.vectors();
    assert!(
        before.iter().all(|(file, vector)| now[file] == *vector),
        "the old vectors stay as they are"
    );
    fine(&sandbox, &["similar", "id:1"]);

    let upgraded = json(fine(&sandbox, &["model", "upgrade", "--format", "json"]));
    assert_eq!(
        (&upgraded["switched"], &upgraded["heard"]),
        (&true.into(), &6.into()),
        "{upgraded}"
    );
    let state = status(&sandbox);
    assert_eq!(
        (&state["model"], &state["dimension"]),
        (&DEFAULT.into(), &256.into()),
        "{state}"
    );
    let fresh = Sandbox::new();
    fine(&fresh, &["add", &string(&music)]);
    assert_eq!(sandbox.vectors(), fresh.vectors());
    fine(&sandbox, &["verify"]);
}

/// Labels, lists and hearts belong to the recordings, not to the model.
#[test]
fn a_killed_change_of_the_default_keeps_labels_lists_and_hearts() {
    let sandbox = Sandbox::new();
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library");
    let music = sandbox.path("music");
    for genre in ["folk", "metal", "techno"] {
        fs::create_dir_all(music.join(genre)).unwrap();
        for file in fs::read_dir(library.join(genre)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), music.join(genre).join(file.file_name())).unwrap();
        }
    }
    fine(
        &sandbox,
        &[
            "--model",
            "voisin-256",
            "add",
            &string(&music.join("metal")),
        ],
    );
    fine(&sandbox, &["add", &string(&music)]);
    let state = status(&sandbox);
    assert_eq!(
        (&state["model"], &state["newer_default"]),
        (&"voisin-256".into(), &DEFAULT.into()),
        "{state}"
    );
    let tracks = state["tracks"].as_u64().unwrap();
    let lines = text(&fine(&sandbox, &["status"]).stdout);
    assert!(
        lines.contains(&format!("{DEFAULT} by now; \"voisin model upgrade\"")),
        "{lines}"
    );

    let table = sandbox.path("table.csv");
    let changed = music.join("metal/muldjord-chaos-god.mp3");
    let row = format!("1,1,{},Zeuhl", changed.display());
    fs::write(&table, format!("rank,id,path,suggested\n{row}\n")).unwrap();
    let write = ["classify", "--write-tags", "--overwrite", "--from-list"];
    fine(&sandbox, &[&write[..], &[&string(&table)]].concat());
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["labels", "set", "orphanage", "Gothic"]);
    fine(&sandbox, &["train", "genre", "--label-from", "folder"]);
    let head = sandbox.path("library/genre.safetensors");
    let old_head = fs::read(&head).unwrap();
    let noted = || {
        let shown = [
            &["labels", "--format", "json"][..],
            &["undo", "--list", "--format", "json"],
            &["list", "--genre", "Gothic", "--format", "json"],
        ];
        shown.map(|arguments| json(fine(&sandbox, arguments)))
    };
    let before = noted();

    let mut child = sandbox
        .command(["model", "upgrade", "--threads", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_done(&sandbox, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let state = status(&sandbox);
    let done = state["upgrade"]["done"].as_u64().unwrap();
    assert!((2..tracks).contains(&done), "{state}");
    assert_eq!(state["model"], "voisin-256");
    assert_eq!(noted(), before, "after the kill");

    let summary = json(fine(&sandbox, &["model", "upgrade", "--format", "json"]));
    assert_eq!(
        (&summary["switched"], &summary["heard"]),
        (&true.into(), &(tracks - done).into()),
        "{summary}"
    );
    let state = status(&sandbox);
    assert_eq!(
        (&state["model"], &state["newer_default"]),
        (&DEFAULT.into(), &Value::Null)
    );
    assert_eq!(state["genre_head"]["problem"], Value::Null, "{state}");
    assert_eq!(noted(), before);
    fine(&sandbox, &["undo"]);
    fine(&sandbox, &["verify"]);

    fs::write(&head, old_head).unwrap();
    let problem = status(&sandbox)["genre_head"]["problem"].clone();
    let stale = problem.as_str().unwrap();
    assert!(stale.contains("trained on vectors of model"), "{stale}");
}

#[test]
fn unreadable_tracks_keep_the_old_model_unless_left_out() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 4);
    fine(&sandbox, &["add", &string(&music)]);
    let vectors = sandbox.vectors();
    let gone = music.join("01.wav");
    let other = music.join("02.wav");
    let kept = fs::read(&gone).unwrap();
    fs::remove_file(&gone).unwrap();
    // Other audio under the same name: it is not the recording of the library.
    fs::write(&other, noise_wav(16_000, 4.0, 777)).unwrap();

    let output = sandbox.run(["model", "upgrade", "voisin-3", "--format", "json"]);
    let summary = json(&output);
    let stderr = text(&output.stderr);
    assert_eq!(code(&output), 1, "{summary}");
    assert_eq!(
        (&summary["model"], &summary["switched"], &summary["missing"]),
        (&DEFAULT.into(), &false.into(), &2.into())
    );
    assert!(
        stderr.contains("not the one that was analysed") && stderr.contains("--leave-out"),
        "{stderr}"
    );
    assert_eq!(sandbox.vectors(), vectors);

    // After `--give-up` nothing of it is left; then again, to the end.
    fine(&sandbox, &["model", "upgrade", "--give-up"]);
    assert_eq!(status(&sandbox)["upgrade"], Value::Null);
    assert_eq!(
        code(&sandbox.run(["model", "upgrade", "--give-up"])),
        1,
        "there is none"
    );
    assert_eq!(sandbox.vectors(), vectors);

    let output = sandbox.run([
        "model",
        "upgrade",
        "voisin-3",
        "--leave-out",
        "--format",
        "json",
    ]);
    assert_eq!(
        (code(&output), &json(&output)["switched"]),
        (1, &true.into())
    );
    assert_eq!(
        json(sandbox.run(["verify", "--format", "json"]))["without_vector"],
        2
    );
    fs::write(&gone, kept).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    let state = status(&sandbox);
    assert_eq!(
        (&state["tracks"], &state["model"]),
        (&4.into(), &"voisin-3".into()),
        "{state}"
    );
    let fresh = Sandbox::new();
    fine(&fresh, &["--model", "voisin-3", "add", &string(&music)]);
    assert_eq!(sandbox.vectors(), fresh.vectors());
    fine(&sandbox, &["verify"]);
}

#[test]
fn an_upgrade_during_an_add_is_refused() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 2);
    fine(&sandbox, &["add", &string(&music)]);
    for i in 10..40 {
        fs::write(
            music.join(format!("{i}.wav")),
            noise_wav(16_000, 20.0, 300 + i),
        )
        .unwrap();
    }
    let child = sandbox
        .command(["add", "--quiet", "--threads", "1", &string(&music)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    super::processes::wait_for_tracks(&sandbox, 3);
    let output = sandbox.run(["model", "upgrade", "voisin-3"]);
    let stderr = text(&output.stderr);
    let ended = code(&output);
    let added = child.wait_with_output().unwrap();
    assert_eq!(code(&added), 0);
    // Either it was refused because of the other one, or that one had ended.
    assert!(
        (ended == 2 && stderr.contains("another voisin")) || ended == 0,
        "{ended} {stderr}"
    );
    if ended == 2 {
        assert_eq!(status(&sandbox)["model"], DEFAULT);
    }
    let again = sandbox.run(["model", "upgrade"]);
    assert!(ended == 0 || code(&again) == 0, "{}", text(&again.stderr));
    let state = status(&sandbox);
    assert_eq!(
        (&state["tracks"], &state["dimension"]),
        (&32.into(), &512.into()),
        "{state}"
    );
    fine(&sandbox, &["verify"]);
}
