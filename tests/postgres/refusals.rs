//! Libraries, models and rows that are refused, and roles without the right.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use voisin_library::{Library, OpenMode};

use super::common::{Sandbox, code, fine, json, text};
use super::made::{DIMENSION, model, model_called, track};
use super::servers::{Server, programs};
use super::{push, refused, sandbox_with};

#[test]
fn push_and_pull_refuse_unfit_servers_and_libraries() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(2500);
    let url = server.url();
    let push_there = ["push", "--to", &url];
    let pull_there = ["pull", "--from", &url];
    // A warning that an index will not fit into the server's memory comes before it is built.
    server.psql("alter system set maintenance_work_mem = '1MB'");
    server.psql("select pg_reload_conf()");
    let first = sandbox.run(push_there);
    let stderr = text(&first.stderr);
    assert!(
        code(&first) == 0 && stderr.contains("maintenance_work_mem is 1 MB"),
        "{stderr}"
    );
    assert!(stderr.contains("--index-memory 3"), "{stderr}");
    let before = server.tables();

    // Libraries of other models, of the same length and of another; in their own schema they are accepted.
    let of_model = |dimension: usize| {
        let stranger = Sandbox::new();
        let mut library = Library::open(&stranger.path("library"), OpenMode::Create).unwrap();
        library
            .set_model(&model_called(&format!("other-{dimension}"), dimension))
            .unwrap();
        let mut record = track(1, vec![1.0; dimension]);
        record
            .vector
            .iter_mut()
            .for_each(|value| *value /= (dimension as f32).sqrt());
        library.take_in(&[(None, record)]).unwrap();
        stranger
    };
    server.psql("create schema other");
    for dimension in [DIMENSION, 16] {
        let stranger = of_model(dimension);
        for words in [push_there, pull_there] {
            let stderr = refused(stranger.run(words));
            assert!(
                stderr.contains("synthetic") && stderr.contains(&format!("other-{dimension}")),
                "{stderr}"
            );
        }
        let elsewhere = format!("{url}&options=-csearch_path%3Dother,public");
        server.psql("drop schema other cascade; create schema other");
        fine(stranger.run(["push", "--to", &elsewhere]));
        let listed = json(stranger.run(["list", "--format", "json", "--library", &elsewhere]));
        assert_eq!(listed["total"], 1, "{listed}");
    }

    // A push locks the tables.
    let mut other = Command::new(programs.join("psql"))
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &server.port.to_string(),
            "-U",
            "voisin",
            "-d",
            "postgres",
            "-q",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut keys = other.stdin.take().unwrap();
    let sql =
        "select pg_advisory_lock(1987013491, hashint8('voisin_state'::regclass::oid::bigint));\n";
    std::io::Write::write_all(&mut keys, sql.as_bytes()).unwrap();
    let held = "select count(*) from pg_locks where locktype = 'advisory' and granted";
    while server.psql(held) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(refused(sandbox.run(push_there)).contains("another voisin is sending"));
    drop(keys);
    other.wait().unwrap();
    fine(sandbox.run(push_there));
    assert_eq!(
        server.tables(),
        before,
        "a refused command leaves nothing behind"
    );

    // A password in an address on the command line is refused by every verb, and never shown.
    let secret = url.replace("voisin@", "voisin:s3cret@");
    let mut questions = vec![vec!["push", "--to"], vec!["pull", "--from"]];
    for verb in ["similar", "classify", "show", "list"] {
        let names: &[&str] = if verb == "list" { &[] } else { &["title 1"] };
        questions.push([&[verb], names, &["--library"]].concat());
    }
    for question in &questions {
        let stderr = refused(sandbox.run(question.iter().chain(&[secret.as_str()])));
        assert!(
            stderr.contains("PGPASSWORD") && !stderr.contains("s3cret"),
            "{question:?}: {stderr}"
        );
    }
    // In the environment it is accepted, and not shown either.
    let status = sandbox
        .command(["list", "title 1"])
        .env("VOISIN_LIBRARY", &secret)
        .output()
        .unwrap();
    assert!(!fine(&status).contains("s3cret") && !text(&status.stderr).contains("s3cret"));
    let nobody = secret.replace(&server.port.to_string(), "1");
    let status = sandbox
        .command(["list", "title 1"])
        .env("VOISIN_LIBRARY", nobody)
        .output()
        .unwrap();
    let stderr = refused(status);
    assert!(
        stderr.contains("cannot connect to postgres://voisin@") && !stderr.contains("s3cret"),
        "{stderr}"
    );

    // An old version of pgvector, and tables of another voisin.
    let verbs = [
        push_there.to_vec(),
        pull_there.to_vec(),
        vec!["list", "--library", &url],
    ];
    server.psql("update pg_extension set extversion = '0.7.4' where extname = 'vector'");
    for words in &verbs {
        let stderr = refused(sandbox.run(words));
        assert!(
            stderr.contains("found 0.7.4") && stderr.contains("alter extension vector update"),
            "{stderr}"
        );
    }
    server.psql("update pg_extension set extversion = '0.8.0' where extname = 'vector'");
    // Tables of another voisin may lack their model and have other columns: they are left unchanged.
    server.psql("update voisin_state set schema = 99, fingerprint = null");
    server.psql("alter table voisin_track rename embedding to elsewhere");
    for words in &verbs {
        let stderr = refused(sandbox.run(words));
        assert!(
            stderr.contains("schema 99") && stderr.contains("push again"),
            "{stderr}"
        );
    }
    assert_eq!(
        server.psql("select fingerprint is null from voisin_state"),
        "t"
    );
}

