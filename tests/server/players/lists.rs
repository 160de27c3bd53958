//! Saved lists: queries with a name, renewed and pushed to players.

use std::collections::HashSet;
use std::fs;

use serde_json::{Value, json};

use super::subsonic::{Supysonic, link, subsonic, titles};
use super::until;
use crate::common::server::{Server, small_library, some_albums};
use crate::common::{Sandbox, code, fine, text};

fn shown(sandbox: &Sandbox, arguments: &[&str]) -> Vec<i64> {
    let all = [&["lists", "show"], arguments, &["--format", "json"]].concat();
    let answer: Value = serde_json::from_str(&fine(sandbox.run(all))).unwrap();
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| track["id"].as_i64().unwrap())
        .collect()
}

fn kept(sandbox: &Sandbox) -> Value {
    let answer: Value =
        serde_json::from_str(&fine(sandbox.run(["lists", "--format", "json"]))).unwrap();
    answer["items"].clone()
}

fn refused(sandbox: &Sandbox, arguments: &[&str], why: &str) {
    let output = sandbox.run(arguments);
    let stderr = text(&output.stderr);
    assert!(
        !output.status.success() && stderr.contains(why),
        "{arguments:?}: {stderr}"
    );
}

#[test]
fn a_query_is_stored_and_run_again() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    refused(&sandbox, &["lists", "show", "x"], "there is no list \"x\"");
    for (name, question) in [
        ("near", &["similar", "chaos god", "--limit", "3"][..]),
        ("words", &["find", "calm"]),
        ("metal", &["list", "--genre", "metal", "--sort", "title"]),
        ("way", &["path", "chaos god", "id:1"]),
        (
            "mixed",
            &["mix", "chaos god", "--variety", "1", "--limit", "4"],
        ),
        ("any", &["mix", "--limit", "3"]),
    ] {
        fine(sandbox.run([&["lists", "save", name], question].concat()));
    }
    // The lists equal the answers of their queries.
    let ids = |arguments: &[&str], list: &str| -> Vec<i64> {
        let answer = fine(sandbox.run([arguments, &["--format", "json"]].concat()));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|track| track["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(
        shown(&sandbox, &["near"]),
        ids(&["similar", "chaos god", "--limit", "3"], "neighbours")
    );
    assert_eq!(
        shown(&sandbox, &["words"]),
        ids(&["find", "calm"], "tracks")
    );
    assert_eq!(
        shown(&sandbox, &["way"]),
        ids(&["path", "chaos god", "id:1"], "tracks")
    );
    let metal = ids(&["list", "--genre", "metal", "--sort", "title"], "tracks");
    assert_eq!(shown(&sandbox, &["metal"]), metal);
    let mix = ids(
        &[
            "mix",
            "chaos god",
            "--variety",
            "1",
            "--limit",
            "4",
            "--random-seed",
            "5",
        ],
        "neighbours",
    );
    assert_eq!(shown(&sandbox, &["mixed", "--random-seed", "5"]), mix);
    // A different list each time, and the same one for the same random seed.
    let any: HashSet<Vec<i64>> = (0..8).map(|_| shown(&sandbox, &["any"])).collect();
    assert!(
        any.len() > 2 && any.iter().all(|list| list.len() == 3),
        "{any:?}"
    );
    let firsts: HashSet<i64> = (0..12)
        .map(|n| shown(&sandbox, &["any", "--random-seed", &n.to_string()])[0])
        .collect();
    assert!(firsts.len() > 2, "{firsts:?}");
    assert_eq!(
        shown(&sandbox, &["any", "--random-seed", "7"]),
        shown(&sandbox, &["any", "--random-seed", "7"])
    );
    // A mix without seeds begins with liked tracks.
    let feedback = sandbox.path("feedback.jsonl");
    let track: Value = serde_json::from_str(&fine(sandbox.run([
        "show",
        "chaos god",
        "--format",
        "json",
    ])))
    .unwrap();
    let id = track["items"][0]["id"]
        .as_i64()
        .or(track["id"].as_i64())
        .unwrap();
    let line = json!({"score": 1, "track_metadata": {"artist_name": "Muldjord", "track_name": "Chaos God"}});
    fs::write(&feedback, format!("{line}\n")).unwrap();
    fine(sandbox.run(["heard", feedback.to_str().unwrap()]));
    for n in ["1", "2", "3", "4"] {
        assert_eq!(shown(&sandbox, &["any", "--random-seed", n])[0], id);
    }
    // Words are stored as the tracks that they match now.
    let all = kept(&sandbox);
    assert_eq!(all.as_array().unwrap().len(), 6);
    let near = all
        .as_array()
        .unwrap()
        .iter()
        .find(|list| list["name"] == "near")
        .unwrap();
    assert_eq!(near["question"]["similar"]["seeds"], json!([{"id": id}]));
    // Templates; saving under an existing name replaces that list.
    fine(sandbox.run(["lists", "save", "any", "--template", "new"]));
    assert_eq!(shown(&sandbox, &["any"]).len(), 6);
    let templates = fine(sandbox.run(["lists", "templates"]));
    assert!(
        templates.contains("evening") && templates.contains("1970s"),
        "{templates}"
    );
    fine(sandbox.run(["lists", "remove", "any"]));
    refused(
        &sandbox,
        &["lists", "remove", "any"],
        "there is no list \"any\"",
    );
    for (arguments, why) in [
        (
            &["lists", "save", "a/b", "--template", "new"][..],
            "expected a name",
        ),
        (&["lists", "save", "x"], "found only a name"),
        (
            &["lists", "save", "x", "--template", "noon"],
            "there is no template \"noon\"",
        ),
        (
            &["lists", "save", "x", "similar", "nothing so called"],
            "nothing so called",
        ),
        (&["lists", "save", "x", "find", "xyzzyq"], "xyzzyq"),
        (
            &["lists", "save", "x", "list", "--genre", "Nosuch"],
            "Nosuch",
        ),
        (&["lists", "push"], "no list was pushed before"),
        (&["lists", "push", "near"], "was not pushed before"),
        (&["lists", "push", "near", "--smart"], "--folder"),
    ] {
        refused(&sandbox, arguments, why);
    }
    assert_eq!(kept(&sandbox).as_array().unwrap().len(), 5);
}

