//! What does not belong there, and who may not.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ndarray::Array2;
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
    // An index that will not fit into the server's memory for it is told before it is made.
    server.psql("alter system set maintenance_work_mem = '1MB'", &[]);
    server.psql("select pg_reload_conf()", &[]);
    let first = sandbox.run(push_there);
    let said = text(&first.stderr);
    assert!(
        code(&first) == 0 && said.contains("maintenance_work_mem is 1 MB"),
        "{said}"
    );
    assert!(said.contains("--index-memory 3"), "{said}");
    assert!(
        said.contains("hnsw graph no longer fits into maintenance_work_mem after"),
        "{said}"
    );
    let before = server.tables();

    // A library of another model, of the same length and of another one; there it has a schema of its own.
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
        record.windows.vectors = Array2::default((0, dimension));
        library.transfer_mut().take_in(&[(None, record)]).unwrap();
        stranger
    };
    server.psql("create schema other", &[]);
    for dimension in [DIMENSION, 16] {
        let stranger = of_model(dimension);
        for words in [push_there, pull_there] {
            let said = refused(stranger.run(words));
            assert!(
                said.contains("synthetic") && said.contains(&format!("other-{dimension}")),
                "{said}"
            );
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
    library
        .settings_mut()
        .set_setting("identity", Some("quick"))
        .unwrap();
    library
        .transfer_mut()
        .take_in(&[(
            None,
            track(3000, [&[1.0][..], &[0.0; DIMENSION - 1]].concat()),
        )])
        .unwrap();
    // The kind is told by the tracks, too.
    library
        .settings_mut()
        .set_setting("identity", None)
        .unwrap();
    drop(library);
    for words in [push_there, pull_there] {
        let said = refused(quick.run(words));
        assert!(
            said.contains("\"full\"") && said.contains("\"quick\""),
            "{said}"
        );
    }
    assert_eq!(json(quick.run(["status", "--format", "json"]))["tracks"], 1);
    server.psql("create database apart", &[]);
    let elsewhere = url.replace("/postgres?", "/apart?");
    fine(quick.run(["push", "--to", &elsewhere]));
    let taken = Sandbox::new();
    fine(taken.run(["pull", "--from", &elsewhere]));
    let library = Library::open(&taken.path("library"), OpenMode::ReadOnly).unwrap();
    assert_eq!(library.settings().content_kind().unwrap().name(), "quick");
    drop(library);

    // Whoever sends has the tables alone.
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
    while server.psql(held, &[]) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(refused(sandbox.run(push_there)).contains("another voisin is sending"));
    drop(keys);
    other.wait().unwrap();
    fine(sandbox.run(push_there));
    assert_eq!(
        server.tables(),
        before,
        "what is refused leaves nothing behind"
    );

    // A password in an address that everybody can read is refused by every verb, and shown by none.
    let secret = url.replace("voisin@", "voisin:s3cret@");
    let mut questions = vec![
        vec!["push", "--to"],
        vec!["pull", "--from"],
        vec!["eval", "index", "--backend"],
        vec!["worker", "--jobs"],
    ];
    let folder = sandbox.path("exported");
    for verb in [
        "similar", "classify", "show", "path", "playlist", "list", "status", "export",
    ] {
        let names: &[&str] = match verb {
            "export" => &[folder.to_str().unwrap()],
            "path" => &["title 1", "title 2"],
            "playlist" => &["--seed", "title 1"],
            "list" | "status" => &[],
            _ => &["title 1"],
        };
        questions.push([&[verb], names, &["--backend"]].concat());
    }
    questions.push(vec!["serve", "--backend"]);
    for question in &questions {
        let said = refused(sandbox.run(question.iter().chain(&[secret.as_str()])));
        assert!(
            said.contains("PGPASSFILE") && !said.contains("s3cret"),
            "{question:?}: {said}"
        );
    }
    // Where only this user can read it, it is taken, and not shown either.
    let status = sandbox
        .command(["status"])
        .env("VOISIN_BACKEND", &secret)
        .output()
        .unwrap();
    assert!(!fine(&status).contains("s3cret") && !text(&status.stderr).contains("s3cret"));
    let nobody = secret.replace(&server.port.to_string(), "1");
    let status = sandbox
        .command(["status"])
        .env("VOISIN_BACKEND", nobody)
        .output()
        .unwrap();
    let said = refused(status);
    assert!(
        said.contains("cannot connect to postgres://voisin@") && !said.contains("s3cret"),
        "{said}"
    );

    // An old pgvector, by its own word, and tables of a newer voisin.
    let verbs = [
        push_there.to_vec(),
        pull_there.to_vec(),
        vec!["list", "--backend", &url],
    ];
    server.psql(
        "update pg_extension set extversion = '0.7.4' where extname = 'vector'",
        &[],
    );
    for words in &verbs {
        let said = refused(sandbox.run(words));
        assert!(
            said.contains("found 0.7.4") && said.contains("alter extension vector update"),
            "{said}"
        );
    }
    server.psql(
        "update pg_extension set extversion = '0.8.0' where extname = 'vector'",
        &[],
    );
    // A newer voisin's tables may wait for their model, and have other columns: nothing of them is touched.
    server.psql(
        "update voisin_state set schema = 99, fingerprint = null",
        &[],
    );
    server.psql(
        "alter table voisin_track rename embedding to elsewhere",
        &[],
    );
    for words in &verbs {
        let said = refused(sandbox.run(words));
        assert!(
            said.contains("schema 99") && said.contains("use the newer voisin"),
            "{said}"
        );
    }
    assert_eq!(
        server.psql("select fingerprint is null from voisin_state", &[]),
        "t"
    );
}

#[test]
fn pull_believes_neither_a_model_nor_a_row_that_cannot_be() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    push(&sandbox, &server, &[]);
    let url = server.url();
    let own = model();
    for (change, found) in [
        ("fingerprint = '../../x'", "its fingerprint is \"../../x\""),
        ("model = '../../../x'", "its name is \"../../../x\""),
        ("dimension = -1", "its dimension is"),
        ("manifest = repeat('{', 100)", "its manifest"),
    ] {
        server.psql(&format!("update voisin_state set {change}"), &[]);
        let new = Sandbox::new();
        for words in [&["pull", "--from", &url][..], &["list", "--backend", &url]] {
            let said = refused(new.run(words));
            assert!(
                said.contains("the model of its vectors is refused"),
                "{change}: {said}"
            );
            assert!(
                said.contains(found) && said.contains("push again"),
                "{change}: {said}"
            );
        }
        let library = Library::open(&new.path("library"), OpenMode::ReadOnly);
        assert!(
            library.is_err() || library.unwrap().model().unwrap().is_none(),
            "{change}: nothing is stored"
        );
        let columns = format!(
            "update voisin_state set model = '{}', fingerprint = '{}', dimension = {}, manifest = '{}'",
            own.name, own.fingerprint, own.dimension, own.manifest_json
        );
        server.psql(&columns, &[]);
    }
    // Rows that another program has changed: one has three megabytes of facts, one a path that is none, one no facts.
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
            &format!("with c as (update voisin_track set facts = {change} where path = '{path}' returning 1) select count(*) from c"),
            &[],
        );
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
    // Where nothing that was asked for is whole, that is said, and not that it is not there.
    server.psql(
        "update voisin_vector set vector = substr(vector, 1, 8)",
        &[],
    );
    let folder = sandbox.path("exported");
    let said = refused(sandbox.run(["export", folder.to_str().unwrap(), "--backend", &url]));
    assert!(
        said.contains("are damaged") && said.contains("voisin_vector"),
        "{said}"
    );
    fine(sandbox.run(["similar", "title 12", "--backend", &url]));
    server.psql("update voisin_track set facts = '{}'", &[]);
    for words in [
        ["similar", "title 12"],
        ["show", "title 12"],
        ["list", "title 12"],
    ] {
        let said = refused(sandbox.run(words.iter().chain(&["--backend", &url])));
        assert!(
            said.contains("are damaged") && said.contains("voisin_track"),
            "{said}"
        );
    }
}

