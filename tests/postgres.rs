//! `PostgreSQL` with pgvector: libraries are sent there, asked there and brought back, through real servers on loopback.
//! Where `PostgreSQL` or pgvector is not installed the tests skip with a message; `scripts/install_postgres` installs them.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{Sandbox, code, fine, json, text};
use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use voisin::internals::backend::{BackendError, Effort, Place, Postgres, TrackStore};
use voisin::internals::engine::Engine;
use voisin::internals::library::{
    AudioFacts, Descriptors, FileRecord, Library, MusicalKey, OpenMode, StoredModel, TrackFilter, TrackTags,
    TrackWindows, Vectors,
};
use voisin::{ContentId, TrackId};

/// The programs of a PostgreSQL that has pgvector and `postgres_fdw`.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let version = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let extensions = Path::new("/usr/share/postgresql").join(version).join("extension");
            ["vector.control", "postgres_fdw.control"].iter().all(|name| extensions.join(name).exists())
        })
        .collect();
    found.sort();
    let found = found.pop().map(|path| path.join("bin"));
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "scripts/install_postgres installs what this test needs");
        eprintln!("skipped: no PostgreSQL with pgvector (scripts/install_postgres installs them)");
    }
    found
}

/// A server of its own on loopback, gone at the end of the test.
struct Server {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

/// Runs a program of PostgreSQL, which refuses to be root.
fn as_nobody(program: &Path, arguments: &[&str]) -> Output {
    let is_root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir("/").stdin(Stdio::null()).output().unwrap()
}

impl Server {
    fn start(programs: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("voisin-postgres-{}-{port}", std::process::id()));
        let data = folder.to_str().unwrap();
        let made = as_nobody(
            &programs.join("initdb"),
            &["-D", data, "-U", "voisin", "-A", "trust", "-N", "-E", "UTF8"],
        );
        assert!(made.status.success(), "{}", text(&made.stderr));
        let server = Self { programs: programs.to_owned(), folder, port };
        server.up();
        server
    }

