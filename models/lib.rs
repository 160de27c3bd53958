//! The weights (safetensors) and manifests (JSON) of the built-in models, as bytes of the program.
//!
//! README.md beside this file describes each model, its training data and its licence.

#![forbid(unsafe_code)]

/// Files of this folder by their names, each as bytes of the program.
macro_rules! files {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_bytes!($file).as_slice())),*]
    };
}

static FILES: [(&str, &[u8]); 8] = files![
    "voisin-equal.json",
    "voisin-256.json",
    "voisin-3-musicnn.json",
    "voisin-3.json",
    "musicnn-msd.json",
    "musicnn-msd.safetensors",
    "voisin-3.safetensors",
    "voisin-3-short.safetensors",
];

/// Names of the built-in models, the default first; the manifest of each is the file `NAME.json`.
pub const NAMES: [&str; 5] = [
    "voisin-equal",
    "voisin-256",
    "voisin-3-musicnn",
    "voisin-3",
    "musicnn-msd",
];

/// Models that older versions included, each with its files, as libraries may have their vectors.
/// `research/former-models` of the sources has the files that are not here.
pub const FORMER: [(&str, &[&str]); 2] = [
    ("voisin-2", &["voisin-2.json", "voisin-2.safetensors"]),
    (
        "musicnn-pair",
        &[
            "musicnn-pair.json",
            "musicnn-msd.safetensors",
            "musicnn-jamendo.safetensors",
        ],
    ),
];

/// A manifest or a file of weights by name; `None` if it is no file of a built-in model.
pub fn file(name: &str) -> Option<&'static [u8]> {
    FILES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
}
