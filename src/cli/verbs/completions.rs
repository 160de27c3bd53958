//! `voisin completions`: a script for a shell, generated from clap's arguments.

use clap::Command;
use clap_complete::Shell;

use crate::cli::{Ending, render};

pub(crate) fn run(mut command: Command, shell: Shell) -> anyhow::Result<Ending> {
    // Into memory first, since clap's generators panic if standard output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "voisin", &mut script);
    render::print(script)?;
    Ok(Ending::Fine)
}