#[test]
fn a_list_follows_a_recording_that_comes_back() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    fine(sandbox.run([
        "lists", "save", "near", "similar", "id:1", "id:2", "--limit", "3",
    ]));
    let before = shown(&sandbox, &["near"]);
    let named = |id: &str| {
        let track = fine(sandbox.run(["show", id, "--format", "json"]));
        let track: Value = serde_json::from_str(&track).unwrap();
        (
            track["items"][0]["id"].as_i64().unwrap(),
            track["items"][0]["path"].as_str().unwrap().to_owned(),
        )
    };
    let (_, path) = named("id:1");
    fine(sandbox.run(["remove", &path]));
    assert!(
        !shown(&sandbox, &["near"]).is_empty(),
        "it continues with the other"
    );
    fine(sandbox.run(["add", &path]));
    let (now, _) = named(&path);
    assert_ne!(now, 1);
    assert_eq!(shown(&sandbox, &["near"]), before);
    let seeds = kept(&sandbox)[0]["question"]["similar"]["seeds"].clone();
    assert_eq!(seeds, json!([{"id": now}, {"id": 2}]));
    // For a list without any seed left, the message names the list and the song.
    fine(sandbox.run(["lists", "save", "one", "similar", "id:2"]));
    fine(sandbox.run(["remove", "id:2"]));
    let why = "the list \"one\" has seeds that were removed from the library, \"";
    refused(&sandbox, &["lists", "show", "one"], why);
}

