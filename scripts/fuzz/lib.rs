//! Helpers that the fuzz targets share.

use std::path::PathBuf;

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
