//! The workspace compared with ARCHITECTURE.md: the list of crates, no circles of files inside a crate, unique type
//! names, the public interface, transactions, bounds on size and style. Dependencies between crates are in their
//! Cargo.toml.

mod bounds;
mod door;
mod sources;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use sources::*;
use syn::visit::Visit as _;

#[test]
fn every_crate_is_in_the_list() {
    let rows = table(&["crate", "what it is for"]);
    let rows: Vec<String> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    let listed: BTreeSet<String> = rows.iter().cloned().collect();
    let packages = packages();
    let crates: BTreeSet<_> = packages
        .iter()
        .map(|package| package.name.clone())
        .collect();
    assert_eq!(
        listed, crates,
        "the crates that ARCHITECTURE.md lists and those that there are"
    );
    for package in &packages {
        let place = rows.iter().position(|row| *row == package.name);
        let manifest = root().join(&package.folder).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("Cargo.toml");
        let lines = manifest
            .lines()
            .take_while(|line| *line != "[dev-dependencies]");
        for used in lines.filter_map(|line| line.split(['.', ' ']).next()) {
            let below = rows.iter().position(|row| row == used);
            assert!(
                below.is_none() || below > place,
                "{} uses {used}, which is above it",
                package.name
            );
        }
    }
}

#[test]
fn the_default_members_are_the_crates_of_the_default_build() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let members = manifest
        .split_once("default-members = [")
        .expect("a list")
        .1
        .split_once(']')
        .expect("its end")
        .0;
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    let always = |name: &str| manifest.contains(&format!("\n{name}.workspace = true"));
    let packages = packages();
    let built: BTreeSet<&str> = packages
        .iter()
        .filter(|package| !package.folder.is_empty() && always(&package.name))
        .map(|package| package.folder.as_str())
        .chain([".", "models"])
        .collect();
    assert_eq!(members, built);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    // A module's own file (`mod.rs`) declares its parts and re-exports names: imports to and from it are no circle.
    let inside: Vec<&Source> = sources
        .iter()
        .filter(|source| !source.is_door(&sources))
        .collect();
    let arrows: Vec<BTreeSet<usize>> = inside
        .iter()
        .map(|source| {
            let targets = source.inner.iter().filter_map(|name| home(&sources, name));
            let targets =
                targets.filter_map(|to| inside.iter().position(|other| std::ptr::eq(*other, to)));
            targets
                .filter(|&to| !std::ptr::eq(inside[to], *source))
                .collect()
        })
        .collect();
    let reached: Vec<BTreeSet<usize>> = (0..inside.len())
        .map(|from| {
            let mut seen = BTreeSet::new();
            let mut open = vec![from];
            while let Some(at) = open.pop() {
                open.extend(arrows[at].iter().filter(|&&to| seen.insert(to)));
            }
            seen
        })
        .collect();
    let mut circles = BTreeSet::new();
    for from in (0..inside.len()).filter(|&from| reached[from].contains(&from)) {
        let circle = (0..inside.len())
            .filter(|&to| reached[from].contains(&to) && reached[to].contains(&from));
        circles.insert(
            circle
                .map(|at| inside[at].file.display().to_string())
                .collect::<Vec<_>>()
                .join(" ⇄ "),
        );
    }
    assert!(
        circles.is_empty(),
        "circles of files:\n{}",
        Vec::from_iter(circles).join("\n")
    );
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let files = all_files();
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a source file");
        let mut names = TypeNames::default();
        names.visit_file(&syn::parse_file(&text).expect("a source file"));
        for name in names.0 {
            let home = file.strip_prefix(root()).expect("below the root");
            homes
                .entry(name)
                .or_default()
                .push(home.display().to_string());
        }
    }
    // A module's own alias with its own error, as in std::io.
    homes.remove("Result");
    let shared: Vec<String> = homes
        .iter()
        .filter(|(_, homes)| homes.len() > 1)
        .map(|(name, homes)| format!("{name}: {}", homes.join(", ")))
        .collect();
    assert!(
        shared.is_empty(),
        "types that share a name:\n{}",
        shared.join("\n")
    );
}

/// Public methods of a type, at most. A type with more should be split into parts.
const MOST_METHODS: usize = 60;

