//! Exact vectors have their own table, which searching, listing and filtering never read.

use std::sync::atomic::AtomicBool;

use voisin_postgres::{BackendError, Mirror, Postgres, PostgresAddress, Upgraded};

use super::common::{Sandbox, fine, fine_json, json};
use super::servers::{Cluster, Server, programs};
use super::{facts, push, refused, sandbox_with};

/// One server and three shards with the same tracks, and the tables of exact vectors with their servers.
fn with_tracks(cluster: &Cluster, one: &Server, sandbox: &Sandbox) -> Vec<(u16, String)> {
    push(sandbox, one, &[]);
    push(sandbox, &cluster.coordinator, &[]);
    cluster.make_indexes();
    let of_shards = cluster.shards.iter().enumerate();
    let of_shards = of_shards.map(|(i, shard)| (shard.port, format!("voisin_vector_{i}")));
    of_shards
        .chain([(one.port, "voisin_vector".to_owned())])
        .collect()
}

#[test]
fn queries_read_no_exact_vectors() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(3000);
    let one = Server::start(&programs);
    let cluster = Cluster::start(&programs, &sandbox);
    let tables = with_tracks(&cluster, &one, &sandbox);
    let servers = || cluster.shards.iter().chain([&one]);
    let rename = |from: &str, to: &str| {
        for (server, (port, table)) in servers().zip(&tables) {
            assert_eq!(server.port, *port);
            let [from, to] = [from, to].map(|name| name.replace("TABLE", table));
            server.psql(&format!("alter table {from} rename to {to}"), &[]);
        }
    };
    let questions: [&[&str]; 11] = [
        &["similar", "title 12"],
        &["similar", "title 12", "--exact", "--limit", "40"],
        &[
            "similar",
            "title 12",
            "--genre",
            "rock",
            "--year",
            "1950-1999",
        ],
        &["similar", "title 12", "title 345", "--max-per-artist", "1"],
        &["show", "title 12"],
        &["list", "--artist", "artist 17", "--sort", "title"],
        &["list", "title 1", "--limit", "20"],
        &["classify", "title 12"],
        &["playlist", "--seed", "title 12", "--limit", "12"],
        &["path", "title 12", "title 900"],
        &[
            "eval",
            "index",
            "--queries",
            "3",
            "--widths",
            "40",
            "--recall",
            "0.1",
            "--dry-run",
        ],
    ];
    for server in [&one, &cluster.coordinator] {
        let url = server.url();
        let ask = || {
            questions.map(|question| {
                let more = ["--format", "json", "--backend", &url];
                let answer = fine(sandbox.run(question.iter().chain(&more)));
                // Times differ.
                if question[0] == "eval" {
                    String::new()
                } else {
                    answer
                }
            })
        };
        let before = ask();
        rename("TABLE", "TABLE_hidden");
        assert_eq!(ask(), before);
        rename("TABLE_hidden", "TABLE");
    }
}

#[test]
fn verbs_that_need_exact_vectors_are_refused_without_them() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(300);
    let one = Server::start(&programs);
    let cluster = Cluster::start(&programs, &sandbox);
    with_tracks(&cluster, &one, &sandbox);
    for server in [&one, &cluster.coordinator] {
        let url = server.url();
        let pulled = Sandbox::new();
        let place = PostgresAddress::parse(&url, true).unwrap();
        // As after a copy of the tables without some or all of them.
        let some = server.psql("select count(*) from voisin_vector where id % 3 = 0", &[]);
        server.psql("delete from voisin_vector where id % 3 = 0", &[]);
        let folder = sandbox.path("exported");
        let expected = format!("{some} of 300 tracks have no exact vectors in voisin_vector");
        for words in [
            &["pull", "--from", &url][..],
            &["export", folder.to_str().unwrap(), "--backend", &url],
            &["push", "--to", &url, "--recentre"],
        ] {
            let stderr = refused(if words[0] == "pull" {
                pulled.run(words)
            } else {
                sandbox.run(words)
            });
            assert!(
                stderr.contains(&expected) && stderr.contains("then push again"),
                "{words:?}: {stderr}"
            );
        }
        let copy = sandbox.path(&format!("copy-{}", server.port));
        let mut mirror = Mirror::open(Postgres::open(&place).unwrap(), &copy).unwrap();
        let followed = mirror.follow(&AtomicBool::new(false), &mut |_, _| {});
        assert!(
            matches!(followed, Err(BackendError::Unloaded { total: 300, .. })),
            "{followed:?}"
        );
        fine(sandbox.run(["similar", "title 12", "--backend", &url]));
        // The statement of the message restores them, bit for bit.
        server.psql(
            "update voisin_track set digest = '' where id not in (select id from voisin_vector)",
            &[],
        );
        let sent = push(&sandbox, server, &[]);
        assert_eq!(
            (sent["updated"].to_string(), &sent["added"]),
            (some, &0.into()),
            "{sent}"
        );
        assert_eq!(
            fine_json(pulled.run(["pull", "--from", &url, "--format", "json"]))["added"],
            300
        );
        assert_eq!(pulled.vectors(), sandbox.vectors());
        assert!(
            mirror
                .follow(&AtomicBool::new(false), &mut |_, _| {})
                .unwrap()
        );
        // No exact vector is left without its track.
        let id = format!(
            "id:{}",
            server.psql("select min(id) from voisin_track", &[])
        );
        fine(sandbox.run(["remove", "--backend", &url, &id]));
        let left =
            "select (select count(*) from voisin_track), (select count(*) from voisin_vector)";
        assert_eq!(server.psql(left, &[]), "299|299");
    }
}

