//! The crate's door stays small and deliberate: everything public is named in `src/lib.rs`, one by one.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

/// Items that the door may have; one more is a decision, not an accident.
const MOST: usize = 102;

#[test]
fn the_door_has_no_more_items_than_decided() {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let (door, _) = source.split_once("\npub mod internals {").unwrap();
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
    let open: Vec<&str> = door.lines().filter(|line| line.starts_with("pub mod ")).collect();
    assert_eq!(open, ["pub mod cli;"], "rooms are private; only the hidden command line is not");
}
