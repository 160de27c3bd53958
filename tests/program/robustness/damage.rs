//! Damaged, stale, foreign, old and new files: messages, and the state afterwards.

use super::strangers::repository;
use super::*;

/// The neighbours of track 1, by id.
fn neighbours(sandbox: &Sandbox) -> (Vec<i64>, String) {
    let found = fine(sandbox, &["similar", "id:1", "--format", "json"]);
    let list = json(&found)["neighbours"].as_array().unwrap().clone();
    (
        list.iter()
            .map(|track| track["id"].as_i64().unwrap())
            .collect(),
        text(&found.stderr),
    )
}

#[test]
fn a_damaged_index_is_rebuilt_and_reported_in_one_line() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 8);
    fine(&sandbox, &["add", &string(&music)]);
    let (expected, stderr) = neighbours(&sandbox);
    assert_eq!(
        (expected.len(), stderr.as_str()),
        (7, ""),
        "an intact index prints nothing"
    );
    let index = sandbox.path("library").join("index.bin");
    let good = fs::read(&index).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        bytes
    };
    let version = [&good[..8], &99_u32.to_le_bytes(), &good[12..]].concat();
    for (bytes, what) in [
        (flipped(good.len() - 100), "checksum"),
        (flipped(good.len() - 8 * 256 - 100), "checksum"),
        (flipped(40), "checksum of its header"),
        (flipped(100), "checksum of its header"),
        (good[..good.len() / 2].to_vec(), "another length"),
        (good[..10].to_vec(), "shorter than its header"),
        (Vec::new(), "shorter than its header"),
        (vec![0; 9000], "not an index file"),
        (version, "has format 99, this voisin reads"),
    ] {
        fs::write(&index, &bytes).unwrap();
        let state = status(&sandbox);
        let (found, stderr) = neighbours(&sandbox);
        assert_eq!(found, expected, "{what}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with("index rebuilt: ")
                && stderr.contains(what)
                && !stderr.contains("rebuild it"),
            "{what}: {stderr}"
        );
        // `status` reads only the head: it cannot detect damage behind it.
        if what != "checksum" && what != "another length" {
            assert_eq!(state["index"]["state"], "unusable", "{what}");
        }
        assert_eq!(
            neighbours(&sandbox),
            (expected.clone(), String::new()),
            "it was mended"
        );
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(status(&sandbox)["index"]["state"], "none");
    let (found, stderr) = neighbours(&sandbox);
    assert_eq!(
        (found, stderr.as_str()),
        (expected, "index built: no index yet\n")
    );
    // An outdated index is brought up to date.
    let old = fs::read(&index).unwrap();
    fs::write(music.join("new.wav"), noise_wav(16_000, 4.0, 900)).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    fs::write(&index, old).unwrap();
    let _ = fs::remove_file(sandbox.path("library").join("index.bin.tail"));
    assert_eq!(status(&sandbox)["index"]["state"], "behind");
    let (found, stderr) = neighbours(&sandbox);
    assert_eq!(
        (found.len(), stderr.as_str()),
        (8, "index brought up to date: 1 added, 0 removed\n")
    );
    assert_eq!(status(&sandbox)["index"]["state"], "current");
    // An index without its tail is unusable, and is not taken for an older one.
    fs::remove_file(sandbox.path("library").join("index.bin.tail")).unwrap();
    assert_eq!(status(&sandbox)["index"]["state"], "unusable");
    let (found, stderr) = neighbours(&sandbox);
    assert_eq!(found.len(), 8);
    assert!(
        stderr.starts_with("index rebuilt: ")
            && stderr.contains("the old file was damaged (missing"),
        "{stderr}"
    );
}

