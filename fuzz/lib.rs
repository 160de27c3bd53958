//! Helpers that the fuzz targets share.

use std::path::PathBuf;

use voisin_import::{WeightFormat, parse};

pub mod odd_tags;

/// Panics end the process, except those that voisin catches around third-party codecs.
pub fn only_guarded_panics() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !voisin_audio::is_guarded() {
            abort(panic);
        }
    }));
}

/// An in-memory folder for this process.
pub fn scratch() -> PathBuf {
    let root = if std::path::Path::new("/dev/shm").is_dir() {
        "/dev/shm".into()
    } else {
        std::env::temp_dir()
    };
    let folder = root.join(format!("voisin-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder in memory");
    folder
}

/// Runs one weight importer; input of another format is left to the other targets.
pub fn import(bytes: &[u8], format: WeightFormat) -> bool {
    if WeightFormat::recognise(bytes) != Some(format) {
        return false;
    }
    match parse(bytes) {
        Ok(imported) => {
            assert_eq!(imported.format, format);
            for (name, tensor) in &imported.tensors {
                assert_eq!(
                    tensor.values.len(),
                    tensor.shape.iter().product::<usize>(),
                    "{name}"
                );
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    true
}
