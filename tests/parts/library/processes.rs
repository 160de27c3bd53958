//! Several processes, kills, a full disk.

use super::*;

/// The command that runs one ignored test of this file in a separate process.
pub(crate) fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            &format!("library::{test}"),
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("VOISIN_TEST_DIR", dir);
    #[cfg(unix)]
    if test == "opening::read_only_child" {
        use std::os::unix::fs::MetadataExt;
        use std::os::unix::process::CommandExt;
        if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
            command.uid(65_534);
        }
    }
    command
}

pub(crate) fn child_dir() -> PathBuf {
    std::env::var_os("VOISIN_TEST_DIR")
        .expect("run by another test")
        .into()
}

fn child_number(name: &str) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .expect("run by another test")
}

/// Inserts tracks and prints each acknowledged one, until killed or done.
#[test]
#[ignore = "run by other tests"]
fn inserting_child() {
    let dir = child_dir();
    let first = child_number("VOISIN_TEST_FIRST");
    let count = child_number("VOISIN_TEST_COUNT");
    let mut library = open(&dir);
    for seed in first..first + count {
        library
            .insert_track(&new_track(seed, format!("/m/{seed}.mp3")))
            .unwrap();
        println!("\ninserted {seed}");
    }
}

fn inserter(dir: &Path, first: u64, count: u64) -> Child {
    child("processes::inserting_child", dir)
        .env("VOISIN_TEST_FIRST", first.to_string())
        .env("VOISIN_TEST_COUNT", count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("inserted ")?.parse().ok())
}

fn seeds(library: &Library) -> BTreeSet<u64> {
    library
        .tracks()
        .unwrap()
        .iter()
        .map(|track| u64::from_le_bytes(track.audio.content.0[..8].try_into().unwrap()))
        .collect()
}

fn kill_inserters(kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut promised = BTreeSet::new();
    let mut random = u64::from(std::process::id());
    for round in 0..kills {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut child = inserter(dir.path(), round * 100_000, 100_000);
        // Windows, or an emulator of it, is slower to start a process.
        let slower = if cfg!(windows) { 20 } else { 1 };
        let patience = slower * Duration::from_micros(20_000 + (random >> 33) % 60_000);
        let reader = std::thread::spawn({
            let lines = acknowledged(&mut child);
            move || lines.collect::<Vec<u64>>()
        });
        std::thread::sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap();
        promised.extend(reader.join().unwrap());

        let library = open(dir.path());
        let held = seeds(&library);
        let lost: Vec<_> = promised.difference(&held).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        // At most the insertion in progress is stored without having been acknowledged, one a round.
        assert!(held.len() as u64 <= promised.len() as u64 + round + 1);
        let status = library.status().unwrap();
        assert_eq!(
            (status.vectors, status.windows),
            (held.len() as u64, held.len() as u64 * 3)
        );
        assert_eq!(library.changes().generation().unwrap(), held.len() as u64);
    }
    assert!(
        promised.len() as u64 > kills,
        "the children were killed before they did anything"
    );
    sound(&open(dir.path()));
}

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged() {
    kill_inserters(20);
}

#[test]
#[ignore = "the long run"]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    kill_inserters(100);
}

#[test]
fn two_writers_queue_and_a_reader_sees_what_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let reader = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    let mut children = [
        inserter(dir.path(), 0, 150),
        inserter(dir.path(), 1000, 150),
    ];
    let mut first = acknowledged(&mut children[0]);
    let mut second = acknowledged(&mut children[1]);
    let mut slowest = Duration::ZERO;
    let mut reads = 0;
    let mut seen = BTreeSet::new();
    for (a, b) in std::iter::zip(&mut first, &mut second) {
        let start = Instant::now();
        let snapshot = reader.snapshot().unwrap();
        let vectors = reader.vectors().unwrap();
        let held = seeds(&reader);
        assert_eq!(
            vectors.generation,
            held.len() as u64,
            "one state of the database"
        );
        assert_eq!(vectors.ids.len(), held.len());
        drop(snapshot);
        slowest = slowest.max(start.elapsed());
        reads += 1;
        assert!(
            held.contains(&a) && held.contains(&b),
            "acknowledged but not visible"
        );
        assert!(seen.is_subset(&held));
        seen = held;
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(reads, 150);
    assert!(
        slowest < Duration::from_secs(5),
        "a reader waited {slowest:?}"
    );
    assert_eq!(seeds(&reader).len(), 300);
    sound(&reader);
}

