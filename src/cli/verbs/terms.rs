//! `voisin terms`, or `voisin help terms`: the meaning of the words in tables.

use clap::CommandFactory as _;

use crate::cli::Ending;
use crate::cli::args::{Cli, TermsArgs};
use crate::cli::render;

pub(crate) fn run(_: &TermsArgs) -> anyhow::Result<Ending> {
    let mut command = Cli::command();
    let words = command
        .find_subcommand_mut("terms")
        .and_then(|terms| terms.get_long_about().cloned());
    render::print_line(&words.map_or_else(String::new, |words| words.to_string()))?;
    Ok(Ending::Fine)
}
