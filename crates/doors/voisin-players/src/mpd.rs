//! MPD, the Music Player Daemon: its state, its queue, and its files that are tracks of the library.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mpd_client::Client;
use mpd_client::client::{
    CommandError, ConnectWithPasswordError, ConnectionError, ConnectionEvent, ConnectionEvents,
    Subsystem,
};
use mpd_client::protocol::command::{Argument, Command};
use mpd_client::protocol::response::Frame;
use tokio::runtime::Runtime;

use super::songs::PathEnds;
use voisin_base::remedy::Remedy;
use voisin_base::track::TrackId;
use voisin_library::{Library, LibraryError, Listened, TrackSet};

/// Default timeout for connecting and for an answer, without `MPD_TIMEOUT`.
const PATIENCE: Duration = Duration::from_secs(20);
/// Files of a request: MPD closes a connection whose answer is longer than its output buffer (8 MiB by default), and reads
/// all of its files each time.
const FILES_AT_ONCE: usize = 10_000;
/// How long stickers are cached: of simultaneous changes, the client reports only the first kind.
const CACHED_FOR: Duration = Duration::from_mins(5);
/// MPD's error codes for a missing song, and for a missing permission.
const NO_SUCH_SONG: u64 = 50;
const NO_PERMISSION: u64 = 4;

/// MPD's default port.
pub const PORT: u16 = 6600;

/// The address of MPD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MpdAddress {
    place: MpdPlace,
    password: Option<String>,
    patience: Duration,
}

