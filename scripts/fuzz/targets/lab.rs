//! Files that the laboratory reads: tables, also the Free Music Archive's, settings, reports and models of runs.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use voisin_lab::config::Config;
use voisin_lab::dataset::{self, Source};
use voisin_lab::model::Model;
use voisin_lab::report::Report;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = voisin_fuzz::scratch().join("lab");
    std::fs::create_dir_all(&folder).expect("room in memory");
    folder
});

fuzz_target!(|bytes: &[u8]| {
    for file in [
        "t.csv",
        "tracks.csv",
        "config.toml",
        "report.json",
        "model.safetensors",
    ] {
        std::fs::write(FOLDER.join(file), bytes).expect("room in memory");
    }
    let at = FOLDER.display();
    for kind in [format!("table:{at}/t.csv"), format!("fma:{at}")] {
        let source: Source = kind.parse().expect("a kind and its options");
        match dataset::read(&source) {
            Ok(set) => assert!(
                set.columns
                    .is_none_or(|columns| columns.values.nrows() == set.items.len())
            ),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(config) = Config::of_run(&FOLDER) {
        assert!(!config.shown().is_empty());
    }
    let _ = Report::read(&FOLDER);
    if let Ok(model) = Model::read(&FOLDER.join("model.safetensors")) {
        let probabilities = model.probabilities(Array2::zeros((2, model.columns.len())).view());
        assert_eq!(probabilities.dim(), (2, model.classes.len()));
    }
});
