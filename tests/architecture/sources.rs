//! The sources of all crates, and the crates that ARCHITECTURE.md lists, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path of Rust that begins with its crate: `["voisin_encoder", "conv", "Isa"]`.
pub(crate) type Name = Vec<String>;

/// A source file: its module and the paths that it uses.
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) module: Name,
    /// Its own child modules, in files or inside it.
    pub(crate) children: BTreeSet<String>,
    /// Names that `use` brings into its scope, with their paths.
    pub(crate) scope: BTreeMap<String, Name>,
    /// Every path that it names, from the crate's root.
    pub(crate) inner: BTreeSet<Name>,
    /// Its child modules that only tests have.
    pub(crate) tests: Vec<Name>,
}

/// A crate of the workspace.
pub(crate) struct Package {
    /// Its folder, from the root of the workspace; empty for the program.
    pub(crate) folder: String,
    pub(crate) name: String,
}

impl Package {
    pub(crate) fn sources(&self) -> PathBuf {
        let folder = root().join(&self.folder);
        // The weights' crate is a single file beside the weights.
        if self.name == "voisin-models" {
            folder
        } else {
            folder.join("src")
        }
    }

    /// Its name as the compiler knows it.
    pub(crate) fn ident(&self) -> String {
        self.name.replace('-', "_")
    }
}

impl Source {
    pub(crate) fn read(package: &Package, file: &Path) -> Self {
        let below = file
            .strip_prefix(package.sources())
            .expect("below the package")
            .with_extension("");
        let inner = below
            .iter()
            .map(|part| part.to_str().expect("UTF-8").to_owned());
        let mut module: Name = std::iter::once(package.ident()).chain(inner).collect();
        if matches!(
            module.last().map(String::as_str),
            Some("mod" | "lib" | "main")
        ) {
            module.pop();
        }
        let text = std::fs::read_to_string(file).expect("a source file");
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let children = parsed.items.iter().filter_map(|item| match item {
            syn::Item::Mod(item) => Some(item.ident.to_string()),
            _ => None,
        });
        let mut source = Self {
            file: file
                .strip_prefix(root())
                .expect("below the root")
                .to_owned(),
            children: children.collect(),
            scope: BTreeMap::new(),
            inner: BTreeSet::new(),
            tests: Vec::new(),
            module: module.clone(),
        };
        Reader {
            source: &mut source,
            inside: module,
            package: package.ident(),
        }
        .visit_file(&parsed);
        source
    }

    /// Whether it is the file of a module with submodules.
    pub(crate) fn is_door(&self, sources: &[Source]) -> bool {
        sources.iter().any(|other| {
            other.module.len() > self.module.len()
                && other.module[..self.module.len()] == self.module[..]
        })
    }
}

struct Reader<'a> {
    source: &'a mut Source,
    /// The module that is being read, with those inside the file.
    inside: Name,
    /// The crate that `crate` stands for.
    package: String,
}

impl Reader<'_> {
    /// Records a path.
    fn note(&mut self, written: &[String]) -> Option<Name> {
        let mut base = self.inside.clone();
        let mut rest = written;
        match written.first()?.as_str() {
            "crate" => {
                base = vec![self.package.clone()];
                rest = &written[1..];
            }
            first if first == "voisin" || first.starts_with("voisin_") => {
                base = vec![first.to_owned()];
                rest = &written[1..];
            }
            "self" | "super" => {
                while let Some(first) = rest
                    .first()
                    .filter(|first| matches!(first.as_str(), "self" | "super"))
                {
                    if first == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
            }
            first if self.inside == self.source.module && self.source.children.contains(first) => {}
            _ => return None,
        }
        base.extend_from_slice(rest);
        self.source.inner.insert(base.clone());
        Some(base)
    }

    fn note_tree(&mut self, before: &mut Name, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_tree(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.note_tree(before, tree)),
            syn::UseTree::Glob(_) => {
                self.note(before);
            }
            syn::UseTree::Name(name) => self.note_use(before, &name.ident, &name.ident),
            syn::UseTree::Rename(rename) => self.note_use(before, &rename.ident, &rename.rename),
        }
    }

    fn note_use(&mut self, before: &[String], name: &syn::Ident, known_as: &syn::Ident) {
        let mut path = before.to_vec();
        if name != "self" {
            path.push(name.to_string());
        }
        let Some(found) = self.note(&path) else {
            return;
        };
        if self.inside == self.source.module {
            self.source.scope.insert(known_as.to_string(), found);
        }
    }

    /// Paths inside the arguments of a macro, which syn does not parse.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path = Name::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.note(&path);
                        path.clear();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                _ => {
                    self.note(&path);
                    path.clear();
                    colons = 0;
                }
            }
        }
        self.note(&path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) {
            self.source
                .tests
                .push([&self.inside[..], &[item.ident.to_string()]].concat());
        } else if item.content.is_some() {
            self.inside.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.inside.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.note_tree(&mut Name::new(), &item.tree);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written: Name = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.note(&written);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.note_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_attribute(&mut self, item: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &item.meta {
            self.note_tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, item);
    }

    // `pub(super)` and `pub(in …)` name who may use an item, and import nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The names of all types that a file defines, tests' own and those inside functions too.
#[derive(Default)]
pub(crate) struct TypeNames(pub(crate) Vec<String>);

impl<'ast> Visit<'ast> for TypeNames {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.0.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }
}

