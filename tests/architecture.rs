//! The laws of ARCHITECTURE.md, read from its own tables and held against the sources: which module may import which,
//! where each dependency is at home, that no files inside a module import each other in a circle, and that a type's name
//! is its own. Unit tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path of Rust from the crate's root, or from a dependency: `["encoder", "conv", "Isa"]`, `["rusqlite", "Row"]`.
type Name = Vec<String>;

/// A source file: the module it is, and what it names.
struct Source {
    file: PathBuf,
    module: Name,
    /// Its own child modules, in files or inside it.
    children: BTreeSet<String>,
    /// What `use` brings into its scope: the last name of the path, or another one, and the path.
    scope: BTreeMap<String, Name>,
    /// Every path that it names, from the crate's root.
    inner: BTreeSet<Name>,
    /// Every path of a dependency that it names.
    outer: BTreeSet<Name>,
    /// Its child modules that only tests have.
    tests: Vec<Name>,
}

/// A crate of the workspace: its sources, and the module under which the tables of ARCHITECTURE.md know it (none for the
/// program's own package, whose modules are its rooms).
struct Package {
    src: PathBuf,
    room: Option<String>,
}

/// The name from the workspace's point of view: modules that are rooms of their own inside a crate stand alone.
fn as_in_the_tables(mut name: Name) -> Name {
    let rooms = [
        ("learn", "genre"),
        ("learn", "metrics"),
        ("base", "track"),
        ("lab", "dataset"),
        ("lab", "eval"),
        ("questions", "answers"),
    ];
    if rooms.iter().any(|(package, room)| name.len() > 1 && name[0] == *package && name[1] == *room) {
        name.remove(0);
    }
    name
}

impl Source {
    fn read(package: &Package, file: &Path, dependencies: &BTreeSet<String>) -> Self {
        let below = file.strip_prefix(&package.src).expect("below the package").with_extension("");
        let inner = below.iter().map(|part| part.to_str().expect("UTF-8").to_owned());
        let mut module: Name = package.room.iter().cloned().chain(inner).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let module = as_in_the_tables(module);
        let text = std::fs::read_to_string(file).expect("a source file");
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let children = parsed.items.iter().filter_map(|item| match item {
            syn::Item::Mod(item) => Some(item.ident.to_string()),
            _ => None,
        });
        let mut source = Self {
            file: file.strip_prefix(root()).expect("below the root").to_owned(),
            children: children.collect(),
            scope: BTreeMap::new(),
            inner: BTreeSet::new(),
            outer: BTreeSet::new(),
            tests: Vec::new(),
            module: module.clone(),
        };
        let room = package.room.clone();
        Reader { source: &mut source, inside: module, room, dependencies }.visit_file(&parsed);
        source
    }

    /// The room of the house that it belongs to: the first part of its module.
    fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Whether it is the file of a module that has others below it.
    fn is_door(&self, sources: &[Source]) -> bool {
        sources.iter().any(|other| {
            other.module.len() > self.module.len() && other.module[..self.module.len()] == self.module[..]
        })
    }
}

struct Reader<'a> {
    source: &'a mut Source,
    /// The module that is being read, with those inside the file.
    inside: Name,
    /// What `crate` stands for.
    room: Option<String>,
    dependencies: &'a BTreeSet<String>,
}

