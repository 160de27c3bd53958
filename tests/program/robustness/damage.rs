//! Damaged, stale, foreign, old and new files: messages, and the state afterwards.

use super::*;

/// From now on the mean is kept, as a large library keeps it: a small one renews it after each change.
fn fix_mean(sandbox: &Sandbox) {
    let raw = rusqlite::Connection::open(sandbox.path("library").join("voisin.db")).unwrap();
    let sql = "UPDATE settings SET value = json_set(value, '$.is_fixed', json('true')) WHERE name LIKE 'mean.%'";
    assert_eq!(raw.execute(sql, []).unwrap(), 1);
}

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
#[expect(clippy::too_many_lines, reason = "one scene")]
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
    fix_mean(&sandbox);
    let old = fs::read(&index).unwrap();
    fs::write(music.join("new.wav"), noise_wav(16_000, 4.0, 900)).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    fs::write(&index, old).unwrap();
    assert_eq!(status(&sandbox)["index"]["state"], "behind");
    let (found, stderr) = neighbours(&sandbox);
    assert_eq!(
        (found.len(), stderr.as_str()),
        (8, "index brought up to date: 1 added, 0 removed\n")
    );
    // A run that changes tracks keeps it.
    fs::write(music.join("newer.wav"), noise_wav(16_000, 4.0, 901)).unwrap();
    fine(&sandbox, &["add", &string(&music)]);
    assert_eq!(status(&sandbox)["index"]["state"], "current");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn verify_finds_a_damaged_index_vector_and_file() {
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
    };
    let index = sandbox.path("library").join("index.bin");
    let mut bytes = fs::read(&index).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&index, &bytes).unwrap();
    wrong("index", "(checksum): the next search", false);
    assert_eq!(fs::read(&index).unwrap(), bytes, "checking changes nothing");
    fine(&sandbox, &["similar", "id:1"]);
    fine(&sandbox, &["verify"]);

    // A vector that is no unit vector is named, and computed again from its file.
    let database = sandbox.path("library").join("voisin.db");
    let before = sandbox.vectors();
    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.execute(
        "UPDATE vectors SET vector = zeroblob(length(vector)) WHERE track = 2",
        [],
    )
    .unwrap();
    drop(raw);
    wrong("database", "the vector of track 2 has norm 0", false);
    fine(&sandbox, &["add", "--force", &string(&music)]);
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
        table.contains("4 files read again")
            && table.contains("1 track without a file")
            && table.contains("1 changed since"),
        "{table}"
    );
}

#[test]
fn a_truncated_database_is_reported_and_kept() {
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
            stderr.contains("is damaged") && stderr.contains("restore a copy of it"),
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
        "nothing has been changed"
    );
    // A copy put back is as it was.
    fs::write(&database, whole).unwrap();
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
    fix_mean(&sandbox);
    let library = sandbox.path("library");
    let copy = fs::read(library.join("voisin.db")).unwrap();
    add(501);
    let _ = fs::remove_file(library.join("voisin.db-wal"));
    let _ = fs::remove_file(library.join("voisin.db-shm"));
    fs::write(library.join("voisin.db"), copy).unwrap();
    let stderr = text(&add(502).stderr);
    assert!(stderr.contains("made of other vectors"), "{stderr}");
    fine(&sandbox, &["verify"]);
}

#[test]
fn a_library_of_another_version_is_refused() {
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
    ] {
        let output = sandbox.run(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("made by another version of voisin (schema 99"),
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
