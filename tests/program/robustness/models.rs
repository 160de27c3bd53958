//! A library's model: that of its first tracks, whatever the default.

use super::*;

#[test]
fn a_library_keeps_its_model() {
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
    assert!(text(&fine(&sandbox, &["status"]).stdout).contains("musicnn-msd"));
    let now = sandbox.vectors();
    assert!(
        before.iter().all(|(file, vector)| now[file] == *vector),
        "the old vectors stay as they are"
    );
    fine(&sandbox, &["similar", "id:1"]);
}
