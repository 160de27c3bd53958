//! Calls of the library between `begin` and `commit`.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use crate::sources::*;

/// The calls of a function, or of a closure.
#[derive(Default)]
struct Calls {
    /// Functions as they are named: `is_gone`, `store::is_gone`, `FileRecord::read`.
    functions: BTreeSet<String>,
    methods: BTreeSet<String>,
}

impl Calls {
    /// Whether one of them accesses the file system, itself or through `disk_functions`.
    fn access_the_disk(&self, disk_functions: &BTreeSet<String>) -> bool {
        const METHODS: [&str; 6] = [
            "is_file",
            "is_dir",
            "exists",
            "try_exists",
            "metadata",
            "canonicalize",
        ];
        const FUNCTIONS: [&str; 4] = ["File::open", "cue::part", "cue::read", "cue::is_there"];
        self.methods
            .iter()
            .any(|name| METHODS.contains(&name.as_str()))
            || self.functions.iter().any(|name| {
                name.starts_with("fs::")
                    || FUNCTIONS.contains(&name.as_str())
                    || disk_functions.contains(name)
            })
    }
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_call(&mut self, item: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*item.func {
            let names: Name = path
                .path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.functions
                .insert(names[names.len().saturating_sub(2)..].join("::"));
        }
        visit::visit_expr_call(self, item);
    }

    fn visit_expr_method_call(&mut self, item: &'ast syn::ExprMethodCall) {
        self.methods.insert(item.method.to_string());
        visit::visit_expr_method_call(self, item);
    }
}

/// The functions of a module, and the calls inside write transactions: closures that are given to `write`, and
/// functions that are given a transaction.
#[derive(Default)]
struct Transactions {
    /// The module or the type of the functions.
    owner: String,
    functions: Vec<(String, Calls)>,
    inside: Vec<(String, Calls)>,
}

impl Transactions {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let is_transaction = |input: &syn::FnArg| {
            let syn::FnArg::Typed(input) = input else {
                return false;
            };
            let syn::Type::Reference(kind) = &*input.ty else {
                return false;
            };
            let syn::Type::Path(kind) = &*kind.elem else {
                return false;
            };
            kind.path
                .segments
                .iter()
                .any(|segment| segment.ident == "Transaction")
        };
        let name = format!("{}::{}", self.owner, signature.ident);
        let mut calls = Calls::default();
        calls.visit_block(body);
        let found = if signature.inputs.iter().any(is_transaction) {
            &mut self.inside
        } else {
            &mut self.functions
        };
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
            syn::Type::Path(path) => path
                .path
                .segments
                .last()
                .map(|segment| segment.ident.to_string()),
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
        if let (true, Some(syn::Expr::Closure(work))) = (item.method == "write", item.args.first())
        {
            let mut calls = Calls::default();
            calls.visit_expr(&work.body);
            self.inside
                .push((format!("a closure of {}", self.owner), calls));
        }
        visit::visit_expr_method_call(self, item);
    }
}

/// A slow disk must not make every other writer wait.
#[test]
fn write_transactions_of_the_library_do_no_file_access() {
    let mut files = Vec::new();
    rust_files(&root().join("crates/core/voisin-library/src"), &mut files);
    files.retain(|file| !file.ends_with("tests.rs") && !file.ends_with("testing.rs"));
    let mut functions = Vec::new();
    let mut inside = Vec::new();
    for file in files {
        let owner = file
            .file_stem()
            .expect("a name")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let mut found = Transactions {
            owner: owner.clone(),
            ..Transactions::default()
        };
        let text = std::fs::read_to_string(&file).expect("a source file");
        found.visit_file(&syn::parse_file(&text).expect("a source file"));
        // A function called without a path is defined in this module or imported from another one.
        let defined: BTreeSet<String> = found
            .functions
            .iter()
            .chain(&found.inside)
            .map(|(name, _)| name.clone())
            .collect();
        let all = found.functions.iter_mut().chain(&mut found.inside);
        all.for_each(|(_, calls)| calls.functions = in_full(&calls.functions, &defined, &owner));
        functions.append(&mut found.functions);
        inside.append(&mut found.inside);
    }
    let mut disk_functions = BTreeSet::new();
    loop {
        let more = functions
            .iter()
            .filter(|(_, calls)| calls.access_the_disk(&disk_functions));
        let more: BTreeSet<String> = more
            .flat_map(|(name, _)| {
                let alone = name.rsplit("::").next().expect("a name");
                [name.clone(), alone.to_owned()]
            })
            .collect();
        if more.len() == disk_functions.len() {
            break;
        }
        disk_functions = more;
    }
    assert!(
        inside.len() > 30 && disk_functions.contains("store::is_gone"),
        "this test looks in the wrong place"
    );
    let broken: Vec<&String> = inside
        .iter()
        .filter(|(_, calls)| calls.access_the_disk(&disk_functions))
        .map(|(name, _)| name)
        .collect();
    assert!(
        broken.is_empty(),
        "these access the disk inside a write transaction: {broken:?}"
    );
}

/// Names of functions, with the module prepended where it is this one.
fn in_full(names: &BTreeSet<String>, defined: &BTreeSet<String>, module: &str) -> BTreeSet<String> {
    let full = |name: &String| {
        let full = format!("{module}::{name}");
        if defined.contains(&full) {
            full
        } else {
            name.clone()
        }
    };
    names.iter().map(full).collect()
}
