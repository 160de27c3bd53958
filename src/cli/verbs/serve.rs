//! `voisin serve`.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::ServeArgs;
use crate::cli::context::Context;
use crate::cli::render;
use voisin_library::{Library, LibraryError, OpenMode, stored_path};
use voisin_serve::{Options, Secrets, serve};

/// Name of the token's file in a library's folder.
const TOKEN_FILE: &str = "serve.token";

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

/// Whether only this machine can connect.
fn is_local(place: &SocketAddr) -> bool {
    place.ip().to_canonical().is_loopback()
}

/// The same port on all addresses, if it was a local one.
fn for_all(place: SocketAddr) -> SocketAddr {
    let all = match place {
        _ if !is_local(&place) => return place,
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(all, place.port())
}

pub(crate) fn run(context: &Context, mut args: ServeArgs) -> anyhow::Result<Ending> {
    if args.lan {
        args.listen = args.listen.into_iter().map(for_all).collect();
    }
    let here = context.library_dir();
    let folders: Vec<PathBuf> = args
        .folder
        .iter()
        .map(|folder| stored_path(folder))
        .collect();
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
    let distant = args.listen.iter().find(|place| !is_local(place));
    if let (true, Some(place)) = (args.no_token, distant) {
        bail!("--no-token is only for this machine, but others can reach {place}: leave it out");
    }
    if args.show_token && args.token_file.is_none() {
        // A library that would be created now has no token that any server uses.
        drop(Library::open_to_read(&here)?);
    }
    if create_if_missing(&here)? {
        let next = if folders.is_empty() {
            "\"voisin add FOLDER\" fills it, and this server sees it"
        } else {
            "the music of the folders named is added to it"
        };
        context.console.note(&format!(
            "created an empty library in {}: {next}",
            here.display()
        ));
    }
    let distant = distant.is_some();
    let token_file = args.token_file.unwrap_or_else(|| here.join(TOKEN_FILE));
    let secrets = if args.no_token {
        None
    } else {
        Some(Secrets::of_file(&token_file)?)
    };
    if args.show_token {
        if let Some(secrets) = &secrets {
            render::print_line(secrets.reveal())?;
        }
        return Ok(Ending::Fine);
    }
    let scans = !folders.is_empty();
    let program =
        // Scans are separate processes, so that a decoder that crashes does not stop the
        // server.
        std::env::current_exe().context("cannot find this program to start scans with")?;
    let _watcher = if scans {
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
    let shown = secrets
        .as_ref()
        .filter(|_| std::io::stdout().is_terminal())
        .map(|secrets| secrets.reveal().to_owned());
    let options = Options {
        dir: here,
        listen: args.listen,
        secrets,
        hosts: args.allow_host,
        lan: args.lan.then(machine_name),
        proxies: args.trusted_proxy,
        base_path: args.base_path,
        subsonic: args.subsonic,
        logs: context.is_verbose(),
        load_model: Box::new(context.model_loader()),
        add: scans.then(|| Box::new(add) as Box<_>),
    };
    if args.lan {
        console.warn(
            "every machine of this network can reach this server: it requires a token, but connections are not encrypted",
        );
    }
    // Behind a named proxy this machine's own address is not used.
    let is_named = !args.lan && !options.hosts.is_empty();
    let lan = (distant && !is_named).then(address_at_home).flatten();
    let opens = args.open;
    let mut printed = Ok(());
    // An error of printing does not stop the server: the first is returned at the end.
    serve(
        options,
        &stop,
        move |text| console.note(text),
        |addresses| {
            for address in addresses {
                let address = &match lan {
                    Some(lan) => address.replacen("://0.0.0.0:", &format!("://{lan}:"), 1),
                    None => address.clone(),
                };
                // The token is printed on a terminal only, not into logs; a password is never printed.
                let token = shown.as_ref().filter(|token| {
                    address.starts_with("http")
                        && token.bytes().all(|byte| byte.is_ascii_hexdigit())
                });
                let fragment = token.map_or_else(String::new, |token| format!("#token={token}"));
                let line = render::print_line(&format!("listening on {address}{fragment}"));
                printed = std::mem::replace(&mut printed, Ok(())).and(line);
            }
            let page = addresses.iter().find(|address| address.starts_with("http"));
            if let Some(page) = page.filter(|_| opens) {
                // Without the token, since other users can see the browser's arguments.
                let page = page.replacen("://0.0.0.0:", "://127.0.0.1:", 1);
                if let Err(error) = browser(&page).spawn() {
                    console.warn(&format!("no browser could be started: {error}"));
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
