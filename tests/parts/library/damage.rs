//! Truncated files, flipped bits, bad rows.

use super::*;
use voisin::Remedy;

fn filled(dir: &Path, n: u64) -> Library {
    let mut library = open(dir);
    for seed in 0..n {
        library
            .insert_track(&new_track(seed, format!("/m/{seed}.mp3")))
            .unwrap();
    }
    library
}

#[test]
fn a_truncated_database_is_reported_and_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 400));
    let database = dir.path().join("voisin.db");
    let whole = std::fs::read(&database).unwrap();
    let mut salvaged_some = false;
    let mut lost_some = false;
    for share in [0.999, 0.8, 0.5, 0.3] {
        let cut = &whole[..(whole.len() as f64 * share) as usize];
        std::fs::write(&database, cut).unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite, OpenMode::Create] {
            let error = Library::open(dir.path(), mode).unwrap_err();
            assert!(
                matches!(error, LibraryError::Damaged { .. }),
                "{share}: {error:?}"
            );
            assert_eq!(error.remedy(), Some(Remedy::Repair), "{error}");
        }
        assert_eq!(
            std::fs::read(&database).unwrap(),
            cut,
            "opening changes nothing"
        );
        let report = salvage(dir.path()).unwrap();
        assert_eq!(
            std::fs::read(&report.damaged).unwrap(),
            cut,
            "the damaged file is kept"
        );
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        // The rest of a truncated page reads as zeros: a row may be complete with wrong values.
        let left = library.repair().unwrap().remaining;
        let damaged: Vec<TrackId> = left
            .iter()
            .map(|finding| match finding {
                LibraryFault::Row {
                    track: Some(track), ..
                } => *track,
                other => panic!("{share}: {other}"),
            })
            .collect();
        assert!(damaged.len() < 5, "{left:?}");
        assert_eq!(library.check(true).unwrap().findings, left);
        assert!(
            library.changes().generation().unwrap() > 400,
            "an index of the damaged library must not fit"
        );
        assert!(library.changes().changes_since(400).unwrap().is_none());
        // A cut inside an index loses no row.
        lost_some |= !report.incomplete.is_empty();
        let rows = (
            library.tracks().unwrap().len(),
            library.vectors().unwrap().ids.len(),
        );
        assert!(
            !report.incomplete.is_empty() || rows == (400, 400) && damaged.is_empty(),
            "{report:?}"
        );
        for track in library
            .tracks()
            .unwrap()
            .into_iter()
            .filter(|track| !damaged.contains(&track.id))
        {
            let seed = u64::from_le_bytes(track.audio.content.0[..8].try_into().unwrap());
            assert_eq!(track.audio, new_track(seed, "/").audio);
            if let Some(vector) = library.vector(track.id).unwrap() {
                assert_eq!(vector, new_track(seed, "/").vector);
                salvaged_some = true;
            }
        }
    }
    assert!(salvaged_some && lost_some);
    std::fs::write(&database, &whole[..50]).unwrap();
    assert!(salvage(dir.path()).is_err());
    assert_eq!(std::fs::read(&database).unwrap(), &whole[..50]);
}

#[test]
fn salvage_of_a_sound_database_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let library = filled(dir.path(), 50);
    let tracks = library.tracks().unwrap();
    let vectors = library.vectors().unwrap();
    drop(library);
    let report = salvage(dir.path()).unwrap();
    assert_eq!(report.incomplete, Vec::<&str>::new());
    let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    assert_eq!(library.tracks().unwrap(), tracks);
    assert_eq!(library.vectors().unwrap().values, vectors.values);
    sound(&library);
}

#[test]
fn flipped_bits_end_in_an_error_or_a_finding_never_in_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 60));
    let database = dir.path().join("voisin.db");
    let whole = std::fs::read(&database).unwrap();
    let mut random: u64 = 0x9e37_79b9;
    let mut refused = 0;
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 20) as usize % bytes.len();
            bytes[at] ^= 1 << (random >> 60 & 7);
        }
        std::fs::write(&database, &bytes).unwrap();
        let outcome = Library::open(dir.path(), OpenMode::ReadOnly).and_then(|library| {
            let _ = (
                library.tracks(),
                library.vectors(),
                library.status(),
                library.changes().changes_since(0),
            );
            let _ = (
                library.lookup().resolve(OsStr::new("title"), 5),
                library.matching(&TrackFilter::default()),
            );
            library.check(true).map(|health| health.findings)
        });
        refused += u32::from(!matches!(outcome.as_deref(), Ok([])));
    }
    assert!(
        refused > 5,
        "some damage must have been noticed, not {refused}"
    );
}

