//! The page's modules as one file, where packaging has made one: a variable names it (`scripts/bundle_page`).

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bundled)");
    println!("cargo::rerun-if-env-changed=VOISIN_PAGE_BUNDLE");
    println!("cargo::rerun-if-changed=build.rs");
    let bundle = std::env::var("VOISIN_PAGE_BUNDLE").unwrap_or_default();
    if !bundle.is_empty() {
        println!("cargo::rerun-if-changed={bundle}");
        println!("cargo::rustc-cfg=bundled");
    }
}