/// Parses `MPD_TIMEOUT`; values that are no number above 0 are ignored, as by MPD's own programs.
fn patience(value: Option<&str>) -> Duration {
    let seconds = value
        .and_then(|text| text.trim().parse::<u32>().ok())
        .filter(|seconds| *seconds > 0);
    seconds.map_or(PATIENCE, |seconds| Duration::from_secs(seconds.into()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MpdPlace {
    Tcp(String, u16),
    Socket(PathBuf),
    /// An abstract socket on Linux.
    Abstract(String),
}

impl MpdAddress {
    /// Parses the syntax of MPD's own programs: a host, `PASSWORD@HOST`, the path of a socket, `@NAME`.
    pub fn read(host: &str, port: u16) -> Self {
        // The first @ that is not at the beginning ends the password: "secret@@name" has one, "@name" has none.
        let mut signs = host.char_indices().skip(1);
        let (password, host) = match signs.find(|(_, sign)| *sign == '@') {
            Some((at, _)) => (Some(host[..at].to_owned()), &host[at + 1..]),
            None => (None, host),
        };
        let place = if let Some(name) = host.strip_prefix('@') {
            MpdPlace::Abstract(name.to_owned())
        } else if host.starts_with(['/', '~']) {
            let home = std::env::var_os("HOME").map(PathBuf::from);
            MpdPlace::Socket(match (host.strip_prefix("~/"), home) {
                (Some(below), Some(home)) => home.join(below),
                _ => host.into(),
            })
        } else {
            let host = if host.is_empty() { "localhost" } else { host };
            MpdPlace::Tcp(host.to_owned(), port)
        };
        Self {
            place,
            password,
            patience: patience(std::env::var("MPD_TIMEOUT").ok().as_deref()),
        }
    }

    /// The default of MPD's own programs: the sockets of the user's and the system's MPD, then its port.
    pub fn usual() -> Self {
        #[cfg(unix)]
        {
            let of_user = std::env::var_os("XDG_RUNTIME_DIR")
                .map(|dir| PathBuf::from(dir).join("mpd/socket"));
            // The socket's file may be left by an MPD that has ended.
            let answers = |path: &PathBuf| std::os::unix::net::UnixStream::connect(path).is_ok();
            if let Some(path) = of_user
                .into_iter()
                .chain(["/run/mpd/socket".into()])
                .find(answers)
            {
                return Self {
                    place: MpdPlace::Socket(path),
                    ..Self::read("", PORT)
                };
            }
        }
        Self::read("", PORT)
    }
}

impl std::fmt::Display for MpdAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            MpdPlace::Tcp(host, port) => write!(f, "{host}:{port}"),
            MpdPlace::Socket(path) => write!(f, "{}", path.display()),
            MpdPlace::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// Why a command of MPD failed.
#[derive(Debug, thiserror::Error)]
pub enum MpdError {
    /// MPD is unreachable.
    #[error("cannot reach MPD at {place}")]
    Unreachable {
        /// The address.
        place: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The server is no MPD, or it closed the connection.
    #[error("MPD at {place} gives no valid answer: {reason}")]
    Broken {
        /// The address.
        place: String,
        /// The reason.
        reason: String,
    },
    /// Another password is needed.
    #[error("MPD at {place} refuses the password")]
    Password {
        /// The address.
        place: String,
    },
    /// A password is needed, or one that allows more.
    #[error("MPD at {place} needs a password for this")]
    NoPassword {
        /// The address.
        place: String,
    },
    /// A file that MPD no longer has.
    #[error("MPD no longer has {file}")]
    Gone {
        /// The file's name in MPD, or a description of several.
        file: String,
    },
    /// A command is refused.
    #[error("MPD refuses \"{command}\": {message}")]
    Refused {
        /// The command.
        command: String,
        /// MPD's error code.
        code: u64,
        /// MPD's message.
        message: String,
    },
    /// The library failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

impl MpdError {
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Unreachable { .. } => Some(Remedy::SetMpdAddress),
            Self::Password { .. } | Self::NoPassword { .. } => Some(Remedy::SetMpdPassword),
            Self::Library(error) => error.remedy(),
            Self::Broken { .. } | Self::Gone { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether a new connection may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. })
    }
}

/// MPD's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Playing {
    /// Whether songs are played in random order.
    pub is_random: bool,
    /// Songs in the queue.
    pub length: u32,
    /// The current song's index in the queue, its id there, and its file.
    pub current: Option<(u32, u32, String)>,
    /// Whether it plays or is paused.
    pub is_on: bool,
}

/// A connection to MPD.
pub struct Mpd {
    address: MpdAddress,
    client: Client,
    events: ConnectionEvents,
    /// The cached stickers, and their time.
    listened: Option<(Instant, HashMap<TrackId, Listened>)>,
    // Dropped last, since the connection needs it.
    runtime: Runtime,
}

impl Mpd {
    /// Connects and authenticates.
    pub fn connect(address: &MpdAddress) -> Result<Self, MpdError> {
        let place = address.to_string();
        let unreachable = |source| MpdError::Unreachable {
            place: place.clone(),
            source,
        };
        // Its own thread, not the current one: the client waits for changes between
        // commands.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_io()
            .enable_time()
            .build()
            .map_err(unreachable)?;
        let password = address.password.as_deref();
        let connecting = async {
            match &address.place {
                MpdPlace::Tcp(host, port) => {
                    let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await;
                    Ok(Client::connect_with_password_opt(stream?, password).await)
                }
                #[cfg(unix)]
                MpdPlace::Socket(path) => {
                    let stream = tokio::net::UnixStream::connect(path).await;
                    Ok(Client::connect_with_password_opt(stream?, password).await)
                }
                #[cfg(target_os = "linux")]
                MpdPlace::Abstract(name) => {
                    use std::os::linux::net::SocketAddrExt as _;
                    let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                    let stream = std::os::unix::net::UnixStream::connect_addr(&name)?;
                    // Required by Tokio.
                    stream.set_nonblocking(true)?;
                    let stream = tokio::net::UnixStream::from_std(stream)?;
                    Ok(Client::connect_with_password_opt(stream, password).await)
                }
                #[allow(unreachable_patterns, reason = "on systems with all kinds of sockets")]
                _ => Err(std::io::ErrorKind::Unsupported.into()),
            }
        };
        let connected = runtime.block_on(async {
            let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
            tokio::time::timeout(address.patience, connecting)
                .await
                .unwrap_or_else(|_| Err(late()))
        });
        match connected.map_err(unreachable)? {
            Ok((client, events)) => {
                let mut mpd = Self {
                    address: address.clone(),
                    client,
                    events,
                    listened: None,
                    runtime,
                };
                // Tags are not needed, and answers are shorter without them. MPD before 0.21 has neither this nor later commands.
                match mpd.send("tagtypes", &["clear"]) {
                    Err(MpdError::Broken { .. }) if mpd.is_shut_out() => {
                        Err(MpdError::NoPassword { place })
                    }
                    Ok(_) | Err(MpdError::Refused { .. }) => Ok(mpd),
                    Err(error) => Err(error),
                }
            }
            Err(ConnectWithPasswordError::IncorrectPassword) => Err(MpdError::Password { place }),
            Err(error) => {
                let reason = voisin_base::text::with_causes(&error);
                Err(MpdError::Broken {
                    place: place.clone(),
                    reason,
                })
            }
        }
    }

    /// Whether the connection ended because MPD does not allow `idle`, as without the permission to read.
    fn is_shut_out(&mut self) -> bool {
        let event = self.runtime.block_on(async {
            tokio::time::timeout(self.address.patience, self.events.next()).await
        });
        matches!(
            event,
            Ok(Some(ConnectionEvent::ConnectionClosed(
                ConnectionError::InvalidResponse
            )))
        )
    }

    fn send(&self, command: &str, arguments: &[&str]) -> Result<Frame, MpdError> {
        /// An empty argument, which needs quotes.
        struct Empty;
        impl Argument for Empty {
            fn render(&self, to: &mut BytesMut) {
                to.extend_from_slice(b"\"\"");
            }
        }
        let broken = |reason: String| MpdError::Broken {
            place: self.address.to_string(),
            reason,
        };
        let mut question = Command::new(command);
        for argument in arguments {
            let added = if argument.is_empty() {
                question.add_argument(Empty)
            } else {
                question.add_argument(*argument)
            };
            added.map_err(|error| broken(error.to_string()))?;
        }
        let patience = self.address.patience;
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(patience, self.client.raw_command(question)).await
        });
        match answer {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(CommandError::ErrorResponse { error, .. })) => Err(match error.code {
                NO_PERMISSION => MpdError::NoPassword {
                    place: self.address.to_string(),
                },
                _ => MpdError::Refused {
                    command: [&[command], arguments].concat().join(" "),
                    code: error.code,
                    message: error.message.to_string(),
                },
            }),
            Ok(Err(error)) => Err(broken(voisin_base::text::with_causes(&error))),
            Err(_) => Err(broken(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    /// Requests the player's state.
    pub fn playing(&self) -> Result<Playing, MpdError> {
        let status = self.send("status", &[])?;
        let number = |name: &str| status.find(name).and_then(|text| text.parse::<u32>().ok());
        let current = self.send("currentsong", &[])?;
        let file = current.find("file").map(str::to_owned);
        let place = |name: &str| current.find(name).and_then(|text| text.parse::<u32>().ok());
        Ok(Playing {
            is_random: status.find("random") == Some("1"),
            length: number("playlistlength").unwrap_or(0),
            current: file.and_then(|file| Some((place("Pos")?, place("Id")?, file))),
            is_on: status.find("state").is_some_and(|state| state != "stop"),
        })
    }

    /// The files of the queue in order, with their ids there.
    pub fn queue(&self) -> Result<Vec<(u32, String)>, MpdError> {
        let frame = self.send("playlistinfo", &[])?;
        let mut queue = Vec::new();
        let mut file = None;
        for (name, value) in frame.fields() {
            match name {
                "file" => file = Some(value.to_owned()),
                // A song's lines begin with its file and end with its id.
                "Id" => queue.extend(value.parse().ok().zip(file.take())),
                _ => {}
            }
        }
        Ok(queue)
    }

    /// Adds a file to the queue: at an index, or at its end.
    ///
    /// # Errors
    ///
    /// [`MpdError::Gone`] if MPD no longer has the file.
    pub fn add(&self, file: &str, place: Option<u32>) -> Result<(), MpdError> {
        let added = match place {
            Some(place) => self.send("addid", &[file, &place.to_string()]),
            None => self.send("addid", &[file]),
        };
        match added {
            Err(MpdError::Refused {
                code: NO_SUCH_SONG, ..
            }) => Err(MpdError::Gone {
                file: file.to_owned(),
            }),
            added => added.map(drop),
        }
    }

    /// Removes a song from the queue, by its id there.
    pub fn delete(&self, id: u32) -> Result<(), MpdError> {
        self.send("deleteid", &[&id.to_string()]).map(drop)
    }

    /// Whether MPD has a stored playlist of this name.
    pub fn has_playlist(&self, name: &str) -> Result<bool, MpdError> {
        Ok(self
            .send("listplaylists", &[])?
            .fields()
            .any(|field| field == ("playlist", name)))
    }

    /// Stores files as a playlist, replacing one of that name, and returns the number of files that MPD has. The queue does
    /// not change, and the replacement is atomic.
    ///
    /// # Errors
    ///
    /// [`MpdError::Gone`] if MPD has none of them any more: the old playlist stays.
    pub fn store_playlist(&self, name: &str, files: &[&str]) -> Result<usize, MpdError> {
        // Under another name first: MPD fills a playlist song by song, and an interruption would leave a
        // part of it.
        let made = format!("{name} (voisin writes it)");
        // Left by an interrupted run.
        if self.has_playlist(&made)? {
            self.send("rm", &[&made])?;
        }
        let mut stored = 0;
        for file in files {
            match self.send("playlistadd", &[&made, file]) {
                // Removed since its files were listed.
                Err(MpdError::Refused {
                    code: NO_SUCH_SONG, ..
                }) => {}
                added => {
                    added?;
                    stored += 1;
                }
            }
        }
        // MPD creates a playlist with its first song: without one there is no replacement.
        if stored == 0 {
            return Err(MpdError::Gone {
                file: format!("any song of \"{name}\""),
            });
        }
        // MPD does not rename onto an existing playlist.
        if self.has_playlist(name)? {
            self.send("rm", &[name])?;
        }
        self.send("rename", &[&made, name])?;
        Ok(stored)
    }

    /// MPD's files that are tracks of the library.
    pub fn songs(&mut self, library: &Library) -> Result<MpdSongs, MpdError> {
        self.listened = None;
        let mut files = Vec::new();
        loop {
            let window = format!("{}:{}", files.len(), files.len() + FILES_AT_ONCE);
            // No file has this name, so that all match.
            let frame = self.send("find", &["(file != '/')", "window", &window])?;
            let before = files.len();
            files.extend(
                frame
                    .fields()
                    .filter(|(name, _)| *name == "file")
                    .map(|(_, file)| file.to_owned()),
            );
            if files.len() < before + FILES_AT_ONCE {
                break;
            }
        }
        Ok(MpdSongs::new(
            files.iter().map(String::as_str),
            &PathEnds::of(library)?,
        ))
    }

    /// Stickers of MPD's files: plays, likes and stars, as written by myMPD and others. Empty if MPD has no stickers, or more
    /// than fit an answer. Requested again after a change in [`wait`](Self::wait), after [`songs`](Self::songs), and after
    /// five minutes.
    pub fn listened(&mut self, songs: &MpdSongs) -> HashMap<TrackId, Listened> {
        if let Some((_, known)) = self
            .listened
            .as_ref()
            .filter(|(at, _)| at.elapsed() < CACHED_FOR)
        {
            return known.clone();
        }
        let found = self.fetch_listened(songs);
        self.listened = Some((Instant::now(), found.clone()));
        found
    }

    fn fetch_listened(&self, songs: &MpdSongs) -> HashMap<TrackId, Listened> {
        // A connection of its own, since MPD closes it on a too long answer.
        let Ok(connection) = Self::connect(&self.address) else {
            return HashMap::new();
        };
        let mut all: HashMap<TrackId, Listened> = HashMap::new();
        for name in ["playCount", "lastPlayed", "rating", "like"] {
            let Ok(frame) = connection.send("sticker", &["find", "song", "", name]) else {
                continue;
            };
            let mut file = None;
            for (field, value) in frame.fields() {
                if field == "file" {
                    file = Some(value.to_owned());
                    continue;
                }
                // A sticker has the form "name=value".
                let number = value
                    .strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix('=')?.parse::<i64>().ok());
                let track = file.take().and_then(|file| songs.track(&file));
                let (Some(number), Some(track)) = (number, track) else {
                    continue;
                };
                let known = all.entry(track).or_default();
                match name {
                    "playCount" => known.opinion = Listened::of_plays(number.max(0) as u64).opinion,
                    "lastPlayed" => known.last = Some(number).filter(|at| *at > 0),
                    // Ten for five stars; 0 for none.
                    "rating" if (1..=10).contains(&number) => {
                        // Three stars, which is 6, are no opinion.
                        known.opinion = ((number as f32 - 6.0) / 4.0).clamp(-1.0, 1.0);
                    }
                    // myMPD writes 0 for dislike, 1 for neither and 2 for like.
                    "like" if number == 0 => known.opinion = -1.0,
                    "like" if number == 2 => known.opinion = 1.0,
                    _ => {}
                }
            }
        }
        all
    }

    /// The error of a connection that ended.
    pub fn lost(&self) -> MpdError {
        MpdError::Broken {
            place: self.address.to_string(),
            reason: "the connection ended".to_owned(),
        }
    }

    /// Waits for a change in MPD, with a timeout. False if the connection is lost.
    pub fn wait(&mut self, most: Duration) -> bool {
        let event = self
            .runtime
            .block_on(async { tokio::time::timeout(most, self.events.next()).await });
        if matches!(
            event,
            Ok(Some(ConnectionEvent::SubsystemChange(Subsystem::Sticker)))
        ) {
            self.listened = None;
        }
        !matches!(event, Ok(None | Some(ConnectionEvent::ConnectionClosed(_))))
    }
}

/// MPD's files and their tracks.
#[derive(Debug, Default)]
pub struct MpdSongs {
    track_of: HashMap<String, TrackId>,
    file_of: HashMap<TrackId, String>,
    /// Number of MPD's files.
    pub files: usize,
}

impl MpdSongs {
    fn new<'a>(files: impl Iterator<Item = &'a str>, ends: &PathEnds) -> Self {
        let mut songs = Self::default();
        // A bare name may be that of any file; MPD's folders follow from the others.
        let mut roots: HashSet<PathBuf> = HashSet::new();
        let mut bare = Vec::new();
        for file in files {
            songs.files += 1;
            let mut found: Vec<(&Path, TrackId)> = ends.find(Path::new(file)).collect();
            // Copies in two folders are one track.
            found.dedup_by_key(|(_, track)| *track);
            let [(path, track)] = found[..] else { continue };
            let depth = Path::new(file).components().count();
            let root = path
                .ancestors()
                .nth(depth)
                .map(Path::to_owned)
                .unwrap_or_default();
            if depth == 1 {
                bare.push((file, track, root));
            } else {
                roots.insert(root);
                songs.note(file, track);
            }
        }
        for (file, track, root) in bare {
            if roots.is_empty() || roots.contains(&root) {
                songs.note(file, track);
            }
        }
        songs
    }

    fn note(&mut self, file: &str, track: TrackId) {
        self.track_of.insert(file.to_owned(), track);
        self.file_of.entry(track).or_insert_with(|| file.to_owned());
    }

    /// The track of a file of MPD.
    pub fn track(&self, file: &str) -> Option<TrackId> {
        self.track_of.get(file).copied()
    }

    /// A track's file name in MPD.
    pub fn file(&self, track: TrackId) -> Option<&str> {
        self.file_of.get(&track).map(String::as_str)
    }

    /// MPD's tracks without some.
    pub fn tracks_without(&self, without: &HashSet<TrackId>) -> TrackSet {
        self.file_of
            .keys()
            .copied()
            .filter(|track| !without.contains(track))
            .collect()
    }

    /// Number of the library's tracks that MPD has.
    pub fn count(&self) -> usize {
        self.file_of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_parsed_as_by_mpds_own_programs() {
        let read = |host: &str| {
            let address = MpdAddress::read(host, 6600);
            (address.to_string(), address.password)
        };
        assert_eq!(read("nas.lan"), ("nas.lan:6600".to_owned(), None));
        assert_eq!(read(""), ("localhost:6600".to_owned(), None));
        assert_eq!(
            read("secret@nas"),
            ("nas:6600".to_owned(), Some("secret".to_owned()))
        );
        assert_eq!(
            read("/run/mpd/socket"),
            ("/run/mpd/socket".to_owned(), None)
        );
        assert_eq!(
            read("s@/run/mpd/socket"),
            ("/run/mpd/socket".to_owned(), Some("s".to_owned()))
        );
        assert_eq!(
            read("é…@nas"),
            ("nas:6600".to_owned(), Some("é…".to_owned()))
        );
        assert_eq!(read("@mpd"), ("@mpd".to_owned(), None));
        assert_eq!(
            read("secret@@mpd"),
            ("@mpd".to_owned(), Some("secret".to_owned()))
        );
    }

    #[test]
    fn a_list_of_missing_songs_leaves_the_old_playlist() {
        use std::io::{BufRead as _, BufReader, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // An MPD with a playlist "old" and no songs.
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"OK MPD 0.23.5\n").unwrap();
            let mut commands = Vec::new();
            for line in lines.map_while(Result::ok) {
                let answer = match line.split(' ').next().unwrap_or_default() {
                    "idle" => continue,
                    "playlistadd" => "ACK [50@0] {playlistadd} No such song\n",
                    "listplaylists" => "playlist: old\nOK\n",
                    _ => "OK\n",
                };
                commands.push(line);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            commands
        });
        let mpd = Mpd::connect(&MpdAddress::read("127.0.0.1", port)).unwrap();
        let stored = mpd.store_playlist("old", &["a.mp3", "b.mp3"]);
        assert!(matches!(stored, Err(MpdError::Gone { .. })), "{stored:?}");
        drop(mpd);
        let commands = server.join().unwrap();
        assert!(
            commands.iter().all(|command| !command.starts_with("rm ")),
            "{commands:?}"
        );
    }

    #[test]
    fn a_silent_mpd_is_waited_for_until_the_timeout() {
        for (value, seconds) in [
            (Some("3"), 3),
            (Some(" 60 "), 60),
            (None, 20),
            (Some("0"), 20),
            (Some("x"), 20),
        ] {
            assert_eq!(patience(value), Duration::from_secs(seconds), "{value:?}");
        }
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let address = MpdAddress {
            patience: Duration::from_millis(200),
            ..MpdAddress::read("127.0.0.1", port)
        };
        let begun = Instant::now();
        assert!(matches!(
            Mpd::connect(&address),
            Err(MpdError::Unreachable { .. })
        ));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
