//! Weights in an archive of torch. A panic of Candle is caught by the importer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |bytes: &[u8]| {
    if !bytes.starts_with(b"PK\x03\x04") {
        return;
    }
    let path = voisin_fuzz::scratch().join("weights.pth");
    std::fs::write(&path, bytes).expect("a file in memory");
    if let Err(error) = voisin_encoder::ModelRef::Weights(path).manifest() {
        assert!((1..2000).contains(&error.to_string().len()));
    }
});