#[test]
fn repair_mends_and_deletes_nothing_that_cannot_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = dir.path().join("here.mp3");
    std::fs::write(&on_disk, "x").unwrap();
    let mut library = filled(dir.path(), 5);
    let mut new = new_track(70, &on_disk);
    new.windows = windows(70, 0);
    let here = library.insert_track(&new).unwrap();
    let mut new = new_track(71, "/gone.mp3");
    new.windows = windows(71, 0);
    let gone = library.insert_track(&new).unwrap();

    let raw = rusqlite::Connection::open(library.database_path()).unwrap();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    let bytes = |vector: &[f32]| {
        vector
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let put = |id: i64, vector: &[f32]| {
        // With a matching checksum, as if it had been written so.
        let bytes = bytes(vector);
        let digest = blake3::hash(&[&id.to_le_bytes()[..], &bytes].concat());
        let sql = "UPDATE vectors SET vector = ?2, checksum = ?3 WHERE track = ?1";
        raw.execute(sql, (id, bytes, &digest.as_bytes()[..16]))
            .unwrap();
    };
    let mut nan = vector(0);
    nan[2] = f32::NAN;
    put(1, &nan);
    put(
        2,
        &vector(1)
            .iter()
            .map(|value| value * 3.0)
            .collect::<Vec<_>>(),
    );
    put(3, &vector(2)[..7]);
    put(here.0, &nan);
    put(gone.0, &nan);
    raw.execute("UPDATE windows SET starts = x'00' WHERE track = 4", [])
        .unwrap();
    raw.execute("UPDATE state SET tracks = 1000", []).unwrap();
    raw.execute(
        "INSERT INTO vectors (track, model, vector, checksum) VALUES (500, 1, x'00000000', zeroblob(16))",
        [],
    )
    .unwrap();
    raw.execute(
        "INSERT INTO genres (file, position, genre, genre_key) VALUES (500, 0, 'x', 'x')",
        [],
    )
    .unwrap();

    let health = library.check(false).unwrap();
    let expected = [
        LibraryFault::Dangling {
            table: "genres".into(),
            rows: 1,
        },
        LibraryFault::Dangling {
            table: "vectors".into(),
            rows: 1,
        },
        LibraryFault::Counter {
            name: "tracks",
            stored: 1000,
            actual: 7,
        },
        LibraryFault::NotFinite(TrackId(1)),
        LibraryFault::WrongDimension {
            track: TrackId(3),
            found: 7,
        },
        LibraryFault::NotFinite(here),
        LibraryFault::NotFinite(gone),
        LibraryFault::BadWindows(TrackId(4)),
    ];
    for finding in &expected {
        assert!(
            health.findings.contains(finding),
            "{finding} not in {:?}",
            health.findings
        );
    }
    assert!(health.findings.iter().any(|f| matches!(
        f,
        LibraryFault::NotUnit {
            track: TrackId(2),
            ..
        }
    )));

    let generation = library.changes().generation().unwrap();
    let report = library.repair().unwrap();
    assert_eq!(
        (report.repooled, report.renormalised, report.to_embed),
        (3, 0, 1)
    );
    assert_eq!((report.dangling_rows, report.counters), (2, 1));
    assert_eq!(
        report.remaining,
        vec![
            LibraryFault::NotFinite(gone),
            LibraryFault::BadWindows(TrackId(4))
        ]
    );
    assert!(library.changes().generation().unwrap() > generation);
    for (id, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mended = library.vector(TrackId(id)).unwrap().unwrap();
        let cosine: f32 = mended.iter().zip(vector(seed)).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9999, "{cosine}");
    }
    assert_eq!(library.vector(here).unwrap(), None);
    assert_eq!(
        library.files().file_state(&file(&on_disk)).unwrap(),
        FileState::NoVector(here)
    );
    library
        .replace_vectors(here, &vector(70), &windows(70, 2))
        .unwrap();
    assert_eq!(
        library.files().file_state(&file(&on_disk)).unwrap(),
        FileState::Unchanged(here)
    );
    library
        .replace_vectors(gone, &vector(71), &windows(71, 2))
        .unwrap();
    library
        .replace_vectors(TrackId(4), &vector(3), &windows(3, 2))
        .unwrap();
    sound(&library);
}

