//! The continuations that players get.

use std::fs;

use serde_json::Value;

use super::subsonic::{Supysonic, subsonic};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, fine, noise_wav};

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
fn continuations_differ_and_limit_the_tracks_of_one_artist() {
    let sandbox = Sandbox::new();
    let music = library_of_one_artist(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let url = format!("http://127.0.0.1:{}", upstream.port);
    let server = Server::start(&sandbox, &["--subsonic", &url]);
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
        let songs = || {
            let answer = subsonic(&server, endpoint, &format!("id={id}&count=8"));
            paths(&answer[list], "song")
        };
        let found = songs();
        assert!(!found.iter().any(|path| path.ends_with("ann-1.wav")));
        let most = most_of_one(found.iter().map(|path| artist_of_path(path)));
        assert!(most <= 3, "{found:?}");
        let evenings: std::collections::HashSet<Vec<String>> = (0..8).map(|_| songs()).collect();
        assert!(evenings.len() > 1, "{evenings:?}");
    }
}
