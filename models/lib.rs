//! The weights (safetensors) and manifests (JSON) of the built-in models, as bytes of the program.
//!
//! README.md beside this file says what each model is, what it was trained on and under which licence.

#![forbid(unsafe_code)]

/// A manifest and the name under which it is asked for.
macro_rules! manifests {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = include_str!($file);)*
    };
}

/// Weights of one network.
macro_rules! weights {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub static $name: &[u8] = include_bytes!($file);)*
    };
}

manifests! {
    /// Manifest of the default: MusiCNN and voisin-3 beside each other.
    VOISIN_3_MUSICNN_MANIFEST = "voisin-3-musicnn.json";
    /// Manifest of voisin-3.
    VOISIN_3_MANIFEST = "voisin-3.json";
    /// Manifest of MusiCNN trained on the Million Song Dataset.
    MUSICNN_MSD_MANIFEST = "musicnn-msd.json";
    /// Manifest of voisin-2.
    VOISIN_2_MANIFEST = "voisin-2.json";
    /// Manifest of two `MusiCNN` networks beside each other.
    MUSICNN_PAIR_MANIFEST = "musicnn-pair.json";
}

weights! {
    /// Weights of MusiCNN trained on the Million Song Dataset.
    MUSICNN_MSD = "musicnn-msd.safetensors";
    /// Weights of MusiCNN trained on MTG-Jamendo.
    MUSICNN_JAMENDO = "musicnn-jamendo.safetensors";
    /// Weights of voisin-2.
    VOISIN_2 = "voisin-2.safetensors";
    /// Weights of voisin-3.
    VOISIN_3 = "voisin-3.safetensors";
}