    fn up(&self) {
        let options = format!(
            "-h 127.0.0.1 -p {} -k {} -c fsync=off -c max_connections=30",
            self.port,
            self.folder.display()
        );
        let log = self.folder.join("log");
        let data = self.folder.to_str().unwrap();
        let started = as_nobody(
            &self.programs.join("pg_ctl"),
            &["-D", data, "-o", &options, "-l", log.to_str().unwrap(), "-w", "-t", "60", "start"],
        );
        assert!(started.status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
    }

    fn stop(&self, mode: &str) {
        let data = self.folder.to_str().unwrap();
        as_nobody(&self.programs.join("pg_ctl"), &["-D", data, "-m", mode, "-w", "stop"]);
    }

    fn url(&self) -> String {
        format!("postgres://voisin@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    fn psql(&self, sql: &str, variables: &[(String, String)]) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "voisin", "-d", "postgres"]);
        command.args(["-v", "ON_ERROR_STOP=1", "-AtX", "-q"]);
        for (name, value) in variables {
            command.args(["-v", &format!("{name}={value}")]);
        }
        let mut child = command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{sql}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Everything that a push leaves behind, but for when and in how many steps.
    fn tables(&self) -> String {
        self.psql(
            "select id, md5(content || facts || coalesce(windows, '') || digest), source, path, genres, words,
                md5(embedding::text) from voisin_track order by id;
             select name, md5(value) from voisin_setting order by name;
             select model, fingerprint, dimension from voisin_state;",
            &[],
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("immediate");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A coordinator and three shards, with the tables that `--print-ddl partitioned` prints.
struct Cluster {
    coordinator: Server,
    shards: Vec<Server>,
}

impl Cluster {
    fn start(programs: &Path, sandbox: &Sandbox) -> Self {
        let coordinator = Server::start(programs);
        let shards: Vec<Server> = (0..3).map(|_| Server::start(programs)).collect();
        let printed = sandbox.run(["push", "--print-ddl", "partitioned"]);
        assert_eq!(code(&printed), 0, "{}", text(&printed.stderr));
        let printed = text(&printed.stdout);
        let parts: Vec<&str> = printed.split("\n-- == ").collect();
        assert_eq!(parts.len(), 5, "three shards and a coordinator");
        let mut variables = Vec::new();
        for (i, shard) in shards.iter().enumerate() {
            shard.psql(&format!("-- {}", parts[i + 1]), &[]);
            for (name, value) in [
                ("host", "127.0.0.1".to_owned()),
                ("port", shard.port.to_string()),
                ("dbname", "postgres".to_owned()),
                ("user", "voisin".to_owned()),
            ] {
                variables.push((format!("shard{i}_{name}"), value));
            }
        }
        coordinator.psql(&format!("-- {}", parts[4]), &variables);
        Self { coordinator, shards }
    }

    fn make_indexes(&self) {
        for (i, shard) in self.shards.iter().enumerate() {
            shard.psql(
                &format!(
                    "create index on voisin_track_{i} using hnsw (embedding halfvec_ip_ops) with (m = 16, ef_construction = 128)"
                ),
                &[],
            );
        }
    }
}

const DIMENSION: usize = 64;

fn model() -> StoredModel {
    StoredModel {
        name: "synthetic".into(),
        fingerprint: "0123456789abcdef0123456789abcdef".into(),
        dimension: DIMENSION,
        manifest_json: "{}".into(),
    }
}

/// Tracks that lie in groups, with tags of which some are rare, and some that are hostile.
fn synthetic(dir: &Path, n: usize, seed: u64) -> Library {
    let mut random = StdRng::seed_from_u64(seed);
    let mut vector = |around: Option<&Vec<f32>>| -> Vec<f32> {
        let mut values: Vec<f32> = (0..DIMENSION).map(|_| random.random_range(-1.0..1.0)).collect();
        if let Some(around) = around {
            values.iter_mut().zip(around).for_each(|(value, middle)| *value = 0.35 * *value + middle);
        }
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.iter_mut().for_each(|value| *value /= norm);
        values
    };
    let middles: Vec<Vec<f32>> = (0..40).map(|_| vector(None)).collect();
    let mut library = Library::open(dir, OpenMode::Create).unwrap();
    library.set_model(&model()).unwrap();
    let mut records = Vec::new();
    for i in 0..n {
        let vector = vector(Some(&middles[i % 40]));
        let record = track(i, vector);
        records.push((None, record));
    }
    for some in records.chunks(1000) {
        library.take_in(some).unwrap();
    }
    library
}

fn track(i: usize, vector: Vec<f32>) -> voisin::internals::library::TrackRecord {
    use voisin::internals::library::{TaggedFile, TrackFacts, TrackRecord};
    let content = content(i);
    let hostile = i % 100 == 7;
    let path = if hostile {
        odd_path(i)
    } else {
        PathBuf::from(format!("/music/{}/album {}/{i}.flac", i % 10, i % 50))
    };
    let tags = TrackTags {
        title: Some(if hostile {
            format!("nul\0 '; drop table voisin_track; -- {i} %_\\")
        } else {
            format!("title {i}")
        }),
        artist: Some(format!("Ärtist {}", i % 200)),
        album: Some(format!("album {}", i % 50)),
        genres: match i {
            _ if i.is_multiple_of(2) => vec!["Rock".into()],
            _ if i % 1000 == 1 => vec!["Zeuhl".into()],
            _ if i % 10 == 3 => vec!["Jazz".into(), "Pop".into()],
            _ => vec!["Ambient".into()],
        },
        year: (!i.is_multiple_of(3)).then(|| 1950 + (i % 70) as i32),
        licence: i.is_multiple_of(5).then(|| "http://creativecommons.org/licenses/by/4.0/".into()),
        ..TrackTags::default()
    };
    let descriptors = Descriptors {
        version: 1,
        tempo: Some(60.0 + (i % 120) as f64),
        key: MusicalKey::from_number((i % 24) as u8),
        loudness: Some(-30.0 + (i % 25) as f64),
        loudness_is_exact: true,
    };
    TrackRecord {
        facts: TrackFacts {
            audio: AudioFacts {
                content,
                seconds: 30.0 + (i % 600) as f64,
                sample_rate: 44_100,
                channels: 2,
                container: "flac".into(),
                codec: "flac".into(),
                packets: 100,
                damaged_packets: 0,
            },
            added_at: 1_700_000_000 + i as i64,
            files: vec![TaggedFile { record: FileRecord { path, size: 1, mtime_ns: 1 }, tags }],
            descriptors: Some(descriptors),
            label: None,
        },
        vector,
        windows: TrackWindows { vectors: Array2::default((0, DIMENSION)), starts: Vec::new() },
    }
}

/// Any 32 bytes that differ will do.
fn content(i: usize) -> ContentId {
    let mut random = StdRng::seed_from_u64(i as u64);
    ContentId(std::array::from_fn(|_| random.random()))
}

fn odd_path(i: usize) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let mut bytes = format!("/music/odd/{i}-").into_bytes();
    bytes.extend_from_slice(b"\xff\n'$1.flac");
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

fn filters() -> Vec<(&'static str, TrackFilter)> {
    let none = TrackFilter::default;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    vec![
        ("none", none()),
        ("half", TrackFilter { genres: names(&["rock"]), ..none() }),
        ("a tenth", TrackFilter { genres: names(&["Jazz"]), ..none() }),
        ("a thousandth", TrackFilter { genres: names(&["zeuhl"]), ..none() }),
        ("not rock", TrackFilter { exclude_genres: names(&["Rock"]), ..none() }),
        ("an artist", TrackFilter { artists: names(&["artist 17"]), ..none() }),
        ("not these artists", TrackFilter { exclude_artists: names(&["Ärtist 1", "artist 2"]), ..none() }),
        ("years", TrackFilter { year_from: Some(1960), year_to: Some(1969), ..none() }),
        ("a folder", TrackFilter { folders: vec!["/music/3".into()], ..none() }),
        ("odd files", TrackFilter { folders: vec!["/music/odd".into()], ..none() }),
        (
            "licence and length",
            TrackFilter { licences: names(&["cc-by"]), seconds_to: Some(200.0), ..none() },
        ),
        (
            "sound",
            TrackFilter {
                tempo_from: Some(90.0),
                tempo_to: Some(100.0),
                tempo_octaves: true,
                keys: vec![MusicalKey::from_number(3).unwrap(), MusicalKey::from_number(15).unwrap()],
                loudness_from: Some(-20.0),
                ..none()
            },
        ),
    ]
}

/// Content ids and similarities of the nearest tracks.
fn nearest(
    store: &mut dyn TrackStore,
    contents: &BTreeMap<TrackId, ContentId>,
    query: &[f32],
    filter: &TrackFilter,
    effort: Effort,
) -> Vec<(ContentId, f32)> {
    let found = store.nearest(query, 10, filter, effort).unwrap();
    found.iter().map(|found| (contents[&found.track], found.similarity)).collect()
}

fn contents(engine: &Engine) -> (BTreeMap<TrackId, ContentId>, BTreeMap<TrackId, ContentId>) {
    let local: BTreeMap<TrackId, ContentId> =
        engine.library().tracks().unwrap().iter().map(|track| (track.id, track.audio.content)).collect();
    let remote = local.values().map(|content| {
        let first = u64::from_be_bytes(*content.0.first_chunk().unwrap());
        (TrackId((first >> 1) as i64), *content)
    });
    let remote = remote.collect();
    (local, remote)
}

/// The local index keeps 16 bits of each number, the database 32 beside its 16: their similarities differ by some 2e-5.
const ROUNDING: f32 = 5e-5;

/// Some tracks by their similarity to a query, nearest first, from the vectors that the library stores.
fn scanned(vectors: &Vectors, fitting: &BTreeSet<TrackId>, query: &[f32]) -> Vec<(TrackId, f64)> {
    let rows = vectors.ids.iter().zip(vectors.values.rows());
    let mut all: Vec<(TrackId, f64)> = rows
        .filter(|(id, _)| fitting.contains(id))
        .map(|(id, row)| (*id, row.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// Compares a database with the library that was sent there: exactly, and through its index.
fn compare(engine: &mut Engine, store: &mut Postgres) {
    let (local_ids, remote_ids) = contents(engine);
    let vectors = engine.library().vectors().unwrap();
    let queries: Vec<Vec<f32>> =
        vectors.values.rows().into_iter().step_by(vectors.ids.len() / 10).map(|row| row.to_vec()).collect();
    for (name, filter) in filters() {
        let (mut hits, mut wanted) = (0, 0);
        let fitting = engine.nearest(&queries[0], vectors.ids.len(), &filter, Effort::Exact).unwrap();
        let fitting: BTreeSet<TrackId> = fitting.iter().map(|found| found.track).collect();
        for (number, query) in queries.iter().enumerate() {
            let all = scanned(&vectors, &fitting, query);
            let similarity: BTreeMap<ContentId, f64> =
                all.iter().map(|(id, similarity)| (local_ids[id], *similarity)).collect();
            let expected = nearest(engine, &local_ids, query, &filter, Effort::Exact);
            let exact = nearest(store, &remote_ids, query, &filter, Effort::Exact);
            assert_eq!((exact.len(), all.len().min(10)), (expected.len(), exact.len()), "{name}");
            for (i, (((found, found_similarity), (id, true_similarity)), (_, local_similarity))) in
                exact.iter().zip(&all).zip(&expected).enumerate()
            {
                let off = (f64::from(*found_similarity) - true_similarity).abs();
                assert!(off < 1e-5, "{name} {i}: {found_similarity} {true_similarity}");
                assert!((found_similarity - local_similarity).abs() < ROUNDING, "{name} {i}");
                // Another recording only where the two are equally near.
                let other = (similarity[found] - true_similarity).abs();
                assert!(*found == local_ids[id] || other < 1e-6, "{name} {i}: {found} {id:?}");
            }
            let found = nearest(store, &remote_ids, query, &filter, Effort::Index);
            assert_eq!(found.len(), expected.len(), "{name}: the list is full");
            wanted += expected.len();
            hits += found.iter().filter(|(id, _)| exact.iter().any(|(other, _)| other == id)).count();
            // The hundredth run of a statement is as good as the first.
            if number == 0 && ["none", "a thousandth"].contains(&name) {
                for run in 2..=100 {
                    let again = nearest(store, &remote_ids, query, &filter, Effort::Index);
                    assert_eq!(again, found, "{name}: run {run}");
                }
            }
        }
        assert!(wanted > 0, "{name}: the filter leaves something");
        let recall = hits as f64 / wanted as f64;
        assert!(recall >= 0.99, "{name}: recall@10 {recall}");
    }
}

fn sandbox_with(n: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    drop(synthetic(&sandbox.path("library"), n, 1));
    sandbox
}

fn push(sandbox: &Sandbox, server: &Server, extra: &[&str]) -> Value {
    let url = server.url();
    let output = sandbox.run(["push", "--to", &url, "--format", "json"].iter().chain(extra));
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    json(output)
}

#[test]
fn one_server_answers_as_the_library_does() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(10_000);
    let sent = push(&sandbox, &server, &["--index-memory", "256"]);
    assert_eq!(sent["added"], 10_000);
    assert!(sent["index_seconds"].as_f64().unwrap() > 0.0);
    let mut engine = Engine::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let mut store = Postgres::open(&Place::parse(&server.url(), true).unwrap()).unwrap();
    compare(&mut engine, &mut store);

    // A server that was away is asked again without a word.
    server.stop("immediate");
    let away = store.nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), Effort::Index);
    assert!(matches!(away, Err(BackendError::Connect { .. })), "{away:?}");
    server.up();
    assert_eq!(
        store.nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), Effort::Index).unwrap().len(),
        3
    );
}

#[test]
fn three_shards_answer_as_the_library_does() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(10_000);
    let cluster = Cluster::start(&programs, &sandbox);
    assert_eq!(push(&sandbox, &cluster.coordinator, &[])["added"], 10_000);
    let shares: Vec<usize> = cluster
        .shards
        .iter()
        .enumerate()
        .map(|(i, shard)| shard.psql(&format!("select count(*) from voisin_track_{i}"), &[]).parse().unwrap())
        .collect();
    assert!(shares.iter().sum::<usize>() == 10_000 && shares.iter().all(|&n| n > 3000), "{shares:?}");
    cluster.make_indexes();
    let mut engine = Engine::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let mut store = Postgres::open(&Place::parse(&cluster.coordinator.url(), true).unwrap()).unwrap();
    assert_eq!(store.shards().len(), 3);
    compare(&mut engine, &mut store);

    // A shard that goes is named, and is back without a new start.
    cluster.shards[1].stop("immediate");
    for _ in 0..2 {
        let away = store.nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), Effort::Index);
        let Err(error @ BackendError::Shard { .. }) = away else { panic!("{away:?}") };
        let said = error.to_string();
        assert!(
            said.contains("voisin_shard_1") && said.contains(&cluster.shards[1].port.to_string()),
            "{said}"
        );
    }
    let url = cluster.coordinator.url();
    let asked = sandbox.run(["similar", "title 12", "--backend", &url]);
    assert_eq!(code(&asked), 2);
    assert!(text(&asked.stderr).contains("voisin_shard_1"), "{}", text(&asked.stderr));
    assert_eq!(text(&asked.stderr).lines().count(), 1, "{}", text(&asked.stderr));
    cluster.shards[1].up();
    assert_eq!(
        store.nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), Effort::Index).unwrap().len(),
        3
    );
    // The width of the shards is an option of their servers.
    store.set_width(64).unwrap();
    let options =
        cluster.coordinator.psql("select srvoptions from pg_foreign_server order by srvname limit 1", &[]);
    assert!(options.contains("hnsw.ef_search=64") && options.contains("force_custom_plan"), "{options}");
    assert_eq!(
        store.nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), Effort::Index).unwrap().len(),
        3
    );
    // Who only reads is answered, and told whose business the width is.
    cluster.coordinator.psql(
        "create role reader login; grant select on all tables in schema public to reader;
         select format('create user mapping for reader server %I options (user ''voisin'', password_required ''false'')',
            srvname) from pg_foreign_server \\gexec",
        &[],
    );
    let reader = cluster.coordinator.url().replace("voisin@", "reader@");
    let ask = |words: &[&str]| sandbox.run(words.iter().chain(&["--backend", &reader]));
    fine(ask(&["similar", "title 12"]));
    let refused = ask(&["eval", "index", "--widths", "40", "--queries", "3"]);
    let said = text(&refused.stderr);
    assert_eq!(code(&refused), 2, "{said}");
    assert!(said.contains("owner") && said.contains("alter server voisin_shard_0 options"), "{said}");
    // Changes reach the shards, and a push that is made again sends nothing.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(5), TrackId(6)]).unwrap();
    drop(library);
    let again = push(&sandbox, &cluster.coordinator, &[]);
    assert_eq!(
        (&again["removed"], &again["unchanged"], &again["added"]),
        (&2.into(), &9998.into(), &0.into())
    );
}

