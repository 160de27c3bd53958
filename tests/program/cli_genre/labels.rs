//! The label source is a property of the library, and a genre filter means the same in every verb.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::shelf::Shelf;
use crate::common::{Sandbox, code, fine, fine_json, json, text};

/// Tracks in the folders "style 0" to "style 2"; their tags are "Genre 0" to "Genre 2", or empty.
fn folders(sandbox: &Sandbox, tagged: bool) -> Shelf {
    let mut shelf = Shelf::new(sandbox);
    for i in 0..54 {
        let genre = if tagged {
            format!("Genre {}", i % 3)
        } else {
            String::new()
        };
        shelf.put(
            Path::new(&format!("/music/style {}/{i:03}.mp3", i % 3)),
            i % 3,
            &genre,
            0.7,
        );
    }
    shelf
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn the_label_source_is_a_property_that_every_verb_obeys() {
    let sandbox = Sandbox::new();
    let _shelf = folders(&sandbox, true);
    let shown = fine_json(sandbox.run(["labels", "--format", "json"]));
    assert_eq!(
        (&shown["source"], &shown["labelled"]),
        (&"tags".into(), &54.into())
    );
    assert_eq!(
        shown["genres"][0],
        serde_json::json!({"genre": "Genre 0", "tracks": 18})
    );

    let set = fine(sandbox.run(["labels", "folder"]));
    assert!(
        set.contains("labels from folder: 54 of 54 tracks labelled") && set.contains("style 1"),
        "{set}"
    );
    let status = fine_json(sandbox.run(["status", "--format", "json"]));
    assert_eq!(
        status["labels"],
        serde_json::json!({"source": "folder", "by_hand": 0})
    );
    assert!(fine(sandbox.run(["status"])).contains("labels    from folder"));

    let genres = fine_json(sandbox.run(["genres", "--format", "json"]));
    assert_eq!(genres["genres"][0]["genre"], "style 0");
    let near =
        fine_json(sandbox.run(["similar", "id:1", "--genre", "STYLE 1", "--format", "json"]));
    let near = near["neighbours"].as_array().unwrap();
    assert_eq!(near.len(), 10);
    assert!(
        near.iter()
            .all(|found| found["genres"] == serde_json::json!(["style 1"])),
        "{near:?}"
    );
    let voted = json(sandbox.run(["classify", "id:5", "--format", "json"]));
    assert_eq!(voted[0]["genre"], "style 1");
    let list = fine(sandbox.run([
        "playlist", "--genre", "style 2", "--limit", "5", "--format", "paths",
    ]));
    assert!(
        list.lines().count() == 5 && list.lines().all(|path| path.contains("/style 2/")),
        "{list}"
    );
    let clusters = text(&sandbox.run(["clusters", "--format", "json"]).stdout);
    assert!(!clusters.contains("Genre 1"), "{clusters}");
    let map = sandbox.path("map.csv");
    fine(sandbox.run([Path::new("map"), Path::new("--output"), &map]));
    let map = fs::read_to_string(map).unwrap();
    assert!(map.contains("style 1") && !map.contains("Genre"), "{map}");
    let suspects = fine_json(sandbox.run(["labels", "suspects", "--all", "--format", "json"]));
    assert!(
        suspects[0]["labels"][0]
            .as_str()
            .unwrap()
            .starts_with("style"),
        "{suspects}"
    );
    let evaluated =
        fine_json(sandbox.run(["lab", "eval", "retrieval", "-k", "3", "--format", "json"]));
    assert!(
        evaluated["genres"][0]["genre"]
            .as_str()
            .unwrap()
            .starts_with("style"),
        "{evaluated}"
    );
    // a head of one source is not used with labels of another
    fine(sandbox.run(["labels", "tags"]));
    assert!(fine(sandbox.run(["train"])).contains("labels from tags"));
    assert_eq!(
        json(sandbox.run(["classify", "id:5", "--format", "json"]))[0]["source"],
        "head"
    );
    let moved = sandbox.run(["labels", "folder"]);
    assert!(
        text(&moved.stderr).contains("the trained head has labels from tags"),
        "{}",
        text(&moved.stderr)
    );
    assert!(fine(sandbox.run(["status"])).contains("trains one on the library's labels"));

    // a table is stored by its full path; without the file, commands that need no genre still work
    let table = sandbox.path("mine.csv");
    fs::write(
        &table,
        "path,genre\n/music/style 0/000.mp3,Zeuhl\n/music/style 1/001.mp3,Zeuhl\nx.mp3,Ska\n",
    )
    .unwrap();
    let set = sandbox
        .command(["labels", "mine.csv"])
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    assert!(fine(&set).contains("2 of 54 tracks labelled"));
    assert!(
        text(&set.stderr).contains("1 line of the label file named no track"),
        "{}",
        text(&set.stderr)
    );
    let zeuhl = fine_json(sandbox.run(["similar", "id:1", "--genre", "zeuhl", "--format", "json"]));
    assert_eq!(zeuhl["neighbours"][0]["id"], 2);
    fs::remove_file(&table).unwrap();
    let gone = sandbox.run(["similar", "id:1", "--genre", "zeuhl"]);
    assert!(
        code(&gone) == 2 && text(&gone.stderr).contains("mine.csv"),
        "{}",
        text(&gone.stderr)
    );
    let near = sandbox.run(["similar", "id:1"]);
    assert_eq!(code(&near), 0);
    for output in [&gone, &near] {
        let message = text(&output.stderr);
        assert_eq!(
            message.matches("voisin labels tags").count(),
            1,
            "{message}"
        );
    }
    assert_eq!(code(&sandbox.run(["labels", "nosuch.csv"])), 2);
}

#[test]
fn labels_by_hand_stand_above_the_source() {
    let sandbox = Sandbox::new();
    let mut shelf = folders(&sandbox, false);
    let genre_of = |id: &str| -> Value {
        let shown = fine_json(sandbox.run(["show", id, "--format", "json"]));
        shown[0]["genres"].clone()
    };
    fine(sandbox.run(["labels", "folder"]));
    let set = sandbox.run(["labels", "set", "id:1", "id:2", "Zeuhl; RnB"]);
    assert!(fine(&set).contains("2 tracks labelled Zeuhl; RnB"));
    assert_eq!(genre_of("id:1"), serde_json::json!(["Zeuhl", "RnB"]));
    assert_eq!(
        fine_json(sandbox.run(["labels", "--format", "json"]))["by_hand"],
        2
    );
    fine(sandbox.run(["labels", "set", "id:1", "Kosmische"]));
    assert_eq!(genre_of("id:1"), serde_json::json!(["Kosmische"]));

    // labels precede tags and belong to the audio: a removed track that is added again still has its label
    fine(sandbox.run(["labels", "tags"]));
    assert_eq!(genre_of("id:1"), serde_json::json!(["Kosmische"]));
    fine(sandbox.run(["labels", "unset", "id:1", "id:2"]));
    assert_eq!(code(&sandbox.run(["labels", "unset", "id:1"])), 1);
    assert_eq!(
        fine_json(sandbox.run(["labels", "--format", "json"]))["by_hand"],
        0
    );

    assert_eq!(code(&sandbox.run(["labels", "set", "id:1", " ; "])), 2);
    assert!(code(&sandbox.run(["labels", "set", "id:999", "Ska"])) > 0);
    let content = shelf
        .library
        .track(voisin_base::track::TrackId(3))
        .unwrap()
        .audio
        .content;
    fine(sandbox.run(["labels", "set", "id:3", "Ska"]));
    shelf
        .library
        .remove_tracks(&[voisin_base::track::TrackId(3)])
        .unwrap();
    assert_eq!(
        shelf
            .library
            .hand_labels()
            .unwrap()
            .get(&content)
            .map(String::as_str),
        Some("Ska")
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_genre_filter_joins_and_splits_in_every_verb() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    for i in 0..30 {
        let genre = ["Rock/Pop", "Electronic; Ambient; IDM", "Hip Hop"][i % 3];
        shelf.put(Path::new(&format!("/music/{i:03}.mp3")), i % 3, genre, 0.7);
    }
    let near = |arguments: &[&str]| -> Vec<Value> {
        let found = sandbox.run(
            [
                &["similar", "id:1", "--limit", "30", "--format", "json"],
                arguments,
            ]
            .concat(),
        );
        json(found)["neighbours"].as_array().unwrap().clone()
    };
    for (name, tracks) in [
        ("pop", 9),
        ("ROCK", 9),
        ("ambient", 10),
        ("hiphop", 10),
        ("Hip-Hop", 10),
    ] {
        assert_eq!(near(&["--genre", name]).len(), tracks, "{name}");
    }
    assert_eq!(
        near(&["--genre", "idm"])[0]["genres"],
        serde_json::json!(["Electronic", "Ambient", "IDM"])
    );
    assert!(
        fine(sandbox.run(["similar", "id:2", "--limit", "3"])).contains("Electronic, Ambient, IDM")
    );
    assert_eq!(near(&["--genre", "!pop,idm"]).len(), 10);
    let clusters = |genre: &str| sandbox.run(["clusters", "--genre", genre, "--format", "csv"]);
    assert_eq!(
        text(&clusters("hiphop").stdout).lines().count() - 1,
        text(&clusters("Hip Hop").stdout).lines().count() - 1
    );

    // a playlist's genre is a filter, with seeds and without
    let list = |arguments: &[&str]| -> Vec<usize> {
        let stdout = fine(sandbox.run([&["playlist", "--format", "paths"], arguments].concat()));
        stdout
            .lines()
            .map(|path| path[7..10].parse::<usize>().unwrap() % 3)
            .collect()
    };
    assert_eq!(list(&["--genre", "hiphop"]), [2; 10]);
    let ambient = |seeds: &[&str]| list(&[seeds, &["--genre", "ambient"]].concat());
    assert_eq!(
        ambient(&["id:1"]),
        [0],
        "the seed opens; nothing near is of the genre"
    );
    let seeded = ambient(&["id:1", "id:2"]);
    assert!(seeded.len() > 2 && seeded[0] == 0, "{seeded:?}");
    assert!(seeded[1..].iter().all(|style| *style == 1), "{seeded:?}");
    let without = list(&["id:1", "--genre", "!ambient,hip-hop", "--limit", "30"]);
    assert!(
        without.len() > 1 && without.iter().all(|style| *style == 0),
        "{without:?}"
    );
    assert_eq!(
        code(&sandbox.run(["playlist", "id:1", "--folder", "/nowhere"])),
        1
    );
    assert_eq!(
        code(&sandbox.run(["playlist", "--artist", "nobody at all"])),
        1
    );

    // an unknown genre has the same error in every verb
    let polka = |arguments: &[&str]| {
        let output = sandbox.run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output.stderr));
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("no track of genre \"Ambeint\": did you mean Ambient?"),
            "{arguments:?}: {stderr}"
        );
        assert!(
            stderr.contains("there are Ambient, Electronic, Hip Hop, IDM, Pop, Rock"),
            "{arguments:?}: {stderr}"
        );
    };
    polka(&["similar", "id:1", "--genre", "Ambeint"]);
    polka(&["similar", "id:1", "--genre", "!Ambeint"]);
    polka(&["clusters", "--genre", "Ambeint"]);
    polka(&["playlist", "--genre", "Ambeint"]);
    polka(&["genres", "Ambeint"]);
    polka(&["lab", "eval", "retrieval", "--join", "Ambeint,Rock"]);
}
