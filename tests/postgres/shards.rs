//! Shards are asked at the same time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use voisin_library::TrackFilter;
use voisin_postgres::{Effort, Postgres, PostgresAddress, TrackStore as _};

use super::common::{fine, text};
use super::made::DIMENSION;
use super::servers::{Cluster, Server, programs};
use super::{push, sandbox_with};

/// A session that keeps everybody from a table until it ends.
fn lock(server: &Server, table: &str) -> (Child, ChildStdin) {
    let mut session = Command::new(server.programs.join("psql"))
        .args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "voisin", "-d", "postgres", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut keys = session.stdin.take().unwrap();
    let sql = format!("begin; lock table {table} in access exclusive mode;\n");
    std::io::Write::write_all(&mut keys, sql.as_bytes()).unwrap();
    until(|| {
        let held = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and
            relation = (select oid from pg_class where relname = 'TABLE')";
        server.psql(&held.replace("TABLE", table), &[]) == "1"
    });
    (session, keys)
}

fn until(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not come to pass within ten seconds");
}

#[test]
fn shards_are_asked_at_the_same_time() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(600);
    let cluster = Cluster::start(&programs, &sandbox);
    push(&sandbox, &cluster.coordinator, &["--no-index"]);
    let open = |url: &str| Postgres::open(&PostgresAddress::parse(url, true).unwrap()).unwrap();
    let nearest = |store: &mut Postgres, effort| {
        store.nearest(&[0.125; DIMENSION], 10, &TrackFilter::default(), effort).unwrap()
    };
    let mut store = open(&cluster.coordinator.url());
    let expected = nearest(&mut store, Effort::Exact);
    assert_eq!(expected.len(), 10);
    for effort in [Effort::Exact, Effort::Index] {
        // No shard can answer; all are asked none the less.
        let locks: Vec<_> = (0..3).map(|i| lock(&cluster.shards[i], &format!("voisin_track_{i}"))).collect();
        let found = std::thread::scope(|scope| {
            let asked = scope.spawn(|| nearest(&mut store, effort));
            let waiting = "select count(*) from pg_stat_activity
                where application_name = 'voisin' and wait_event_type = 'Lock'";
            until(|| cluster.shards.iter().all(|shard| shard.psql(waiting, &[]) == "1"));
            for (mut session, keys) in locks {
                drop(keys);
                session.wait().unwrap();
            }
            asked.join().unwrap()
        });
        assert_eq!(found, expected, "{effort:?}");
    }
    // Who has no way to the shards is answered through the first server: the same.
    cluster.coordinator.psql(
        "create role reader login; grant select on all tables in schema public to reader;
         select format('create user mapping for reader server %I options (user ''voisin'', password_required ''false'')',
            srvname) from pg_foreign_server \\gexec",
        &[],
    );
    let mut through = open(&cluster.coordinator.url().replace("voisin@", "reader@"));
    for effort in [Effort::Exact, Effort::Index] {
        assert_eq!(nearest(&mut through, effort), expected, "{effort:?}");
    }
    // There, too, order and limit reach the shards; from PostgreSQL 15 on these are asked at the same time.
    let vector = format!("[{}]", vec!["0.125"; DIMENSION].join(","));
    let part = |i: usize| {
        format!(
            "(select id, embedding <#> '{vector}' as distance from voisin_track_{i} where true
              order by distance limit 26)"
        )
    };
    let parts: Vec<String> = (0..3).map(part).collect();
    let plan = cluster.coordinator.psql(
        &format!(
            "explain (verbose, costs off) select id, -distance as similarity from ({}) parts
             order by similarity desc, id limit 26",
            parts.join(" union all ")
        ),
        &[],
    );
    assert_eq!(plan.matches("LIMIT 26").count(), 3, "{plan}");
    let version: u32 = cluster.coordinator.psql("show server_version_num", &[]).parse().unwrap();
    assert!(version < 150_000 || plan.matches("Async Foreign Scan").count() == 3, "{plan}");
    // Whoever only asks needs a role on each server, with its password, and no mapping of users.
    let passwords = sandbox.path("pgpass");
    let mut lines = String::new();
    for server in cluster.shards.iter().chain([&cluster.coordinator]) {
        server.psql(
            "create role asker login password 's3cret'; grant select on all tables in schema public to asker",
            &[],
        );
    }
    for shard in &cluster.shards {
        let rules = "host all voisin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(shard.folder.join("pg_hba.conf"), rules).unwrap();
        shard.psql("select pg_reload_conf()", &[]);
        lines += &format!("127.0.0.1:{}:postgres:asker:s3cret\n", shard.port);
    }
    fs::write(&passwords, lines).unwrap();
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let url = cluster.coordinator.url();
    for question in [
        &["similar", "title 12", "--genre", "rock"][..],
        &["similar", "title 12", "--exact"],
        &["list", "--licence", "cc-by"],
        &["show", "title 12"],
        &["playlist", "--seed", "title 12"],
        &["classify", "title 12"],
        &["status"],
    ] {
        let ask = |url: &str| {
            let mut command = sandbox.command(question.iter().chain(&["--format", "json", "--backend", url]));
            command.env("PGPASSFILE", &passwords).output().unwrap()
        };
        let by_asker = fine(ask(&url.replace("voisin@", "asker@"))).replace("asker@", "voisin@");
        assert_eq!(by_asker, fine(ask(&url)), "{question:?}");
    }
    let printed = fine(sandbox.run(["push", "--print-ddl", "partitioned", "--shards", "5"]));
    assert!(printed.contains("== shard 4") && printed.contains("modulus 5, remainder 4"), "{printed}");
    let refused = sandbox.run(["push", "--shards", "5"]);
    assert!(text(&refused.stderr).contains("--print-ddl"), "{}", text(&refused.stderr));
}
