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

/// The last part of a path of an answer.
fn file_name(path: &Value) -> String {
    slashed(path).rsplit('/').next().unwrap().to_owned()
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
        let is_seed = |near: &Value| file_name(&near["path"]) == "medley.wav";
        assert!(!found.iter().any(is_seed));
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
        let others = cluster["nearest"].as_array().unwrap().len();
        assert_eq!(others, (clusters.len() - 1).min(5));
    }
    let csv = |more: &[&str]| {
        let command = ["clusters", "--format", "csv"];
        rows(&fine(sandbox.run([&command, more].concat())))
    };
    assert_eq!(csv(&[]).len(), 30);
    assert_eq!(csv(&[]), csv(&[]), "the same again");
    let metal = csv(&["--genre", "metal"]);
    let is_metal = |row: &HashMap<String, String>| row["path"].contains("metal");
    assert!(!metal.is_empty() && metal.iter().all(is_metal), "{metal:?}");
    let table = fine(sandbox.run(["clusters"]));
    let first = table.lines().next().unwrap();
    assert!(
        first.ends_with(" in no group") && table.contains("cohesion"),
        "{table}"
    );
    refused(&sandbox.run(["clusters", "--genre", "polka"]));
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
    let is_right = |row: &&HashMap<String, String>| row["genres"] == row["predicted_genre"];
    let right = predicted.iter().filter(is_right).count();
    // Never all, as no track votes for itself.
    assert!(
        (12..22).contains(&right),
        "{right} of 22 predicted as tagged"
    );
    let page = text(&draw("map.html"));
    assert!(page.contains("Content-Security-Policy") && !page.contains("src=\"http"));
    for column in ["cluster", "artist", "year", "x", "y"] {
        assert!(predicted[0].contains_key(column), "{column}");
    }
    let metal = predicted.iter().filter(|row| row["genres"] == "Metal");
    let words = metal.filter(|row| row["words"].contains("metal"));
    assert!(words.count() >= 4, "{first}");
    assert!(
        refused(&sandbox.run(["map", "--output", "map.png"])).contains("expected .html or .csv")
    );
}

