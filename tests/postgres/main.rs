//! `PostgreSQL` with pgvector: libraries are pushed, queried and pulled, through real servers on loopback. Without
//! `PostgreSQL` or pgvector the tests skip with a message; `scripts/install_postgres` installs them.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod made;
mod poolers;
mod refusals;
mod sending;
mod servers;

use std::collections::BTreeMap;
use std::process::Output;

use common::{Sandbox, code, fine_json, text};
use made::synthetic;
use serde_json::Value;
use voisin::ContentId;
use voisin_library::{Library, OpenMode, TrackFacts};

fn sandbox_with(n: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    drop(synthetic(&sandbox.path("library"), n, 1));
    sandbox
}

fn push(sandbox: &Sandbox, url: &str) -> Value {
    fine_json(sandbox.run(["push", "--to", url, "--format", "json"]))
}

/// All facts of a library's recordings except their vectors.
fn facts(sandbox: &Sandbox) -> BTreeMap<ContentId, TrackFacts> {
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
    let facts = library
        .track_ids()
        .unwrap()
        .into_iter()
        .map(|id| library.facts(id).unwrap());
    facts.map(|facts| (facts.audio.content, facts)).collect()
}

/// Standard error of a run that must be refused.
fn refused(output: Output) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(code(&output), 2, "{stderr}");
    assert!(
        stderr.lines().all(|line| !line.contains("panicked")),
        "{stderr}"
    );
    stderr
}

/// Whether two answers are equal except for ids, the order of seeds, rounding of similarities and the order among such
/// ties, and the fields that only a local library has.
///
/// A seed's vector has 16 bits per number in a database: with 64 numbers that gives differences of 0.00004 on average.
fn same(a: &Value, b: &Value) -> bool {
    within(3e-4, a, b)
}

fn within(most: f64, a: &Value, b: &Value) -> bool {
    let by_path = |seeds: &Value| {
        let mut seeds = seeds.as_array().unwrap().clone();
        seeds.sort_by_key(|seed| seed["path"].as_str().unwrap_or_default().to_owned());
        Value::from(seeds)
    };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let member = |key: &str, a: &Value, b: &Value| match key {
                // The summary has a probability in words.
                "id" | "generation" | "next" | "track" | "summary" => true,
                "percentile" | "nearness" | "far" | "note" => a == b || a.is_null() || b.is_null(),
                "seeds" => same(&by_path(a), &by_path(b)),
                // Lowered by a share of the labelled tracks, which a fifth digit may change by some of them.
                "probability" | "probabilities" | "votes" | "novelty" => within(2e-2, a, b),
                _ => within(most, a, b),
            };
            let keys = a.keys().chain(b.keys());
            keys.into_iter().all(|key| {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned();
                let [a, b] = [a, b].map(|object| of(object).unwrap_or_default());
                member(key, &a, &b)
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            let alike = |a: &[Value], b: &[Value]| a.iter().zip(b).all(|(a, b)| within(most, a, b));
            let similarity = |one: &Value| one["similarity"].as_f64();
            let ranked = |all: &[Value]| {
                all.iter().all(|one| similarity(one).is_some())
                    && all.is_sorted_by(|a, b| similarity(a) >= similarity(b))
            };
            let by_path = |all: &[Value]| {
                let mut all = all.to_vec();
                all.sort_by_key(|one| one["path"].to_string());
                all.iter_mut()
                    .for_each(|one| drop(one.as_object_mut().map(|one| one.remove("rank"))));
                all
            };
            a.len() == b.len()
                && (alike(a, b) || ranked(a) && ranked(b) && alike(&by_path(a), &by_path(b)))
        }
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < most
        }
        _ => a == b,
    }
}
