//! Weights in safetensors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match voisin_encoder::read_safetensors(bytes) {
        Ok(tensors) => {
            for (name, tensor) in tensors {
                assert_eq!(
                    tensor.values.len(),
                    tensor.shape.iter().product::<usize>(),
                    "{name}"
                );
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
});