#[test]
fn near_artists_and_albums_become_a_list() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    some_albums(&music);
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let rows = |arguments: &[&str], key: &str| -> Vec<Value> {
        let answer = fine(sandbox.run([arguments, &["--format", "json"]].concat()));
        serde_json::from_str::<Value>(&answer).unwrap()[key]
            .as_array()
            .unwrap()
            .clone()
    };
    // The nearest album first, each in its own order.
    fine(sandbox.run([
        "lists", "save", "next", "albums", "Summer", "--limit", "all",
    ]));
    let tracks = rows(&["list", "--sort", "path", "--limit", "all"], "tracks");
    let of_album = |near: &Value| -> Vec<i64> {
        let is_of = |track: &&Value| track["album"] == near["album"];
        tracks
            .iter()
            .filter(is_of)
            .map(|track| track["id"].as_i64().unwrap())
            .collect()
    };
    let albums = rows(&["albums", "Summer"], "items");
    let expected: Vec<i64> = albums.iter().flat_map(of_album).collect();
    assert!(
        albums.len() > 1 && expected.len() > albums.len(),
        "{albums:?}"
    );
    let all = shown(&sandbox, &["next"]);
    assert_eq!(all, expected);
    // The nearest songs of each artist.
    fine(sandbox.run([
        "lists", "save", "kin", "artists", "Ann", "--limit", "2", "--each", "1",
    ]));
    let artists = rows(&["artists", "Ann", "--limit", "2"], "items");
    let nearest: Vec<i64> = artists
        .iter()
        .map(|near| near["because"][0]["other"]["id"].as_i64().unwrap())
        .collect();
    assert_eq!((shown(&sandbox, &["kin"]), nearest.len()), (nearest, 2));
    fine(sandbox.run([
        "lists", "save", "more", "artists", "Muldjord", "--limit", "all",
    ]));
    let more = shown(&sandbox, &["more"]);
    let whose = |id: &i64| {
        tracks.iter().find(|track| track["id"] == *id).unwrap()["artist"]
            .as_str()
            .unwrap()
    };
    assert_eq!(
        more.iter().filter(|id| whose(id) == "Ann").count(),
        3,
        "three of four: {more:?}"
    );
    refused(
        &sandbox,
        &["lists", "save", "x", "artists", "Anm"],
        "did you mean Ann?",
    );
    refused(
        &sandbox,
        &["lists", "save", "x", "albums", "Spring"],
        "Spring",
    );
    // They can be pushed and used as seeds like all lists.
    let folder = sandbox.path("lists");
    fs::create_dir(&folder).unwrap();
    fine(sandbox.run([
        "lists",
        "push",
        "next",
        "--folder",
        folder.to_str().unwrap(),
    ]));
    let written = fs::read_to_string(folder.join("next.m3u8")).unwrap();
    assert_eq!(
        written
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count(),
        all.len()
    );
    let server = Server::start(&sandbox, &[]);
    let kept = server.send(
        "PUT",
        "/api/v1/lists/there",
        "Content-Type: application/json\r\n",
        br#"{"albums": {"name": "Summer", "each": 1}}"#,
    );
    assert_eq!(kept.0, 200, "{}", text(&kept.2));
    let there = server.good_get("/api/v1/lists/there")["items"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(there.len(), albums.len());
    assert_eq!(
        server.good_get("/api/v1/lists/next")["items"]
            .as_array()
            .unwrap()
            .len(),
        all.len()
    );
    let lists = server.good_get("/api/v1/lists")["lists"].clone();
    let there = lists
        .as_array()
        .unwrap()
        .iter()
        .find(|list| list["name"] == "there")
        .unwrap();
    assert_eq!(
        (&there["kind"], &there["question"]["albums"]["name"]),
        (&json!("albums"), &json!("Summer"))
    );
}

