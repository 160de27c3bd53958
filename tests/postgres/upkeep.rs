//! Operating a database: its indexes and how queries use them.

use std::time::Duration;

use super::common::{fine, fine_json};
use super::servers::{Server, programs};
use super::{push, same, sandbox_with};

/// Queries use indexes, as the server's counters show.
#[test]
fn words_and_filters_go_by_indexes() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(10_000);
    let url = server.url();
    push(&sandbox, &server, &[]);
    for (question, index) in [
        (&["list", "title 4321"][..], "words"),
        (&["similar", "title 4321"], "words"),
        (&["list", "--artist", "artist 17"], "artist_keys"),
        (&["list", "--year", "-1950"], "year_min_year_max"),
        (&["list", "--bpm", "100.5-101.2"], "tempo"),
        (&["list", "--duration", "10:27-"], "seconds"),
        (&["list", "--key", "C major"], "key"),
    ] {
        let name = format!("voisin_track_{index}_idx");
        let used = || -> u64 {
            let sql =
                format!("select idx_scan from pg_stat_user_indexes where indexrelname = '{name}'");
            server
                .psql(&sql)
                .parse()
                .unwrap_or_else(|_| panic!("{name}"))
        };
        let before = used();
        fine(sandbox.run(question.iter().chain(&["--library", &url])));
        // The counters include a session once it has ended.
        let counted = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            used() > before
        });
        assert!(counted, "{question:?} does not go by {name}");
    }
    // More tracks contain these words than are fetched for a name; the one with exactly this title is chosen.
    let words = ["show", "title 1", "--format", "json"];
    let here = fine_json(sandbox.run(words));
    let there = fine_json(sandbox.run(words.iter().chain(&["--library", &url])));
    assert!(
        here[0]["path"] == there[0]["path"] && here[0]["path"].is_string(),
        "{here} {there}"
    );
    for filter in [["--artist", "artist 17"], ["--artist", "!artist 17"]] {
        let words = [
            "list",
            "--sort",
            "title",
            "--reverse",
            "--limit",
            "9",
            "--format",
            "json",
        ];
        let ask = |more: &[&str]| fine_json(sandbox.run(words.iter().chain(&filter).chain(more)));
        let here = ask(&[]);
        let there = ask(&["--library", &url]);
        assert!(
            same(&here, &there) && here["total"].as_u64() > Some(9),
            "{here} {there}"
        );
    }
}

#[test]
fn leftovers_of_an_interrupted_index_are_removed() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(500);
    let made = push(&sandbox, &server, &[])["index_seconds"].as_f64();
    assert!(made.is_some());
    let again = push(&sandbox, &server, &[]);
    assert!(
        again["index_seconds"].is_null(),
        "the one that is there serves"
    );
    server.psql(
        "update pg_index set indisvalid = false where indrelid = 'voisin_track'::regclass
            and pg_get_indexdef(indexrelid) like '%hnsw%'",
    );
    let made = push(&sandbox, &server, &[])["index_seconds"].as_f64();
    assert!(made.is_some());
    let indexes = server.psql(
        "select indisvalid from pg_index where indrelid = 'voisin_track'::regclass
            and pg_get_indexdef(indexrelid) like '%hnsw%'",
    );
    assert_eq!(indexes, "t");
}
