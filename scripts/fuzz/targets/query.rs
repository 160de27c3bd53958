//! User input: words, ids, paths and filters on a small library; synonym files; manifests.
#![no_main]

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use voisin_encoder::ModelManifest;
use voisin_genre::Taxonomy;
use voisin_library::{Library, Resolution, TrackFilter, TrackTags, testing};

thread_local! {
    static LIBRARY: RefCell<Library> = RefCell::new(library());
}

fn library() -> Library {
    let mut library = testing::library(&voisin_fuzz::scratch().join("library"), 2);
    for (i, words) in [
        "17",
        "Nina Simone",
        "Ænima",
        "100% _ '\"",
        "Beyoncé",
        "久石譲",
    ]
    .into_iter()
    .enumerate()
    {
        let mut track = testing::track(i as u64, vec![0.6, 0.8]);
        track.file.path = format!("/m/{i}/{words}.ogg").into();
        track.tags = TrackTags {
            title: Some(words.into()),
            artist: Some(format!("Artist {words}")),
            genres: vec!["Rock".into(), words.into()],
            year: Some(1990 + i as i32),
            ..TrackTags::default()
        };
        library.insert_track(&track).expect("new");
    }
    library
}

fuzz_target!(|bytes: &[u8]| {
    LIBRARY.with_borrow(|library| {
        match library
            .resolve(OsStr::from_bytes(bytes), 3)
            .expect("no words are an error")
        {
            Resolution::One(track) => assert!(library.contains(track).expect("readable")),
            Resolution::Ambiguous(tracks) => assert!((1..=3).contains(&tracks.len())),
            Resolution::Nothing => {}
        }
        let text = String::from_utf8_lossy(bytes);
        assert!(library.search_words(&text, 5).expect("searchable").len() <= 5);
        let names: Vec<String> = text.split('\n').map(ToOwned::to_owned).take(40).collect();
        let year = bytes.first().map(|&byte| i32::from(byte) + 1900);
        for filter in [
            TrackFilter {
                genres: names.clone(),
                ..TrackFilter::default()
            },
            TrackFilter {
                artists: names.clone(),
                exclude_artists: names.clone(),
                ..TrackFilter::default()
            },
            TrackFilter {
                folders: vec![PathBuf::from(OsStr::from_bytes(bytes))],
                year_from: year,
                ..TrackFilter::default()
            },
        ] {
            // An empty or relative folder is refused; anything else gives a set.
            let _ = library.matching(&filter);
        }
        if let Ok(taxonomy) = Taxonomy::from_tsv(&text, Path::new("x.tsv")) {
            for genre in taxonomy.parse(&names) {
                assert!(!genre.key().is_empty());
            }
        }
        let _ = Taxonomy::default().parse(&[text.as_ref()]);
        let _ = ModelManifest::parse(&text, Path::new("x.json"));
        assert_eq!(library.status().expect("readable").tracks, 6);
    });
});
