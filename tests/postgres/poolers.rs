//! Behind `PgBouncer` in transaction mode, as in the poolers of Supabase and Neon: after each transaction a server
//! session serves another client.

use crate::common::{Sandbox, fine, fine_json};
use crate::servers::{Pooler, Server, programs};
use crate::{push, sandbox_with};

#[test]
fn a_library_is_pushed_queried_and_pulled_through_a_pooler() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let Some(pooler) = Pooler::start(&server, 2) else {
        return;
    };
    let sandbox = sandbox_with(700);
    let url = pooler.url();
    assert_eq!(push(&sandbox, &url)["added"], 700);
    // The same sessions again, and a direct connection.
    assert_eq!(push(&sandbox, &url)["unchanged"], 700);
    assert_eq!(push(&sandbox, &server.url())["unchanged"], 700);
    for question in [
        &["similar", "id:7", "--limit", "30"][..],
        &["similar", "id:7", "--genre", "rock"],
        &["list", "--limit", "50"],
    ] {
        let ask = |place: &str| {
            let words = [question, &["--library", place, "--format", "json"]].concat();
            sandbox.run(words).stdout
        };
        assert_eq!(ask(&url), ask(&server.url()), "{question:?}");
    }
    let pulled = Sandbox::new();
    let pull = ["pull", "--from", &url, "--format", "json"];
    assert_eq!(fine_json(pulled.run(pull))["added"], 700);
    fine(pulled.run(["verify"]));
}
