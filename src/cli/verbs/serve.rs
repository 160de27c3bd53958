//! `voisin serve`.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::ServeArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, Console};
use voisin_library::{Library, LibraryError, OpenMode, stored_path};
use voisin_serve::{Options, Secrets, serve};

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
    let folders = folders(context, &args, &here)?;
    let distant = args.listen.iter().find(|place| !is_local(place));
    if let (true, Some(place)) = (args.no_token, distant) {
        bail!("--no-token is only for this machine, but others can reach {place}: leave it out");
    }
    let is_distant = distant.is_some();
    if args.show_token {
        return show_token(&here, args.token_file);
    }
    create_if_missing(context, &here, &folders)?;
    let token_file = args.token_file.clone();
    let token_file = token_file.unwrap_or_else(|| here.join(TOKEN_FILE));
    let secrets = (!args.no_token).then(|| Secrets::of_file(&token_file));
    let secrets = secrets.transpose()?;
    let scans = !folders.is_empty();
    let command = scanner(context, folders)?;
    let watch = scans.then(|| Watcher::start(command(&["--quiet", "add", "--watch"])));
    let _watcher = watch.transpose()?;
    // The server parses the progress from the lines of --verbose.
    let add = move || command(&["--verbose", "add", "--format", "json"]);
    let console = context.console;
    let stop = context.stop_with_message("stopping: running requests are finished first")?;
    if args.lan {
        console.warn(
            "every machine of this network can reach this server: it requires a token, but connections are not encrypted",
        );
    }
    let begun = Begun::new(console, &args, secrets.as_ref(), is_distant);
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
    let mut printed = Ok(());
    let note = move |text: &str| console.note(text);
    // An error of printing does not stop the server: it is returned at the end.
    serve(options, &stop, note, |addresses| {
        printed = begun.print(addresses);
    })?;
    printed?;
    Ok(Ending::Fine)
}

/// Scans are separate processes, so that a decoder that crashes does not stop the server.
fn scanner(
    context: &Context,
    folders: Vec<PathBuf>,
) -> anyhow::Result<impl Fn(&[&str]) -> Command + Send + Sync + 'static> {
    let program = std::env::current_exe();
    let program = program.context("cannot find this program to start scans with")?;
    let globals = context.as_arguments();
    Ok(move |words: &[&str]| {
        let mut command = Command::new(&program);
        let words = words.iter().chain(&["--while-input-lasts", "--"]);
        command.args(&globals).args(words).args(&folders);
        command
    })
}

fn show_token(library: &Path, file: Option<PathBuf>) -> anyhow::Result<Ending> {
    if file.is_none() {
        // A library that would be created now has no token that any server uses.
        drop(Library::open_to_read(library)?);
    }
    let file = file.unwrap_or_else(|| library.join(TOKEN_FILE));
    render::print_line(Secrets::of_file(&file)?.reveal())?;
    Ok(Ending::Fine)
}

/// The folders of music. A disk may be mounted late, as after a boot, and the server works without it.
fn folders(context: &Context, args: &ServeArgs, library: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folders = args.folder.iter().map(|folder| stored_path(folder));
    let folders: Vec<PathBuf> = folders.collect();
    for folder in folders.iter().filter(|folder| !folder.is_dir()) {
        if folder.exists() || Library::open_to_read(library).is_err() {
            bail!("--folder: there is no folder {}", folder.display());
        }
        context.console.warn(&format!(
            "{} does not exist yet: it is watched once it does, and the library is available meanwhile",
            folder.display()
        ));
    }
    Ok(folders)
}

struct Begun {
    console: Console,
    /// The address at which others reach this machine.
    lan: Option<IpAddr>,
    token: Option<String>,
    opens: bool,
}

impl Begun {
    fn new(
        console: Console,
        args: &ServeArgs,
        secrets: Option<&Secrets>,
        is_distant: bool,
    ) -> Self {
        // Behind a named proxy this machine's own address is not used.
        let is_named = !args.lan && !args.allow_host.is_empty();
        // The token is printed on a terminal only, not into logs; a password is never printed.
        let token = secrets.map(|secrets| secrets.reveal().to_owned());
        let token = token.filter(|token| {
            std::io::stdout().is_terminal() && token.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        Self {
            console,
            lan: (is_distant && !is_named).then(address_at_home).flatten(),
            token,
            opens: args.open,
        }
    }

    fn print(&self, addresses: &[String]) -> anyhow::Result<()> {
        if let Some(page) = addresses.first().filter(|_| self.opens) {
            // Without the token, since other users can see the browser's arguments.
            let page = page.replacen("://0.0.0.0:", "://127.0.0.1:", 1);
            if let Err(error) = browser(&page).spawn() {
                self.console
                    .warn(&format!("no browser could be started: {error}"));
            }
        }
        for address in addresses {
            let shown = self.lan.map_or(address.clone(), |lan| {
                address.replacen("://0.0.0.0:", &format!("://{lan}:"), 1)
            });
            let token = self.token.as_ref();
            let token = token.map_or_else(String::new, |token| format!("#token={token}"));
            render::print_line(&format!("listening on {shown}{token}"))?;
        }
        Ok(())
    }
}

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

/// Creates an empty library if there is none, as `add` does.
fn create_if_missing(context: &Context, dir: &Path, folders: &[PathBuf]) -> anyhow::Result<()> {
    match Library::open_to_read(dir) {
        Err(LibraryError::NotFound { .. }) => drop(Library::open(dir, OpenMode::Create)?),
        opened => return Ok(opened.map(drop)?),
    }
    let next = if folders.is_empty() {
        "\"voisin add FOLDER\" fills it, and this server sees it"
    } else {
        "the music of the folders named is added to it"
    };
    context.console.note(&format!(
        "created an empty library in {}: {next}",
        dir.display()
    ));
    Ok(())
}

/// The process that watches folders. It ends with the server, also if that is killed, as its standard input ends then.
/// Stored data is safe at any moment.
struct Watcher(Child);

impl Watcher {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        // Open as long as this process lives; its end stops the watcher.
        let child = command.stdin(Stdio::piped()).spawn();
        Ok(Self(child.context("cannot start the watcher")?))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
