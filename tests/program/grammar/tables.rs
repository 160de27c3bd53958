//! Tables and progress as a terminal shows them.

use std::fs;

use super::{demo, run};
use crate::common::{Sandbox, code, fine, fine_json, json, noise_wav, text};

/// Columns of each line.
fn widths(table: &str) -> Vec<usize> {
    table.lines().map(|line| line.chars().count()).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn tables_fit_the_terminal() {
    let at = |columns: &str, line: &str| {
        fine(
            demo()
                .command(line.split(' '))
                .env("COLUMNS", columns)
                .output()
                .unwrap(),
        )
    };
    for line in [
        "similar id:24",
        "similar id:24 --unlike id:1",
        "playlist id:24 --format table",
        "path id:1 id:24",
        "clusters",
        "labels suspects --all -l 3",
        "genres",
        "similar --by artist",
        "list --sort album",
        "classify --all",
        "list",
        "list --tag metal",
        "find metal",
        "labels",
    ] {
        for columns in [40, 80, 120] {
            let table = at(&columns.to_string(), line);
            let widest = widths(&table).into_iter().max().unwrap();
            assert!(widest <= columns, "{line} at {columns}:\n{table}");
        }
    }
    assert!(widths(&at("60", "status")).into_iter().max() <= Some(60));
    // A card is not truncated, and only a path may be wider.
    let card = at("60", "show id:24");
    assert!(
        card.lines()
            .all(|line| line.chars().count() <= 60 || line.contains('/')),
        "{card}"
    );
    let whole = fine(run("show id:24"));
    let words = |card: &str| {
        card.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(card.split("nearest").next().unwrap()),
        words(whole.split("nearest").next().unwrap())
    );
    let table = at("80", "similar chaos -l 3");
    assert!(
        table
            .lines()
            .next()
            .unwrap()
            .trim_start()
            .starts_with("id  similarity"),
        "{table}"
    );
    // At 80 columns a name of sixteen letters has room; the longest here has ten.
    let kin = at("74", "genres metal");
    assert!(kin.lines().take(6).all(|line| !line.contains('…')), "{kin}");
    // A width of 0 is none.
    assert_eq!(
        at("0", "similar id:24 -l 3"),
        fine(run("similar id:24 -l 3"))
    );
}

#[test]
fn voters_stand_nearest_first_and_their_weights_are_explained() {
    let answer = &json(run("classify id:1 --format json"))[0];
    let similarities: Vec<f64> = answer["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["similarity"].as_f64().unwrap())
        .collect();
    assert!(
        similarities.len() > 5 && similarities.is_sorted_by(|a, b| a >= b),
        "{similarities:?}"
    );
    let nearest = fine_json(run("similar id:1 -l 1 --format json"));
    assert_eq!(answer["evidence"][0]["id"], nearest["neighbours"][0]["id"]);
    let table = fine(run("classify id:1"));
    assert!(
        table.contains("labelled tracks and the collection as a whole voted"),
        "{table}"
    );
}

/// Through `script`, which gives the program a terminal; skipped where there is none.
#[cfg(target_os = "linux")]
#[test]
fn long_commands_show_that_they_are_at_work() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("music")).unwrap();
    for seed in 0..3 {
        let wav = noise_wav(16_000, 4.0, seed);
        fs::write(sandbox.path("music").join(format!("{seed}.wav")), wav).unwrap();
    }
    fine(sandbox.run(["add", sandbox.path("music").to_str().unwrap()]));
    let on_terminal = |seconds: u32, verb: &str| {
        let line = format!(
            "(sleep {seconds}; echo id:1) | {} {verb} -",
            env!("CARGO_BIN_EXE_voisin")
        );
        let mut command = std::process::Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("VOISIN_LIBRARY", sandbox.path("library"));
        command
            .env("TERM", "xterm")
            .output()
            .map(|output| (code(&output), text(&output.stdout)))
    };
    let Ok((ending, slow)) = on_terminal(3, "similar") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "script (util-linux) is not installed"
        );
        println!("skipped: script (util-linux) is not installed");
        return;
    };
    assert_eq!(ending, 0, "{slow}");
    // Not for work of less than two seconds; progress is erased before other output and at the end.
    assert!(
        slow.contains("working, ") && !slow.contains("working, 0s"),
        "{slow:?}"
    );
    for shown in slow.split("working, ").skip(1) {
        let next = shown
            .find(|c: char| !c.is_ascii_digit() && !"s \r".contains(c))
            .unwrap();
        assert!(shown[next..].starts_with("\u{1b}["), "{slow:?}");
    }
    let (_, quick) = on_terminal(0, "similar").unwrap();
    assert!(!quick.contains("working"), "{quick:?}");
    let (_, quiet) = on_terminal(3, "--quiet similar").unwrap();
    assert!(!quiet.contains("working"), "{quiet:?}");
}