#[test]
fn a_push_that_is_killed_ends_in_the_same_tables() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(6000);
    let (whole, killed) = (Server::start(&programs), Server::start(&programs));
    push(&sandbox, &whole, &[]);
    let url = killed.url();
    let mut random = StdRng::seed_from_u64(3);
    let mut kills = 0;
    for round in 0..20 {
        let mut child = sandbox
            .command(["push", "--to", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.random_range(20..900)));
        kills += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        if round == 9 {
            // Half-way everything goes, so that there is something to interrupt again.
            killed.psql(
                "drop table if exists voisin_track, voisin_state, voisin_source, voisin_setting, voisin_gone",
                &[],
            );
        }
    }
    assert!(kills >= 5, "{kills} of 20 were interrupted");
    // A killed process's lock lasts until the server notices.
    for _ in 0..50 {
        if code(&sandbox.run(["push", "--to", &url])) == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let again = push(&sandbox, &killed, &[]);
    assert_eq!(
        (&again["unchanged"], &again["added"], &again["updated"]),
        (&6000.into(), &0.into(), &0.into())
    );
    assert_eq!(killed.tables(), whole.tables());
    assert!(
        killed
            .psql("select indexdef from pg_indexes where indexdef like '%hnsw%'", &[])
            .contains("halfvec_ip_ops")
    );
}

