//! Albums: similar ones, and lists in their order.

use crate::catalogue::sound;
use crate::common::{Sandbox, code, fine, fine_json, text};

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn albums_are_compared_and_listed_by_disc_and_number() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for (seed, name, album, owner, disc, number) in [
        (1, "a/1.wav", "Hits", Some("Ann"), "1", "2"),
        (2, "a/2.wav", "Hits", Some("Ann"), "2", "1"),
        (3, "b/1.wav", "Hits", Some("Bo"), "1", "1"),
        (4, "mix/1.wav", "Summer", None, "1", "1"),
        (5, "mix/2.wav", "Summer", None, "1", "10"),
    ] {
        let artist = format!("Artist {seed}");
        let mut frames = vec![
            ("TPE1", artist.as_str()),
            ("TALB", album),
            ("TPOS", disc),
            ("TRCK", number),
            ("TIT2", name),
        ];
        frames.extend(owner.map(|owner| ("TPE2", owner)));
        sound(&music.join(name), seed, &frames);
    }
    sound(&music.join("single.wav"), 6, &[("TPE1", "Ann")]);
    fine(sandbox.run(["add", music.to_str().unwrap()]));

    let all = fine_json(sandbox.run(["similar", "--by", "album", "--format", "json"]));
    let named: Vec<(&str, &str, u64)> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["artist"].as_str().unwrap(),
                one["album"].as_str().unwrap(),
                one["tracks"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            ("Ann", "Hits", 2),
            ("various artists", "Summer", 2),
            ("Bo", "Hits", 1)
        ]
    );
    assert!(
        all[0]["cohesion"].is_number() && all[2]["cohesion"].is_null(),
        "{all}"
    );
    let near = fine_json(sandbox.run(["similar", "--by", "album", "ann hits", "--format", "json"]));
    let near = near.as_array().unwrap();
    assert_eq!(near.len(), 2);
    assert!(
        near[0]["similarity"].as_f64() >= near[1]["similarity"].as_f64(),
        "{near:?}"
    );
    assert!(near.iter().all(|one| one["artist"] != "Ann"));
    let several = sandbox.run(["similar", "--by", "album", "hits"]);
    assert_eq!(code(&several), 1);
    let stderr = text(&several.stderr);
    assert!(
        stderr.contains("no album \"hits\"")
            && stderr.contains("\"voisin similar --by album -l all\" lists"),
        "{stderr}"
    );
    // A name longer than the query.
    assert!(
        fine(sandbox.run(["similar", "--by", "album", "--format", "csv"]))
            .starts_with("album,artist,tracks,cohesion,similarity\n")
    );

    let table = fine(sandbox.run(["list", "--sort", "album"]));
    let mut lines = table.lines();
    assert!(lines.next().unwrap().contains("album"), "{table}");
    let numbers: Vec<&str> = lines
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.contains('-') && word.len() == 4)
        })
        .collect();
    assert_eq!(numbers, ["1-02", "2-01", "1-01", "1-01", "1-10"], "{table}");
    assert!(
        !fine(sandbox.run(["list"]))
            .lines()
            .next()
            .unwrap()
            .contains("album")
    );
}