/// Every single bit of the rows that a search reads.
#[test]
fn a_flipped_bit_of_a_vector_is_found_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = dir.path().join("here.mp3");
    std::fs::write(&on_disk, "audio").unwrap();
    let mut library = open(&dir.path().join("library"));
    let here = library.insert_track(&new_track(0, &on_disk)).unwrap();
    let gone = library.insert_track(&new_track(1, "/gone.mp3")).unwrap();
    let database = library.database_path().to_path_buf();
    drop(library);
    let whole = std::fs::read(&database).unwrap();
    let raw = rusqlite::Connection::open(&database).unwrap();
    // The starts of a row's windows lie before their vectors.
    let cells: Vec<(i64, &str, Vec<u8>)> =
        [("vector, x''", "vectors"), ("starts, vectors", "windows")]
            .into_iter()
            .flat_map(|(columns, table)| {
                let mut statement = raw
                    .prepare(&format!("SELECT track, {columns} FROM {table}"))
                    .unwrap();
                let rows = statement.query_map([], |row| {
                    let first: Vec<u8> = row.get(1)?;
                    let second: Vec<u8> = row.get(2)?;
                    Ok((row.get(0)?, table, [first, second].concat()))
                });
                rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
            })
            .collect();
    drop(raw);
    let clean = || {
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
        }
    };
    clean();
    let mut flipped = 0;
    for (track, table, bytes) in &cells {
        let at = whole
            .windows(bytes.len())
            .position(|window| window == bytes)
            .expect("in one piece");
        for bit in (0..bytes.len() * 8).step_by(19) {
            let mut damaged = whole.clone();
            damaged[at + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&database, damaged).unwrap();
            let library = Library::open(database.parent().unwrap(), OpenMode::ReadOnly).unwrap();
            let track = TrackId(*track);
            let expected = if *table == "vectors" {
                LibraryFault::Checksum(track)
            } else {
                LibraryFault::BadWindows(track)
            };
            assert_eq!(library.check(false).unwrap().findings, [expected]);
            let served = if *table == "vectors" {
                library.vectors().is_ok() || library.vector(track).is_ok()
            } else {
                library.windows(track).is_ok()
            };
            assert!(!served, "bit {bit} of the {table} of track {track}");
            flipped += 1;
        }
    }
    assert!(flipped > 100);

    // Rows of an existing file are computed from it again; those of a missing file from its windows.
    let mut damaged = whole.clone();
    for (_, table, bytes) in &cells {
        if *table == "vectors" {
            let at = whole
                .windows(bytes.len())
                .position(|window| window == bytes)
                .unwrap();
            damaged[at + 2] ^= 1;
        }
    }
    std::fs::write(&database, damaged).unwrap();
    let mut library = Library::open(database.parent().unwrap(), OpenMode::ReadWrite).unwrap();
    assert!(matches!(
        library.vectors(),
        Err(LibraryError::DamagedTrack {
            track: TrackId(1),
            what: "vector"
        })
    ));
    let report = library.repair().unwrap();
    assert_eq!(
        (report.to_embed, report.repooled, report.remaining.len()),
        (1, 1, 0)
    );
    assert_eq!(library.vector(here).unwrap(), None);
    assert_eq!(
        library
            .files()
            .file_state(&FileRecord {
                path: on_disk,
                ..new_track(0, "/").file
            })
            .unwrap(),
        FileState::NoVector(here)
    );
    let again = library.vector(gone).unwrap().unwrap();
    let cosine: f32 = again.iter().zip(vector(1)).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.9999, "{cosine}");
}