#[test]
fn what_changes_is_sent_and_what_is_not_is_not() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(500);
    let counts = |sent: &Value| -> Vec<u64> {
        ["added", "updated", "unchanged", "removed"].iter().map(|key| sent[key].as_u64().unwrap()).collect()
    };
    assert_eq!(counts(&push(&sandbox, &server, &[])), [500, 0, 0, 0]);
    let before = server.tables();
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
    assert_eq!(server.tables(), before);

    // A label, a tag, a vector, a removal, a new track.
    assert_eq!(code(&sandbox.run(["labels", "set", "id:10", "Zouk"])), 0);
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let tags = TrackTags { title: Some("renamed".into()), ..TrackTags::default() };
    let eleventh = library.track(TrackId(11)).unwrap();
    library.attach_file(TrackId(11), &eleventh.files[0].record, &tags).unwrap();
    let mut vector = vec![0.0; DIMENSION];
    vector[3] = 1.0;
    let none = TrackWindows { vectors: Array2::default((0, DIMENSION)), starts: Vec::new() };
    library.replace_vectors(TrackId(12), &vector, &none).unwrap();
    library.remove_tracks(&[TrackId(13)]).unwrap();
    let record = track(100_000, vector.clone());
    library.take_in(&[(None, record)]).unwrap();
    drop(library);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [1, 3, 496, 1]);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
    // Without the log of what was sent the contents tell the same.
    server.psql("delete from voisin_source", &[]);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);

    // A second library adds its own and takes nothing of the first's.
    let other = Sandbox::new();
    drop(synthetic(&other.path("library"), 20, 9));
    let mut library = Library::open(&other.path("library"), OpenMode::ReadWrite).unwrap();
    library.take_in(&[(None, track(200_000, vector))]).unwrap();
    drop(library);
    let sent = push(&other, &server, &[]);
    assert_eq!(counts(&sent), [2, 0, 0, 0], "track 13 is here and there is no more");
    assert_eq!(sent["of_others"], 19);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
}

/// What a run that must be refused says.
fn refused(output: Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(code(&output), 2, "{said}");
    assert!(said.lines().all(|line| !line.contains("panicked")), "{said}");
    said
}

#[test]
fn what_does_not_belong_there_is_refused() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(2500);
    let url = server.url();
    let (push_there, pull_there) = (["push", "--to", &url], ["pull", "--from", &url]);
    // An index that will not fit into the server's memory for it is told before it is made.
    server.psql("alter system set maintenance_work_mem = '1MB'", &[]);
    server.psql("select pg_reload_conf()", &[]);
    let first = sandbox.run(push_there);
    let said = text(&first.stderr);
    assert!(code(&first) == 0 && said.contains("maintenance_work_mem is 1 MB"), "{said}");
    assert!(said.contains("--index-memory 2"), "{said}");
    let before = server.tables();

    // A library of another model, of the same length and of another one; there it has a schema of its own.
    let of_model = |dimension: usize| {
        let stranger = Sandbox::new();
        let mut library = Library::open(&stranger.path("library"), OpenMode::Create).unwrap();
        let name = format!("other-{dimension}");
        let model = StoredModel { fingerprint: name.clone(), name, dimension, ..model() };
        library.set_model(&model).unwrap();
        let mut record = track(1, vec![1.0; dimension]);
        record.vector.iter_mut().for_each(|value| *value /= (dimension as f32).sqrt());
        record.windows.vectors = Array2::default((0, dimension));
        library.take_in(&[(None, record)]).unwrap();
        stranger
    };
    server.psql("create schema other", &[]);
    for dimension in [DIMENSION, 16] {
        let stranger = of_model(dimension);
        for words in [push_there, pull_there] {
            let said = refused(stranger.run(words));
            assert!(said.contains("synthetic") && said.contains(&format!("other-{dimension}")), "{said}");
        }
        let elsewhere = format!("{url}&options=-csearch_path%3Dother,public");
        server.psql("drop schema other cascade; create schema other", &[]);
        fine(stranger.run(["push", "--to", &elsewhere]));
        let status = json(stranger.run(["status", "--format", "json", "--backend", &elsewhere]));
        assert_eq!(status["tracks"], 1, "{status}");
    }

    // Recordings that are known by another kind of id.
    let quick = Sandbox::new();
    let mut library = Library::open(&quick.path("library"), OpenMode::Create).unwrap();
    library.set_model(&model()).unwrap();
    library.set_setting("identity", Some("quick")).unwrap();
    library.take_in(&[(None, track(3000, [&[1.0][..], &[0.0; DIMENSION - 1]].concat()))]).unwrap();
    // The kind is told by the tracks, too.
    library.set_setting("identity", None).unwrap();
    drop(library);
    for words in [push_there, pull_there] {
        let said = refused(quick.run(words));
        assert!(said.contains("\"full\"") && said.contains("\"quick\""), "{said}");
    }
    assert_eq!(json(quick.run(["status", "--format", "json"]))["tracks"], 1);
    server.psql("create database apart", &[]);
    let elsewhere = url.replace("/postgres?", "/apart?");
    fine(quick.run(["push", "--to", &elsewhere]));
    let taken = Sandbox::new();
    fine(taken.run(["pull", "--from", &elsewhere]));
    let library = Library::open(&taken.path("library"), OpenMode::ReadOnly).unwrap();
    assert_eq!(library.content_kind().unwrap().name(), "quick");
    drop(library);

    // Whoever sends has the tables alone.
    let mut other = Command::new(programs.join("psql"))
        .args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "voisin", "-d", "postgres", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut keys = other.stdin.take().unwrap();
    let sql = "select pg_advisory_lock(1987013491, hashint8('voisin_state'::regclass::oid::bigint));\n";
    std::io::Write::write_all(&mut keys, sql.as_bytes()).unwrap();
    let held = "select count(*) from pg_locks where locktype = 'advisory' and granted";
    while server.psql(held, &[]) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(refused(sandbox.run(push_there)).contains("another voisin is sending"));
    drop(keys);
    other.wait().unwrap();
    fine(sandbox.run(push_there));
    assert_eq!(server.tables(), before, "what is refused leaves nothing behind");

    // A password in an address that everybody can read is refused by every verb, and shown by none.
    let secret = url.replace("voisin@", "voisin:s3cret@");
    let mut questions = vec![
        vec!["push", "--to"],
        vec!["pull", "--from"],
        vec!["eval", "index", "--backend"],
        vec!["worker", "--jobs"],
    ];
    let folder = sandbox.path("exported");
    for verb in ["similar", "classify", "show", "path", "playlist", "list", "status", "export"] {
        let names: &[&str] = match verb {
            "export" => &[folder.to_str().unwrap()],
            "path" => &["title 1", "title 2"],
            "playlist" => &["--seed", "title 1"],
            "list" | "status" => &[],
            _ => &["title 1"],
        };
        questions.push([&[verb], names, &["--backend"]].concat());
    }
    if cfg!(feature = "serve") {
        questions.push(vec!["serve", "--backend"]);
    }
    for question in &questions {
        let said = refused(sandbox.run(question.iter().chain(&[secret.as_str()])));
        assert!(said.contains("PGPASSFILE") && !said.contains("s3cret"), "{question:?}: {said}");
    }
    // Where only this user can read it, it is taken, and not shown either.
    let status = sandbox.command(["status"]).env("VOISIN_BACKEND", &secret).output().unwrap();
    assert!(!fine(&status).contains("s3cret") && !text(&status.stderr).contains("s3cret"));
    let nobody = secret.replace(&server.port.to_string(), "1");
    let status = sandbox.command(["status"]).env("VOISIN_BACKEND", nobody).output().unwrap();
    let said = refused(status);
    assert!(said.contains("cannot connect to postgres://voisin@") && !said.contains("s3cret"), "{said}");

    // An old pgvector, by its own word, and tables of a newer voisin.
    let verbs = [push_there.to_vec(), pull_there.to_vec(), vec!["list", "--backend", &url]];
    server.psql("update pg_extension set extversion = '0.7.4' where extname = 'vector'", &[]);
    for words in &verbs {
        let said = refused(sandbox.run(words));
        assert!(said.contains("found 0.7.4") && said.contains("alter extension vector update"), "{said}");
    }
    server.psql("update pg_extension set extversion = '0.8.0' where extname = 'vector'", &[]);
    // A newer voisin's tables may wait for their model, and have other columns: nothing of them is touched.
    server.psql("update voisin_state set schema = 99, fingerprint = null", &[]);
    server.psql("alter table voisin_track rename embedding to elsewhere", &[]);
    for words in &verbs {
        let said = refused(sandbox.run(words));
        assert!(said.contains("schema 99") && said.contains("use the newer voisin"), "{said}");
    }
    assert_eq!(server.psql("select fingerprint is null from voisin_state", &[]), "t");
}