/// Who answers nothing, or what no server of PostgreSQL says, ends the question within the time that the address gives.
#[test]
fn a_server_that_is_none_ends_in_an_error() {
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
            let said = refused(sandbox.run(["similar", "title 0", "--backend", &url]));
            assert!(
                said.contains("cannot connect to postgres://me@"),
                "{mode}: {said}"
            );
            assert!(said.contains(expected), "{mode}: {said}");
            // The program's own start is in it.
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{mode}: {:?}",
                begun.elapsed()
            );
        }
    }
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
    fs::write(
        &rules,
        "host all voisin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    server.psql("select pg_reload_conf()", &[]);
    let url = format!("postgres://reader@127.0.0.1:{}/postgres", server.port);
    let passwords = sandbox.path("pgpass");
    fs::write(
        &passwords,
        format!("127.0.0.1:{}:*:reader:s3cret\n", server.port),
    )
    .unwrap();
    let ask = |arguments: &[&str], mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&passwords, fs::Permissions::from_mode(mode)).unwrap();
        sandbox
            .command(arguments)
            .env("PGPASSFILE", &passwords)
            .output()
            .unwrap()
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
    let bare = format!(
        "postgres://reader@127.0.0.1:{}/bare?sslmode=disable",
        server.port
    );
    let refused = ask(&["push", "--to", &bare], 0o600);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("create extension vector"),
        "{}",
        text(&refused.stderr)
    );
    let empty = ask(&["status", "--backend", &bare], 0o600);
    assert!(
        code(&empty) == 2 && text(&empty.stderr).contains("voisin push"),
        "{}",
        text(&empty.stderr)
    );
}