/// Tables of schema 4 on shards: the printed statements upgrade each, the coordinator last.
#[test]
fn an_upgrade_begins_with_the_shards() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(300);
    let cluster = Cluster::start(&programs, &sandbox);
    push(&sandbox, &cluster.coordinator, &[]);
    cluster.make_indexes();
    // As schema 4 had them.
    for (i, shard) in cluster.shards.iter().enumerate() {
        shard.psql(
            &format!(
                "alter table voisin_track_{i} add column vector bytea,
                    alter column facts type bytea using convert_to(facts::text, 'UTF8');
                 update voisin_track_{i} t set vector = v.vector from voisin_vector_{i} v where v.id = t.id;
                 alter table voisin_track_{i} alter column vector set not null;
                 drop table voisin_vector_{i}"
            ),
            &[],
        );
    }
    let coordinator = &cluster.coordinator;
    coordinator.psql(
        "drop table voisin_vector; alter table voisin_track drop column facts;
         alter table voisin_track add column vector bytea not null, add column facts bytea not null;
         update voisin_state set schema = 4",
        &[],
    );
    let place = PostgresAddress::parse(&coordinator.url(), true).unwrap();
    let url = coordinator.url();
    for (i, shard) in cluster.shards.iter().enumerate() {
        let stderr = refused(sandbox.run(["push", "--to", &url, "--upgrade"]));
        assert!(
            stderr.contains("run these statements there") && stderr.contains("on voisin_shard_2"),
            "{stderr}"
        );
        let Upgraded::ShardsFirst(statements) = Postgres::upgrade(&place).unwrap() else {
            panic!("shard {i} is unchanged")
        };
        let unchanged = "select schema, to_regclass('voisin_vector') is null from voisin_state";
        assert_eq!(coordinator.psql(unchanged, &[]), "4|t");
        let (server, sql) = &statements[i];
        assert_eq!(*server, format!("voisin_shard_{i}"));
        shard.psql(sql, &[]);
    }
    for (i, shard) in cluster.shards.iter().enumerate() {
        let indexes = format!(
            "select count(*) filter (where indisvalid), min(indexrelid) > 'voisin_vector_{i}'::regclass from pg_index
             where indrelid = 'voisin_track_{i}'::regclass and pg_get_indexdef(indexrelid) like '%hnsw%'"
        );
        assert_eq!(shard.psql(&indexes, &[]), "1|t", "rebuilt last");
    }
    let sent = json(sandbox.run(["push", "--to", &url, "--upgrade", "--format", "json"]));
    assert_eq!(
        (&sent["unchanged"], &sent["added"], &sent["updated"]),
        (&300.into(), &0.into(), &0.into())
    );
    let pulled = Sandbox::new();
    assert_eq!(
        fine_json(pulled.run(["pull", "--from", &url, "--format", "json"]))["added"],
        300
    );
    assert_eq!(pulled.vectors(), sandbox.vectors());
    assert_eq!(facts(&pulled), facts(&sandbox));
    // Later pushes arrive.
    fine(sandbox.run(["labels", "set", "id:10", "Zouk"]));
    assert_eq!(push(&sandbox, coordinator, &[])["updated"], 1);
}
