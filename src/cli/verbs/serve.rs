//! `voisin serve`.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::ServeArgs;
use crate::cli::context::Context;
use crate::cli::password::new_password;
use crate::cli::render;
use voisin_http::listen::Listen;
use voisin_http::token::{Token, hash_password};
use voisin_library::{Library, LibraryError, OpenMode, stored_path};
use voisin_serve::{Options, qr_for_terminal, serve};

/// Name of the token's file in a library's folder.
const TOKEN_FILE: &str = "serve.token";

/// The folders of the option, else of a variable in the format of `PATH`.
fn folders_of(named: Vec<PathBuf>, variable: &str) -> Vec<PathBuf> {
    match std::env::var_os(variable) {
        Some(all) if named.is_empty() => std::env::split_paths(&all)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect(),
        _ => named,
    }
}

/// This machine's host name; empty if unknown.
fn machine_name() -> String {
    let from_program = || {
        Some(String::from_utf8_lossy(&Command::new("hostname").output().ok()?.stdout).into_owned())
    };
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(from_program)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The address by which others of this network most likely reach this machine: that of the default route. Nothing is sent.
fn address_at_home() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An unassigned address of TEST-NET-1 (RFC 5737): connecting a UDP socket only chooses a route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|address| !address.is_unspecified())
}

