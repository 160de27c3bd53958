//! The importer of ONNX weights.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use voisin_import::WeightFormat;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if voisin_fuzz::import(bytes, WeightFormat::Onnx) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});
