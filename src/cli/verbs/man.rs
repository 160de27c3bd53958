//! `voisin man`: manual pages, made from the same arguments that the program reads.

use std::path::Path;

use anyhow::Context as _;
use clap::Command;

use crate::cli::{Ending, render};

pub(crate) fn run(command: Command, output: Option<&Path>) -> anyhow::Result<Ending> {
    match output {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            render::print(page)?;
        }
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command, folder))
                .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
        }
    }
    Ok(Ending::Fine)
}
