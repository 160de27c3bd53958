//! Several processes at once.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

/// Waits until the library holds `n` tracks.
pub(crate) fn wait_for_tracks(sandbox: &Sandbox, n: u64) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while Instant::now() < deadline {
        let output = sandbox.run(["status", "--format", "json"]);
        let state = serde_json::from_slice::<Value>(&output.stdout);
        if state.is_ok_and(|state| state["tracks"].as_u64() >= Some(n)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no {n} tracks in two minutes");
}

fn adding(sandbox: &Sandbox, music: &Path) -> std::process::Child {
    sandbox
        .command(["add", "--threads", "1", "--format", "json", &string(music)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn similar_sees_what_is_committed_while_add_runs() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 2);
    fine(&sandbox, &["add", &string(&music)]);
    write_noises(&music, 10..50, 20.0);
    let mut child = adding(&sandbox, &music);
    let mut sizes = Vec::new();
    let mut slowest = Duration::ZERO;
    while child.try_wait().unwrap().is_none() {
        let before = status(&sandbox)["tracks"].as_u64().unwrap();
        let start = Instant::now();
        let found = fine(
            &sandbox,
            &["similar", "id:1", "--limit", "100", "--format", "json"],
        );
        slowest = slowest.max(start.elapsed());
        let list = json(&found)["neighbours"].as_array().unwrap().clone();
        let after = status(&sandbox)["tracks"].as_u64().unwrap();
        // All but the seed.
        assert!(
            (before..=after).contains(&(list.len() as u64 + 1)),
            "{before} {} {after}",
            list.len()
        );
        sizes.push(list.len());
    }
    let summary = json(child.wait_with_output().unwrap());
    assert_eq!(
        (&summary["added"], &summary["failed"]),
        (&40.into(), &0.into()),
        "{summary}"
    );
    assert!(sizes.is_sorted(), "{sizes:?}");
    sizes.dedup();
    assert!(
        sizes.len() >= 3,
        "add was done before anyone looked: {sizes:?}"
    );
    assert!(
        slowest < Duration::from_secs(5),
        "a search waited {slowest:?}"
    );
    fine(&sandbox, &["verify"]);
}

#[test]
fn a_second_writer_is_refused_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 1);
    write_noises(&music, 10..40, 20.0);
    let first = adding(&sandbox, &music);
    wait_for_tracks(&sandbox, 1);
    for arguments in [
        vec!["add", music.to_str().unwrap()],
        vec!["remove", music.to_str().unwrap()],
    ] {
        let start = Instant::now();
        let output = sandbox.run(&arguments);
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{arguments:?} {stderr}");
        assert!(
            stderr.contains(&format!(
                "another voisin (process {}) is changing",
                first.id()
            )),
            "{arguments:?}: {stderr}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{arguments:?} hung"
        );
    }
    let summary = json(first.wait_with_output().unwrap());
    assert_eq!(
        (&summary["added"], &summary["failed"]),
        (&31.into(), &0.into()),
        "{summary}"
    );
    // The refused process finds everything done.
    let again = json(fine(
        &sandbox,
        &["add", "--format", "json", &string(&music)],
    ));
    assert_eq!(
        (&again["added"], &again["unchanged"]),
        (&0.into(), &31.into())
    );
    fine(&sandbox, &["verify"]);
}