#[test]
fn salvage_brings_a_damaged_schema_1_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("voisin.db");
    std::fs::copy("tests/data/library/v1.db", &database).unwrap();
    let report = salvage(dir.path()).unwrap();
    assert_eq!(report.incomplete, Vec::<&str>::new());
    let library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
    assert_eq!(library.status().unwrap().vectors, 5);
    assert_eq!(library.model().unwrap(), Some(model()));
    sound(&library);
}

/// Tags, measurements, ids: rows other than vectors that a search, a filter or a label uses.
#[test]
fn a_changed_row_is_restored_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = dir.path().join("here.mp3");
    std::fs::write(&on_disk, "audio").unwrap();
    let place = dir.path().join("library");
    let mut library = open(&place);
    let measured = Descriptors {
        version: 2,
        tempo: Some(120.0),
        key: MusicalKey::from_number(3),
        loudness: Some(-9.5),
        loudness_is_exact: true,
        scales: ScaleValue::new(50.0, None, ScaleOrigin::Measured)
            .map(|value| ("energy".parse().unwrap(), value))
            .into_iter()
            .collect(),
    };
    let logits = vec![0.5, -2.0];
    for (seed, path) in [(0, &on_disk), (1, &PathBuf::from("/gone.mp3"))] {
        let track = library.insert_track(&new_track(seed, path)).unwrap();
        library
            .derived_mut()
            .set_descriptors(track, &measured)
            .unwrap();
        library
            .derived_mut()
            .set_logits(&[(track, logits.clone())])
            .unwrap();
    }
    library
        .labels_mut()
        .set_labels(&[content(0), content(1)], Some("Dub"))
        .unwrap();
    sound(&library);
    let database = library.database_path().to_path_buf();
    drop(library);
    let whole = std::fs::read(&database).unwrap();
    let damage = |sql: &str| {
        std::fs::write(&database, &whole).unwrap();
        let raw = rusqlite::Connection::open(&database).unwrap();
        assert_eq!(raw.execute(sql, []).unwrap(), 1, "{sql}");
    };
    let here = file(&on_disk);
    for (table, change) in [
        ("audio", "audio SET content = zeroblob(32) WHERE id = 1"),
        ("audio", "audio SET seconds = 101.5 WHERE id = 1"),
        ("files", "files SET size = 999 WHERE track = 1"),
        ("tags", "tags SET title = 'Other' WHERE file = 1"),
        ("tags", "tags SET bpm = 99 WHERE file = 1"),
        ("tags", "tags SET mbid = NULL WHERE file = 1"),
        (
            "genres",
            "genres SET genre = 'Jazz' WHERE file = 1 AND position = 0",
        ),
        ("descriptors", "descriptors SET tempo = 121 WHERE track = 1"),
        (
            "descriptors",
            "descriptors SET loudness_is_exact = 0 WHERE track = 1",
        ),
        (
            "logits",
            "logits SET logits = x'0000000000000000' WHERE track = 1",
        ),
        (
            "scales",
            "scales SET value = 51 WHERE content = (SELECT content FROM audio WHERE id = 1)",
        ),
        (
            "labels",
            "labels SET genre = 'Jazz' WHERE content = (SELECT content FROM audio WHERE id = 1)",
        ),
    ] {
        damage(&format!("UPDATE {change}"));
        let mut library = Library::open(&place, OpenMode::ReadWrite).unwrap();
        let fault = LibraryFault::Row {
            table,
            track: Some(TrackId(1)),
        };
        assert_eq!(
            library.check(false).unwrap().findings,
            std::slice::from_ref(&fault),
            "{change}"
        );
        let report = library.repair().unwrap();
        let left = library.check(false).unwrap().findings;
        match table {
            "audio" => {
                assert_eq!(report.to_embed, 1, "{change}");
                assert_eq!(
                    library.files().file_state(&here).unwrap(),
                    FileState::New,
                    "{change}"
                );
                sound(&library);
            }
            "descriptors" => {
                assert_eq!(report.to_measure, 1);
                let left = library.derived().descriptors(&[TrackId(1)]).unwrap();
                assert_eq!(
                    (left[&TrackId(1)].version, left[&TrackId(1)].tempo),
                    (0, None)
                );
                sound(&library);
            }
            // Measured again with all the others.
            "scales" => {
                assert_eq!(report.to_measure, 1);
                let left = library.derived().descriptors(&[TrackId(1)]).unwrap();
                assert!(left[&TrackId(1)].scales.is_empty() && left[&TrackId(1)].version == 1);
                sound(&library);
            }
            "logits" => {
                assert_eq!(
                    library.derived().logits(None).unwrap(),
                    [(TrackId(2), logits.clone())]
                );
                sound(&library);
            }
            // A label cannot be restored from anything else.
            "labels" => {
                assert_eq!(report.remaining, [fault]);
                library
                    .labels_mut()
                    .set_labels(&[content(0)], Some("Dub"))
                    .unwrap();
                sound(&library);
            }
            _ => {
                assert_eq!((report.to_read, report.remaining), (1, vec![]), "{change}");
                assert_eq!(left.is_empty(), table == "files", "{change}: {left:?}");
                assert_eq!(
                    library.files().file_state(&here).unwrap(),
                    FileState::Changed(TrackId(1))
                );
                let tags = new_track(0, &on_disk).tags;
                library
                    .files_mut()
                    .attach_file(TrackId(1), &here, &tags)
                    .unwrap();
                assert_eq!(library.track(TrackId(1)).unwrap().tags, tags);
                sound(&library);
            }
        }
    }
    // Rows of a missing file stay, except those derived from its windows.
    for (table, row) in [
        ("audio", "id = 2"),
        ("files", "id = 2"),
        ("tags", "file = 2"),
        ("genres", "file = 2 AND position = 0"),
        ("descriptors", "track = 2"),
    ] {
        damage(&format!(
            "UPDATE {table} SET checksum = zeroblob(16) WHERE {row}"
        ));
        let mut library = Library::open(&place, OpenMode::ReadWrite).unwrap();
        let fault = LibraryFault::Row {
            table,
            track: Some(TrackId(2)),
        };
        let before = library.transfer().facts(TrackId(2)).unwrap();
        assert_eq!(library.repair().unwrap().remaining, [fault], "{table}");
        assert_eq!(
            library.transfer().facts(TrackId(2)).unwrap(),
            before,
            "{table}"
        );
    }
}

