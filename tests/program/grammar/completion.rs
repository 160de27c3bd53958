//! Completions of shells.

use std::path::Path;

use super::{demo, run};
use crate::common::fine;

/// Completions of bash for a line whose last word is being typed.
#[cfg(unix)]
fn completed(words: &[&str]) -> Vec<String> {
    let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(voisin completions bash); COMP_WORDS=({}); COMP_CWORD={}; \
         _voisin_or_names voisin \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        list.join(" "),
        words.len() - 1
    );
    let program = Path::new(env!("CARGO_BIN_EXE_voisin")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .env("PATH", path)
        .env("VOISIN_LIBRARY", demo().path("library"))
        .output()
        .unwrap();
    fine(&output).lines().map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn shells_complete_what_the_library_has() {
    assert_eq!(completed(&["voisin", "list", "--genre", "me"]), ["Metal"]);
    assert_eq!(completed(&["voisin", "list", "--genre", ""]).len(), 6);
    assert_eq!(
        completed(&["voisin", "similar", "id:1", "--exclude-genre", "=", "te"]),
        ["Techno"]
    );
    assert_eq!(completed(&["voisin", "genres", "chip"]), ["Chiptune"]);
    assert_eq!(
        completed(&["voisin", "list", "--artist", "OMRI"]),
        ["Omri\\ Lahav"]
    );
    assert_eq!(
        completed(&["voisin", "similar", "artist", ":", "muld"]),
        ["Muldjord"]
    );
    let words = completed(&["voisin", "find", "calm", "pia"]);
    assert!(
        words.contains(&"piano".to_owned()) && words.iter().all(|word| word.contains("pia")),
        "{words:?}"
    );
    assert!(
        completed(&["voisin", "similar", "id:1", "--tag", "guit"]).contains(&"guitar".to_owned())
    );
    assert_eq!(completed(&["voisin", "find", "calm", "--gen"]), ["--genre"]);
    let ids = completed(&["voisin", "show", "id", ":", "1"]);
    assert!(ids.len() == 11 && ids.contains(&"17".to_owned()), "{ids:?}");
    let models = completed(&["voisin", "model", "show", "voisin"]);
    assert!(models.contains(&"voisin-equal".to_owned()), "{models:?}");
    assert_eq!(completed(&["voisin", "model", "check", "voisin"]), models);
    assert_eq!(
        completed(&["voisin", "eval", "genre", "--join", "me"]),
        ["Metal"]
    );
    let named = completed(&["voisin", "add", "--model", "musicnn"]);
    assert_eq!(named, ["musicnn-msd"]);
    assert_eq!(
        completed(&["voisin", "list", "--sort", "ti"]),
        ["time", "title"]
    );
    assert_eq!(
        completed(&["voisin", "labels", "set", "id", ":", "1", "me"]),
        ["Metal"]
    );
    // Other completions are unchanged.
    assert_eq!(completed(&["voisin", "simi"]), ["similar"]);
    assert!(completed(&["voisin", "list", "--form"]).contains(&"--format".to_owned()));
    for (shell, expected) in [
        ("zsh", ":GENRE:_voisin_genres"),
        ("fish", "library-names genres"),
    ] {
        assert!(
            fine(run(&format!("completions {shell}"))).contains(expected),
            "{shell}"
        );
    }
    let zsh = fine(run("completions zsh"));
    assert!(
        zsh.starts_with("#compdef voisin\n") && zsh.contains(":TRACK:_voisin_tracks"),
        "{zsh}"
    );
    assert!(
        zsh.contains("'*:seeds -- ") && !zsh.contains("'*::"),
        "options after arguments are completed, too"
    );
    let fish = fine(run("completions fish"));
    assert!(fish.contains("-l seed -r -a '(__voisin_tracks)'"), "{fish}");
    for (takes, names) in [
        ("*--tag=", "words"),
        ("'*:query -- Words for the sound", "words"),
        ("*--composer=", "composers"),
        ("Only those near to this one", "makers"),
        ("::name -- A model", "models"),
        ("]:FIELD:", "orders"),
        ("]:LICENCE:", "licences"),
    ] {
        let line = zsh.lines().find(|line| line.contains(takes));
        assert!(
            line.is_some_and(|line| line.contains(&format!(":_voisin_{names}'"))),
            "{line:?}"
        );
    }
}
