//! Tests of private functions: a simulated full disk.

use super::testing::{self, library as open};
use super::*;
use voisin_base::random::Random;
use voisin_base::track::TrackId;
use voisin_base::vector::make_unit;

fn unit_vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut unit: Vec<f32> = (0..dimension).map(|_| 2.0 * random.f32() - 1.0).collect();
    assert!(make_unit(&mut unit));
    unit
}

fn track(seed: u64, dimension: usize) -> NewTrack {
    testing::track(seed, unit_vector(seed, dimension))
}

/// A limit on the number of pages ends in the same error as a full disk, on every system.
#[test]
fn a_database_that_may_not_grow_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 1024);
    let pages = library.pragma("page_count").unwrap();
    library
        .connection
        .pragma_update(None, "max_page_count", pages + 40)
        .unwrap();
    let mut held = Vec::new();
    let error = loop {
        match library.insert_track(&track(held.len() as u64, 1024)) {
            Ok(id) => held.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LibraryError::DiskFull { .. }), "{error:?}");
    assert!(held.len() > 5);
    assert_eq!(library.vectors().unwrap().ids, held);
    assert!(library.check().unwrap().findings.is_empty());
    // With free space the same connection works again.
    library
        .connection
        .pragma_update(None, "max_page_count", pages + 400)
        .unwrap();
    library
        .insert_track(&track(held.len() as u64, 1024))
        .unwrap();
    assert_eq!(library.status().unwrap().tracks as usize, held.len() + 1);
}

#[test]
fn the_log_of_changes_is_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 8);
    library
        .connection
        .execute("UPDATE state SET generation = 200000", [])
        .unwrap();
    library
        .connection
        .execute(
            "INSERT INTO changes VALUES (1, 1, 0), (68929, 1, 0), (68930, 1, 0)",
            [],
        )
        .unwrap();
    library.insert_track(&track(1, 8)).unwrap();
    let oldest: i64 = library
        .connection
        .query_row("SELECT min(generation) FROM changes", [], |row| row.get(0))
        .unwrap();
    assert_eq!(oldest, 200_001 - 131_072 + 1);
    assert!(library.changes_since(68_929).unwrap().is_none());
    assert_eq!(
        library.changes_since(200_000).unwrap().unwrap().added,
        vec![TrackId(1)]
    );
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), 8);
    let reader = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    writer.insert_track(&track(1, 8)).unwrap();
    let snapshot = reader.snapshot().unwrap();
    assert_eq!(reader.generation().unwrap(), 1);
    writer.insert_track(&track(2, 8)).unwrap();
    assert_eq!(
        (reader.generation().unwrap(), reader.tracks().unwrap().len()),
        (1, 1)
    );
    drop(snapshot);
    assert_eq!(
        (reader.generation().unwrap(), reader.tracks().unwrap().len()),
        (2, 2)
    );
}

#[test]
fn a_refusal_takes_back_what_its_transaction_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 4);
    let add = |tx: &Transaction<'_>| {
        tx.execute(
            "INSERT INTO settings (name, value) VALUES ('mood', 'calm')",
            [],
        )
    };
    let refused = library.write(|tx| -> Result<(), WorkError> {
        add(tx)?;
        Err(store::no_model().into())
    });
    assert!(
        matches!(refused, Err(LibraryError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(library.setting("mood").unwrap(), None);
    // The connection can begin the next transaction.
    assert_eq!(library.write(|tx| Ok(add(tx)?)).unwrap(), 1);
    assert_eq!(library.setting("mood").unwrap().as_deref(), Some("calm"));
}

#[test]
fn a_damaged_counter_asks_for_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    // One vector of this model exceeds any machine's memory.
    let library = open(dir.path(), 1 << 40);
    let sql = "UPDATE state SET vectors = 9223372036854775807";
    library.connection.execute(sql, []).unwrap();
    assert!(library.vectors().unwrap().ids.is_empty());
}