/// Whether an item is there for tests only.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

pub(crate) fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    files_ending(folder, "rs", found);
}

pub(crate) fn files_ending(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files_ending(&path, ending, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
}

/// Rows of the table in ARCHITECTURE.md whose head holds all of `columns`, as cells under those columns.
pub(crate) fn table(columns: &[&str]) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim()
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let mut lines = text.lines().skip_while(|line| {
        let head = cells(line);
        !columns
            .iter()
            .all(|column| head.iter().any(|cell| cell == column))
    });
    let head = cells(
        lines
            .next()
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no table of {columns:?}")),
    );
    let places: Vec<usize> = columns
        .iter()
        .map(|column| {
            head.iter()
                .position(|cell| cell == column)
                .expect("found above")
        })
        .collect();
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let row = cells(line);
            assert_eq!(row.len(), head.len(), "a row of another length: {line}");
            places.iter().map(|&place| row[place].clone()).collect()
        })
        .collect()
}

/// The words between backticks.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, the crates below `crates`, and those that have folders of their own.
pub(crate) fn packages() -> Vec<Package> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let mut packages = vec![Package {
        folder: String::new(),
        name: "voisin-cli".to_owned(),
    }];
    // voisin-base = { path = "crates/core/voisin-base" }
    let paths = manifest
        .split_once("[workspace.dependencies]\n")
        .expect("the workspace's dependencies")
        .1
        .lines()
        .filter_map(|line| line.split_once(" = { path = \""));
    for (name, rest) in paths {
        let folder = rest.split('"').next().expect("split once at least");
        packages.push(Package {
            folder: folder.to_owned(),
            name: name.to_owned(),
        });
    }
    // Crates that nothing depends on.
    for folder in [
        "crates/doors/voisin-python",
        "crates/lab/voisin-train-encoder",
    ] {
        packages.push(Package {
            folder: folder.to_owned(),
            name: folder
                .rsplit('/')
                .next()
                .expect("split once at least")
                .to_owned(),
        });
    }
    packages
}

/// The sources of all packages.
pub(crate) fn all_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    packages()
        .iter()
        .for_each(|package| rust_files(&package.sources(), &mut files));
    files
}

pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for package in packages() {
        let mut files = Vec::new();
        rust_files(&package.sources(), &mut files);
        files.sort();
        sources.extend(files.iter().map(|file| Source::read(&package, file)));
    }
    let tests: Vec<Name> = sources
        .iter()
        .flat_map(|source| source.tests.clone())
        .collect();
    sources.retain(|source| !tests.iter().any(|test| source.module.starts_with(test)));
    sources
}

/// The path of a name after resolving re-exports by `use`.
pub(crate) fn follow(sources: &[Source], name: &Name) -> Name {
    let mut name = name.clone();
    // A chain of re-exports is short; a circle of them would not compile.
    for _ in 0..10 {
        let Some(next) = (0..name.len()).find_map(|at| {
            let source = sources
                .iter()
                .find(|source| source.module[..] == name[..at])?;
            let path = source
                .scope
                .get(&name[at])
                .filter(|path| path[..] != name[..=at])?;
            Some([path, &name[at + 1..]].concat())
        }) else {
            break;
        };
        name = next;
    }
    name
}

/// The file that defines a name.
pub(crate) fn home<'a>(sources: &'a [Source], name: &Name) -> Option<&'a Source> {
    let name = follow(sources, name);
    sources
        .iter()
        .filter(|source| name.len() > source.module.len() || name == source.module)
        .filter(|source| name[..source.module.len()] == source.module[..])
        .max_by_key(|source| source.module.len())
}