#[test]
fn what_comes_back_is_what_was_sent() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let url = server.url();
    assert_eq!(code(&sandbox.run(["labels", "set", "id:10", "Zouk"])), 0);
    push(&sandbox, &server, &["--windows"]);
    let other = Sandbox::new();
    let pull = |sandbox: &Sandbox| {
        let output = sandbox.run(["pull", "--from", &url, "--format", "json"]);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        json(output)
    };
    assert_eq!(pull(&other)["added"], 300);
    assert_eq!(pull(&other)["added"], 0);
    let facts = |sandbox: &Sandbox| {
        let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
        let facts = library.track_ids().unwrap().into_iter().map(|id| library.facts(id).unwrap());
        facts.map(|facts| (facts.audio.content, facts)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(facts(&other), facts(&sandbox), "paths of any bytes, NUL in titles, numbers to the last bit");
    assert_eq!(other.vectors(), sandbox.vectors(), "vectors to the last bit");
    // What went there goes here.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(1), TrackId(2)]).unwrap();
    drop(library);
    push(&sandbox, &server, &[]);
    pull(&other);
    assert_eq!(json(other.run(["status", "--format", "json"]))["tracks"], 298);
    // A database that does not answer leaves no library behind.
    let third = Sandbox::new();
    let nowhere = third.run(["pull", "--from", "postgres://voisin@127.0.0.1:1/none"]);
    assert!(
        code(&nowhere) == 2 && text(&nowhere.stderr).contains("cannot connect to"),
        "{}",
        text(&nowhere.stderr)
    );
    assert!(!third.path("library").exists());
}

/// Whether two answers are the same but for ids, the order of seeds, which is that of ids, and last bits of similarities.
fn same(a: &Value, b: &Value) -> bool {
    let by_path = |seeds: &Value| {
        let mut seeds = seeds.as_array().unwrap().clone();
        seeds.sort_by_key(|seed| seed["path"].as_str().unwrap_or_default().to_owned());
        Value::from(seeds)
    };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let member = |key: &str, a: &Value, b: &Value| match key {
                "id" | "generation" | "next" => true,
                "seeds" => same(&by_path(a), &by_path(b)),
                _ => same(a, b),
            };
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| member(key, a, b)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) => (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4,
        _ => a == b,
    }
}

#[test]
fn verbs_answer_from_there_as_from_here() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(2000);
    let url = server.url();
    push(&sandbox, &server, &[]);
    for question in [
        vec!["similar", "title 12", "--format", "json", "--limit", "25"],
        vec!["similar", "title 12", "--exact", "--format", "json"],
        vec!["similar", "title 12", "--genre", "zeuhl", "--format", "json"],
        vec!["similar", "title 12", "--artist", "artist 17", "--limit", "all", "--format", "json"],
        vec!["similar", "title 12", "--max-per-artist", "1", "--year", "1960-1969", "--format", "json"],
        vec![
            "similar",
            "title 12",
            "title 13",
            "--min-similarity",
            "0.7",
            "--limit",
            "500",
            "--format",
            "json",
        ],
        vec!["similar", "artist:artist 17", "--format", "json"],
        vec!["similar", "album:album 3", "--bpm", "100-120", "--key", "compatible", "--format", "json"],
        vec!["similar", "/music/3/album 3/3.flac", "--folder", "/music/5", "--format", "paths"],
        vec!["list", "--genre", "jazz", "--sort", "title", "--limit", "20", "--format", "json"],
        vec!["list", "title", "7", "--licence", "cc-by", "--format", "json"],
        vec!["list", "--format", "csv", "--sort", "path"],
        vec!["show", "title 12", "--format", "json"],
        vec!["classify", "title 12", "title 14", "--format", "json"],
        vec!["playlist", "--seed", "title 12", "--limit", "12", "--format", "json"],
        vec!["path", "title 12", "title 900", "--format", "json"],
        vec!["similar", "no such song", "--format", "json"],
        vec!["similar", "title", "--format", "json"],
        vec!["similar", "title 12", "--genre", "no such genre"],
        vec!["similar", "title 12", "--artist", "nobody at all"],
    ] {
        let here = sandbox.run(&question);
        let there = sandbox.run(question.iter().copied().chain(["--backend", &url]));
        assert_eq!(code(&there), code(&here), "{question:?}: {}{}", text(&here.stderr), text(&there.stderr));
        if code(&here) != 0 {
            continue;
        }
        if question.contains(&"json") {
            let (here, there) = (json(here), json(there));
            assert!(same(&here, &there), "{question:?}:\n{here}\n{there}");
        } else {
            let lines = |output: &Output| -> Vec<String> {
                let said = text(&output.stdout);
                said.lines()
                    .map(|line| line.split(',').skip(usize::from(question.contains(&"csv"))).collect())
                    .collect()
            };
            assert_eq!(lines(&there), lines(&here), "{question:?}");
        }
    }
    // The variable says the same, and an id of there is understood there.
    let found = json(sandbox.run(["list", "title 12", "--format", "json", "--backend", &url]));
    let id = format!("id:{}", found["tracks"][0]["id"]);
    let mut command = sandbox.command(["similar", &id, "--format", "json"]);
    let output = command.env("VOISIN_BACKEND", &url).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let status = json(sandbox.run(["status", "--format", "json", "--backend", &url]));
    assert_eq!((&status["tracks"], &status["files"]), (&2000.into(), &2000.into()));
    assert_eq!(status["index"]["state"], "current");
    // Fewer than all are said to be.
    let few = sandbox.run(["playlist", "--seed", "title 12", "--sample", "100", "--backend", &url]);
    assert!(code(&few) == 0 && text(&few.stderr).contains("100 of 2000"), "{}", text(&few.stderr));
    // What is exported is the same but for ids and the order, which is theirs.
    let export = |name: &str, more: &[&str]| {
        let folder = sandbox.path(name);
        let mut words = vec!["export", folder.to_str().unwrap()];
        words.extend(more);
        let output = sandbox.run(words);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        folder
    };
    let rows = |folder: &Path| -> Vec<String> {
        let table = fs::read_to_string(folder.join("tracks.csv")).unwrap();
        let mut rows: Vec<String> =
            table.lines().map(|line| line.splitn(3, ',').last().unwrap().to_owned()).collect();
        rows.sort();
        rows
    };
    let (here, there) = (export("here", &[]), export("there", &["--backend", &url]));
    assert_eq!(rows(&there), rows(&here));
    let length = |folder: &Path| fs::metadata(folder.join("vectors.npy")).unwrap().len();
    assert!(length(&there) == length(&here) && length(&there) > 2000 * 4 * DIMENSION as u64);
    if cfg!(feature = "parquet") {
        let there = export("files", &["--format", "parquet", "--backend", &url]);
        let other = Sandbox::new();
        let taken = other.run(["add", "--from-parquet", there.to_str().unwrap(), "--format", "json"]);
        assert_eq!(json(taken)["added"], 2000);
    }
    for refused in [
        vec!["similar", "title 12", "--unlike", "title 13"],
        vec!["similar", "title 12", "--from", "1", "--to", "5"],
        vec!["similar", "title 12", "--tag", "calm"],
        vec!["classify", "title 12", "--write-tags"],
    ] {
        let output = sandbox.run(refused.iter().copied().chain(["--backend", &url]));
        assert_eq!(code(&output), 2, "{refused:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("pull"), "{refused:?}: {}", text(&output.stderr));
    }
    // Passwords stay out of sight.
    let secret = format!("postgres://voisin:s3cret@127.0.0.1:{}/postgres", server.port);
    let refused = sandbox.run(["similar", "title 12", "--backend", &secret]);
    assert_eq!(code(&refused), 2);
    let said = text(&refused.stderr);
    assert!(said.contains("PGPASSFILE") && !said.contains("s3cret"), "{said}");
}

