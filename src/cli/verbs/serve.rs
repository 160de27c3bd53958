//! `voisin serve`.

use std::io::IsTerminal as _;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::ServeArgs;
use crate::cli::context::Context;
use crate::cli::render;
use crate::library::{Library, stored_path};
use crate::serve::{Listen, Options, Token, serve};

/// Name of the token's file in a library's folder.
const TOKEN_FILE: &str = "serve.token";

pub(crate) fn run(context: &Context, args: ServeArgs) -> anyhow::Result<Ending> {
    let dir = context.library_dir();
    // There has to be a library before there is a server, and before anything is written.
    drop(Library::open_to_read(&dir)?);
    let distant: Option<&Listen> = args.listen.iter().find(|place| !place.is_local());
    if let (true, Some(Listen::Tcp(place))) = (args.no_token, distant) {
        bail!("--no-token is for this machine alone, and {place} can be reached by others: leave it out");
    }
    let token_file = args.token_file.unwrap_or_else(|| dir.join(TOKEN_FILE));
    let token = if args.no_token { None } else { Some(Token::of_file(&token_file)?) };
    if args.show_token {
        if let Some(token) = &token {
            render::print_line(token.reveal())?;
        }
        return Ok(Ending::Fine);
    }
    for origin in &args.allow_origin {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if !host.is_some_and(|host| !host.is_empty() && !host.contains('/')) {
            bail!("--allow-origin: expected an origin such as https://music.example, found \"{origin}\"");
        }
    }
    let folders: Vec<_> = args.folder.iter().map(|folder| stored_path(folder)).collect();
    if let Some(missing) = folders.iter().find(|folder| !folder.is_dir()) {
        bail!("--folder: there is no folder {}", missing.display());
    }
    let program = std::env::current_exe().context("cannot find this program to start scans with")?;
    let globals = context.as_arguments();
    let add = move || {
        let mut command = Command::new(&program);
        command.args(&globals).args(["--verbose", "add", "--format", "json", "--"]).args(&folders);
        command
    };
    let console = context.console;
    let stop = context.stop_saying("stopping: answers under way are finished first")?;
    let shown = if std::io::stdout().is_terminal() { token.clone() } else { None };
    let options = Options {
        dir,
        listen: args.listen,
        token,
        hosts: args.allow_host,
        origins: args.allow_origin,
        base_path: args.base_path,
        logs: context.is_verbose(),
        load_model: Box::new(context.model_loader()),
        add: (!args.folder.is_empty()).then(|| Box::new(add) as Box<_>),
    };
    let mut printed = Ok(());
    serve(
        options,
        &stop,
        move |text| console.note(text),
        |addresses| {
            for address in addresses {
                // Whoever keeps what is printed elsewhere than on a terminal should not keep the token.
                let token = shown.as_ref().filter(|_| address.starts_with("http"));
                let fragment = token.map_or_else(String::new, |token| format!("#token={}", token.reveal()));
                let line = render::print_line(&format!("listening on {address}{fragment}"));
                printed = std::mem::replace(&mut printed, Ok(())).and(line);
            }
        },
    )?;
    printed?;
    Ok(Ending::Fine)
}