#[test]
fn no_type_has_more_public_methods_than_a_page_shows() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in all_files() {
        let text = std::fs::read_to_string(&file).expect("a source file");
        for item in syn::parse_file(&text).expect("a source file").items {
            match item {
                syn::Item::Impl(block) if block.trait_.is_none() => {
                    let syn::Type::Path(path) = &*block.self_ty else {
                        continue;
                    };
                    let name = path.path.segments.last().expect("a name").ident.to_string();
                    let is_public = |item: &&syn::ImplItem| matches!(item, syn::ImplItem::Fn(method) if matches!(method.vis, syn::Visibility::Public(_)));
                    *counts.entry(name).or_default() +=
                        block.items.iter().filter(is_public).count();
                }
                // Each line has a part's name, and one or two accessors of the whole.
                syn::Item::Macro(call)
                    if call
                        .mac
                        .path
                        .segments
                        .last()
                        .is_some_and(|last| last.ident == "parts") =>
                {
                    let tokens = call.mac.tokens.to_string();
                    let (whole, _) = tokens.split_once(':').expect("the whole");
                    let accessors = call
                        .mac
                        .tokens
                        .clone()
                        .into_iter()
                        .filter(|token| {
                            matches!(token, proc_macro2::TokenTree::Ident(name) if name.to_string().starts_with(char::is_lowercase))
                        })
                        .count();
                    *counts.entry(whole.trim().to_owned()).or_default() += accessors;
                }
                _ => {}
            }
        }
    }
    assert!(counts["Library"] > 30, "{counts:?}");
    counts.retain(|_, count| *count > MOST_METHODS);
    assert!(
        counts.is_empty(),
        "expected at most {MOST_METHODS}: {counts:?}"
    );
}

/// Letters of a test's name, at most.
const LONGEST_NAME: usize = 60;

/// A test's name is subject, verb and object.
#[test]
fn no_function_has_a_name_that_begins_with_what() {
    let mut files = all_files();
    rust_files(&root().join("tests"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with("fn what_"));
        assert!(
            found.is_none(),
            "{}: expected subject, verb, object, found {found:?}",
            file.display()
        );
        // From the text, so that tests inside macros count.
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            is_test |= line == "#[test]";
            let Some((name, _)) = line
                .strip_prefix("fn ")
                .and_then(|rest| rest.split_once('('))
            else {
                continue;
            };
            assert!(
                !std::mem::take(&mut is_test) || name.len() <= LONGEST_NAME,
                "{}: expected at most {LONGEST_NAME} letters, found {name}",
                file.display()
            );
        }
    }
}

/// Former words of this project, and the standard terms that replace them.
const FORMER_WORDS: [(&str, &str); 10] = [
    ("Desk", "RequestContext"),
    ("killers", "crash suspects"),
    ("TakenIn", "MergeOutcome"),
    ("look_around", "a verb that says what is looked for"),
    ("AskedLibrary", "LibrarySource"),
    ("know_all", "fetch_all"),
    ("know_fitting", "fetch_fitting"),
    ("shows_that_it_works", "a name that says what is tested"),
    ("for the occasion", "temporary"),
    ("lie to each other", "are to one another"),
];

#[test]
fn former_words_do_not_come_back() {
    let mut files = all_files();
    rust_files(&root().join("tests"), &mut files);
    files.retain(|file| !file.ends_with("architecture/main.rs"));
    let documents = std::fs::read_dir(root().join("docs"))
        .expect("docs")
        .chain(std::fs::read_dir(root()).expect("the root"));
    files.extend(
        documents
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of text");
        for (former, now) in FORMER_WORDS {
            let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let found = text.match_indices(former).find(|(at, _)| {
                !is_part(text[..*at].chars().next_back())
                    && !is_part(text[at + former.len()..].chars().next())
            });
            assert!(
                found.is_none(),
                "{}: expected \"{now}\", found \"{former}\"",
                file.display()
            );
        }
    }
}

/// The documentation of the library lists its features.
#[test]
fn the_librarys_page_has_the_features_of_its_cargo_toml() {
    let read = |path: &str| {
        std::fs::read_to_string(root().join("crates/voisin").join(path))
            .expect("a file of the project")
    };
    let manifest = read("Cargo.toml");
    let page = read("src/lib.rs");
    let section = manifest
        .split_once("[features]\n")
        .expect("features")
        .1
        .split("\n[")
        .next()
        .unwrap_or_default();
    let mut features: BTreeMap<&str, &str> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .collect();
    assert_eq!(
        features.remove("default"),
        Some("[]"),
        "no feature is on by default"
    );
    let page = page.split_once("//! # Features").expect("a heading").1;
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next())
        .collect();
    assert_eq!(
        listed,
        features.keys().copied().collect(),
        "the table, and Cargo.toml"
    );
}
