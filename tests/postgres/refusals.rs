//! Models and rows that are refused, and roles without the right.

use std::fs;

use voisin_library::{Library, OpenMode};

use super::common::{Sandbox, code, fine_json, json, text};
use super::made::{DIMENSION, model_called, track};
use super::servers::{Server, programs};
use super::{push, refused, sandbox_with};

#[test]
fn a_library_of_another_model_is_refused() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    let url = server.url();
    push(&sandbox, &url);
    let before = server.tables();
    for dimension in [DIMENSION, 16] {
        let stranger = Sandbox::new();
        let mut library = Library::open(&stranger.path("library"), OpenMode::Create).unwrap();
        let name = format!("other-{dimension}");
        library.set_model(&model_called(&name, dimension)).unwrap();
        let length = (dimension as f32).sqrt();
        let record = track(1, vec![1.0 / length; dimension]);
        library.take_in(&[(None, record)]).unwrap();
        for words in [["push", "--to", &url], ["pull", "--from", &url]] {
            let message = refused(stranger.run(words));
            assert!(
                message.contains("synthetic") && message.contains(&name),
                "{message}"
            );
        }
    }
    assert_eq!(
        server.tables(),
        before,
        "a refused command leaves nothing behind"
    );
    // Tables of another voisin.
    server.psql("update voisin_state set schema = 99");
    for words in [["push", "--to", &url], ["pull", "--from", &url]] {
        let message = refused(sandbox.run(words));
        assert!(
            message.contains("schema 99") && message.contains("push again"),
            "{message}"
        );
    }
}

/// The database is not trusted.
#[test]
fn an_impossible_model_or_row_is_refused() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    let url = server.url();
    push(&sandbox, &url);
    // Rows changed by another program: an invalid path, other files that are no JSON, a missing number.
    for (id, change) in [
        (1, "path = 'music/../2/'"),
        (2, "more_files = '{'"),
        (3, "seconds = null"),
    ] {
        let path = format!("/music/{id}/album {id}/{id}.flac");
        let sql = format!("update voisin_track set {change} where path = '{path}' returning 1");
        assert_eq!(server.psql(&sql), "1", "{path}");
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
    server.psql("update voisin_track set seconds = null");
    let message = refused(sandbox.run(["show", "title 12", "--library", &url]));
    assert!(message.contains("are damaged"), "{message}");
    for change in [
        "fingerprint = '../../x'",
        "dimension = -1",
        "manifest = repeat('{', 100)",
        "mean = '{1}'",
    ] {
        server.psql(&format!("update voisin_state set {change}"));
        let new = Sandbox::new();
        for words in [["pull", "--from", &url], ["list", "--library", &url]] {
            refused(new.run(words));
        }
        assert!(!new.path("library").exists(), "{change}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn passwords_encryption_and_rights_are_enforced() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    push(&sandbox, &server.url());
    // A role that may only read, with a password.
    server.psql(
        "create role reader login password 's3cret'; grant usage on schema public to reader;
         grant select on all tables in schema public to reader;",
    );
    let rules = "host all voisin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(server.folder.join("pg_hba.conf"), rules).unwrap();
    server.psql("select pg_reload_conf()");
    let url = format!("postgres://reader@127.0.0.1:{}/postgres", server.port);
    let ask = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("PGPASSWORD", "s3cret").output().unwrap()
    };
    fine_json(ask(&[
        "similar",
        "title 12",
        "--format",
        "json",
        "--library",
        &url,
    ]));
    refused(sandbox.run(["similar", "title 12", "--library", &url]));
    let message = refused(ask(&["push", "--to", &url]));
    assert!(message.contains("permission denied"), "{message}");
    // A password in an address on the command line is refused by every verb, and never shown.
    let secret = url.replace("reader@", "reader:s3cret@");
    for words in [
        &["push", "--to"][..],
        &["pull", "--from"],
        &["list", "--library"],
        &["similar", "title 1", "--library"],
    ] {
        let message = refused(sandbox.run(words.iter().chain(&[secret.as_str()])));
        assert!(
            message.contains("PGPASSWORD") && !message.contains("s3cret"),
            "{words:?}: {message}"
        );
    }
    let mut command = sandbox.command(["list", "title 1"]);
    let listed = command.env("VOISIN_LIBRARY", &secret).output().unwrap();
    assert_eq!(code(&listed), 0, "{}", text(&listed.stderr));

    // Encryption: the certificate and the name in it are checked.
    let certificate = server.encrypt();
    let run = |host: &str, trusted: bool| {
        let port = server.port;
        let url = format!("postgres://voisin@{host}:{port}/postgres?sslmode=verify-full");
        let mut command = sandbox.command(["list", "title 1", "--library", &url]);
        if trusted {
            command.env("SSL_CERT_FILE", &certificate);
        }
        command.output().unwrap()
    };
    let trusted = run("localhost", true);
    assert_eq!(code(&trusted), 0, "{}", text(&trusted.stderr));
    for (host, trusted) in [("127.0.0.1", true), ("localhost", false)] {
        let message = refused(run(host, trusted));
        assert!(message.contains("certificate"), "{message}");
    }

    // Without pgvector the server says so; without a library there is a next step.
    server.psql("create database bare");
    let port = server.port;
    let bare = format!("postgres://reader@127.0.0.1:{port}/bare?sslmode=disable");
    let message = refused(ask(&["push", "--to", &bare]));
    assert!(message.contains("extension \"vector\""), "{message}");
    let message = refused(ask(&["list", "--library", &bare]));
    assert!(message.contains("voisin push"), "{message}");
}
