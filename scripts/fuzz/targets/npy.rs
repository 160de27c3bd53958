//! Arrays of other programs: no more is allocated than the file has, whatever its header states.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voisin::read_directions;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("vectors.npy"));

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("room in memory");
    match read_directions(&FILE) {
        Ok(vectors) => assert!(vectors.ncols() > 0 && vectors.len() * 4 <= bytes.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