impl Reader<'_> {
    /// Notes a path as it is written.
    fn note(&mut self, written: &[String]) -> Option<Name> {
        let mut base = self.inside.clone();
        let mut rest = written;
        match written.first()?.as_str() {
            "crate" => {
                base = self.room.iter().cloned().collect();
                rest = &written[1..];
            }
            // The library that people use is the crate `voisin-engine`.
            "voisin" => {
                base = vec!["engine".to_owned()];
                rest = &written[1..];
            }
            first if first.starts_with("voisin_") => {
                base = vec![first["voisin_".len()..].to_owned()];
                rest = &written[1..];
            }
            "self" | "super" => {
                while let Some(first) =
                    rest.first().filter(|first| matches!(first.as_str(), "self" | "super"))
                {
                    if first == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
            }
            first if self.inside == self.source.module && self.source.children.contains(first) => {}
            first if self.dependencies.contains(first) && written.len() > 1 => {
                self.source.outer.insert(written.to_vec());
                return Some(written.to_vec());
            }
            _ => return None,
        }
        base.extend_from_slice(rest);
        let base = as_in_the_tables(base);
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
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
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
        let Some(found) = self.note(&path) else { return };
        if self.inside == self.source.module {
            self.source.scope.insert(known_as.to_string(), found);
        }
    }

    /// Paths inside the arguments of a macro, which nobody has parsed.
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
            self.source.tests.push([&self.inside[..], &[item.ident.to_string()]].concat());
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
        let written: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
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

    // `pub(super)` and `pub(in …)` name who may look in, not what is looked at.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The names of all types that a file defines, tests' own and those inside functions too.
#[derive(Default)]
struct TypeNames(Vec<String>);

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
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Rows of the table in ARCHITECTURE.md whose head holds all of `columns`, as cells under those columns.
fn table(columns: &[&str]) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| {
        let head = cells(line);
        !columns.iter().all(|column| head.iter().any(|cell| cell == column))
    });
    let head = cells(lines.next().unwrap_or_else(|| panic!("ARCHITECTURE.md has no table of {columns:?}")));
    let places: Vec<usize> = columns
        .iter()
        .map(|column| head.iter().position(|cell| cell == column).expect("found above"))
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
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Who may import whom. A row names its modules in backticks; what they may import is named in backticks too, or is
/// "all below": the modules of every row further down.
fn law() -> BTreeMap<String, BTreeSet<String>> {
    let rows = table(&["module", "may import"]);
    let mut law = BTreeMap::new();
    let mut below = BTreeSet::new();
    for row in rows.iter().rev() {
        let modules = quoted(&row[0]);
        let mut allowed: BTreeSet<String> = quoted(&row[1]).into_iter().collect();
        if row[1].contains("all below") {
            allowed.extend(below.clone());
        }
        assert!(allowed.is_subset(&below), "{modules:?} may import what stands above: {allowed:?}");
        below.extend(modules.clone());
        law.extend(modules.into_iter().map(|module| (module, allowed.clone())));
    }
    law
}

/// The program's package, and every crate below `crates`.
fn packages() -> Vec<Package> {
    let folders = std::fs::read_dir(root().join("crates")).expect("a folder of crates");
    let mut names: Vec<String> =
        folders.map(|folder| folder.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    let program = Package { src: root().join("src"), room: None };
    let crates = names.iter().map(|name| Package {
        src: root().join("crates").join(name).join("src"),
        room: Some(name.strip_prefix("voisin-").expect("a crate of voisin").replace('-', "_")),
    });
    std::iter::once(program).chain(crates).collect()
}

/// The sources of all packages.
fn all_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    packages().iter().for_each(|package| rust_files(&package.src, &mut files));
    files
}

/// The name under which the compiler knows each dependency that is not a crate of this workspace.
fn dependencies() -> BTreeSet<String> {
    // [dependencies], and those of one kind of system: [target.'cfg(unix)'.dependencies]
    let is_section = |header: &str| header == "[dependencies]" || header.ends_with(")'.dependencies]");
    let mut found = BTreeSet::new();
    for package in packages() {
        let manifest = package.src.parent().expect("a package").join("Cargo.toml");
        let mut inside = false;
        for line in std::fs::read_to_string(manifest).expect("Cargo.toml").lines() {
            if line.starts_with('[') {
                inside = is_section(line);
            } else if inside && let Some((name, _)) = line.split_once(['=', '.']) {
                found.insert(name.trim().replace('-', "_"));
            }
        }
    }
    found.retain(|name| !name.starts_with('#') && !name.starts_with("voisin_"));
    found
}

fn sources() -> Vec<Source> {
    let dependencies = dependencies();
    let mut sources = Vec::new();
    for package in packages() {
        let mut files = Vec::new();
        rust_files(&package.src, &mut files);
        files.sort();
        sources.extend(files.iter().map(|file| Source::read(&package, file, &dependencies)));
    }
    let tests: Vec<Name> = sources.iter().flat_map(|source| source.tests.clone()).collect();
    sources.retain(|source| !tests.iter().any(|test| source.module.starts_with(test)));
    sources
}