#[test]
fn passwords_encryption_and_rights() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    push(&sandbox, &server, &[]);
    // A role that may only read, with a password.
    server.psql(
        "create role reader login password 's3cret'; grant usage on schema public to reader;
         grant select on all tables in schema public to reader;",
        &[],
    );
    let rules = server.folder.join("pg_hba.conf");
    fs::write(&rules, "host all voisin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .unwrap();
    server.psql("select pg_reload_conf()", &[]);
    let url = format!("postgres://reader@127.0.0.1:{}/postgres", server.port);
    let passwords = sandbox.path("pgpass");
    fs::write(&passwords, format!("127.0.0.1:{}:*:reader:s3cret\n", server.port)).unwrap();
    let ask = |arguments: &[&str], mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&passwords, fs::Permissions::from_mode(mode)).unwrap();
        sandbox.command(arguments).env("PGPASSFILE", &passwords).output().unwrap()
    };
    let answered = ask(&["similar", "title 12", "--backend", &url], 0o600);
    assert_eq!(code(&answered), 0, "{}", text(&answered.stderr));
    let refused = ask(&["similar", "title 12", "--backend", &url], 0o644);
    assert_eq!(code(&refused), 2, "a file that others can read is not used");
    // Who may only read cannot send.
    let refused = ask(&["push", "--to", &url], 0o600);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("permission denied"),
        "{}",
        text(&refused.stderr)
    );

    // Encryption: the certificate and the name in it are checked.
    let key = server.folder.join("server.key");
    let certificate = server.folder.join("server.crt");
    let made = as_nobody(
        Path::new("openssl"),
        &[
            "req",
            "-new",
            "-x509",
            "-days",
            "2",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    server.psql("alter system set ssl = on", &[]);
    server.psql("select pg_reload_conf()", &[]);
    std::thread::sleep(Duration::from_millis(500));
    let address = |host: &str, root: bool| {
        let root = if root { format!("&sslrootcert={}", certificate.display()) } else { String::new() };
        format!("postgres://voisin@{host}:{}/postgres?sslmode=verify-full{root}", server.port)
    };
    let run = |url: &str| sandbox.run(["status", "--backend", url]);
    let trusted = run(&address("localhost", true));
    assert_eq!(code(&trusted), 0, "{}", text(&trusted.stderr));
    for url in [address("127.0.0.1", true), address("localhost", false)] {
        let refused = run(&url);
        assert!(
            code(&refused) == 2 && text(&refused.stderr).contains("certificate"),
            "{}",
            text(&refused.stderr)
        );
    }

    // Without pgvector the message says what to do.
    server.psql("create database bare", &[]);
    let bare = format!("postgres://reader@127.0.0.1:{}/bare?sslmode=disable", server.port);
    let refused = ask(&["push", "--to", &bare], 0o600);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("create extension vector"),
        "{}",
        text(&refused.stderr)
    );
    let empty = ask(&["status", "--backend", &bare], 0o600);
    assert!(code(&empty) == 2 && text(&empty.stderr).contains("voisin push"), "{}", text(&empty.stderr));
}

#[test]
fn one_trait_two_stores() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let folder = tempfile::tempdir().unwrap();
    let library = synthetic(folder.path(), 60, 4);
    let record = |id: i64| library.record(TrackId(id), true).unwrap().unwrap();
    let tracks: Vec<_> = (1..=50)
        .map(|id| voisin::internals::backend::StoredTrack { record: record(id), genres: Vec::new() })
        .collect();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut local = Library::open(elsewhere.path(), OpenMode::Create).unwrap();
    local.set_model(&model()).unwrap();
    let mut engine = Engine::from_library(local);
    let mut postgres =
        Postgres::open_or_create(&Place::parse(&server.url(), true).unwrap(), &model()).unwrap();
    let stores: [&mut dyn TrackStore; 2] = [&mut engine, &mut postgres];
    for store in stores {
        store.upsert(&tracks).unwrap();
        let first = store.changes(0).unwrap().unwrap();
        assert_eq!((first.added.len(), first.generation > 0), (50, true));
        let query = &tracks[7].record.vector;
        let found = store.nearest(query, 5, &TrackFilter::default(), Effort::Exact).unwrap();
        assert!(found.len() == 5 && (found[0].similarity - 1.0).abs() < 1e-5);
        let vectors = store.vectors_of(&[found[0].track, TrackId(i64::MAX)]).unwrap();
        assert!(vectors[1].is_none());
        let dot: f32 = vectors[0].as_ref().unwrap().iter().zip(query).map(|(a, b)| a * b).sum();
        assert!((dot - 1.0).abs() < 1e-5);
        let content = tracks[7].record.facts.audio.content;
        assert_eq!(store.remove(&[content, ContentId([9; 32])]).unwrap(), 1);
        let later = store.changes(first.generation).unwrap().unwrap();
        assert_eq!((later.added.len(), later.removed.as_slice()), (0, &[found[0].track][..]));
        assert!(store.changes(u64::MAX >> 1).unwrap().is_none());
        store.upsert(&tracks[7..8]).unwrap();
        store.upsert(&tracks[7..8]).unwrap();
        let again = store.nearest(query, 60, &TrackFilter::default(), Effort::Exact).unwrap();
        assert_eq!(again.len(), 50, "putting in twice is putting in once");
    }
}