#[test]
fn lists_become_files() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let folder = music.join("playlists");
    fs::create_dir(&folder).unwrap();
    let to = folder.to_str().unwrap();
    fine(sandbox.run(["lists", "save", "new", "--template", "new"]));
    fine(sandbox.run(["lists", "save", "metal", "list", "--genre", "Metal"]));
    fine(sandbox.run(["lists", "push", "new", "--folder", to]));
    let file = folder.join("new.m3u8");
    let written = fs::read_to_string(&file).unwrap();
    let paths: Vec<&str> = written
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(paths.len(), 6);
    assert!(
        paths
            .iter()
            .all(|path| path.starts_with("../") && folder.join(path).is_file()),
        "{paths:?}"
    );
    // A user's file is overwritten only with `--force`.
    fs::write(folder.join("metal.m3u8"), "mine").unwrap();
    refused(
        &sandbox,
        &["lists", "push", "metal", "--folder", to],
        "already has another playlist",
    );
    assert_eq!(
        fs::read_to_string(folder.join("metal.m3u8")).unwrap(),
        "mine"
    );
    fine(sandbox.run(["lists", "push", "metal", "--folder", to, "--force"]));
    assert_eq!(
        fs::read_to_string(folder.join("metal.m3u8"))
            .unwrap()
            .lines()
            .filter(|l| !l.starts_with('#'))
            .count(),
        3
    );
    // A list that Navidrome can compute itself, and one that it cannot.
    fine(sandbox.run(["lists", "push", "metal", "--folder", to, "--smart"]));
    let rules: Value =
        serde_json::from_slice(&fs::read(folder.join("metal.nsp")).unwrap()).unwrap();
    assert_eq!(rules["all"], json!([{"is": {"genre": "Metal"}}]));
    // A target that fails does not stop the renewal of the list's other target.
    fs::remove_file(folder.join("metal.nsp")).unwrap();
    fs::remove_file(folder.join("metal.m3u8")).unwrap();
    fs::create_dir(folder.join("metal.m3u8")).unwrap();
    refused(&sandbox, &["lists", "push", "metal"], "metal.m3u8");
    assert!(folder.join("metal.nsp").is_file());
    fs::remove_dir(folder.join("metal.m3u8")).unwrap();
    fine(sandbox.run(["lists", "save", "calm", "find", "calm"]));
    refused(
        &sandbox,
        &["lists", "push", "calm", "--folder", to, "--smart"],
        "Navidrome has no similarity",
    );
    // All lists at once, at their stored targets.
    fs::remove_file(&file).unwrap();
    fine(sandbox.run(["lists", "push"]));
    assert!(file.is_file());
    fs::remove_file(&file).unwrap();
    fine(sandbox.run(["lists", "push", "--older-than", "1h"]));
    assert!(!file.exists(), "it is new enough");
    fine(sandbox.run(["lists", "push", "new", "--forget"]));
    assert_eq!(kept(&sandbox)[2]["to"], json!([]));
    // The running server renews old lists.
    fs::remove_file(folder.join("metal.m3u8")).unwrap();
    let server = Server::start(&sandbox, &["--renew-lists", "1s"]);
    until("it is renewed", || folder.join("metal.m3u8").exists());
    until("the log has it", || {
        server.log.lock().unwrap().contains("\"metal\": 3 songs")
    });
}

