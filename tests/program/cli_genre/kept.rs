//! Cached answers about the whole library equal computed ones.

use std::path::Path;

use voisin_base::track::TrackId;
use voisin_library::{Person, TrackTags};

use super::shelf::Shelf;
use crate::common::{Sandbox, fine};

const QUESTIONS: [&[&str]; 9] = [
    &["genres"],
    &["genres", "--format", "json"],
    &["labels", "suspects"],
    &["labels", "suspects", "--all", "--format", "json"],
    &["artists"],
    &["artists", "--limit", "3", "--format", "json"],
    &["albums", "--format", "csv"],
    &["clusters"],
    &["clusters", "--format", "json"],
];

/// The answers of second runs, which come from the cache.
fn cached_answers(sandbox: &Sandbox) -> Vec<String> {
    let ask = |question: &[&str]| {
        fine(sandbox.run(question));
        fine(sandbox.run(question))
    };
    QUESTIONS.iter().map(|question| ask(question)).collect()
}

/// The answers of a copy of the library without a cache.
fn computed_answers(sandbox: &Sandbox) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("voisin.db");
    let library = rusqlite::Connection::open(sandbox.path("library/voisin.db")).unwrap();
    library
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let forget = || {
        let copy = rusqlite::Connection::open(&copy).unwrap();
        copy.execute("DELETE FROM settings WHERE name LIKE 'answer.%'", [])
            .unwrap()
    };
    assert_eq!(forget(), 5, "genres, suspects, artists, albums, clusters");
    let ask = |question: &&[&str]| {
        let place = ["--library", folder.path().to_str().unwrap()];
        let answer = fine(sandbox.run(question.iter().chain(&place)));
        forget();
        answer
    };
    QUESTIONS.iter().map(ask).collect()
}

#[test]
fn cached_answers_equal_computed_ones() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(3, 20, 0.9);
    let changes: [&dyn Fn(&mut Shelf); 6] = [
        &|shelf| {
            let content = shelf.library.track(TrackId(2)).unwrap().audio.content;
            assert_eq!(
                shelf
                    .library
                    .labels_mut()
                    .set_labels(&[content], Some("Zeuhl"))
                    .unwrap(),
                1
            );
        },
        &|shelf| shelf.put(Path::new("/music/genre 1/new.mp3"), 1, "Genre 2", 0.9),
        &|shelf| {
            assert_eq!(
                shelf.library.remove_tracks(&[TrackId(5)]).unwrap().tracks,
                1
            );
        },
        &|shelf| {
            shelf
                .library
                .settings_mut()
                .set_setting("labels", Some("folder"))
                .unwrap();
        },
        &|shelf| {
            for id in 1..=3 {
                let track = shelf.library.track(TrackId(id)).unwrap();
                let tags = TrackTags {
                    composer: Some(format!("Composer {}", id % 2)),
                    ..track.tags
                };
                shelf
                    .library
                    .files_mut()
                    .attach_file(track.id, &track.files[0].record, &tags)
                    .unwrap();
            }
        },
        &|shelf| {
            shelf
                .library
                .settings_mut()
                .set_person(Person::Composer)
                .unwrap();
        },
    ];
    let differing = |a: &[String], b: &[String]| -> Vec<&[&str]> {
        QUESTIONS
            .into_iter()
            .zip(a.iter().zip(b))
            .filter(|(_, (a, b))| a != b)
            .map(|(question, _)| question)
            .collect()
    };
    let none: Vec<&[&str]> = Vec::new();
    let mut before = cached_answers(&sandbox);
    assert_eq!(differing(&before, &computed_answers(&sandbox)), none);
    for (at, change) in changes.iter().enumerate() {
        change(&mut shelf);
        let after = cached_answers(&sandbox);
        // With composers in place of artists the answers differ.
        assert_eq!(
            differing(&after, &before).is_empty(),
            at == 4,
            "change {at}"
        );
        assert_eq!(
            differing(&after, &computed_answers(&sandbox)),
            none,
            "change {at}"
        );
        before = after;
    }
}
