//! The crate's door stays small and deliberate: everything public is named in its `lib.rs`, one by one.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

/// Items that the door may have; one more is a decision, not an accident.
const MOST: usize = 102;

#[test]
fn the_door_has_no_more_items_than_decided() {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/crates/voisin-engine/src/lib.rs"))
            .unwrap();
    let (door, _) = source.split_once("\nmod workspace {").unwrap();
    let mut names = Vec::new();
    for statement in door.split("\npub use ").skip(1) {
        let (path, _) = statement.split_once(';').unwrap();
        let list = path.split_once('{').map_or_else(
            || path.rsplit("::").next().unwrap(),
            |(_, list)| list.trim_end().trim_end_matches('}'),
        );
        names.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    assert!(names.contains(&"Engine") && names.contains(&"VectorIndex"), "the scan finds nothing: {names:?}");
    assert!(!names.contains(&"*"), "a glob lets out whatever is there");
    assert!(names.len() <= MOST, "{} public items: {names:?}", names.len());
    assert!(!door.contains("\npub mod "), "modules are private");
}