#[test]
fn lists_are_computed_kept_and_pushed_over_http() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let kind = "Content-Type: application/json\r\n";
    let put = |name: &str, body: Value| {
        let (status, _, answer) = server.send(
            "PUT",
            &format!("/api/v1/lists/{name}"),
            kind,
            body.to_string().as_bytes(),
        );
        (status, serde_json::from_slice::<Value>(&answer).unwrap())
    };
    let question = json!({"mix": {"seeds": [], "limit": 3, "mixing": {"variety": 0.3}}});
    let (status, answer) = put("for%20all", question.clone());
    assert_eq!(
        (
            status,
            &answer["name"],
            &answer["question"]["mix"]["mixing"]
        ),
        (200, &json!("for all"), &json!({"variety": 0.3})),
        "{answer}"
    );
    let (status, answer) = put(
        "x",
        json!({"mix": {"seeds": [], "filters": {"year": "no"}}}),
    );
    assert!(
        status == 400
            && answer["detail"]
                .as_str()
                .unwrap()
                .contains("mix.filters.year"),
        "{answer}"
    );
    assert_eq!(put("a%2Fb", question.clone()).0, 400);
    assert_eq!(
        put("way", json!({"path": {"from": {"id": 1}, "to": {"id": 2}}})).0,
        200
    );
    assert_eq!(
        put("calm", json!({"find": {"query": "calm", "limit": 2}})).0,
        200
    );
    let all = server.good_get("/api/v1/lists");
    assert_eq!(all["lists"].as_array().unwrap().len(), 3);
    assert!(
        all["templates"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "today")
    );
    let now = server.good_get("/api/v1/lists/for%20all");
    let again = server.good_get(&format!(
        "/api/v1/lists/for%20all?random_seed={}",
        now["random_seed"]
    ));
    assert_eq!(
        (now["items"].as_array().unwrap().len(), &now["items"]),
        (3, &again["items"])
    );
    let way = server.good_get("/api/v1/lists/way");
    let first = &way["items"][0]["id"];
    let last = &way["items"].as_array().unwrap().last().unwrap()["id"];
    assert_eq!((first, last), (&json!(1), &json!(2)));
    assert_eq!(
        server.good_get("/api/v1/lists/calm")["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(server.get("/api/v1/lists/none").0, 404);
    // Only the command line sets a target.
    let push = |name: &str| server.post(&format!("/api/v1/lists/{name}/push"), &json!({}));
    assert_eq!(push("calm").0, 409);
    fine(sandbox.run(["lists", "push", "calm", "--folder", music.to_str().unwrap()]));
    fs::remove_file(music.join("calm.m3u8")).unwrap();
    let (status, answer) = push("calm");
    assert!(
        status == 200 && answer["said"][0].as_str().unwrap().contains("2 songs"),
        "{answer}"
    );
    assert!(music.join("calm.m3u8").is_file());
    fs::remove_dir_all(&music).unwrap();
    let (status, answer) = push("calm");
    assert!(
        status == 502
            && answer["detail"]
                .as_str()
                .unwrap()
                .contains("there is no folder"),
        "{answer}"
    );
    assert_eq!(server.send("DELETE", "/api/v1/lists/calm", "", b"").0, 204);
    assert_eq!(server.send("DELETE", "/api/v1/lists/calm", "", b"").0, 404);
}

#[test]
fn lists_become_playlists_of_a_subsonic_server() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let url = format!("http://127.0.0.1:{}", upstream.port);
    fine(sandbox.run(["lists", "save", "new", "--template", "new"]));
    let push = |arguments: &[&str], password: &str| {
        let mut command = sandbox.command([&["lists", "push"], arguments].concat());
        command.env("VOISIN_PASSWORD", password).output().unwrap()
    };
    let there = ["new", "--server", &url, "--user", "alice"];
    let unlinked = push(&there, "s3cret&");
    assert!(
        text(&unlinked.stderr).contains("run \"voisin link\""),
        "{}",
        text(&unlinked.stderr)
    );
    assert_eq!(code(&link(&sandbox, &url, "s3cret&")), 0);
    let wrong = push(&there, "wrong");
    assert!(
        code(&wrong) == 2 && text(&wrong.stderr).contains("Wrong username"),
        "{}",
        text(&wrong.stderr)
    );
    fine(push(&there, "s3cret&"));
    let server = Server::start(&sandbox, &["--subsonic", &url]);
    let playlists = || {
        let answer = subsonic(&server, "getPlaylists", "");
        assert_eq!(answer["status"], "ok", "{answer}");
        let all = answer["playlists"]["playlist"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.iter()
            .map(|one| {
                (
                    one["name"].as_str().unwrap().to_owned(),
                    one["id"].as_str().unwrap().to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    let songs = |id: &str| {
        let answer =
            subsonic(&server, "getPlaylist", &format!("id={id}"))["playlist"]["entry"].clone();
        titles(&answer)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let made = playlists();
    assert_eq!(
        (made.len(), made[0].0.as_str(), songs(&made[0].1).len()),
        (1, "new", 6)
    );
    // Renewed in place, in the order of the list.
    fine(sandbox.run([
        "lists", "save", "new", "list", "--genre", "metal", "--sort", "title",
    ]));
    fine(push(&[], "s3cret&"));
    assert_eq!(playlists(), made);
    let renewed = songs(&made[0].1);
    let mut sorted = renewed.clone();
    sorted.sort();
    assert_eq!((renewed.len(), &renewed), (3, &sorted));
    // A playlist made by a user is not overwritten.
    subsonic(&server, "createPlaylist", "name=mine");
    fine(sandbox.run(["lists", "save", "mine", "--template", "new"]));
    let mine = ["mine", "--server", &url, "--user", "alice"];
    let taken = push(&mine, "s3cret&");
    assert!(
        code(&taken) == 2 && text(&taken.stderr).contains("already has another playlist"),
        "{}",
        text(&taken.stderr)
    );
    assert_eq!(playlists().len(), 2);
    // A playlist that was removed there is created again; no password is stored.
    subsonic(&server, "deletePlaylist", &format!("id={}", made[0].1));
    fine(push(&["new"], "s3cret&"));
    assert!(playlists().iter().any(|(name, _)| name == "new"));
    let bytes = fs::read(sandbox.path("library/voisin.db")).unwrap();
    let has = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(!has("s3cret") && !has("733363726574"));
}