#[test]
fn verify_finds_and_repair_mends() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 6);
    fine(&sandbox, &["add", &string(&music)]);
    let table = text(&fine(&sandbox, &["verify", "--deep"]).stdout);
    for row in [
        "database",
        "index",
        "index vectors",
        "self-recall",
        "recall@10",
        "files",
        "vectors",
    ] {
        assert!(
            table
                .lines()
                .any(|line| line.trim_start().starts_with(row) && line.contains(" ok ")),
            "{row}: {table}"
        );
    }
    assert!(
        table.contains("6 of 6 find themselves") && table.contains("1.0000"),
        "{table}"
    );

    let wrong = |row: &str, words: &str, deep: bool| {
        let output = sandbox.run(if deep {
            vec!["verify", "--deep"]
        } else {
            vec!["verify"]
        });
        let table = text(&output.stdout);
        assert_eq!(code(&output), 1, "{table}");
        let line = table
            .lines()
            .find(|line| line.contains("WRONG"))
            .unwrap_or_else(|| panic!("{table}"));
        assert!(
            line.trim_start().starts_with(row) && line.contains(words),
            "{line}"
        );
        assert!(text(&output.stderr).contains("voisin repair"));
    };
    let index = sandbox.path("library").join("index.bin");
    let mut bytes = fs::read(&index).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&index, &bytes).unwrap();
    wrong("index", "checksum", false);
    assert_eq!(fs::read(&index).unwrap(), bytes, "checking changes nothing");
    assert!(text(&fine(&sandbox, &["repair"]).stdout).contains("index rebuilt"));
    fine(&sandbox, &["verify"]);

    // A vector with NaN is never served, and is computed again from its file.
    let database = sandbox.path("library").join("voisin.db");
    let before = sandbox.vectors();
    let raw = rusqlite::Connection::open(&database).unwrap();
    let nan: Vec<u8> = f32::NAN.to_le_bytes().repeat(200);
    raw.execute("UPDATE vectors SET vector = ?1 WHERE track = 2", [nan])
        .unwrap();
    drop(raw);
    wrong(
        "database",
        "track 2 is damaged: its checksum differs",
        false,
    );
    let output = sandbox.run(["similar", "id:2"]);
    assert_eq!(code(&output), 2);
    assert!(
        text(&output.stderr).contains("the vector of track 2 is damaged"),
        "{}",
        text(&output.stderr)
    );
    assert!(
        text(&fine(&sandbox, &["repair"]).stdout)
            .contains("1 vector removed, whose file exists: run add")
    );
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["verify"]);
    assert_eq!(sandbox.vectors(), before);

    // Silent corruption: size and time as before, other bytes.
    let file = music.join("03.wav");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[5000] ^= 0x40;
    fs::write(&file, &bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    wrong("files", "1 damaged on the disk", true);
    // A changed file is left to `add`; a missing one is no damage, but not "ok" either.
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(modified + std::time::Duration::from_secs(9))
        .unwrap();
    fs::remove_file(music.join("04.wav")).unwrap();
    let output = sandbox.run(["verify", "--deep"]);
    let table = text(&output.stdout);
    assert_eq!(code(&output), 1, "{table}");
    assert!(
        !text(&output.stderr).contains("voisin repair"),
        "{}",
        text(&output.stderr)
    );
    assert!(
        table.contains("4 files read again")
            && table.contains("1 track without a file")
            && table.contains("1 changed since"),
        "{table}"
    );
}

#[test]
fn a_truncated_database_is_reported_salvaged_and_kept() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 12);
    fine(&sandbox, &["add", &string(&music)]);
    let before = sandbox.vectors();
    let database = sandbox.path("library").join("voisin.db");
    let whole = fs::read(&database).unwrap();
    let cut = &whole[..whole.len() * 6 / 10];
    fs::write(&database, cut).unwrap();
    let add = ["add", &string(&music)].map(ToOwned::to_owned);
    for arguments in [
        vec!["status"],
        vec!["similar", "id:1"],
        add.iter().map(String::as_str).collect(),
    ] {
        let output = sandbox.run(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("is damaged") && stderr.contains("voisin repair"),
            "{stderr}"
        );
    }
    let checked = sandbox.run(["verify"]);
    assert_eq!(code(&checked), 1);
    assert!(
        text(&checked.stdout).contains("WRONG"),
        "{}",
        text(&checked.stdout)
    );
    assert_eq!(
        fs::read(&database).unwrap(),
        cut,
        "nothing has been changed so far"
    );
    let repaired = sandbox.run(["repair"]);
    assert!(code(&repaired) <= 1, "{}", text(&repaired.stderr));
    assert!(text(&repaired.stdout).contains("the damaged one is kept as"));
    let kept = fs::read_dir(sandbox.path("library"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    assert!(
        kept.filter(|path| fs::read(path).is_ok_and(|bytes| bytes == cut))
            .count()
            == 1
    );
    // Lost tracks are analysed again; the others keep their vectors.
    fine(&sandbox, &["add", &string(&music)]);
    assert_eq!(sandbox.vectors(), before);
    fine(&sandbox, &["verify"]);
}

/// A restored database reaches the same generation by other changes: the old index has the right number of tracks under
/// the right ids, and the wrong music.
#[test]
fn a_restored_database_never_uses_a_newer_index() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 4);
    let add = |seed: u64| {
        let path = music.join(format!("more-{seed}.wav"));
        fs::write(&path, noise_wav(16_000, 4.0, seed)).unwrap();
        fine(&sandbox, &["add", &string(&path)])
    };
    fine(&sandbox, &["add", &string(&music)]);
    let library = sandbox.path("library");
    let copy = fs::read(library.join("voisin.db")).unwrap();
    add(501);
    let _ = fs::remove_file(library.join("voisin.db-wal"));
    let _ = fs::remove_file(library.join("voisin.db-shm"));
    fs::write(library.join("voisin.db"), copy).unwrap();
    let stderr = text(&add(502).stderr);
    assert!(stderr.contains("made of other vectors"), "{stderr}");
    let found = json(fine(
        &sandbox,
        &["similar", "id:5", "--include-seed", "--format", "json"],
    ));
    assert_eq!(found["neighbours"][0]["id"], 5);
    assert!(
        found["neighbours"][0]["similarity"].as_f64().unwrap() > 0.9999,
        "{found}"
    );
    fine(&sandbox, &["verify"]);
}