#[test]
fn many_processes_may_create_one_library_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet");
    let mut children: Vec<Child> = (0..4).map(|n| inserter(&dir, n * 100, 5)).collect();
    for child in &mut children {
        assert_eq!(acknowledged(child).count(), 5);
        assert!(child.wait().unwrap().success());
    }
    let library = Library::open(&dir, OpenMode::ReadOnly).unwrap();
    assert_eq!(seeds(&library).len(), 20);
    sound(&library);
}

/// Holds the writers' lock until its standard input ends.
#[test]
#[ignore = "run by another test"]
fn locking_child() {
    let library = open(&child_dir());
    let _lock = library.lock_for_writing().unwrap();
    println!("\nlocked");
    let _ = std::io::stdin().lines().count();
}

#[test]
fn one_long_run_at_a_time_and_its_lock_dies_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let mut holder = child("processes::locking_child", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line == "locked"));
    match library.lock_for_writing() {
        Err(LibraryError::WriterBusy { pid, .. }) => assert_eq!(pid, Some(holder.id())),
        other => panic!("{other:?}"),
    }
    // Small changes do not wait for a long run.
    library.settings_mut().set_setting("x", Some("1")).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let lock = library.lock_for_writing().unwrap();
    assert!(matches!(
        library.lock_for_writing(),
        Err(LibraryError::WriterBusy { .. })
    ));
    drop(lock);
    drop(library.lock_for_writing().unwrap());
}

#[test]
fn a_writer_that_waits_too_long_fails_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    library.set_busy_timeout(Duration::from_millis(50)).unwrap();
    let mut raw = rusqlite::Connection::open(library.database_path()).unwrap();
    let hold = raw
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let error = library.insert_track(&new_track(1, "/a.mp3")).unwrap_err();
    assert!(matches!(error, LibraryError::Locked { .. }), "{error:?}");
    assert_eq!(library.tracks().unwrap().len(), 0, "readers do not wait");
    drop(hold);
    library.insert_track(&new_track(1, "/a.mp3")).unwrap();
}

/// A real file system of eight megabytes. Needs the right to mount, so it is skipped elsewhere; the page
/// limit in the module's own tests stands in for it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "voisin-test"])
        .arg(dir.path())
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no right to mount a file system");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let mut library = open(dir.path());
        let mut held = BTreeSet::new();
        let error = loop {
            let seed = held.len() as u64;
            match library.insert_track(&new_track(seed, format!("/m/{seed}.mp3"))) {
                Ok(_) => held.insert(seed),
                Err(error) => break error,
            };
        };
        assert!(matches!(error, LibraryError::DiskFull { .. }), "{error:?}");
        assert!(held.len() > 20, "{}", held.len());
        assert_eq!(seeds(&library), held, "still readable");
        drop(library);
        // A second process finds the same, even with the disk still full.
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        assert_eq!(seeds(&library), held);
        sound(&library);
        // Removing tracks makes room inside the database again.
        let some: Vec<TrackId> = library
            .tracks()
            .unwrap()
            .iter()
            .map(|track| track.id)
            .take(10)
            .collect();
        let removed = library.remove_tracks(&some);
        assert!(
            matches!(removed, Ok(_) | Err(LibraryError::DiskFull { .. })),
            "{removed:?}"
        );
        sound(&library);
    });
    let _ = Command::new("umount").arg(dir.path()).status();
    outcome.unwrap();
}