#[test]
fn a_path_goes_from_stop_to_stop() {
    let (sandbox, _) = library(&["metal", "folk", "orchestral", "ambient"]);
    for (more, expected) in [
        (&[][..], None),
        (&["--via", "celtica"], None),
        (&["--steps", "7", "--max-per-artist", "1"], Some(8)),
    ] {
        let command = ["path", "chaos god", "nebula", "--format", "json"];
        let found = json(sandbox.run([&command, more].concat()));
        let tracks = found["tracks"].as_array().unwrap();
        let order: Vec<&str> = tracks
            .iter()
            .map(|t| t["title"].as_str().unwrap())
            .collect();
        assert_eq!((order[0], order[order.len() - 1]), ("Chaos God", "Nebula"));
        let distinct: std::collections::HashSet<&&str> = order.iter().collect();
        assert_eq!(distinct.len(), order.len(), "{order:?}");
        let steps = tracks.iter().filter_map(|t| t["step"].as_f64());
        let largest = steps.fold(0.0, f64::max);
        assert!((found["largest_step"].as_f64().unwrap() - largest).abs() < 1e-6);
        assert!(expected.is_none_or(|tracks| tracks == order.len()));
        assert_eq!(
            order.contains(&"Celtica"),
            more.contains(&"celtica"),
            "{order:?}"
        );
    }
    let list = fine(sandbox.run(["path", "chaos god", "nebula", "--format", "m3u8"]));
    assert!(
        list.starts_with("#EXTM3U\n") && list.trim_end().ends_with("maxstack-nebula.ogg"),
        "{list}"
    );
    assert!(refused(&sandbox.run(["path", "nebula", "nebula"])).contains("the same track twice"));
    let unknown = sandbox.run(["path", "chaos god", "nebula", "--via", "fortress of"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn playlists_start_from_all_kinds_of_seeds() {
    let (sandbox, music) = library(&["metal", "techno", "ambient"]);
    let soft: Vec<f32> = decoded(&music.join("metal/muldjord-chaos-god.mp3"))
        .iter()
        .map(|x| x / 2.0)
        .collect();
    fs::write(music.join("soft.wav"), samples_wav(22_050, &soft)).unwrap();
    fine(sandbox.run([Path::new("add"), &music]));
    let run = |more: &str| {
        let command = ["playlist", "--format", "paths", "--max-per-artist", "0"];
        sandbox.run(command.into_iter().chain(more.split(' ')))
    };
    let list = |more: &str| -> Vec<String> {
        let listed = fine(run(more));
        listed.lines().map(|line| file_name(&line.into())).collect()
    };
    // Named seeds come first, and each has its share of the list.
    let [god, mime, other] = [
        "muldjord-chaos-god.mp3",
        "muldjord-mutilated-mime.mp3",
        "muldjord-armygeddon.m4a",
    ]
    .map(|name| music.join("metal").join(name).display().to_string());
    let both = list(&format!("{mime} nebula --limit 6"));
    assert_eq!(
        both[..2],
        ["muldjord-mutilated-mime.mp3", "maxstack-nebula.ogg"]
    );
    let of = |style: &str| both.iter().filter(|name| name.starts_with(style)).count();
    assert!(
        (2..=4).contains(&(of("muldjord") + of("obsidian"))),
        "{both:?}"
    );
    // A playlist as seed: its tracks may be chosen; entries outside the library are reported.
    let wish = sandbox.path("wish.m3u8");
    let entries = [
        "ambient/maxstack-nebula.ogg",
        "ambient/maxstack-awakening.opus",
        "gone.mp3",
    ];
    let entries = entries.map(|entry| music.join(entry).display().to_string());
    fs::write(&wish, entries.join("\n")).unwrap();
    let wish = wish.to_str().unwrap();
    let output = run(&format!("{wish} --limit 3"));
    let ambient = fine(&output).matches("ambient").count();
    assert!(ambient >= 2, "{}", text(&output.stdout));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("1 of 3 entries are not in the library"),
        "{stderr}"
    );
    // The same recording once.
    let seeds = format!("{god} {other} --limit 6");
    let soft = "soft.wav".to_owned();
    assert!(list(&format!("{seeds} --keep-duplicates")).contains(&soft));
    assert!(!list(&seeds).contains(&soft));

    assert_eq!(
        list("--genre techno --length 70s").len(),
        5,
        "70 s in excerpts of 14 s"
    );
    let ids = rows(&fine(sandbox.run(["clusters", "--format", "csv"])));
    let of_cluster = &ids.iter().find(|row| row["cluster"] != "0").unwrap()["cluster"];
    assert_eq!(list(&format!("--cluster {of_cluster} --limit 3")).len(), 3);
    let folder = music.to_str().unwrap();
    let relative = fine(sandbox.run(["playlist", "nebula", "--relative-to", folder]));
    assert!(
        relative.contains("\nambient/maxstack-nebula.ogg\n"),
        "{relative}"
    );

    assert!(refused(&sandbox.run(["playlist"])).contains("expected a seed"));
    assert!(refused(&run("--genre polka")).contains("no track of genre \"polka\""));
    assert!(refused(&run("nebula --variety 3")).contains("expected 0 to 1"));
    let nobody = run("--cluster 99");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no cluster 99"));
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
    let nothing = fine(sandbox.run(["duplicates"]));
    assert!(nothing.starts_with("0 groups"), "no false pair: {nothing}");
    let original = music.join("metal/muldjord-chaos-god.mp3");
    let samples = decoded(&original);
    // Softer, with silence at its ends, the same audio under another name, and a hard link.
    let silence = |seconds: usize| vec![0.0; seconds * 22_050];
    let soft: Vec<f32> = samples.iter().map(|x| x / 2.0).collect();
    for (name, before, behind) in [("late.wav", 4, 0), ("long.wav", 0, 60), ("soft.wav", 0, 0)] {
        let all = [silence(before), soft.clone(), silence(behind)].concat();
        fs::write(music.join(name), samples_wav(22_050, &all)).unwrap();
    }
    let nebula = music.join("ambient/maxstack-nebula.ogg");
    fs::copy(&nebula, music.join("copy.ogg")).unwrap();
    fs::hard_link(&nebula, music.join("link.ogg")).unwrap();
    fine(sandbox.run([Path::new("add"), &music]));
    let groups = json(sandbox.run(["duplicates", "--format", "json"]));
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 2, "{groups:?}");
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let kept = |group: &&Value| file_name(&group["keep"]["path"]) == "long.wav";
    let near = groups
        .iter()
        .find(kept)
        .expect("the longest lossless one lacks nothing");
    let mut others: Vec<String> = near["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| file_name(&other["path"]))
        .collect();
    others.sort();
    assert_eq!(others, ["late.wav", "muldjord-chaos-god.mp3", "soft.wav"]);
    assert_eq!(near["why"], "alike in quality");
    let exact = groups.iter().find(|group| !kept(group)).unwrap();
    assert_eq!(exact["bytes_to_be_won"], size(&nebula));
    assert_eq!(exact["others"][0]["exact"], true);
    let csv = rows(&fine(sandbox.run(["duplicates", "--format", "csv"])));
    assert_eq!(csv.iter().filter(|row| row["keep"] == "yes").count(), 2);
    assert_eq!(csv.len(), 6);
    let table = fine(sandbox.run(["duplicates"]));
    for part in ["better: ", "the same audio", "MB could be freed"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(music.join("copy.ogg").exists() && music.join("late.wav").exists());
}

#[test]
fn duplicates_compare_sound_and_remember_the_result() {
    let (sandbox, music) = library(&["metal", "ambient"]);
    let samples = decoded(&music.join("metal/obsidian-shell-orphanage.mp3"));
    // Narrow band, noise, coarse steps, a delay; its vector differs from the original's.
    let mut random = voisin_base::random::Random::new(1);
    let mut low = 0.0_f32;
    let bad: Vec<f32> = std::iter::repeat_n(0.0, 7000)
        .chain(samples.iter().copied())
        .map(|sample| {
            low += 0.35 * (sample - low);
            ((low * 0.4 + 0.02 * (random.f32() - 0.5)) * 200.0).round() / 200.0
        })
        .collect();
    // Another part of the music for seven seconds: a version, which is never offered.
    let mut version = samples.clone();
    let (head, tail) = version.split_at_mut(samples.len() / 2);
    head.iter_mut().zip(tail.iter()).for_each(|(x, y)| *x += y);
    let [copy, other] = ["bad.wav", "version.wav"].map(|name| music.join(name));
    fs::write(&copy, samples_wav(22_050, &bad)).unwrap();
    fs::write(&other, samples_wav(22_050, &version)).unwrap();
    fine(sandbox.run([Path::new("add"), &music]));
    let found = || -> Vec<String> {
        let groups = json(sandbox.run(["duplicates", "--format", "json"]));
        let groups = groups.as_array().unwrap().clone();
        groups
            .iter()
            .map(|group| file_name(&group["keep"]["path"]))
            .collect()
    };
    assert_eq!(found(), ["bad.wav"]);
    // A result is stored: nothing is decoded again, even where the file cannot be read.
    fs::write(&copy, "no audio").unwrap();
    assert_eq!(found(), ["bad.wav"]);
    // A missing file is no copy.
    fs::remove_file(&copy).unwrap();
    assert!(found().is_empty());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
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
    // A list that starts from it ends at once.
    let list = sandbox.run(["playlist", "id:91", "--format", "json"]);
    let stderr = text(&list.stderr);
    assert!(
        stderr.contains(note) && stderr.contains("nothing near is left"),
        "{stderr}"
    );
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert!(
        list["far"] == true && list["items"].as_array().unwrap().len() == 1,
        "{list}"
    );
    assert!(fine(sandbox.run(["playlist", "id:1", "--format", "json"])).contains("\"far\": false"));
}
