//! `voisin man`: manual pages, generated from clap's arguments.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Command;

use crate::cli::args::ManArgs;
use crate::cli::{Ending, render};
use voisin_base::output::{OutputTarget, check_folder};

pub(crate) fn run(command: Command, args: &ManArgs) -> anyhow::Result<Ending> {
    match &args.output {
        None => show(page_of(command, &args.command)?)?,
        Some(folder) => {
            let cannot_write = || format!("cannot write manual pages into {}", folder.display());
            check_folder(folder)?;
            std::fs::create_dir_all(folder).with_context(cannot_write)?;
            // Into a temporary folder first, since the generator writes through links and pipes.
            let made = tempfile::tempdir().context("there is no temporary folder")?;
            clap_mangen::generate_to(command, made.path()).with_context(cannot_write)?;
            for page in made.path().read_dir().with_context(cannot_write)? {
                let page = page.with_context(cannot_write)?;
                let bytes = std::fs::read(page.path()).with_context(cannot_write)?;
                OutputTarget::whole(&folder.join(page.file_name()))?.write(bytes)?;
            }
        }
    }
    Ok(Ending::Fine)
}

/// The command of these words after `voisin`.
fn page_of(mut command: Command, words: &[String]) -> anyhow::Result<Command> {
    command.build();
    for word in words {
        let Some(below) = command.find_subcommand(word) else {
            let name = command.get_bin_name().unwrap_or("voisin");
            anyhow::bail!(
                "expected a command of \"{name}\", found \"{word}\"; see \"{name} --help\""
            );
        };
        command = below.clone();
    }
    Ok(command)
}

/// Shows a manual page: by `man` on a terminal, or as plain help if `man` is not installed; else prints its source.
fn show(mut command: Command) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    if !std::io::stdout().is_terminal() {
        return render::print(page);
    }
    let file =
        tempfile::NamedTempFile::with_suffix(".1").context("there is no temporary folder")?;
    std::fs::write(file.path(), page).context("cannot write a temporary file")?;
    let shown = std::process::Command::new("man")
        // An option of man-db; with other implementations the help is printed.
        .arg("-l")
        .arg(file.path())
        .status();
    match shown {
        Ok(status) if status.success() => Ok(()),
        _ => render::print(command.render_long_help().to_string()),
    }
}
