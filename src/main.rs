//! The `voisin` command: see [`cli`].

// The crates below, under the names that the modules here know them by.
use voisin as engine;
use voisin_audio as audio;
use voisin_base as base;
use voisin_base::track;
use voisin_encoder as encoder;
use voisin_explore as explore;
use voisin_features as features;
use voisin_index as index;
use voisin_kernels as kernels;
use voisin_lab as lab;
use voisin_lab::dataset;
use voisin_lab::eval;
use voisin_learn::genre;
use voisin_learn::metrics;
use voisin_library as library;
use voisin_questions as questions;
use voisin_questions::answers;
use voisin_serve as serve;
use voisin_train as train;

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