/// The server answers from a copy that follows the database: as from the library that was pushed.
#[cfg(feature = "serve")]
#[test]
fn the_server_answers_from_there_as_from_here() {
    use common::server::Server as Web;
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(600);
    let url = server.url();
    push(&sandbox, &server, &[]);
    let here = Web::start(&sandbox, &[]);
    let there = Web::start(&sandbox, &["--backend", &url]);
    let ask = |web: &Web, path: &str, question: &Value| {
        for _ in 0..100 {
            // An index that is being built is said to be.
            let (status, answer) = if question.is_null() { web.get(path) } else { web.post(path, question) };
            if status != 503 {
                assert_eq!(status, 200, "{path} {question}: {answer}");
                return answer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{path}: always busy");
    };
    let words = |words: &str| serde_json::json!({ "words": words });
    for (path, question) in [
        ("/api/v1/similar", serde_json::json!({"seeds": [words("title 12")], "limit": 20})),
        (
            "/api/v1/similar",
            serde_json::json!({"seeds": [words("title 12")], "filters": {"genre": ["jazz"]}, "search": "exact"}),
        ),
        ("/api/v1/classify", serde_json::json!({"tracks": [words("title 12")]})),
        ("/api/v1/path", serde_json::json!({"from": words("title 12"), "to": words("title 300")})),
        ("/api/v1/playlist", serde_json::json!({"seeds": [words("title 12")], "limit": 9})),
        ("/api/v1/tracks?query=title%207&limit=50", Value::Null),
    ] {
        let (a, b) = (ask(&here, path, &question), ask(&there, path, &question));
        assert!(same(&a, &b), "{path} {question}:\n{a}\n{b}");
    }
    // Music that is not here, and labels, whose place is the library that is pushed.
    let id_of = |web: &Web, words: &str| {
        let found = ask(web, &format!("/api/v1/tracks?query={}", words.replace(' ', "%20")), &Value::Null);
        found["tracks"][0]["id"].as_i64()
    };
    let id = id_of(&there, "title 12").unwrap();
    assert!(id < 1_000_000, "ids that a browser can hold: {id}");
    let (status, problem) = there.get(&format!("/api/v1/tracks/{id}/audio"));
    assert_eq!(status, 404, "{problem}");
    let (status, problem) =
        there.post("/api/v1/labels", &serde_json::json!({"tracks": [id], "genre": "Zouk"}));
    assert!(status == 409 && problem["next"].as_str().unwrap().contains("voisin push"), "{status} {problem}");

    // What is pushed is seen: a removal, a title, a label.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(31)]).unwrap();
    let kept = library.track(TrackId(20)).unwrap();
    let tags = TrackTags { title: Some("renamed here".into()), ..kept.tags };
    library.attach_file(TrackId(20), &kept.files[0].record, &tags).unwrap();
    drop(library);
    assert_eq!(code(&sandbox.run(["labels", "set", "id:20", "Zouk"])), 0);
    push(&sandbox, &server, &[]);
    let seen = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        id_of(&there, "renamed here").is_some()
            && ask(&there, "/api/v1/status", &Value::Null)["tracks"] == 599
    });
    assert!(seen, "{}", there.said.lock().unwrap());
    assert_eq!(id_of(&there, "title 12"), Some(id), "ids stay");
    let labels = ask(&there, "/api/v1/labels", &Value::Null);
    assert!(labels["by_hand"][0]["genre"] == "Zouk", "{labels}");

    // A database that goes is told, with the next step, and noticed when it is back.
    server.stop("immediate");
    let mut away = (0, Value::Null);
    for _ in 0..100 {
        away = there.get("/api/v1/tracks?query=title");
        if away.0 == 503 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (status, problem) = away;
    assert_eq!(status, 503, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("cannot connect"), "{problem}");
    assert!(problem["next"].as_str().unwrap().contains("start the database"), "{problem}");
    server.up();
    ask(&there, "/api/v1/tracks?query=title", &Value::Null);
    assert_eq!(id_of(&there, "title 12"), Some(id));
    // Without a library here there is no place for a token.
    let empty = Sandbox::new();
    let refused = empty.run(["serve", "--backend", &url]);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("--token-file"),
        "{}",
        text(&refused.stderr)
    );
}

/// Music in a folder: the demo's, one file that is none, and one twice.
fn music(sandbox: &Sandbox) -> PathBuf {
    let music = common::six_tracks(sandbox);
    for i in 0..10 {
        fs::write(music.join(format!("noise {i}.wav")), common::noise_wav(16_000, 8.0, i)).unwrap();
    }
    fs::write(music.join("broken.mp3"), "this is no music").unwrap();
    fs::copy(music.join("noise 3.wav"), music.join("noise 3 again.wav")).unwrap();
    music
}

