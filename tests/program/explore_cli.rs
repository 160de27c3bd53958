//! The verbs that explore, as a process: parts of a track, contrasts, clusters, maps, paths, playlists, duplicates.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Sandbox, fine, fine_json as json, samples_wav, text};
use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo/library");

/// The message of a usage error or failure.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn rows(csv: &str) -> Vec<HashMap<String, String>> {
    csv::Reader::from_reader(csv.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

/// Copies styles of the demo's music and adds them.
fn library(styles: &[&str]) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for style in styles {
        fs::create_dir_all(music.join(style)).unwrap();
        for file in fs::read_dir(Path::new(DEMO).join(style)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), music.join(style).join(file.file_name())).unwrap();
        }
    }
    fine(sandbox.run([Path::new("add"), &music]));
    (sandbox, music)
}

fn decoded(path: &Path) -> Vec<f32> {
    voisin_audio::read_all(path, 22_050).unwrap().0.samples
}

/// Six excerpts of 14 s one after the other, as one file.
fn medley(music: &Path) -> PathBuf {
    let parts = [
        "folk/omri-lahav-celtica.mp3",
        "metal/muldjord-chaos-god.mp3",
        "ambient/maxstack-nebula.ogg",
        "folk/omri-lahav-eastern-dreams.mp3",
        "metal/obsidian-shell-orphanage.mp3",
        "ambient/zeropage-void-sensor.mp3",
    ];
    let samples: Vec<f32> = parts
        .iter()
        .flat_map(|part| {
            let mut samples = decoded(&Path::new(DEMO).join(part));
            samples.resize(14 * 22_050, 0.0);
            samples
        })
        .collect();
    let path = music.join("medley.wav");
    fs::write(&path, samples_wav(22_050, &samples)).unwrap();
    path
}

/// A path of an answer, as Unix writes it.
fn slashed(path: &Value) -> String {
    path.as_str().unwrap().replace('\\', "/")
}

#[test]
fn a_part_of_a_seed_finds_what_sounds_like_it() {
    let (sandbox, music) = library(&["folk", "metal", "ambient"]);
    let medley = medley(&music);
    let medley = medley.to_str().unwrap();
    fine(sandbox.run(["add", medley]));
    let search = |more: &[&str]| -> Vec<Value> {
        let all = ["similar", medley, "--format", "json"]
            .into_iter()
            .chain(more.iter().copied());
        json(sandbox.run(all))["neighbours"]
            .as_array()
            .unwrap()
            .clone()
    };
    // 0:43 to 0:53 lies in the fourth excerpt, which begins at 0:42.
    for (from, to) in [("0:43", "0:53"), ("43.4", "51")] {
        let found = search(&["--from", from, "--to", to]);
        assert!(
            slashed(&found[0]["path"]).ends_with("eastern-dreams.mp3"),
            "{from}: {found:?}"
        );
        assert!(
            !found
                .iter()
                .any(|near| slashed(&near["path"]).ends_with("medley.wav")),
            "the seed itself is left out"
        );
    }
    let found = search(&[
        "--from", "0:43", "--to", "0:53", "--limit", "4", "--genre", "metal",
    ]);
    assert_eq!(found.len(), 4);
    assert!(
        found
            .iter()
            .all(|near| slashed(&near["path"]).contains("/metal/"))
    );

    // A part beyond the end is cut, with a message.
    let cut = sandbox.run(["similar", medley, "--from", "75", "--to", "100"]);
    fine(&cut);
    assert!(
        text(&cut.stderr).contains("the track ends at 1:24: the part is 9.0 s long"),
        "{cut:?}"
    );

    let wrong =
        |arguments: &[&str]| refused(&sandbox.run(["similar", medley].iter().chain(arguments)));
    assert!(wrong(&["--from", "1:05"]).contains("--to"));
    assert!(wrong(&["--from", "9:00", "--to", "9:10"]).contains("inside the track"));
    assert!(wrong(&["--from", "30", "--to", "20"]).contains("expected a time after"));
    assert!(wrong(&["--from", "1:75", "--to", "2:00"]).contains("expected a time such as 90"));
    assert!(wrong(&["id:1", "--from", "1", "--to", "9"]).contains("one seed, found 2"));
}

