//! The public interface of the facade stays small: everything public is named in its `lib.rs`, and so are the types
//! that public items take and return.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};

use crate::sources::{all_files, is_test, root};

/// The largest number of items in the facade. The last five: the folders that a scan left out, why an output was
/// refused, the speeds by which an index chose its search, and the values of a scale that a filter allows.
const MOST: usize = 181;

fn door() -> String {
    std::fs::read_to_string(root().join("crates/voisin/src/lib.rs")).unwrap()
}

fn names(door: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for statement in door.split("\npub use ").skip(1) {
        let (path, _) = statement.split_once(';').unwrap();
        let list = path.split_once('{').map_or_else(
            || path.rsplit("::").next().unwrap(),
            |(_, list)| list.trim_end().trim_end_matches('}'),
        );
        names.extend(
            list.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty()),
        );
    }
    names
}

#[test]
fn the_door_has_no_more_items_than_decided() {
    let door = door();
    let names = names(&door);
    assert!(
        names.contains(&"Engine") && names.contains(&"VectorIndex"),
        "the scan finds nothing: {names:?}"
    );
    assert!(!names.contains(&"*"), "a glob re-exports everything");
    assert!(
        names.len() <= MOST,
        "{} public items: {names:?}",
        names.len()
    );
    assert!(!door.contains("\npub mod "), "modules are private");
}

/// The public types of the workspace, and for each the types in its public fields, variants, methods' parameters and
/// results. Items hidden from the documentation are left out.
#[derive(Default)]
struct Public {
    types: BTreeSet<String>,
    defaults: BTreeSet<String>,
    seen: BTreeMap<String, BTreeSet<String>>,
}

/// The names in a type expression.
#[derive(Default)]
struct Idents(BTreeSet<String>);

impl<'ast> Visit<'ast> for Idents {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.0.insert(segment.ident.to_string());
        visit::visit_path_segment(self, segment);
    }
}

fn paths(input: syn::parse::ParseStream<'_>) -> syn::Result<Punctuated<syn::Path, syn::Token![,]>> {
    Punctuated::parse_terminated(input)
}

fn is_hidden(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("hidden"))
    }) || is_test(attributes)
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

impl Public {
    fn note(&mut self, owner: &str, look: impl FnOnce(&mut Idents)) {
        let mut idents = Idents::default();
        look(&mut idents);
        self.seen
            .entry(owner.to_owned())
            .or_default()
            .extend(idents.0);
    }

    fn note_fields(&mut self, owner: &str, fields: &syn::Fields, all: bool) {
        for field in fields
            .iter()
            .filter(|field| (all || is_public(&field.vis)) && !is_hidden(&field.attrs))
        {
            self.note(owner, |idents| idents.visit_type(&field.ty));
        }
    }
}

impl<'ast> Visit<'ast> for Public {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if is_public(&item.vis) {
            self.types.insert(item.ident.to_string());
            let derives = item
                .attrs
                .iter()
                .filter(|attribute| attribute.path().is_ident("derive"));
            if derives
                .flat_map(|derive| derive.parse_args_with(paths))
                .flatten()
                .any(|path| path.is_ident("Default"))
            {
                self.defaults.insert(item.ident.to_string());
            }
            self.note_fields(&item.ident.to_string(), &item.fields, false);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if is_public(&item.vis) {
            self.types.insert(item.ident.to_string());
            for variant in item
                .variants
                .iter()
                .filter(|variant| !is_hidden(&variant.attrs))
            {
                self.note_fields(&item.ident.to_string(), &variant.fields, true);
            }
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if is_public(&item.vis) {
            self.types.insert(item.ident.to_string());
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if is_public(&item.vis) {
            self.note(&item.sig.ident.to_string(), |idents| {
                idents.visit_signature(&item.sig);
            });
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(owner) = &*item.self_ty else {
            return;
        };
        let owner = owner.path.segments.last().unwrap().ident.to_string();
        if let Some((_, implemented, _)) = &item.trait_ {
            if implemented.is_ident("Default") {
                self.defaults.insert(owner);
            }
            return;
        }
        for item in &item.items {
            if let syn::ImplItem::Fn(method) = item
                && is_public(&method.vis)
                && !is_hidden(&method.attrs)
            {
                self.note(&owner, |idents| idents.visit_signature(&method.sig));
            }
        }
    }
}

impl Public {
    fn read() -> Self {
        let mut public = Self::default();
        for file in all_files() {
            public.visit_file(&syn::parse_file(&std::fs::read_to_string(file).unwrap()).unwrap());
        }
        public
    }
}

#[test]
fn options_at_the_door_have_defaults() {
    const ENDINGS: [&str; 4] = ["Options", "Params", "Filter", "Query"];
    let public = Public::read();
    let door = door();
    let (with, without): (Vec<&str>, Vec<&str>) = names(&door)
        .into_iter()
        .filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
        .partition(|name| public.defaults.contains(*name));
    assert!(
        with.contains(&"SimilarOptions") && with.contains(&"AddOptions"),
        "the scan finds nothing: {with:?}"
    );
    assert!(
        without.is_empty(),
        "a new field of these would break code that builds them: {without:?}"
    );
}

#[test]
fn every_type_in_a_public_signature_can_be_named() {
    let public = Public::read();
    let door = door();
    let names: BTreeSet<&str> = names(&door).into_iter().collect();
    let mut missing = Vec::new();
    for name in &names {
        for seen in public.seen.get(*name).into_iter().flatten() {
            if public.types.contains(seen) && !names.contains(seen.as_str()) {
                missing.push(format!("{name}: {seen}"));
            }
        }
    }
    assert!(
        public.seen["Engine"].contains("SimilarOptions"),
        "the scan finds nothing"
    );
    assert!(
        missing.is_empty(),
        "not named at the door:\n{}",
        missing.join("\n")
    );
}