/// The path that a name stands for where `use` in the files on its way brings it from elsewhere.
fn follow(sources: &[Source], name: &Name) -> Name {
    let mut name = name.clone();
    // A chain of re-exports is short; a circle of them would not compile.
    for _ in 0..10 {
        let Some(next) = (0..name.len()).find_map(|at| {
            let source = sources.iter().find(|source| source.module[..] == name[..at])?;
            let path = source.scope.get(&name[at]).filter(|path| path[..] != name[..=at])?;
            (!source.outer.contains(path)).then(|| [path, &name[at + 1..]].concat())
        }) else {
            break;
        };
        name = next;
    }
    name
}

/// The file that defines a name.
fn home<'a>(sources: &'a [Source], name: &Name) -> Option<&'a Source> {
    let name = follow(sources, name);
    sources
        .iter()
        .filter(|source| name.len() > source.module.len() || name == source.module)
        .filter(|source| name[..source.module.len()] == source.module[..])
        .max_by_key(|source| source.module.len())
}

#[test]
fn nothing_imports_what_the_table_does_not_allow() {
    let (law, sources) = (law(), sources());
    let mut broken = BTreeSet::new();
    for source in sources.iter().filter(|source| !source.room().is_empty()) {
        let Some(allowed) = law.get(source.room()) else {
            broken.insert(format!("{}: the table has no row for this module", source.room()));
            continue;
        };
        for name in &source.inner {
            let Some(target) = home(&sources, name).filter(|target| !target.room().is_empty()) else {
                continue;
            };
            if target.room() != source.room() && !allowed.contains(target.room()) {
                broken.insert(format!("{} imports {}", source.file.display(), name.join("::")));
            }
        }
    }
    let rooms: BTreeSet<&str> = sources.iter().map(Source::room).collect();
    let gone = law.keys().filter(|module| !rooms.contains(module.as_str()));
    broken.extend(gone.map(|module| format!("{module}: the table has a row, but there is no such module")));
    assert!(
        broken.is_empty(),
        "against the table in ARCHITECTURE.md:\n{}",
        Vec::from_iter(broken).join("\n")
    );
}

#[test]
fn every_crate_is_in_the_list() {
    let listed: BTreeSet<String> =
        table(&["crate", "what it is for"]).iter().flat_map(|row| quoted(&row[0])).collect();
    let crates: BTreeSet<String> = packages()
        .iter()
        .filter_map(|package| package.room.as_ref())
        .map(|room| format!("voisin-{room}"))
        .chain(["voisin".to_owned(), "voisin-models".to_owned()])
        .collect();
    assert_eq!(listed, crates, "the crates that ARCHITECTURE.md lists and those that there are");
}

#[test]
fn the_default_members_are_the_crates_of_the_default_build() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let members =
        manifest.split_once("default-members = [").expect("a list").1.split_once(']').expect("its end").0;
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    let always = |name: &str| manifest.contains(&format!("\n{name}.workspace = true"));
    let crates: Vec<String> =
        packages().iter().filter_map(|package| Some(format!("voisin-{}", package.room.as_ref()?))).collect();
    let built = crates.iter().filter(|name| always(name)).map(|name| format!("crates/{name}"));
    let built: BTreeSet<String> = built.chain([".".to_owned(), "models".to_owned()]).collect();
    assert_eq!(members, built.iter().map(String::as_str).collect());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    // A module's own file (`mod.rs`) joins its parts and lends them its names: arrows to and from it are no circle.
    let inside: Vec<&Source> = sources.iter().filter(|source| !source.is_door(&sources)).collect();
    let arrows: Vec<BTreeSet<usize>> = inside
        .iter()
        .map(|source| {
            let targets = source.inner.iter().filter_map(|name| home(&sources, name));
            let targets = targets.filter_map(|to| inside.iter().position(|other| std::ptr::eq(*other, to)));
            targets.filter(|&to| !std::ptr::eq(inside[to], *source)).collect()
        })
        .collect();
    let reached: Vec<BTreeSet<usize>> = (0..inside.len())
        .map(|from| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(at) = open.pop() {
                open.extend(arrows[at].iter().filter(|&&to| seen.insert(to)));
            }
            seen
        })
        .collect();
    let mut circles = BTreeSet::new();
    for from in (0..inside.len()).filter(|&from| reached[from].contains(&from)) {
        let circle =
            (0..inside.len()).filter(|&to| reached[from].contains(&to) && reached[to].contains(&from));
        circles
            .insert(circle.map(|at| inside[at].file.display().to_string()).collect::<Vec<_>>().join(" ⇄ "));
    }
    assert!(circles.is_empty(), "circles of files:\n{}", Vec::from_iter(circles).join("\n"));
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
            homes.entry(name).or_default().push(home.display().to_string());
        }
    }
    // A module's own alias with its own error, as in std::io.
    homes.remove("Result");
    let shared: Vec<String> = homes
        .iter()
        .filter(|(_, homes)| homes.len() > 1)
        .map(|(name, homes)| format!("{name}: {}", homes.join(", ")))
        .collect();
    assert!(shared.is_empty(), "types that share a name:\n{}", shared.join("\n"));
}

