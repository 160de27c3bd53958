//! Writing one tag into music files with valid and odd tags: everything else stays, and undoing it gives the same bytes.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voisin_fuzz::odd_tags::write_and_take_back;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("written"));

fuzz_target!(
    init: voisin_fuzz::only_guarded_panics(),
    |bytes: &[u8]| {
        let _ = write_and_take_back(&FILE, bytes);
    }
);
