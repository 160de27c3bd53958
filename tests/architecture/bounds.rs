//! Bounds on the size and the style of the sources, in bounds.toml. Bounds of lines and habits may only fall, that of
//! comments may only rise. Loosening one needs a reason in the body of the same commit.

use std::collections::BTreeMap;

use serde::Deserialize;
use syn::visit::{self, Visit};

use crate::sources::{all_files, files_ending, packages, root, rust_files};

#[derive(Deserialize)]
struct Bounds {
    total: usize,
    lines: BTreeMap<String, usize>,
    style: StyleCounts,
    comments: CommentBound,
}

/// Comments that give reasons.
#[derive(Deserialize)]
struct CommentBound {
    /// Lines of comments for each thousand lines of code, at least.
    per_thousand: usize,
}

/// Habits that STYLE.md names, counted over all crates and `tests/`.
#[derive(Debug, Default, Deserialize)]
struct StyleCounts {
    /// `let (a, b) = (x, y);`: a `let` of a tuple pattern whose value is a tuple literal. With an `else` it tests several
    /// values at once, for which there is no shorter way, and does not count; nor does one in `tests/`.
    tuple_lets: usize,
    /// Lines whose comment begins with "What ", those in the pages' scripts too.
    what_comments: usize,
    /// Variables and parameters called one of [`VAGUE`].
    vague_names: usize,
    /// Functions, methods and fields called so, except for functions called `of`, which are constructors.
    vague_items: usize,
}

const VAGUE: [&str; 5] = ["of", "own", "said", "told", "asked"];

fn is_vague(name: &syn::Ident) -> bool {
    VAGUE.iter().any(|vague| name == vague)
}

fn bounds() -> Bounds {
    let text = std::fs::read_to_string(root().join("tests/architecture/bounds.toml"))
        .expect("bounds.toml");
    toml::from_str(&text).expect("tables of numbers")
}

fn lines_of(files: &[std::path::PathBuf]) -> usize {
    files
        .iter()
        .map(|file| {
            std::fs::read_to_string(file)
                .expect("a source file")
                .lines()
                .count()
        })
        .sum()
}

/// Each crate's lines of Rust, unit tests included; folders outside of crates (`benches`) do not count.
#[test]
fn no_crate_grows_beyond_its_bound() {
    let bounds = bounds();
    let mut counted = BTreeMap::new();
    for package in packages() {
        let folder = if package.folder.is_empty() {
            "src"
        } else {
            &package.folder
        };
        let mut files = Vec::new();
        rust_files(&root().join(folder), &mut files);
        counted.insert(package.name, lines_of(&files));
    }
    assert_eq!(
        bounds.lines.keys().collect::<Vec<_>>(),
        counted.keys().collect::<Vec<_>>(),
        "bounds.toml lists each crate"
    );
    let total: usize = counted.values().sum();
    assert!(
        total <= bounds.total,
        "all crates: {total} lines, bound {}",
        bounds.total
    );
    let grown: Vec<String> = counted
        .iter()
        .filter(|(name, lines)| **lines > bounds.lines[*name])
        .map(|(name, lines)| format!("{name}: {lines} lines, bound {}", bounds.lines[name]))
        .collect();
    assert!(
        grown.is_empty(),
        "take something away, or raise the bound with a reason:\n{}",
        grown.join("\n")
    );
}

impl<'ast> Visit<'ast> for StyleCounts {
    fn visit_local(&mut self, local: &'ast syn::Local) {
        let is_tuple = matches!(local.pat, syn::Pat::Tuple(_));
        let init = local.init.as_ref().filter(|init| init.diverge.is_none());
        let value = init.map(|init| init.expr.as_ref());
        self.tuple_lets += usize::from(is_tuple && matches!(value, Some(syn::Expr::Tuple(_))));
        visit::visit_local(self, local);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.vague_names += usize::from(is_vague(&pattern.ident));
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        let is_constructor = signature.ident == "of";
        self.vague_items += usize::from(is_vague(&signature.ident) && !is_constructor);
        visit::visit_signature(self, signature);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.vague_items += usize::from(field.ident.as_ref().is_some_and(is_vague));
        visit::visit_field(self, field);
    }
}

fn begins_with_what(line: &&str) -> bool {
    let line = line.trim_start();
    let text = line.trim_start_matches(['/', '*', '!']);
    text.len() < line.len() && text.trim_start().starts_with("What ")
}

#[test]
fn habits_that_style_forbids_do_not_spread() {
    let mut tests = Vec::new();
    rust_files(&root().join("tests"), &mut tests);
    let mut scripts = Vec::new();
    for folder in [
        "crates/doors/voisin-serve/src/page",
        "crates/core/voisin-explore/src/map/page",
    ] {
        files_ending(&root().join(folder), "js", &mut scripts);
    }
    let mut found = StyleCounts::default();
    let mut in_tests = StyleCounts::default();
    for file in all_files().iter().chain(&tests).chain(&scripts) {
        let text = std::fs::read_to_string(file).expect("a source file");
        found.what_comments += text.lines().filter(begins_with_what).count();
        if scripts.contains(file) {
            continue;
        }
        let counts = if tests.contains(file) {
            &mut in_tests
        } else {
            &mut found
        };
        counts.visit_file(&syn::parse_file(&text).expect("a source file"));
    }
    found.vague_names += in_tests.vague_names;
    found.vague_items += in_tests.vague_items;
    let bound = bounds().style;
    let within = found.tuple_lets <= bound.tuple_lets
        && found.what_comments <= bound.what_comments
        && found.vague_names <= bound.vague_names
        && found.vague_items <= bound.vague_items;
    assert!(within, "found {found:?}, bound {bound:?}: see STYLE.md");
}

/// Compares lines with nothing but a comment, documentation (`///`, `//!`) left out, with lines of code, blank ones
/// left out.
#[test]
fn comments_keep_up_with_the_code() {
    let mut comments = 0;
    let mut code = 0;
    for file in all_files() {
        let text = std::fs::read_to_string(&file).expect("a source file");
        for line in text.lines().map(str::trim_start) {
            let is_comment = line.starts_with("//");
            let is_documentation = line.starts_with("///") || line.starts_with("//!");
            comments += usize::from(is_comment && !is_documentation);
            code += usize::from(!is_comment && !line.is_empty());
        }
    }
    let found = comments * 1000 / code;
    let bound = bounds().comments.per_thousand;
    assert!(
        found >= bound,
        "{comments} lines of comments in {code} of code are {found} for each thousand, expected {bound}: see STYLE.md"
    );
}