#[test]
fn an_older_voisin_refuses_a_newer_library() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 2);
    fine(&sandbox, &["add", &string(&music)]);
    let database = sandbox.path("library").join("voisin.db");
    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let before = fs::read(&database).unwrap();
    let music = string(&music);
    for arguments in [
        vec!["status"],
        vec!["similar", "id:1"],
        vec!["add", &music],
        vec!["verify"],
        vec!["repair"],
    ] {
        let output = sandbox.run(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("schema 99") && stderr.contains("use the newer voisin"),
            "{arguments:?}: {stderr}"
        );
    }
    assert_eq!(fs::read(&database).unwrap(), before);
}

/// A first run that ended before its first transaction.
#[test]
fn verify_distinguishes_an_empty_library_from_a_missing_one() {
    let sandbox = Sandbox::new();
    let library = sandbox.path("library");
    assert_eq!(code(&sandbox.run(["verify"])), 2);
    fs::create_dir_all(&library).unwrap();
    fs::write(library.join("voisin.db"), "").unwrap();
    let stdout = text(&fine(&sandbox, &["verify"]).stdout);
    assert!(
        stdout.contains("its first run ended before it wrote anything"),
        "{stdout}"
    );
    // A library with an index had tracks.
    fs::write(library.join("index.bin"), "").unwrap();
    assert_eq!(code(&sandbox.run(["verify"])), 2);
    fs::remove_file(library.join("index.bin")).unwrap();
    fine(&sandbox, &["add", &string(&noises(&sandbox, 1))]);
    fine(&sandbox, &["verify"]);
}

/// Corrupted tags, tempo and ids: each is named, and restored by the step that repair prints.
#[test]
fn verify_finds_changed_tags_and_measurements() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 3);
    fine(&sandbox, &["add", &string(&music)]);
    let before = sandbox.vectors();
    let raw = rusqlite::Connection::open(sandbox.path("library").join("voisin.db")).unwrap();
    for change in [
        "tags SET title = 'Other' WHERE file = 1",
        "descriptors SET loudness = -1 WHERE track = 2",
        "audio SET content = randomblob(32) WHERE id = 3",
    ] {
        assert_eq!(raw.execute(&format!("UPDATE {change}"), []).unwrap(), 1);
    }
    drop(raw);
    let output = sandbox.run(["verify"]);
    let table = text(&output.stdout);
    assert_eq!(code(&output), 1, "{table}");
    for what in [
        "the tags of track 1",
        "the tempo, key and loudness of track 2",
        "the content id and format of track 3",
    ] {
        assert!(
            table.contains(&format!("{what}: damaged, the checksum differs")),
            "{table}"
        );
    }
    let repaired = text(&fine(&sandbox, &["repair"]).stdout);
    for line in [
        "1 file to be read again: run add",
        "1 measurement removed",
        "1 vector removed",
    ] {
        assert!(repaired.contains(line), "{repaired}");
    }
    fine(&sandbox, &["add", &string(&music), "--update-descriptors"]);
    fine(&sandbox, &["verify", "--deep"]);
    assert_eq!(sandbox.vectors(), before);
}