/// A library of an older schema gets its checksums when it is opened; later changes are found.
#[test]
fn an_older_library_gets_checksums_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("voisin.db");
    std::fs::copy("tests/data/library/v3.db", &database).unwrap();
    sound(&Library::open(dir.path(), OpenMode::ReadWrite).unwrap());
    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.execute("UPDATE tags SET artist = 'Nobody' WHERE file = 3", [])
        .unwrap();
    raw.execute("UPDATE audio SET content = randomblob(32) WHERE id = 4", [])
        .unwrap();
    let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    let row = |table, track| LibraryFault::Row {
        table,
        track: Some(TrackId(track)),
    };
    assert_eq!(
        library.check(true).unwrap().findings,
        [row("audio", 4), row("tags", 3)]
    );
}

#[test]
fn repair_keeps_vectors_of_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("0.mp3");
    std::fs::write(&file, "").unwrap();
    let mut library = open(dir.path());
    let mut new = new_track(0, &file);
    new.windows = TrackWindows::none(DIMENSION);
    let track = library.insert_track(&new).unwrap();
    drop(library);
    let raw = rusqlite::Connection::open(dir.path().join("voisin.db")).unwrap();
    let spoil = "UPDATE models SET manifest = '{\"external\":\"x\",\"dimension\":16}';
        UPDATE vectors SET checksum = zeroblob(16);
        UPDATE audio SET checksum = zeroblob(16)";
    raw.execute_batch(spoil).unwrap();
    drop(raw);
    let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let report = library.repair().unwrap();
    let audio = LibraryFault::Row {
        table: "audio",
        track: Some(track),
    };
    assert_eq!(report.remaining, [LibraryFault::Checksum(track), audio]);
    assert_eq!(report.to_embed, 0);
    assert!(library.has_vector(track).unwrap());
}
