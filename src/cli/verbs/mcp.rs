//! `voisin mcp`.

use std::io::IsTerminal as _;

use crate::cli::Ending;
use crate::cli::args::McpArgs;
use crate::cli::context::Context;
use voisin_serve::assist;

pub(crate) fn run(context: &Context, _: &McpArgs) -> anyhow::Result<Ending> {
    let console = context.console;
    // At a terminal the user would wait for a prompt that never comes.
    if std::io::stdin().is_terminal() {
        console.note(
            "an assistant starts this and sends requests over standard input (docs/serve.md); Ctrl-D ends it",
        );
    }
    let input = std::io::stdin().lock();
    assist(
        &context.library_dir(),
        Box::new(context.model_loader()),
        input,
        std::io::stdout(),
    )?;
    Ok(Ending::Fine)
}
