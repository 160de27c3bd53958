//! `voisin completions`: a script for a shell, made from the same arguments that the program reads.

use clap::Command;

use crate::cli::{Ending, render};

pub(crate) fn run(command: &mut Command, shell: clap_complete::Shell) -> anyhow::Result<Ending> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "voisin", &mut script);
    render::print(script)?;
    Ok(Ending::Fine)
}