#[test]
fn pull_refuses_an_impossible_model_or_row() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    push(&sandbox, &server, &[]);
    let url = server.url();
    let original = model();
    for (change, found) in [
        ("fingerprint = '../../x'", "found another one"),
        ("model = '../../../x'", "no file, found \"../../../x\""),
        ("dimension = -1", "expected vectors of 1 to"),
        ("manifest = repeat('{', 100)", "its manifest"),
    ] {
        server.psql(&format!("update voisin_state set {change}"));
        let new = Sandbox::new();
        for words in [&["pull", "--from", &url][..], &["list", "--library", &url]] {
            let stderr = refused(new.run(words));
            assert!(
                stderr.contains("the model of its vectors is refused"),
                "{change}: {stderr}"
            );
            assert!(
                stderr.contains(found) && stderr.contains("push again"),
                "{change}: {stderr}"
            );
        }
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly);
        assert!(
            library.is_err() || library.unwrap().model().unwrap().is_none(),
            "{change}: nothing is stored"
        );
        let columns = format!(
            "update voisin_state set model = '{}', fingerprint = '{}', dimension = {}, manifest = '{}'",
            original.name, original.fingerprint, original.dimension, original.manifest_json
        );
        server.psql(&columns);
    }
    // Rows changed by another program: one with three megabytes of facts, one with an invalid path, one without facts.
    for (path, change) in [
        (
            "/music/1/album 1/1.flac",
            "facts || jsonb_build_object('more', repeat(' ', 3000000))",
        ),
        (
            "/music/2/album 2/2.flac",
            "replace(facts::text, '/music/2/', 'music/../2/')::jsonb",
        ),
        ("/music/3/album 3/3.flac", "'{\"hex\": \"7b\"}'"),
    ] {
        let changed = server.psql(
            &format!("with c as (update voisin_track set facts = {change} where path = '{path}' returning 1) select count(*) from c"));
        assert_eq!(changed, "1", "{path}");
    }
    let new = Sandbox::new();
    let pulled = new.run(["pull", "--from", &url, "--format", "json"]);
    assert_eq!(code(&pulled), 1, "{}", text(&pulled.stderr));
    let pulled = json(&pulled);
    assert_eq!(
        (&pulled["added"], &pulled["refused"]),
        (&47.into(), &3.into()),
        "{pulled}"
    );
    // Where all requested rows are damaged, the message says so and not that they are missing.
    server.psql("update voisin_track set facts = '{}'");
    for words in [
        ["similar", "title 12"],
        ["show", "title 12"],
        ["list", "title 12"],
    ] {
        let stderr = refused(sandbox.run(words.iter().chain(&["--library", &url])));
        assert!(
            stderr.contains("are damaged") && stderr.contains("voisin_track"),
            "{stderr}"
        );
    }
}

/// A server that is silent, or does not speak PostgreSQL's protocol, ends the query within the timeout of the address.
#[test]
fn a_missing_server_is_an_error() {
    use std::io::Write as _;
    let sandbox = sandbox_with(1);
    for (answer, expected) in [
        ("", "no answer within 1 s"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "cannot connect"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().flatten() {
                stream.write_all(answer.as_bytes()).unwrap();
                kept.push(stream);
            }
        });
        for mode in ["disable", "prefer", "verify-full"] {
            let url =
                format!("postgres://me@127.0.0.1:{port}/music?connect_timeout=1&sslmode={mode}");
            let begun = Instant::now();
            let stderr = refused(sandbox.run(["similar", "title 0", "--library", &url]));
            assert!(
                stderr.contains("cannot connect to postgres://me@"),
                "{mode}: {stderr}"
            );
            assert!(stderr.contains(expected), "{mode}: {stderr}");
            // This includes the start of the program.
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{mode}: {:?}",
                begun.elapsed()
            );
        }
    }
}

#[test]
fn passwords_encryption_and_rights_are_enforced() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    push(&sandbox, &server, &[]);
    // A role that may only read, with a password.
    server.psql(
        "create role reader login password 's3cret'; grant usage on schema public to reader;
         grant select on all tables in schema public to reader;",
    );
    let rules = server.folder.join("pg_hba.conf");
    fs::write(
        &rules,
        "host all voisin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    server.psql("select pg_reload_conf()");
    let url = format!("postgres://reader@127.0.0.1:{}/postgres", server.port);
    let ask = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("PGPASSWORD", "s3cret").output().unwrap()
    };
    let answered = ask(&["similar", "title 12", "--library", &url]);
    assert_eq!(code(&answered), 0, "{}", text(&answered.stderr));
    let refused = sandbox.run(["similar", "title 12", "--library", &url]);
    assert_eq!(code(&refused), 2, "a role with a password needs it");
    // A role with read access cannot push.
    let refused = ask(&["push", "--to", &url]);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("permission denied"),
        "{}",
        text(&refused.stderr)
    );

    // Encryption: the certificate and the name in it are checked.
    let certificate = server.encrypt(None);
    let address = |host: &str, root: bool| {
        let root = if root {
            format!("&sslrootcert={}", certificate.display())
        } else {
            String::new()
        };
        format!(
            "postgres://voisin@{host}:{}/postgres?sslmode=verify-full{root}",
            server.port
        )
    };
    let run = |url: &str| sandbox.run(["list", "title 1", "--library", url]);
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

    // Without pgvector the message has the next step.
    server.psql("create database bare");
    let bare = format!(
        "postgres://reader@127.0.0.1:{}/bare?sslmode=disable",
        server.port
    );
    let refused = ask(&["push", "--to", &bare]);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("create extension vector"),
        "{}",
        text(&refused.stderr)
    );
    let empty = ask(&["list", "--library", &bare]);
    assert!(
        code(&empty) == 2 && text(&empty.stderr).contains("voisin push"),
        "{}",
        text(&empty.stderr)
    );
}
