//! Every question is answered from there as from here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::common::{code, fine_json, json, text};
use super::servers::{Server, programs};
use super::{push, refused, same, sandbox_with};

#[test]
fn verbs_answer_from_there_as_from_here() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(2000);
    let url = server.url();
    push(&sandbox, &url);
    for question in [
        "similar|title 12|--limit|25",
        "similar|title 12|--exact",
        "similar|title 12|--genre|zeuhl",
        "similar|title 12|--artist|artist 17|--limit|all",
        "similar|title 12|--max-per-artist|1|--year|1960-1969",
        // The graph there leaves some out of so many that are neither near nor far.
        "similar|title 12|title 13|--unlike|title 14|--limit|50|--exact",
        "similar|artist:artist 17",
        "similar|album:album 3|--bpm|100-120|--key|compatible",
        "similar|/music/3/album 3/3.flac|--folder|/music/5",
        "similar|title 12|--folder|!/music/odd|--artist|!artist 13",
        "list|--genre|jazz|--sort|title|--limit|20",
        "list|--genre|!jazz|--sort|title|--limit|20",
        "list|title|7|--licence|cc-by",
        "list|--sort|path",
        "list|--energy|20-30|--duration|1:00-2:00",
        "show|title 12",
        "classify|title 12|title 14",
        "similar|no such song",
        "similar|title",
        "similar|title 12|--genre|no such genre",
        "similar|title 12|--artist|nobody at all",
    ] {
        let words: Vec<&str> = question.split('|').chain(["--format", "json"]).collect();
        let here = sandbox.run(&words);
        let there = sandbox.run(words.iter().copied().chain(["--library", &url]));
        assert_eq!(
            code(&there),
            code(&here),
            "{question}: {}{}",
            text(&here.stderr),
            text(&there.stderr)
        );
        if code(&here) == 0 {
            let [here, there] = [here, there].map(json);
            assert!(same(&here, &there), "{question}:\n{here}\n{there}");
        }
    }
    // The variable says the same, and an id of there is understood there.
    let found = json(sandbox.run(["list", "title 12", "--format", "json", "--library", &url]));
    let id = format!("id:{}", found["tracks"][0]["id"]);
    let mut command = sandbox.command(["similar", &id, "--format", "json"]);
    fine_json(command.env("VOISIN_LIBRARY", &url).output().unwrap());
    // A filter that needs all tracks, and verbs that need a library here.
    for words in [
        &["similar", "title 12", "--tag", "calm"][..],
        &["find", "calm"],
        &["add", "."],
    ] {
        let message = refused(sandbox.run(words.iter().chain(&["--library", &url])));
        assert!(message.contains("voisin pull"), "{words:?}: {message}");
    }
}

/// Of many tracks only those near to what is named are fetched, and some that stand for the others.
#[test]
fn a_large_database_answers_from_a_sample() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    // So many that half of them are too many to be compared with: those are found on a walk through the index.
    let sandbox = sandbox_with(42_000);
    let url = server.url();
    push(&sandbox, &url);
    let there = ["--format", "json", "--library", &url];
    let classified = sandbox.run(["classify", "title 4321"].iter().chain(&there));
    let message = text(&classified.stderr);
    assert!(
        message.contains("400 nearest tracks of each and a sample of 4000 of 42000"),
        "{message}"
    );
    fine_json(classified);
    for filter in [&[][..], &["--genre", "Rock"], &["--genre", "Zeuhl"]] {
        let words = [&["similar", "title 4321"], filter].concat();
        let paths = |more: &[&str]| -> BTreeSet<String> {
            let found = fine_json(sandbox.run(words.iter().chain(more)));
            let found = found["neighbours"].as_array().unwrap();
            found.iter().map(|one| one["path"].to_string()).collect()
        };
        let here = paths(&["--format", "json"]);
        let common = here.intersection(&paths(&there)).count();
        assert!(here.len() == 10 && common >= 9, "{filter:?}: {common}");
    }
    // Lists of more than are put in order at once are in the order of those of this disk.
    for (order, by) in [
        ("artist", "path"),
        ("title", "path"),
        ("genre", "genres"),
        ("year", "year"),
        ("time", "seconds"),
        ("key", "key"),
    ] {
        for more in [
            &["--limit", "40", "--reverse"][..],
            &["--limit", "70", "--genre", "rock", "--year", "1960-2019"],
        ] {
            let words = [&["list", "--sort", order], more].concat();
            let ask = |more: &[&str]| fine_json(sandbox.run(words.iter().chain(more)));
            let here = ask(&["--format", "json"]);
            let there = ask(&there);
            assert_eq!(here["total"], there["total"], "{words:?}");
            // Where the order says nothing of two, ids do, which are others there.
            let column = |list: &Value| -> Vec<String> {
                let tracks = list["tracks"].as_array().unwrap().iter();
                tracks.map(|track| track[by].to_string()).collect()
            };
            assert_eq!(column(&here), column(&there), "{words:?}");
        }
    }
}
