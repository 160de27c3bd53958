//! The weights (safetensors) and manifests (JSON) of the built-in models, as bytes of the program.
//!
//! models/README.md describes each model, its training data and its licence.

/// Files of the folder models by their names, each as bytes of the program.
macro_rules! files {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_bytes!(concat!("../../models/", $file)).as_slice())),*]
    };
}

static FILES: [(&str, &[u8]); 6] = files![
    "voisin-equal.json",
    "voisin-3.json",
    "musicnn-msd.json",
    "musicnn-msd.safetensors",
    "voisin-3.safetensors",
    "voisin-3-short.safetensors",
];

/// Names of the built-in models, the default first; the manifest of each is the file `NAME.json`.
pub(crate) const NAMES: [&str; 3] = ["voisin-equal", "voisin-3", "musicnn-msd"];

/// A manifest or a file of weights by name; `None` if it is no file of a built-in model.
pub(crate) fn file(name: &str) -> Option<&'static [u8]> {
    FILES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
}