/// Three workers on one table, one of which is killed as soon as it has something in hand. Returns what the others said.
fn three_workers(sandbox: &Sandbox, server: &Server, more: &[&str]) -> Vec<Value> {
    let url = server.url();
    let mut words =
        vec!["worker", "--jobs", &url, "--batch", "2", "--lease", "3", "--threads", "1", "--format", "json"];
    words.extend(more);
    let start = || sandbox.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut killed = start();
    for _ in 0..600 {
        if server.psql("select count(*) from voisin_job where leased_until is not null", &[]) != "0" {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(killed.try_wait().unwrap().is_none(), "it was at work");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let in_hand = "select count(*) from voisin_job where leased_until is not null and done_at is null";
    assert_ne!(server.psql(in_hand, &[]), "0", "something was in hand");
    let others = [start(), start()];
    others.map(|child| json(child.wait_with_output().unwrap())).into()
}

#[test]
fn three_workers_one_killed_all_done_once() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = Sandbox::new();
    let (url, music) = (server.url(), music(&sandbox));
    let fill = || {
        let words = ["worker", "--jobs", &url, "--add", music.to_str().unwrap(), "--format", "json"];
        json(sandbox.run(words))
    };
    assert_eq!(fill()["added"], 18);
    assert_eq!(fill()["unchanged"], 18, "a second time adds nothing");
    // A path that only another machine has, by SQL.
    server.psql("insert into voisin_job (path) values (convert_to('/nowhere/à.flac', 'UTF8'))", &[]);

    // Into the tables: the same vectors, to the last bit, as one process adds.
    let alone = Sandbox::new();
    assert_eq!(code(&alone.run(["add", music.to_str().unwrap()])), 1, "one file is broken");
    let said = three_workers(&sandbox, &server, &["--with-windows"]);
    let sum = |key: &str| said.iter().map(|one| one[key].as_u64().unwrap()).sum::<u64>();
    let last = said.iter().max_by_key(|one| one["done"].as_u64()).unwrap();
    assert_eq!(
        (&last["jobs"], &last["done"], &last["failed"]),
        (&19.into(), &17.into(), &2.into()),
        "{said:?}"
    );
    assert!(sum("own_done") <= 17, "no file was done twice: {said:?}");
    let failures = server.psql("select failure from voisin_job where failure is not null order by 1", &[]);
    assert!(failures.contains("No such file") && failures.lines().count() == 2, "{failures}");
    let attempts = "select attempts from voisin_job where convert_from(path, 'UTF8') like '/nowhere%'";
    assert_eq!(server.psql(attempts, &[]), "3", "what another machine may see is tried thrice");
    let pulled = Sandbox::new();
    assert_eq!(json(pulled.run(["pull", "--from", &url, "--format", "json"]))["added"], 16);
    assert_eq!(pulled.vectors(), alone.vectors());
    let files = json(pulled.run(["status", "--format", "json"]))["files"].clone();
    assert_eq!(files, 17, "a recording in two files is one track");

    // Another kind of ids is refused, and the file stays for others.
    server.psql("update voisin_job set done_at = null, attempts = 0 where path like '%noise 5%'", &[]);
    let other = refused(sandbox.run(["worker", "--jobs", &url, "--identity", "quick"]));
    assert!(other.contains("\"full\"") && other.contains("\"quick\""), "{other}");
    let open = "select attempts from voisin_job where done_at is null and leased_until is null";
    assert_eq!(server.psql(open, &[]), "0");

    // Into Parquet files: no row twice, and the same again.
    if cfg!(feature = "parquet") {
        server.psql("delete from voisin_job", &[]);
        fill();
        let output = sandbox.path("vectors");
        three_workers(&sandbox, &server, &["--output", output.to_str().unwrap()]);
        let one = sandbox.path("one");
        let embed =
            ["embed", music.to_str().unwrap(), "--format", "parquet", "--output", one.to_str().unwrap()];
        assert_eq!(code(&sandbox.run(embed)), 1);
        let (a, b) = (Sandbox::new(), Sandbox::new());
        let take = |sandbox: &Sandbox, folder: &Path| {
            json(sandbox.run(["add", "--from-parquet", folder.to_str().unwrap(), "--format", "json"]))
        };
        let taken = take(&a, &output);
        assert_eq!((&taken["added"], &taken["unchanged"]), (&16.into(), &0.into()), "{taken}");
        take(&b, &one);
        assert_eq!(a.vectors(), b.vectors());
    }
}

/// `--index-sql` and `eval index --backend`, through the program.
#[test]
fn other_indexes_are_made_and_measured() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    // So many that half of them are too many to be compared with: those are found on a walk through the index.
    let sandbox = sandbox_with(42_000);
    let statement = sandbox.path("index.sql");
    fs::write(
        &statement,
        "create index narrow on voisin_track using hnsw (embedding halfvec_ip_ops) with (m = 12, ef_construction = 100)",
    )
    .unwrap();
    let sent = push(&sandbox, &server, &["--index-sql", statement.to_str().unwrap()]);
    assert!(sent["index_seconds"].as_f64().unwrap() > 0.0);
    let made = server.psql("select indexdef from pg_indexes where indexdef like '%hnsw%'", &[]);
    assert!(made.contains("narrow") && made.contains("m='12'") && made.lines().count() == 1, "{made}");

    let url = server.url();
    let measure = |more: &[&str]| {
        let mut words = vec!["eval", "index", "--backend", &url, "--widths", "1,400", "--queries", "60"];
        words.extend(["--format", "json"]);
        words.extend(more);
        json(sandbox.run(words))
    };
    let found = measure(&["--dry-run"]);
    assert_eq!((&found["tracks"], &found["queries"]), (&42_000.into(), &60.into()));
    let recall = |i: usize| found["widths"][i]["recall"].as_f64().unwrap();
    assert_eq!(found["exact"]["recall"], 1.0);
    assert!(recall(1) >= 0.99 && recall(0) <= recall(1), "{found}");
    assert!(found["local"]["recall"].as_f64().unwrap() >= 0.99, "the library here is measured beside it");
    for quality in found["widths"].as_array().unwrap() {
        let number = |name: &str| quality[name].as_f64().unwrap();
        assert!(number("p50_ms") > 0.0 && number("p99_ms") >= number("p50_ms"), "{quality}");
    }
    for genre in ["Rock", "Jazz", "Zeuhl"] {
        let under = measure(&["--genre", genre]);
        let worst =
            under["widths"].as_array().unwrap().iter().map(|quality| quality["recall"].as_f64().unwrap());
        assert!(worst.fold(1.0, f64::min) >= 0.99, "{genre}: {under}");
    }
    let unknown = sandbox.run(["eval", "index", "--backend", &url, "--genre", "no such genre"]);
    assert!(refused(unknown).contains("no such genre"));
    let width = || server.psql("select width from voisin_state", &[]);
    assert_eq!(width(), "100", "neither a dry run nor a filter keeps a width");
    let kept = measure(&["--recall", "0.99"])["kept"].clone();
    assert_eq!(width(), kept.to_string(), "the narrowest that is good enough is kept");
}

/// The tables for Citus, which cannot be had here: on a plain server, with its extension left out and its one function a
/// stand-in that only says what it was asked.
#[test]
fn tables_for_citus_hold_a_library() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let printed = fine(sandbox.run(["push", "--print-ddl", "citus"]));
    let extension = "create extension if not exists citus;\n";
    assert!(printed.contains(extension) && !printed.contains("unique (content)"), "{printed}");
    server.psql(
        "create function create_distributed_table(what regclass, by text) returns text language sql
            as $$ select what::text || ' by ' || by $$",
        &[],
    );
    assert_eq!(server.psql(&printed.replace(extension, ""), &[]).trim(), "voisin_track by id");
    // What a search sets within its transaction reaches Citus' workers by this setting alone.
    assert_eq!(server.psql("show citus.propagate_set_commands", &[]), "local");
    assert_eq!(push(&sandbox, &server, &[])["added"], 300);
    assert_eq!(push(&sandbox, &server, &[])["unchanged"], 300);
    let url = server.url();
    let ask = |more: &[&str]| {
        let words = ["similar", "title 12", "--genre", "Rock", "--format", "json"];
        json(sandbox.run(words.iter().chain(more)))
    };
    assert!(same(&ask(&[]), &ask(&["--backend", &url])));
    // No key of the table may span its parts but by the column that divides them.
    let keys = "select string_agg(pg_get_constraintdef(oid), ', ') from pg_constraint
        where conrelid = 'voisin_track'::regclass and contype in ('p', 'u')";
    assert_eq!(server.psql(keys, &[]), "PRIMARY KEY (id)");
}