/// Libraries of every schema so far, written by the versions of their time.
#[test]
fn old_libraries_open_and_are_searched() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/library");
    let mut versions = 0;
    for entry in fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if entry.extension().is_none_or(|extension| extension != "db") {
            continue;
        }
        versions += 1;
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.path("library")).unwrap();
        fs::copy(&entry, sandbox.path("library").join("voisin.db")).unwrap();
        // The first command that opens it for writing migrates it.
        let (found, _) = neighbours(&sandbox);
        assert_eq!(found.len(), 4, "{}", entry.display());
        let state = status(&sandbox);
        assert_eq!(
            (&state["tracks"], &state["failed"], &state["dimension"]),
            (&5.into(), &1.into(), &16.into())
        );
        assert_eq!(state["schema"], voisin_library::SCHEMA_VERSION);
        assert_eq!(state["search"]["mode"], "scan");
        assert!(
            state["search"]["why"]
                .as_str()
                .unwrap()
                .contains("5 tracks"),
            "{state}"
        );
        fine(&sandbox, &["verify"]);
    }
    assert_eq!(
        versions,
        voisin_library::SCHEMA_VERSION,
        "one for each schema"
    );
}

/// Trying a million keys of each table that is missing from the schema took minutes.
#[test]
fn repair_of_a_truncated_database_ends_soon() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 4);
    fine(&sandbox, &["add", &string(&music)]);
    let database = sandbox.path("library").join("voisin.db");
    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;")
        .unwrap();
    drop(raw);
    let bytes = fs::read(&database).unwrap();
    // four pages and a bit: the later leaves of the schema are gone
    fs::write(&database, &bytes[..4 * 8192 + 63]).unwrap();
    let start = std::time::Instant::now();
    let child = sandbox
        .command(["repair"])
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    while child.try_wait().unwrap().is_none() {
        // A second is enough; a loaded machine gets more.
        if start.elapsed() > std::time::Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("still looking after a minute");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let empty = text(&fine(&sandbox, &["verify"]).stdout);
    assert!(
        empty.contains("empty: it has no tracks") && !empty.contains("sound"),
        "{empty}"
    );
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["verify"]);
    assert_eq!(status(&sandbox)["tracks"], 4);
}