#[test]
fn a_search_moves_towards_some_and_away_from_others() {
    let (sandbox, _) = library(&["metal", "techno", "ambient"]);
    let search = |more: &[&str]| -> Vec<Value> {
        let all = ["similar", "chaos god", "void sensor", "--format", "json"]
            .iter()
            .chain(more)
            .copied();
        json(sandbox.run(all))["neighbours"]
            .as_array()
            .unwrap()
            .clone()
    };
    let metal = |found: &[Value]| {
        found[..6]
            .iter()
            .filter(|n| n["genres"][0] == "Metal")
            .count()
    };
    let plain = search(&[]);
    let away = search(&["--unlike", "mutilated mime"]);
    assert!(
        metal(&plain) >= 3 && metal(&away) < metal(&plain),
        "{plain:?} {away:?}"
    );
    assert!(away.iter().all(|n| n["title"] != "Mutilated Mime"));
    let only = search(&["--unlike", "mutilated mime", "--genre", "techno"]);
    assert!(!only.is_empty() && only.iter().all(|n| n["genres"][0] == "Techno"));
}

#[test]
fn clusters_have_names_and_numbers() {
    let (sandbox, _) = library(&["metal", "techno", "orchestral", "ambient"]);
    let found = json(sandbox.run(["clusters", "--format", "json"]));
    let clusters = found["clusters"].as_array().unwrap();
    assert!(clusters.len() > 1, "{found}");
    for cluster in clusters {
        for key in ["name", "medoid", "cohesion", "genres", "artists", "nearest"] {
            assert!(!cluster[key].is_null(), "{key}: {cluster}");
        }
        assert!(cluster["genres"][0]["lift"].as_f64().unwrap() > 0.0);
        let others = cluster["nearest"].as_array().unwrap().len();
        assert_eq!(others, (clusters.len() - 1).min(5));
    }
    let assigned = |sandbox: &Sandbox| -> HashMap<String, String> {
        let found = rows(&fine(sandbox.run(["clusters", "--format", "csv"])));
        found
            .into_iter()
            .map(|row| (row["path"].clone(), row["cluster"].clone()))
            .collect()
    };
    let before = assigned(&sandbox);
    assert_eq!(before.len(), 30);
    assert_eq!(assigned(&sandbox), before, "the same again");
    let metal = rows(&fine(
        sandbox.run(["clusters", "--genre", "metal", "--format", "csv"]),
    ));
    assert!(
        !metal.is_empty()
            && metal
                .iter()
                .all(|row| slashed(&row["path"].clone().into()).contains("/metal/")),
        "{metal:?}"
    );
    let table = fine(sandbox.run(["clusters"]));
    assert!(
        table.contains("cohesion") && table.contains("artists"),
        "{table}"
    );
    let first = table.lines().next().unwrap();
    assert!(
        first.contains(" cluster") && first.ends_with(" in no group"),
        "{first}"
    );
    assert_eq!(
        sandbox.run(["clusters", "--genre", "polka"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_map_is_a_page_and_a_table() {
    let (sandbox, _) = library(&["metal", "techno", "ambient"]);
    let draw = |name: &str| -> Vec<u8> {
        let out = sandbox.path(name);
        fine(sandbox.run(["map", "--output", out.to_str().unwrap()]));
        fs::read(out).unwrap()
    };
    let first = text(&draw("map.csv"));
    assert_eq!(draw("again.csv"), first.as_bytes(), "same seed, same map");
    let predicted = rows(&first);
    assert_eq!(predicted.len(), 22);
    let right = predicted
        .iter()
        .filter(|row| row["genres"] == row["predicted_genre"])
        .count();
    assert!(
        (12..22).contains(&right),
        "{right} of 22 predicted as tagged: never all, as no track votes for itself"
    );
    let page = text(&draw("map.html"));
    assert!(page.contains("Content-Security-Policy") && !page.contains("src=\"http"));
    for column in [
        "genres",
        "predicted_genre",
        "cluster",
        "words",
        "artist",
        "year",
    ] {
        assert!(
            predicted.iter().all(|row| row.contains_key(column)),
            "{column}"
        );
    }
    let metal = predicted.iter().filter(|row| row["genres"] == "Metal");
    assert!(
        metal.filter(|row| row["words"].contains("metal")).count() >= 4,
        "{first}"
    );
    assert!(
        refused(&sandbox.run(["map", "--output", "map.png"])).contains("expected .html or .csv")
    );
}

#[test]
fn a_path_goes_from_stop_to_stop() {
    let (sandbox, _) = library(&["metal", "folk", "orchestral", "ambient"]);
    let walk = |more: &[&str]| -> Value {
        let all = ["path", "chaos god", "nebula", "--format", "json"]
            .iter()
            .chain(more)
            .copied();
        json(sandbox.run(all))
    };
    let titles = |walk: &Value| -> Vec<String> {
        walk["tracks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["title"].as_str().unwrap().to_owned())
            .collect()
    };
    for more in [
        &[][..],
        &["--via", "celtica"],
        &["--via", "celtica", "--via", "fortress of"],
        &["--steps", "7"],
    ] {
        if more.contains(&"fortress of") {
            assert_eq!(
                sandbox
                    .run(["path", "chaos god", "nebula"].iter().chain(more))
                    .status
                    .code(),
                Some(1),
                "no such track"
            );
            continue;
        }
        let found = walk(more);
        let order = titles(&found);
        assert_eq!(
            (order[0].as_str(), order.last().unwrap().as_str()),
            ("Chaos God", "Nebula")
        );
        let distinct: std::collections::HashSet<&String> = order.iter().collect();
        assert_eq!(distinct.len(), order.len(), "{order:?}");
        let steps: Vec<f64> = found["tracks"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|t| t["step"].as_f64())
            .collect();
        let largest = steps.iter().copied().fold(0.0, f64::max);
        assert!((found["largest_step"].as_f64().unwrap() - largest).abs() < 1e-6);
        if more.contains(&"--steps") {
            assert_eq!(order.len(), 8);
        }
        if more.contains(&"celtica") {
            assert!(
                order[1..order.len() - 1].contains(&"Celtica".to_owned()),
                "{order:?}"
            );
        }
    }
    // The limit means the same as for playlists.
    let any_number = walk(&["--steps", "9", "--max-per-artist", "0"]);
    assert_eq!(any_number["tracks"], walk(&["--steps", "9"])["tracks"]);
    let capped = walk(&["--steps", "9", "--max-per-artist", "1"]);
    let mut artists: Vec<&str> = capped["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["artist"].as_str())
        .collect();
    let named = artists.len();
    artists.sort_unstable();
    artists.dedup();
    assert_eq!(artists.len(), named, "one track an artist");
    let list = fine(sandbox.run(["path", "chaos god", "nebula", "--format", "m3u8"]));
    assert!(
        list.starts_with("#EXTM3U\n") && list.trim_end().ends_with("maxstack-nebula.ogg"),
        "{list}"
    );
    assert!(refused(&sandbox.run(["path", "nebula", "nebula"])).contains("the same track twice"));
}

#[test]
fn playlists_start_from_all_kinds_of_seeds() {
    let (sandbox, music) = library(&["metal", "techno", "ambient"]);
    let soft: Vec<f32> = decoded(&music.join("metal/muldjord-chaos-god.mp3"))
        .iter()
        .map(|x| x / 2.0)
        .collect();
    fs::write(music.join("soft.wav"), samples_wav(22_050, &soft)).unwrap();
    fine(sandbox.run([Path::new("add"), &music]));
    let list = |more: &[&str]| -> Vec<String> {
        let every: &[&str] = if more.contains(&"--max-per-artist") {
            &[]
        } else {
            &["--max-per-artist", "0"]
        };
        let all = ["playlist", "--format", "paths"]
            .iter()
            .chain(every)
            .chain(more)
            .copied();
        fine(sandbox.run(all))
            .lines()
            .map(|line| line.rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    // Named seeds come first, and each has its share of the list.
    let both = list(&["mutilated mime", "nebula", "--limit", "10"]);
    assert_eq!(
        (both.len(), both[0].as_str(), both[1].as_str()),
        (10, "muldjord-mutilated-mime.mp3", "maxstack-nebula.ogg")
    );
    let loud = both
        .iter()
        .filter(|name| name.starts_with("muldjord") || name.starts_with("obsidian"))
        .count();
    assert!((2..=8).contains(&loud), "{both:?}");
    // A playlist as seed: its tracks may be chosen; entries outside the library are reported.
    let wish = music.join("wish.m3u8");
    fs::write(
        &wish,
        "#EXTM3U\nambient/maxstack-nebula.ogg\nambient/maxstack-awakening.opus\ngone.mp3\n",
    )
    .unwrap();
    let output = sandbox.run([
        "playlist",
        wish.to_str().unwrap(),
        "--limit",
        "5",
        "--format",
        "paths",
        "--max-per-artist",
        "0",
    ]);
    let stdout = fine(&output);
    assert_eq!(stdout.lines().count(), 5);
    assert!(
        text(&output.stderr).contains("1 of 3 entries are not in the library"),
        "{}",
        text(&output.stderr)
    );
    assert!(
        stdout
            .lines()
            .filter(|line| line.replace('\\', "/").contains("/ambient/"))
            .count()
            >= 4,
        "{stdout}"
    );
    // With no entry in the library nothing is found, as below an empty folder.
    let gone = music.join("gone.m3u8");
    fs::write(&gone, "gone.mp3\n").unwrap();
    let none = sandbox.run(["similar", gone.to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(1), "{}", text(&none.stderr));
    // Similar takes a playlist too.
    let near = json(sandbox.run(["similar", wish.to_str().unwrap(), "--format", "json"]));
    assert_eq!(near["seeds"].as_array().unwrap().len(), 2);

    // The same recording once.
    let twice = list(&[
        "chaos god",
        "armygeddon",
        "--limit",
        "8",
        "--keep-duplicates",
    ]);
    assert!(twice.contains(&"soft.wav".to_owned()), "{twice:?}");
    let once = list(&["chaos god", "armygeddon", "--limit", "8"]);
    assert!(
        once.contains(&"muldjord-chaos-god.mp3".to_owned())
            && !once.contains(&"soft.wav".to_owned()),
        "{once:?}"
    );

    // Caps, lengths, shuffling.
    let capped = list(&["--genre", "metal", "--limit", "12", "--max-per-artist", "1"]);
    assert!(
        capped
            .iter()
            .filter(|name| name.starts_with("muldjord"))
            .count()
            <= 1,
        "{capped:?}"
    );
    assert_eq!(
        list(&["--genre", "techno", "--length", "70s"]).len(),
        5,
        "70 s in excerpts of 14 s"
    );
    let shuffled = |seed: &str| {
        list(&[
            "--genre",
            "techno",
            "--limit",
            "8",
            "--shuffle",
            "--random-seed",
            seed,
        ])
    };
    assert_eq!(shuffled("1"), shuffled("1"));
    assert_ne!(shuffled("1"), shuffled("2"));
    let plain = list(&["chaos god", "--limit", "6"]);
    assert_ne!(
        list(&["chaos god", "--limit", "6", "--diversity", "0.9"]),
        plain
    );
    let ids = rows(&fine(sandbox.run(["clusters", "--format", "csv"])));
    let of_cluster = &ids.iter().find(|row| row["cluster"] != "0").unwrap()["cluster"];
    assert_eq!(list(&["--cluster", of_cluster, "--limit", "3"]).len(), 3);

    // Formats.
    let relative = fine(sandbox.run([
        "playlist",
        "nebula",
        "--relative-to",
        music.to_str().unwrap(),
    ]));
    assert!(
        relative
            .lines()
            .any(|line| line == "ambient/maxstack-nebula.ogg"),
        "{relative}"
    );
    assert!(refused(&sandbox.run(["playlist"])).contains("expected a seed"));
    let wrong = |arguments: &[&str]| refused(&sandbox.run(["playlist"].iter().chain(arguments)));
    assert!(wrong(&["--genre", "polka"]).contains("no track of genre \"polka\""));
    let nobody = sandbox.run(["playlist", "--cluster", "99"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no cluster 99"));
    assert!(wrong(&["nebula", "--diversity", "3"]).contains("expected 0 to 1"));
}

#[test]
fn a_list_with_variety_differs_and_leaves_out_what_was_played() {
    let (sandbox, _) = library(&["metal", "folk", "ambient"]);
    let list = |more: &[&str]| -> Vec<String> {
        let arguments = ["playlist", "chaos god", "-l", "6", "--max-per-artist", "0"];
        let found = fine(sandbox.run([&arguments[..], &["--format", "paths"], more].concat()));
        let mut paths: Vec<String> = found.lines().map(str::to_owned).collect();
        paths.sort();
        paths
    };
    let near = list(&[]);
    assert_eq!(near, list(&["--variety", "0"]));
    let drawn = |seed: &str| list(&["--variety", "1", "--random-seed", seed]);
    assert_eq!(drawn("1"), drawn("1"));
    assert!(drawn("1") != drawn("2") || drawn("2") != drawn("3"));
    // Named seeds open a list, unless they are excluded.
    assert!(near.iter().any(|path| path.ends_with("chaos-god.mp3")));
    let other = near.iter().find(|path| !path.ends_with("chaos-god.mp3"));
    let rest = list(&["--exclude", "chaos god", "--exclude", other.unwrap()]);
    assert_eq!(rest.len(), 6);
    assert!(!rest.contains(other.unwrap()));
    assert!(!rest.iter().any(|path| path.ends_with("chaos-god.mp3")));
    let wrong = sandbox.run(["playlist", "chaos god", "--variety", "2"]);
    assert!(refused(&wrong).contains("0 to 1"));
}

#[test]
fn duplicates_name_the_better_file_and_delete_nothing() {
    let (sandbox, music) = library(&["metal", "ambient"]);
    let nothing = sandbox.run(["duplicates"]);
    assert!(
        fine(&nothing).starts_with("0 groups"),
        "no false pair: {}",
        text(&nothing.stdout)
    );
    let samples = decoded(&music.join("metal/muldjord-chaos-god.mp3"));
    // Softer, with leading silence, and the same audio under another name.
    let late: Vec<f32> = std::iter::repeat_n(0.0, 11_025)
        .chain(samples.iter().map(|x| x / 2.0))
        .collect();
    fs::write(music.join("late.wav"), samples_wav(22_050, &late)).unwrap();
    fs::copy(
        music.join("ambient/maxstack-nebula.ogg"),
        music.join("copy.ogg"),
    )
    .unwrap();
    fine(sandbox.run([Path::new("add"), &music]));
    let groups = json(sandbox.run(["duplicates", "--format", "json"]));
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 2, "{groups:?}");
    let size = |name: &str| fs::metadata(music.join(name)).unwrap().len();
    let kept = |group: &Value| {
        slashed(&group["keep"]["path"])
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    let near = groups
        .iter()
        .find(|group| kept(group) == "late.wav")
        .expect("a lossless file is the better one");
    assert_eq!(
        near["bytes_to_be_won"],
        size("metal/muldjord-chaos-god.mp3")
    );
    assert!(
        near["why"].as_str().unwrap().starts_with("lossless"),
        "{near}"
    );
    assert_eq!(near["others"][0]["exact"], false);
    let exact = groups
        .iter()
        .find(|group| kept(group) != "late.wav")
        .unwrap();
    assert_eq!(exact["bytes_to_be_won"], size("copy.ogg"));
    assert_eq!(exact["others"][0]["exact"], true);
    let csv = rows(&fine(sandbox.run(["duplicates", "--format", "csv"])));
    assert_eq!(csv.iter().filter(|row| row["keep"] == "yes").count(), 2);
    assert_eq!(csv.len(), 4);
    let table = fine(sandbox.run(["duplicates"]));
    assert!(
        table.contains("better: ")
            && table.contains("the same audio")
            && table.contains("MB could be freed")
    );
    assert!(music.join("copy.ogg").exists() && music.join("late.wav").exists());
}

#[test]
fn duplicates_compares_sound_where_vectors_leave_doubt() {
    let (sandbox, music) = library(&["metal", "ambient"]);
    // A degraded copy: narrow band, noise, coarse steps, a delay; its vectors differ from the original's.
    let samples = decoded(&music.join("metal/obsidian-shell-orphanage.mp3"));
    let mut state = 12_345_u32;
    let mut low = 0.0_f32;
    let bad: Vec<f32> = std::iter::repeat_n(0.0, 7000)
        .chain(samples.iter().copied())
        .map(|sample| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = state as f32 / u32::MAX as f32 - 0.5;
            low += 0.35 * (sample - low);
            ((low * 0.4 + 0.02 * noise) * 200.0).round() / 200.0
        })
        .collect();
    let copy = music.join("bad.wav");
    fs::write(&copy, samples_wav(22_050, &bad)).unwrap();
    fine(sandbox.run([Path::new("add"), &music]));
    let groups = json(sandbox.run(["duplicates", "--format", "json"]));
    assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
    // A result is stored: nothing is decoded again, even where the file cannot be read.
    fs::write(&copy, "no audio").unwrap();
    let again = json(sandbox.run(["duplicates", "--format", "json"]));
    assert_eq!(again.as_array().unwrap().len(), 1, "{again}");
    // Results are removed with their tracks; a missing file is no copy.
    fs::write(&copy, samples_wav(22_050, &bad)).unwrap();
    fine(sandbox.run([Path::new("remove"), &copy]));
    fine(sandbox.run([Path::new("add"), &music]));
    fs::remove_file(&copy).unwrap();
    assert!(fine(sandbox.run(["duplicates"])).starts_with("0 groups"));
}

#[test]
fn silence_at_an_end_makes_no_copy_better() {
    let (sandbox, music) = library(&["ambient"]);
    let samples = decoded(&music.join("ambient/maxstack-nebula.ogg"));
    let silence = |seconds: usize| vec![0.0; seconds * 22_050];
    let mut expected = vec!["maxstack-nebula.ogg".to_owned()];
    for (before, behind) in [(0, 0), (4, 0), (30, 0), (0, 4), (0, 60)] {
        let name = format!("{before} and {behind}.wav");
        let all = [silence(before), samples.clone(), silence(behind)].concat();
        fs::write(music.join(&name), samples_wav(22_050, &all)).unwrap();
        expected.push(name);
    }
    fine(sandbox.run([Path::new("add"), &music]));
    let groups = json(sandbox.run(["duplicates", "--format", "json"]));
    let name = |file: &Value| {
        slashed(&file["path"])
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
    let others = groups[0]["others"].as_array().unwrap();
    let mut found: Vec<String> = others
        .iter()
        .chain([&groups[0]["keep"]])
        .map(name)
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(name(&groups[0]["keep"]), "0 and 0.wav");
    assert_eq!(groups[0]["why"], "alike in quality");
}

#[test]
fn artists_are_ranked_by_distance() {
    let (sandbox, _) = library(&["metal", "folk", "ambient"]);
    let all =
        rows(&fine(sandbox.run([
            "similar", "--by", "artist", "-l", "all", "--format", "csv",
        ])));
    let muldjord = all.iter().find(|row| row["artist"] == "Muldjord").unwrap();
    assert_eq!(muldjord["tracks"], "4");
    let near = rows(&fine(sandbox.run([
        "similar", "--by", "artist", "muldjord", "--format", "csv", "--limit", "3",
    ])));
    assert_eq!(near.len(), 3);
    assert!(
        ["Obsidian Shell", "Martin Linda"].contains(&near[0]["artist"].as_str()),
        "{near:?}"
    );
    let part = rows(&fine(sandbox.run([
        "similar", "--by", "artist", "MULDJ", "--format", "csv", "--limit", "3",
    ])));
    assert_eq!(part, near, "a part of the name that is unique");
    for nobody in ["nobody", "o", ""] {
        let output = sandbox.run(["similar", "--by", "artist", nobody]);
        assert_eq!(output.status.code(), Some(1), "{nobody}");
        assert!(
            text(&output.stderr).contains("voisin similar --by artist"),
            "{nobody}"
        );
    }
}

#[test]
fn a_track_without_near_neighbours_is_reported_as_far() {
    use voisin_library::testing;

    let sandbox = Sandbox::new();
    let mut library = testing::library(&sandbox.path("library"), 8);
    let mut random = voisin_base::random::Random::new(1);
    for i in 0..91_u64 {
        let mut vector: Vec<f32> = (0..8).map(|_| 0.5 * (random.f32() - 0.5)).collect();
        // Two styles, and one track of neither.
        vector[if i == 90 { 5 } else { (i % 2) as usize }] += 1.0;
        voisin_base::vector::make_unit(&mut vector);
        let mut track = testing::track(i, vector);
        track.tags.artist = Some(format!("artist {i}"));
        library.insert_track(&track).unwrap();
    }
    drop(library);
    let usual = sandbox.run(["similar", "id:1", "--format", "json"]);
    let answer = json(&usual);
    let stderr = text(&usual.stderr);
    assert!(
        answer["far"] == false && answer["note"].is_null() && !stderr.contains("nothing here"),
        "{stderr}"
    );
    let shares: Vec<f64> = answer["neighbours"]
        .as_array()
        .unwrap()
        .iter()
        .map(|near| near["percentile"].as_f64().unwrap())
        .collect();
    assert!(
        shares.is_sorted_by(|a, b| a >= b) && (0.05..=1.0).contains(&shares[0]),
        "{shares:?}"
    );
    let far = sandbox.run(["similar", "id:91", "--format", "json"]);
    let answer = json(&far);
    let stderr = text(&far.stderr);
    assert!(
        answer["far"] == true && answer["neighbours"][0]["nearness"] == "far",
        "{answer}"
    );
    let note = answer["note"].as_str().unwrap();
    assert!(
        note.starts_with("nothing here sounds much like this") && stderr.contains(note),
        "{stderr}"
    );
    let table = sandbox.run(["similar", "id:91"]);
    assert!(text(&table.stderr).contains(note) && fine(&table).contains(" far "));
    // No field of the list contradicts the note.
    let near = answer["neighbours"].as_array().unwrap();
    assert!(
        near.iter().all(|near| near["nearness"] == "far"),
        "{answer}"
    );
    // A list that starts from it fills up with distant tracks.
    let list = sandbox.run(["playlist", "id:91", "--format", "json"]);
    assert!(text(&list.stderr).contains(note), "{}", text(&list.stderr));
    assert!(serde_json::from_slice::<Value>(&list.stdout).unwrap()["far"] == true);
    let list = fine(sandbox.run(["playlist", "id:1", "--format", "json"]));
    assert!(serde_json::from_str::<Value>(&list).unwrap()["far"] == false);
}
