//! The mixes that players get as continuations.

use std::fs;

use serde_json::{Value, json};

use super::subsonic::{Supysonic, subsonic};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, code, fine, noise_wav, text};

/// A WAV file with tags.
fn tagged_wav(seed: u64, title: &str, artist: &str, album: &str, genre: &str) -> Vec<u8> {
    let mut file = noise_wav(22_050, 8.0, seed);
    let mut list = b"INFO".to_vec();
    for (name, value) in [
        ("INAM", title),
        ("IART", artist),
        ("IPRD", album),
        ("IGNR", genre),
    ] {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        list.extend(name.as_bytes());
        list.extend((bytes.len() as u32).to_le_bytes());
        list.extend(&bytes);
        list.extend(&[0][..bytes.len() % 2]);
    }
    file.extend(b"LIST");
    file.extend((list.len() as u32).to_le_bytes());
    file.extend(list);
    let length = (file.len() - 8) as u32;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

/// The largest number of songs by one artist in a list.
fn most_of_one<'a>(artists: impl Iterator<Item = &'a str>) -> usize {
    let artists: Vec<&str> = artists.collect();
    assert!(artists.len() >= 4, "{artists:?}");
    artists
        .iter()
        .map(|one| artists.iter().filter(|other| other == &one).count())
        .max()
        .unwrap()
}

/// Two in three files of a folder have one artist in their names, who has a song twice.
fn library_of_one_artist(sandbox: &Sandbox) -> std::path::PathBuf {
    let music = small_library(sandbox);
    fs::create_dir_all(music.join("noise")).unwrap();
    for (seed, title, artist) in [
        (1, "Song 1", "Ann"),
        (2, "Song 2", "Ann"),
        (3, "Song 3", "Ann"),
        (4, "Song 4", "Ann"),
        (5, "Song 5", "Ann"),
        (6, "Song 6", "Ann feat. Eve"),
        // Its noise has the colour and pulse of song 6: another take.
        (76, "song 6!", "ANN"),
        (8, "Song 8", "Ben"),
        (9, "Song 9", "Cid"),
    ] {
        let album = format!("Album {seed}");
        let name = artist.split(' ').next().unwrap().to_lowercase();
        let file = tagged_wav(seed, title, artist, &album, "Noise");
        fs::write(music.join(format!("noise/{name}-{seed}.wav")), file).unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    music
}

fn artist_of_path(path: &str) -> &str {
    path.rsplit('/')
        .next()
        .unwrap()
        .split(['-', '.'])
        .next()
        .unwrap()
}

fn paths(answer: &Value, list: &str) -> Vec<String> {
    let all = answer[list].as_array().unwrap().iter();
    all.map(|one| one["path"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn mixes_limit_the_tracks_of_one_artist() {
    let sandbox = Sandbox::new();
    let music = library_of_one_artist(&sandbox);
    let seed = music.join("noise/ann-1.wav");
    let upstream = Supysonic::start(&sandbox, &music);
    let url = upstream
        .as_ref()
        .map_or("http://127.0.0.1:1".to_owned(), |server| {
            format!("http://127.0.0.1:{}", server.port)
        });
    // Three of an artist are the most, unless the server has another setting.
    for (wishes, most) in [
        ("", 3),
        ("max-per-artist=1,variety=0", 1),
        ("max-per-artist=0 keep-versions variety=0", 6),
    ] {
        let server = Server::start(&sandbox, &["--subsonic", &url, "--mix", wishes]);
        let per_artist =
            |paths: &[String]| most_of_one(paths.iter().map(|path| artist_of_path(path)));
        let mix = server.good(
            "/api/v1/mix",
            &json!({"seeds": [{"path": seed}], "limit": 12}),
        );
        assert_eq!(
            per_artist(&paths(&mix, "neighbours")),
            most,
            "{wishes}: {mix}"
        );
        if upstream.is_none() {
            continue;
        }
        let songs =
            subsonic(&server, "search3", "query=&songCount=100")["searchResult3"]["song"].clone();
        let id = songs
            .as_array()
            .unwrap()
            .iter()
            .find(|song| song["path"] == "noise/ann-1.wav")
            .unwrap();
        let id = id["id"].as_str().unwrap();
        for (endpoint, list) in [
            ("getSimilarSongs", "similarSongs"),
            ("getSimilarSongs2", "similarSongs2"),
        ] {
            let answer = subsonic(&server, endpoint, &format!("id={id}&count=12"));
            assert_eq!(
                per_artist(&paths(&answer[list], "song")),
                most,
                "{wishes}: {answer}"
            );
        }
    }
    let refused = sandbox.run(["serve", "--mix", "variety=loud"]);
    assert_eq!(code(&refused), 2);
    assert!(
        text(&refused.stderr).contains("--variety") && text(&refused.stderr).contains("0 to 1")
    );
}

#[test]
fn a_mix_is_fresh_and_can_be_had_again() {
    let sandbox = Sandbox::new();
    let music = library_of_one_artist(&sandbox);
    let seed = music.join("noise/ann-1.wav");
    let server = Server::start(&sandbox, &["--mix", "variety=1"]);
    let mix = |more: Value| {
        let request = json!({"seeds": [{"path": seed}], "limit": 5, "mixing": more});
        paths(&server.good("/api/v1/mix", &request), "neighbours")
    };
    assert_eq!(
        mix(json!({"random_seed": 7})),
        mix(json!({"random_seed": 7}))
    );
    let evenings: std::collections::HashSet<Vec<String>> = (0..8).map(|_| mix(json!({}))).collect();
    assert!(evenings.len() > 1, "{evenings:?}");
    // Played tracks and other versions of them do not appear again.
    let all = json!({"max_per_artist": 0, "variety": 0});
    let six = music.join("noise/ann-6.wav");
    let request =
        json!({"seeds": [{"path": seed}], "limit": 50, "mixing": all, "played": [{"path": six}]});
    let rest = paths(&server.good("/api/v1/mix", &request), "neighbours");
    assert!(
        rest.len() > 8
            && !rest
                .iter()
                .any(|path| path.contains("-6.") || path.contains("-76.")),
        "{rest:?}"
    );
    // The command line has the same options.
    let cli = |more: &[&str]| {
        let seed = seed.to_str().unwrap();
        fine(
            sandbox.run(
                [
                    &[
                        "mix",
                        seed,
                        "--limit",
                        "5",
                        "--format",
                        "paths",
                        "--random-seed",
                        "7",
                    ],
                    more,
                ]
                .concat(),
            ),
        )
    };
    let printed: Vec<String> = cli(&["--variety", "1"])
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(printed, mix(json!({"random_seed": 7})));
    assert_eq!(
        cli(&["--max-per-artist", "1"])
            .lines()
            .filter(|path| path.contains("/ann-"))
            .count(),
        1
    );
}