/// Flips one bit at each occurrence of these bytes in a file; returns their number.
fn flip_everywhere(file: &Path, bytes: &[u8], bit: usize) -> usize {
    let mut all = fs::read(file).unwrap();
    let places: Vec<usize> = all
        .windows(bytes.len())
        .enumerate()
        .filter(|(_, part)| *part == bytes)
        .map(|(at, _)| at)
        .collect();
    for at in &places {
        all[at + bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(file, all).unwrap();
    places.len()
}

/// The next pseudo-random number.
fn next(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

/// Any bit of a vector in the database, of the index, and of the trained head.
#[test]
fn verify_finds_whatever_bit_is_flipped() {
    const FLIPS: usize = 24;
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for i in 0..24_u64 {
        let genre = music.join(["Hum", "Hiss"][i as usize % 2]);
        fs::create_dir_all(&genre).unwrap();
        let wav = if i % 2 == 0 {
            super::common::tone_wav(16_000, 4.0, 200.0 + 30.0 * i as f64, 0.5)
        } else {
            noise_wav(16_000, 4.0, 100 + i)
        };
        fs::write(genre.join(format!("{i:02}.wav")), wav).unwrap();
    }
    fine(&sandbox, &["add", &string(&music)]);
    let trained = text(&fine(&sandbox, &["train", "genre", "--label-from", "folder"]).stdout);
    assert!(
        trained.contains("right on tracks left out") && trained.contains("known to share one"),
        "{trained}"
    );
    assert!(trained.contains("head alone"), "{trained}");
    // everything into the one file, nothing beside it
    let database = sandbox.path("library").join("voisin.db");
    let raw = rusqlite::Connection::open(&database).unwrap();
    let blobs: Vec<Vec<u8>> = raw
        .prepare("SELECT vector FROM vectors")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;")
        .unwrap();
    drop(raw);
    fine(&sandbox, &["verify"]);

    let mut state = u64::from(std::process::id());
    let began = state;
    let found = |what: &str| {
        let output = sandbox.run(["verify"]);
        let stdout = text(&output.stdout);
        assert_eq!(
            code(&output),
            1,
            "{what}, numbers from {began}: {stdout}{}",
            text(&output.stderr)
        );
        assert!(stdout.contains("WRONG"), "{what}: {stdout}");
    };
    let good = fs::read(&database).unwrap();
    for _ in 0..FLIPS {
        let vector = &blobs[next(&mut state, blobs.len())];
        let bit = next(&mut state, vector.len() * 8);
        assert!(
            flip_everywhere(&database, vector, bit) > 0,
            "a vector is contiguous"
        );
        found(&format!("bit {bit} of a vector"));
        fs::write(&database, &good).unwrap();
    }
    for name in ["index.bin", "genre.safetensors"] {
        let file = sandbox.path("library").join(name);
        let whole = fs::read(&file).unwrap();
        for _ in 0..FLIPS {
            let bit = next(&mut state, whole.len() * 8);
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &flipped).unwrap();
            found(&format!("bit {bit} of {name}"));
            assert_eq!(
                fs::read(&file).unwrap(),
                flipped,
                "checking changes nothing"
            );
            fs::write(&file, &whole).unwrap();
        }
    }
    fine(&sandbox, &["verify"]);
}

/// Any bit of an encoder's weights: they are not used any more, and the library stays correct.
#[test]
fn weights_with_a_flipped_bit_are_refused() {
    const FLIPS: usize = 12;
    let sandbox = Sandbox::new();
    let models = sandbox.path("models");
    fs::create_dir_all(&models).unwrap();
    let manifest = fs::read_to_string(repository("models/voisin-3.json")).unwrap();
    let manifest = manifest.replace("\"name\": \"voisin-3\"", "\"name\": \"mine\"");
    assert!(manifest.contains("\"name\": \"mine\""), "{manifest}");
    fs::write(models.join("mine.json"), manifest).unwrap();
    let weights = models.join("voisin-3.safetensors");
    let tone = sandbox.path("tone.wav");
    let whole = fs::read(repository("models/voisin-3.safetensors")).unwrap();
    fs::write(&weights, &whole).unwrap();
    fs::write(&tone, super::common::tone_wav(16_000, 4.0, 440.0, 0.5)).unwrap();
    fine(&sandbox, &["--model", "mine", "add", &string(&tone)]);

    let mut state = u64::from(std::process::id());
    let began = state;
    for _ in 0..FLIPS {
        let bit = next(&mut state, whole.len() * 8);
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&weights, flipped).unwrap();
        for arguments in [
            &["model", "check", "mine"][..],
            &["add", "--force", &string(&tone)],
        ] {
            let output = sandbox.run(arguments);
            let stderr = text(&output.stderr);
            assert_eq!(
                code(&output),
                2,
                "bit {bit}, numbers from {began}: {arguments:?}: {stderr}"
            );
            assert!(
                stderr.contains("voisin-3.safetensors") && stderr.contains("SHA-256"),
                "{stderr}"
            );
        }
    }
    assert_eq!(status(&sandbox)["tracks"], 1);
    fine(&sandbox, &["verify"]);
    fs::write(&weights, &whole).unwrap();
    fine(&sandbox, &["add", "--force", &string(&tone)]);
}

/// A flipped bit in a definition of the schema: all rows are intact, but nothing can be added.
#[test]
fn a_damaged_definition_is_found_and_written_again() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 4);
    fine(&sandbox, &["add", &string(&music)]);
    let database = sandbox.path("library").join("voisin.db");
    let raw = rusqlite::Connection::open(&database).unwrap();
    let set = "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = replace(sql, 'PRIMARY KEY AUTOINCREMENT', '') WHERE name = 'audio';
        PRAGMA writable_schema = RESET;";
    raw.execute_batch(set).unwrap();
    let damaged: String = raw
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = 'audio'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(!damaged.contains("PRIMARY KEY"), "{damaged}");
    drop(raw);

    let checked = sandbox.run(["verify"]);
    assert_eq!(
        code(&checked),
        1,
        "{}{}",
        text(&checked.stdout),
        text(&checked.stderr)
    );
    assert!(
        text(&checked.stdout).contains("definition of table audio"),
        "{}",
        text(&checked.stdout)
    );
    let mended = fine(&sandbox, &["repair"]);
    assert!(
        text(&mended.stdout).contains("1 damaged definition written again"),
        "{}",
        text(&mended.stdout)
    );
    fine(&sandbox, &["verify"]);
    fine(&sandbox, &["add", "--force", &string(&music)]);
    assert_eq!(status(&sandbox)["tracks"], 4);

    // A lost table is named, and nothing is deleted for it.
    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE genres")
        .unwrap();
    drop(raw);
    let checked = sandbox.run(["verify"]);
    let stdout = text(&checked.stdout);
    assert_eq!(code(&checked), 1, "{stdout}{}", text(&checked.stderr));
    assert!(stdout.contains("definition of table genres"), "{stdout}");
    let refused = sandbox.run(["repair"]);
    let stderr = text(&refused.stderr);
    assert_eq!(code(&refused), 2, "{stderr}");
    assert!(
        stderr.contains("cannot be repaired (the table genres is missing): restore a backup"),
        "{stderr}"
    );
}