#[test]
fn dependencies_stay_at_home() {
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table(&["crate", "at home in"]) {
        for dependency in quoted(&row[0]) {
            homes.insert(dependency.replace('-', "_"), quoted(&row[1]).into_iter().collect());
        }
    }
    let known: BTreeSet<String> = homes.keys().cloned().collect();
    assert_eq!(known, dependencies(), "the table's dependencies and those of Cargo.toml");
    let mut broken = BTreeSet::new();
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let sources = sources();
    for source in &sources {
        for name in &source.outer {
            let (dependency, modules) = homes.get_key_value(&name[0]).expect("compared above");
            used.entry(dependency).or_default().insert(source.room());
            if !modules.contains("everywhere") && !modules.contains(source.room()) {
                broken.insert(format!("{} uses {}", source.file.display(), name.join("::")));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "against the table in ARCHITECTURE.md:\n{}",
        Vec::from_iter(broken).join("\n")
    );
    for (dependency, modules) in &homes {
        let idle: Vec<&String> = modules
            .iter()
            .filter(|module| *module != "everywhere")
            .filter(|module| {
                !used.get(dependency.as_str()).is_some_and(|used| used.contains(module.as_str()))
            })
            .collect();
        assert!(
            idle.is_empty(),
            "{dependency} is not used in {idle:?}: the table says that it is at home there"
        );
    }
}

/// The calls of a function, or of a closure.
#[derive(Default)]
struct Calls {
    /// Functions as they are named: `is_gone`, `store::is_gone`, `FileRecord::read`.
    functions: BTreeSet<String>,
    methods: BTreeSet<String>,
}

impl Calls {
    /// Whether one of them asks the file system, itself or through `askers`.
    fn ask_the_disk(&self, askers: &BTreeSet<String>) -> bool {
        const METHODS: [&str; 6] = ["is_file", "is_dir", "exists", "try_exists", "metadata", "canonicalize"];
        const FUNCTIONS: [&str; 4] = ["File::open", "cue::part", "cue::read", "cue::is_there"];
        self.methods.iter().any(|name| METHODS.contains(&name.as_str()))
            || self.functions.iter().any(|name| {
                name.starts_with("fs::") || FUNCTIONS.contains(&name.as_str()) || askers.contains(name)
            })
    }
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_call(&mut self, item: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*item.func {
            let names: Name = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.functions.insert(names[names.len().saturating_sub(2)..].join("::"));
        }
        visit::visit_expr_call(self, item);
    }

    fn visit_expr_method_call(&mut self, item: &'ast syn::ExprMethodCall) {
        self.methods.insert(item.method.to_string());
        visit::visit_expr_method_call(self, item);
    }
}

/// The functions of a module, and what runs inside of a write transaction: closures that are given to `write`, and
/// functions that are given a transaction.
#[derive(Default)]
struct Transactions {
    /// The module or the type that functions are of.
    owner: String,
    functions: Vec<(String, Calls)>,
    inside: Vec<(String, Calls)>,
}

impl Transactions {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let is_transaction = |input: &syn::FnArg| {
            let syn::FnArg::Typed(input) = input else { return false };
            let syn::Type::Reference(kind) = &*input.ty else { return false };
            let syn::Type::Path(kind) = &*kind.elem else { return false };
            kind.path.segments.iter().any(|segment| segment.ident == "Transaction")
        };
        let name = format!("{}::{}", self.owner, signature.ident);
        let mut calls = Calls::default();
        calls.visit_block(body);
        let found =
            if signature.inputs.iter().any(is_transaction) { &mut self.inside } else { &mut self.functions };
        found.push((name, calls));
    }
}

impl<'ast> Visit<'ast> for Transactions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let module = std::mem::replace(&mut self.owner, name.unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.owner = module;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_expr_method_call(&mut self, item: &'ast syn::ExprMethodCall) {
        if let (true, Some(syn::Expr::Closure(work))) = (item.method == "write", item.args.first()) {
            let mut calls = Calls::default();
            calls.visit_expr(&work.body);
            self.inside.push((format!("a closure of {}", self.owner), calls));
        }
        visit::visit_expr_method_call(self, item);
    }
}

/// A disk that is slow to answer must not keep every other writer waiting.
#[test]
fn write_transactions_of_the_library_do_not_ask_the_disk() {
    let mut files = Vec::new();
    rust_files(&root().join("crates/voisin-library/src"), &mut files);
    files.retain(|file| !file.ends_with("tests.rs") && !file.ends_with("testing.rs"));
    let (mut functions, mut inside) = (Vec::new(), Vec::new());
    for file in files {
        let owner = file.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let mut found = Transactions { owner: owner.clone(), ..Transactions::default() };
        let text = std::fs::read_to_string(&file).expect("a source file");
        found.visit_file(&syn::parse_file(&text).expect("a source file"));
        // What is called by its name alone is of this module, or else brought in from another one.
        let own: BTreeSet<String> =
            found.functions.iter().chain(&found.inside).map(|(name, _)| name.clone()).collect();
        let all = found.functions.iter_mut().chain(&mut found.inside);
        all.for_each(|(_, calls)| calls.functions = in_full(&calls.functions, &own, &owner));
        functions.append(&mut found.functions);
        inside.append(&mut found.inside);
    }
    let mut askers = BTreeSet::new();
    loop {
        let more = functions.iter().filter(|(_, calls)| calls.ask_the_disk(&askers));
        let more: BTreeSet<String> = more
            .flat_map(|(name, _)| {
                let alone = name.rsplit("::").next().expect("a name");
                [name.clone(), alone.to_owned()]
            })
            .collect();
        if more.len() == askers.len() {
            break;
        }
        askers = more;
    }
    assert!(inside.len() > 30 && askers.contains("store::is_gone"), "this test looks in the wrong place");
    let broken: Vec<&String> =
        inside.iter().filter(|(_, calls)| calls.ask_the_disk(&askers)).map(|(name, _)| name).collect();
    assert!(broken.is_empty(), "these ask the disk inside of a write transaction: {broken:?}");
}

/// Names of functions with the module that they are of where it is this one.
fn in_full(names: &BTreeSet<String>, own: &BTreeSet<String>, module: &str) -> BTreeSet<String> {
    let full = |name: &String| {
        let full = format!("{module}::{name}");
        if own.contains(&full) { full } else { name.clone() }
    };
    names.iter().map(full).collect()
}

/// A test's name is subject, verb and object: it says what fails.
#[test]
fn no_function_has_a_name_that_begins_with_what() {
    let mut files = all_files();
    rust_files(&root().join("tests"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let found = text.lines().find(|line| line.trim_start().starts_with("fn what_"));
        assert!(found.is_none(), "{}: expected subject, verb, object, found {found:?}", file.display());
    }
}

/// Words of this project alone that a reader had to learn, and the field's words in their places.
const FORMER_WORDS: [(&str, &str); 10] = [
    ("Desk", "RequestContext"),
    ("killers", "crash suspects"),
    ("TakenIn", "MergeOutcome"),
    ("look_around", "a verb that says what is looked for"),
    ("AskedLibrary", "LibraryTarget"),
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
    files.retain(|file| !file.ends_with("architecture.rs"));
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
            assert!(found.is_none(), "{}: expected \"{now}\", found \"{former}\"", file.display());
        }
    }
}

/// The page of the library says which features it has.
#[test]
fn the_librarys_page_has_the_features_of_its_cargo_toml() {
    let read = |path: &str| {
        std::fs::read_to_string(root().join("crates/voisin-engine").join(path))
            .expect("a file of the project")
    };
    let (manifest, page) = (read("Cargo.toml"), read("src/lib.rs"));
    let section =
        manifest.split_once("[features]\n").expect("features").1.split("\n[").next().unwrap_or_default();
    let mut features: BTreeMap<&str, &str> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .collect();
    assert_eq!(features.remove("default"), Some("[]"), "the page says that none is on by default");
    let page = page.split_once("//! # Features").expect("a heading").1;
    let listed: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next()).collect();
    assert_eq!(listed, features.keys().copied().collect(), "the table, and Cargo.toml");
}
