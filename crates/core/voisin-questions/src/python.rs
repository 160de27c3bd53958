//! Generates python/voisin/_options.py, the keyword arguments of the Python package, from the fields of queries. A test
//! compares the file; `VOISIN_WRITE_DOCS=1` writes it again.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::explore::{Clusters, PathBetween};
use crate::genre::Classify;
use crate::list::{Find, List};
use crate::playlist::Playlist;
use crate::schema::{of_body, of_query};
use crate::{Filters, Similar};

/// Columns of a line.
const WIDTH: usize = 100;
/// Fields that are separate arguments of methods, or that Python does not have.
const APART: [&str; 8] = [
    "seeds", "tracks", "unlike", "limit", "words", "from", "to", "query",
];

fn fields(schema: &Value) -> Map<String, Value> {
    schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default()
}

/// The Python type of a field.
fn kind(name: &str, schema: &Value) -> String {
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<String> = names.iter().map(Value::to_string).collect();
        return format!("Literal[{}]", names.join(", "));
    }
    match schema["type"].as_str() {
        Some("boolean") => "bool".to_owned(),
        Some("integer") => "int".to_owned(),
        Some("number") => "float".to_owned(),
        Some("array") if name.ends_with("folder") => {
            "str | PathLike[str] | Sequence[str | PathLike[str]]".to_owned()
        }
        Some("array") => "str | Sequence[str]".to_owned(),
        // Texts; the others are spans, which may be a number.
        _ if ["query", "sort"].contains(&name) => "str".to_owned(),
        _ => "str | float".to_owned(),
    }
}

/// Wraps text, with all lines but the first indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= WIDTH - 4 {
            writeln!(lines, "{line}").unwrap();
            indent.clone_into(&mut line);
        } else if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &line
}

fn class(name: &str, base: &str, about: &str, fields: &Map<String, Value>) -> String {
    let mut text = format!("\n\nclass {name}({base}, total=False):\n    \"\"\"{about}\n\n");
    for (field, schema) in fields {
        let about = schema["description"].as_str().unwrap_or_default();
        let about = wrapped(&format!("{field}: {about}."), "    ");
        writeln!(text, "    {}", about.replace('\n', "\n    ")).unwrap();
    }
    text += "    \"\"\"\n\n";
    for (field, schema) in fields {
        writeln!(text, "    {field}: {}", kind(field, schema)).unwrap();
    }
    text
}

fn options() -> String {
    let filters = fields(&of_body::<Filters>());
    let mut text = "\"\"\"Keyword arguments of queries, with their types; generated from voisin's own queries.\"\"\"

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict
"
    .to_owned();
    text += &class(
        "Filters",
        "TypedDict",
        "Which tracks may be in an answer.",
        &filters,
    );
    for (name, method, schema) in [
        ("SimilarOptions", "similar", of_query::<Similar>()),
        ("PlaylistOptions", "playlist", of_query::<Playlist>()),
        ("PathOptions", "path_between", of_query::<PathBetween>()),
        ("FindOptions", "find", of_query::<Find>()),
        ("ListOptions", "tracks", of_query::<List>()),
        ("ClassifyOptions", "classify", of_query::<Classify>()),
        ("ClustersOptions", "clusters", of_query::<Clusters>()),
    ] {
        let all = fields(&schema);
        let has_filters = all.contains_key("genre");
        let is_own = |field: &String| {
            !filters.contains_key(field)
                && (!APART.contains(&field.as_str()) || (method == "tracks" && field == "query"))
        };
        let own_fields: Map<String, Value> =
            all.into_iter().filter(|(field, _)| is_own(field)).collect();
        let base = if has_filters { "Filters" } else { "TypedDict" };
        text += &class(name, base, &format!("Of `Library.{method}`."), &own_fields);
    }
    text
}

#[test]
fn the_python_package_has_the_fields_of_queries() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../python/voisin/_options.py");
    let expected = options();
    if std::env::var_os("VOISIN_WRITE_DOCS").is_some() {
        std::fs::write(&file, expected).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == expected,
        "python/voisin/_options.py is out of date: VOISIN_WRITE_DOCS=1 writes it again"
    );
}
