//! Behind `PgBouncer` in transaction mode, as in the poolers of Supabase and Neon: after each transaction a server
//! session serves another client.

use crate::common::{Sandbox, code, json, text};
use crate::servers::{Pooler, Server, programs};
use crate::{push, refused, sandbox_with};

/// Locks, prepared statements and temporary tables that are left in sessions of a server.
const LEFT: &str = "select count(*) from pg_locks where locktype = 'advisory'
    union all select count(*) from pg_class where relname like 'voisin_staging%'";

#[test]
fn a_library_is_pushed_and_pulled_through_a_pooler() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let Some(pooler) = Pooler::start(&server, 3) else {
        return;
    };
    let sandbox = sandbox_with(700);
    let url = pooler.url();
    let send = |more: &[&str]| {
        let output = sandbox.run(
            ["push", "--to", &url, "--format", "json"]
                .iter()
                .chain(more),
        );
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        json(output)
    };
    assert_eq!(send(&["--index-memory", "64"])["added"], 700);
    // The same sessions again, and a direct connection.
    assert_eq!(send(&[])["unchanged"], 700);
    assert_eq!(push(&sandbox, &server, &[])["unchanged"], 700);
    assert_eq!(server.psql(LEFT), "0\n0");

    // Answers equal those without the pooler.
    for question in [
        &["similar", "id:7", "-k", "30"][..],
        &["similar", "id:7", "--genre", "rock"],
        &["list", "--limit", "50"],
    ] {
        let ask = |place: &str| {
            let words = [question, &["--library", place, "--format", "json"]].concat();
            let output = sandbox.run(words);
            (code(&output), text(&output.stdout))
        };
        let direct = ask(&server.url());
        for _ in 0..4 {
            assert_eq!(ask(&url), direct, "{question:?}");
        }
    }
    let pulled = Sandbox::new();
    assert_eq!(fine_pull(&pulled, &url), 700);
    // Options of a session are refused there.
    let message = refused(sandbox.run([
        "push",
        "--to",
        &format!("{url}&options=-csearch_path%3Dmine"),
    ]));
    assert!(message.contains("options"), "{message}");
}

fn fine_pull(sandbox: &Sandbox, url: &str) -> u64 {
    let output = sandbox.run(["pull", "--from", url, "--format", "json"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    json(output)["added"].as_u64().unwrap()
}
