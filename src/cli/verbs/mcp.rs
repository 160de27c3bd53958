//! `voisin mcp`.

use std::io::IsTerminal as _;

use crate::cli::Ending;
use crate::cli::context::Context;
use crate::serve::assist;

pub(crate) fn run(context: &Context) -> anyhow::Result<Ending> {
    let console = context.console;
    if std::io::stdin().is_terminal() {
        console.note("an assistant starts this and asks over standard input (docs/serve.md); Ctrl-D ends it");
    }
    let load_model = Box::new(context.model_loader());
    assist(context.library_dir(), load_model, Box::new(move |text| console.note(text)))?;
    Ok(Ending::Fine)
}