/// Damage in the middle of tables is found when they are read, not on opening.
#[test]
fn rows_are_saved_wherever_the_damage_lies() {
    use voisin_library::testing;

    const TRACKS: usize = 400;
    const PAGE: usize = 8192;
    let sandbox = Sandbox::new();
    let folder = sandbox.path("library");
    let mut library = testing::library(&folder, 64);
    for i in 0..TRACKS {
        let mut vector: Vec<f32> = (0..64)
            .map(|d| ((i * 7 + d * 3) as f32 * 1.7).sin())
            .collect();
        voisin_base::vector::make_unit(&mut vector);
        library
            .insert_track(&testing::track(i as u64, vector, 4))
            .unwrap();
    }
    drop(library);
    let database = folder.join("voisin.db");
    let vectors = || -> Vec<(i64, Vec<u8>)> {
        let raw = rusqlite::Connection::open(&database).unwrap();
        raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;")
            .unwrap();
        let sql = "SELECT v.track, v.vector FROM vectors v JOIN audio a ON a.id = v.track ORDER BY v.track";
        let mut rows = raw.prepare(sql).unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let before = vectors();
    let good = fs::read(&database).unwrap();
    let pages = good.len() / PAGE;
    let spoil = |which: &dyn Fn(usize) -> bool| {
        let mut bytes = good.clone();
        for page in (0..pages).filter(|&page| which(page)) {
            bytes[page * PAGE..][..PAGE / 2].fill(0xa5);
        }
        fs::write(&database, bytes).unwrap();
        let _ = fs::remove_file(folder.join("index.bin"));
    };
    // Every ninth page from behind the tables' roots on; one in the middle; the last third of the file.
    let places: [(&dyn Fn(usize) -> bool, usize); 3] = [
        (&|page| page >= 45 && page % 9 == 0, TRACKS / 4),
        (&|page| page == pages / 2, TRACKS / 4),
        (&|page| page >= pages * 2 / 3, TRACKS / 4),
    ];
    for (which, least) in places {
        spoil(which);
        let repaired = sandbox.run(["repair"]);
        let stdout = text(&repaired.stdout);
        let stderr = text(&repaired.stderr);
        assert_eq!(code(&repaired), 1, "{stdout}{stderr}");
        assert!(
            stdout.contains(" of 400 tracks; the damaged one is kept as"),
            "{stdout}{stderr}"
        );
        assert!(stderr.contains("could be read"), "{stderr}");
        let saved = vectors();
        assert!(
            (least..=TRACKS).contains(&saved.len()),
            "{} saved: {stdout}{stderr}",
            saved.len()
        );
        assert!(
            saved.iter().all(|row| before.binary_search(row).is_ok()),
            "as they were"
        );
        fine(&sandbox, &["verify"]);
    }
    // A database with all pages destroyed is not reported as repaired.
    spoil(&|page| page >= 10);
    let repaired = sandbox.run(["repair"]);
    let stderr = text(&repaired.stderr);
    assert_ne!(code(&repaired), 0, "{}{stderr}", text(&repaired.stdout));
    assert!(
        stderr.contains("no track could be read") || stderr.contains("cannot be repaired"),
        "{stderr}"
    );
}
