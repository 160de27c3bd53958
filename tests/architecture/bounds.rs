//! Bounds on the size and the style of the sources, in bounds.toml. Those of lines and habits may only fall, that of comments
//! only rise: who must loosen one does so in the same commit, whose body says for which user.

use std::collections::BTreeMap;

use serde::Deserialize;
use syn::visit::{self, Visit};

use crate::sources::{all_files, packages, root, rust_files};

#[derive(Deserialize)]
struct Bounds {
    lines: BTreeMap<String, usize>,
    style: StyleCounts,
    comments: CommentBound,
}

/// Comments that say why, where a reader stops.
#[derive(Deserialize)]
struct CommentBound {
    /// At least so many lines for each thousand lines of code.
    per_thousand: usize,
}

/// Habits that STYLE.md names, counted over all sources outside of `tests/`.
#[derive(Debug, Default, Deserialize)]
struct StyleCounts {
    /// `let (a, b) = (x, y);`: a `let` of a tuple pattern whose value is a tuple literal. With an `else` it tests several
    /// values at once, for which there is no shorter way, and does not count.
    tuple_lets: usize,
    /// Lines whose comment begins with "What ".
    what_comments: usize,
    /// Variables and parameters called `of`, `own`, `said`, `told` or `asked`.
    vague_names: usize,
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

/// Each crate's lines of Rust, unit tests included; folders that are no crate's sources alone (`benches`) do not count.
#[test]
fn no_crate_grows_beyond_its_bound() {
    let bounds = bounds().lines;
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
        bounds.keys().collect::<Vec<_>>(),
        counted.keys().collect::<Vec<_>>(),
        "bounds.toml lists each crate"
    );
    let grown: Vec<String> = counted
        .iter()
        .filter(|(name, lines)| **lines > bounds[*name])
        .map(|(name, lines)| format!("{name}: {lines} lines, bound {}", bounds[name]))
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
        let vague = ["of", "own", "said", "told", "asked"];
        self.vague_names += usize::from(vague.iter().any(|name| pattern.ident == name));
        visit::visit_pat_ident(self, pattern);
    }
}

#[test]
fn habits_that_style_forbids_do_not_spread() {
    let mut found = StyleCounts::default();
    for file in all_files() {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let begins = |line: &&str| {
            let comment = line.trim_start().strip_prefix("//");
            comment.is_some_and(|text| {
                text.trim_start_matches(['/', '!'])
                    .trim_start()
                    .starts_with("What ")
            })
        };
        found.what_comments += text.lines().filter(begins).count();
        found.visit_file(&syn::parse_file(&text).expect("a source file"));
    }
    let bound = bounds().style;
    let within = found.tuple_lets <= bound.tuple_lets
        && found.what_comments <= bound.what_comments
        && found.vague_names <= bound.vague_names;
    assert!(within, "found {found:?}, bound {bound:?}: see STYLE.md");
}

/// Counts lines that are a comment alone, documentation (`///`, `//!`) left out, beside lines of code, blank ones left out.
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