pub(crate) fn run(context: &Context, mut args: ServeArgs) -> anyhow::Result<Ending> {
    if args.hash_password {
        render::print_line(&hash_password(&new_password()?)?)?;
        return Ok(Ending::Fine);
    }
    args.folder = folders_of(args.folder, "VOISIN_SERVE_FOLDER");
    if args.lan {
        args.listen = args.listen.into_iter().map(Listen::for_all).collect();
    }
    let here = context.library_dir();
    // Compared exactly with the browser's header, which a path or a slash at the end never matches.
    for origin in &args.allow_origin {
        let host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        if !host.is_some_and(|host| !host.is_empty() && !host.contains('/')) {
            bail!(
                "--allow-origin: expected an origin such as https://music.example, found \"{origin}\""
            );
        }
    }
    let folders: Vec<PathBuf> = args
        .folder
        .iter()
        .map(|folder| stored_path(folder))
        .collect();
    let watches = !args.no_watch && !folders.is_empty();
    for folder in folders.iter().filter(|folder| !folder.is_dir()) {
        // A disk may be mounted late, as after a boot, and the server works without it.
        if folder.exists() || Library::open_to_read(&here).is_err() {
            bail!("--folder: there is no folder {}", folder.display());
        }
        context.console.warn(&format!(
            "{} does not exist yet: it is watched once it does, and the library is available meanwhile",
            folder.display()
        ));
    }
    let distant: Option<&Listen> = args.listen.iter().find(|place| !place.is_local());
    if let (true, Some(Listen::Tcp(place))) = (args.no_token, distant) {
        bail!("--no-token is only for this machine, but others can reach {place}: leave it out");
    }
    if args.show_token && args.token_file.is_none() {
        // A library that would be created now has no token that any server uses.
        drop(Library::open_to_read(&here)?);
    }
    if create_if_missing(&here)? {
        let next = match (watches, folders.is_empty()) {
            (true, _) => "the music of the folders named is added to it",
            (false, false) => "\"Analyse my music\" on its page fills it",
            (false, true) => "\"voisin add FOLDER\" fills it, and this server sees it",
        };
        context.console.note(&format!(
            "created an empty library in {}: {next}",
            here.display()
        ));
    }
    let distant = distant.is_some();
    let token_file = args.token_file.unwrap_or_else(|| here.join(TOKEN_FILE));
    let mut token = if args.no_token {
        None
    } else {
        Some(Token::of_file(&token_file)?)
    };
    if let (Some(own_token), Some(file)) = (&token, &args.sign_in_file) {
        // Read now, so that a file that cannot be read is an error of the start, not of the first
        // sign-in.
        let known = own_token.clone().with_passwords(file)?;
        if known.has_plain_password() {
            context.console.warn(&format!(
                "{} has a password in plain text: replace it by the output of \"voisin serve --hash-password\"",
                file.display()
            ));
        }
        token = Some(known);
    }
    if args.show_token {
        if let Some(token) = &token {
            render::print_line(token.reveal())?;
        }
        return Ok(Ending::Fine);
    }
    let folders_known = folders.clone();
    let program =
        // Scans are separate processes, so that a decoder that crashes does not stop the
        // server.
        std::env::current_exe().context("cannot find this program to start scans with")?;
    let _watcher = if watches {
        let mut command = Command::new(&program);
        let watch = ["--quiet", "add", "--watch", "--while-input-lasts", "--"];
        command
            .args(context.as_arguments())
            .args(watch)
            .args(&folders);
        Some(Watcher(
            command
                // Open as long as this process lives; its end stops the watcher.
                .stdin(Stdio::piped())
                .spawn()
                .context("cannot start the watcher")?,
        ))
    } else {
        None
    };
    let globals = context.as_arguments();
    let add = move || {
        let mut command = Command::new(&program);
        command
            .args(&globals)
            .args([
                // The server parses the progress from the lines of --verbose.
                "--verbose",
                "add",
                "--format",
                "json",
                "--while-input-lasts",
                "--",
            ])
            .args(&folders);
        command
    };
    let console = context.console;
    let stop = context.stop_with_message("stopping: running requests are finished first")?;
    let shown = if std::io::stdout().is_terminal() {
        token.clone()
    } else {
        None
    };
    let options = Options {
        dir: here,
        listen: args.listen,
        token,
        hosts: args.allow_host,
        lan: args.lan.then(machine_name),
        proxies: args.trusted_proxy,
        origins: args.allow_origin,
        base_path: args.base_path,
        subsonic: args.subsonic,
        logs: context.is_verbose(),
        load_model: Box::new(context.model_loader()),
        add: (!folders_known.is_empty()).then(|| Box::new(add) as Box<_>),
        scans: watches,
    };
    if args.lan {
        console.warn(
            "every machine of this network can reach this server: it requires a token or a code, but connections are not encrypted",
        );
    }
    // Behind a named proxy this machine's own address is not used.
    let is_named = !args.lan && !options.hosts.is_empty();
    let lan = (distant && !is_named).then(address_at_home).flatten();
    let opens = args.open;
    let is_reached = args.lan || distant || !options.hosts.is_empty();
    let mut printed = Ok(());
    // An error of printing does not stop the server: the first is returned at the end.
    serve(
        options,
        &stop,
        move |text| console.note(text),
        |addresses, code| {
            for address in addresses {
                let address = &match lan {
                    Some(lan) => address.replacen("://0.0.0.0:", &format!("://{lan}:"), 1),
                    None => address.clone(),
                };
                // The token is printed on a terminal only, not into logs.
                let token = shown
                    .as_ref()
                    .filter(|_| address.starts_with("http") && address.ends_with('/'));
                let fragment =
                    token.map_or_else(String::new, |token| format!("#token={}", token.reveal()));
                let line = render::print_line(&format!("listening on {address}{fragment}"));
                printed = std::mem::replace(&mut printed, Ok(())).and(line);
            }
            let page = addresses.iter().find(|address| address.starts_with("http"));
            if let Some(page) = page.filter(|_| opens) {
                // Other users can see the browser's arguments: a code is valid once, a token for ever.
                let fragment = code.map_or_else(String::new, |code| {
                    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
                    format!("#code={digits}")
                });
                let page = page.replacen("://0.0.0.0:", "://127.0.0.1:", 1);
                if let Err(error) = browser(&format!("{page}{fragment}")).spawn() {
                    console.warn(&format!("no browser could be started: {error}"));
                }
            }
            if let Some(code) = code.filter(|_| is_reached) {
                let address = match lan {
                    Some(_) => "that address",
                    None if distant => "this machine's address with that port",
                    None => "the address that your proxy gives it",
                };
                let line = render::print_line(&format!(
                    "on another device, open {address} and type {code} (valid once, for 10 minutes)"
                ));
                printed = std::mem::replace(&mut printed, Ok(())).and(line);
                if let (Some(lan), Some(page)) = (lan, page)
                    && std::io::stdout().is_terminal()
                {
                    let page = page.replacen("://0.0.0.0:", &format!("://{lan}:"), 1);
                    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
                    let picture = qr_for_terminal(&format!("{page}#code={digits}"));
                    let line = picture.map_or(Ok(()), |picture| {
                        render::print_line(&format!("or point its camera at this:\n\n{picture}"))
                    });
                    printed = std::mem::replace(&mut printed, Ok(())).and(line);
                }
            }
        },
    )?;
    printed?;
    Ok(Ending::Fine)
}

/// The command that opens an address in this machine's browser.
fn browser(address: &str) -> Command {
    let mut command = if cfg!(windows) {
        let mut command = Command::new("rundll32");
        command.arg("url.dll,FileProtocolHandler");
        command
    } else if cfg!(target_os = "macos") {
        Command::new("open")
    } else {
        Command::new("xdg-open")
    };
    command
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Creates an empty library if there is none, as `add` does; returns whether it did.
fn create_if_missing(dir: &Path) -> Result<bool, LibraryError> {
    match Library::open_to_read(dir) {
        Err(LibraryError::NotFound { .. }) => Library::open(dir, OpenMode::Create).map(|_| true),
        opened => opened.map(|_| false),
    }
}

/// The process that watches folders. It ends with the server, also if that is killed, as its standard input ends then.
/// Stored data is safe at any moment.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
