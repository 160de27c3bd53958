//! MPD, as a real process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::{Running, is_installed, skipped, until};
use crate::common::server::small_library;
use crate::common::{Sandbox, code, fine, noise_wav, text};

/// MPD with its music in `music`, without audio output.
struct Mpd {
    socket: PathBuf,
    conf: PathBuf,
    /// The password before the socket, for `mpc`.
    password: String,
    process: Option<Running>,
}

impl Mpd {
    fn prepare(sandbox: &Sandbox, music: &Path) -> Option<Self> {
        Self::prepare_with(sandbox, music, "")
    }

    /// With more settings.
    fn prepare_with(sandbox: &Sandbox, music: &Path, more: &str) -> Option<Self> {
        if !is_installed("mpd") || !is_installed("mpc") {
            skipped("mpd or mpc");
            return None;
        }
        let folder = sandbox.path("mpd");
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let socket = folder.join("socket");
        let conf = folder.join("mpd.conf");
        let settings = format!(
            "music_directory \"{}\"\ndatabase {{\n    plugin \"simple\"\n    path \"{}\"\n    compress \"no\"\n}}\nstate_file \"{}\"\nlog_file \"{}\"\nbind_to_address \"{}\"\nrestore_paused \"no\"\naudio_output {{\n    type \"null\"\n    name \"none\"\n}}\n{more}\n",
            music.display(),
            at("db"),
            at("state"),
            at("log"),
            socket.display()
        );
        fs::write(&conf, settings).unwrap();
        let mut mpd = Self {
            socket,
            conf,
            password: String::new(),
            process: None,
        };
        if let Some((_, rest)) = more.split_once("password \"") {
            mpd.password = format!("{}@", rest.split_once('@').unwrap().0);
        }
        mpd.start();
        Some(mpd)
    }

    fn start(&mut self) {
        let process = Command::new("mpd")
            .arg("--no-daemon")
            .arg(&self.conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(Running(process.unwrap()));
        until("MPD answers", || self.try_mpc(&["status"]).status.success());
    }

    /// Ends it after it has saved its queue.
    fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        Command::new("kill")
            .args(["-TERM", &process.0.id().to_string()])
            .status()
            .unwrap();
        process.0.wait().unwrap();
    }

    fn try_mpc(&self, arguments: &[&str]) -> Output {
        let host = format!("{}{}", self.password, self.socket.display());
        Command::new("mpc")
            .args(["-h", &host])
            .args(arguments)
            .output()
            .unwrap()
    }

    fn mpc(&self, arguments: &[&str]) -> String {
        fine(self.try_mpc(arguments))
    }

    fn queue(&self) -> Vec<String> {
        self.mpc(&["playlist", "-f", "%file%"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn voisin(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        let mut command = sandbox.command([&["mpd"], arguments, &["--variety", "0"]].concat());
        command.env("MPD_HOST", &self.socket);
        command
    }
}

#[test]
fn mpd_plays_on_with_what_sounds_alike() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(mut mpd) = Mpd::prepare(&sandbox, &music) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    let run = |mpd: &Mpd, arguments: &[&str]| mpd.voisin(&sandbox, arguments).output().unwrap();

    let idle = run(&mpd, &["playlist"]);
    assert_eq!(code(&idle), 1);
    assert!(
        text(&idle.stderr).contains("MPD plays nothing"),
        "{}",
        text(&idle.stderr)
    );

    let first = "metal/muldjord-chaos-god.mp3";
    let other = "ambient/maxstack-nebula.ogg";
    mpd.mpc(&["add", first]);
    mpd.mpc(&["add", other]);
    mpd.mpc(&["repeat", "on"]);
    mpd.mpc(&["play"]);
    let relative = |path: &str| {
        Path::new(path)
            .strip_prefix(&music)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let near: Vec<String> = fine(sandbox.run(["similar", "chaos god", "--format", "paths"]))
        .lines()
        .map(relative)
        .filter(|path| path != other)
        .collect();
    fine(run(&mpd, &["similar", "--limit", "2"]));
    assert_eq!(
        mpd.queue(),
        [first, &near[0], &near[1], other],
        "right behind the one that plays"
    );

    // The list replaces the queue; the playing song continues at its position.
    mpd.mpc(&["seek", "5"]);
    fine(run(&mpd, &["playlist", "--limit", "3", "--genre", "metal"]));
    let queue = mpd.queue();
    assert_eq!((queue.len(), queue[0].as_str()), (3, first), "{queue:?}");
    assert!(
        queue.iter().all(|file| file.starts_with("metal/")),
        "{queue:?}"
    );
    assert_eq!(mpd.mpc(&["current", "-f", "%file%"]).trim(), first);
    let status = mpd.mpc(&["status", "%state% %currenttime%"]);
    let seconds = status
        .trim()
        .rsplit(':')
        .next()
        .unwrap()
        .parse::<u32>()
        .unwrap();
    assert!(
        status.starts_with("playing") && (5..14).contains(&seconds),
        "{status}"
    );
    fine(run(&mpd, &["playlist", "--limit", "2", "--keep-queue"]));
    let longer = mpd.queue();
    assert_eq!(
        (longer.len(), &longer[..3]),
        (5, &queue[..]),
        "at the end of the queue, without repeats"
    );

    mpd.mpc(&["random", "on"]);
    for arguments in [&["playlist"][..], &["similar"], &["follow"]] {
        let refused = run(&mpd, arguments);
        assert_eq!(code(&refused), 2);
        assert!(
            text(&refused.stderr).contains("mpc random off"),
            "{}",
            text(&refused.stderr)
        );
    }
    mpd.mpc(&["random", "off"]);

    // A song outside the library is named.
    fs::write(music.join("unknown.wav"), noise_wav(22_050, 30.0, 3)).unwrap();
    mpd.mpc(&["update", "--wait"]);
    mpd.mpc(&["clear"]);
    mpd.mpc(&["add", "unknown.wav"]);
    mpd.mpc(&["play"]);
    let unknown = run(&mpd, &["similar"]);
    assert_eq!(code(&unknown), 1);
    assert!(
        text(&unknown.stderr).contains("unknown.wav")
            && text(&unknown.stderr).contains("voisin add")
    );

    // Following: the queue never runs out, nothing is repeated, and a restart of MPD is survived.
    mpd.mpc(&["clear"]);
    mpd.mpc(&["repeat", "off"]);
    mpd.mpc(&["add", first]);
    mpd.mpc(&["play"]);
    let mut follow = mpd.voisin(&sandbox, &["follow", "--ahead", "2"]);
    let log = fs::File::create(sandbox.path("follow.log")).unwrap();
    let mut follow = Running(follow.stderr(log).spawn().unwrap());
    until("two songs come", || mpd.queue().len() == 3);
    assert_eq!(mpd.queue()[0], first);
    mpd.mpc(&["next"]);
    until("one more song is added", || mpd.queue().len() == 4);
    mpd.stop();
    until("the loss is noticed", || {
        fs::read_to_string(sandbox.path("follow.log"))
            .unwrap()
            .contains("connection to MPD lost")
    });
    mpd.start();
    until("it is back", || {
        fs::read_to_string(sandbox.path("follow.log"))
            .unwrap()
            .contains("connected to MPD again")
    });
    mpd.mpc(&["play", "4"]);
    until("all songs of the library come", || mpd.queue().len() == 6);
    let mut all = mpd.queue();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "no repeats");
    mpd.mpc(&["play", "6"]);
    until("the log has the end", || {
        fs::read_to_string(sandbox.path("follow.log"))
            .unwrap()
            .contains("nothing comes twice")
    });
    assert_eq!(mpd.queue().len(), 6);
    Command::new("kill")
        .args(["-INT", &follow.0.id().to_string()])
        .status()
        .unwrap();
    assert!(follow.0.wait().unwrap().success());
    drop(mpd);
    let gone = sandbox
        .command(["mpd", "similar", "--host", "127.0.0.1", "--port", "1"])
        .output()
        .unwrap();
    assert_eq!(code(&gone), 2);
    assert!(
        text(&gone.stderr).contains("MPD_HOST"),
        "{}",
        text(&gone.stderr)
    );
}

#[test]
fn mpds_own_stickers_count() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let stickers = format!("sticker_file \"{}\"", sandbox.path("stickers").display());
    let Some(mpd) = Mpd::prepare_with(&sandbox, &music, &stickers) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    let first = "metal/muldjord-chaos-god.mp3";
    mpd.mpc(&["add", first]);
    mpd.mpc(&["play"]);
    let similar = || {
        fine(
            mpd.voisin(&sandbox, &["similar", "--limit", "5", "--taste", "1"])
                .output()
                .unwrap(),
        );
        let queue = mpd.queue();
        mpd.mpc(&["crop"]);
        queue[1..].to_vec()
    };
    let before = similar();
    assert_eq!(before.len(), 5);
    mpd.mpc(&["sticker", &before[0], "set", "like", "0"]);
    mpd.mpc(&["sticker", &before[1], "set", "rating", "two"]);
    mpd.mpc(&["sticker", &before[2], "set", "rating", "2"]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    mpd.mpc(&["sticker", &before[3], "set", "lastPlayed", &now.to_string()]);
    assert_eq!(
        similar().len(),
        3,
        "disliked songs and those with one star of five are left out"
    );
    let few = fine(
        mpd.voisin(&sandbox, &["similar", "--limit", "2"])
            .output()
            .unwrap(),
    );
    drop(few);
    assert_eq!(
        mpd.queue()[1..]
            .iter()
            .filter(|file| **file == before[3])
            .count(),
        0,
        "it was just played"
    );
}

#[test]
fn stickers_are_read_once_and_again_when_they_change() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let settings = format!(
        "sticker_file \"{}\"\nlog_level \"verbose\"",
        sandbox.path("stickers").display()
    );
    let Some(mpd) = Mpd::prepare_with(&sandbox, &music, &settings) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    let count = |command: &str| {
        let log = fs::read_to_string(sandbox.path("mpd/log")).unwrap();
        log.matches(&format!("process command \"{command}")).count()
    };
    let searches = || count("sticker find");
    mpd.mpc(&["add", "metal/muldjord-chaos-god.mp3"]);
    mpd.mpc(&["play"]);
    let _follow = Running(
        mpd.voisin(&sandbox, &["follow", "--ahead", "1"])
            .spawn()
            .unwrap(),
    );
    for length in 2..=4 {
        until("a song is added", || mpd.queue().len() == length);
        // Plays, the last one, stars and likes, each one sticker search.
        assert_eq!(searches(), 4, "after {} mixes", length - 1);
        if length < 4 {
            mpd.mpc(&["next"]);
        }
    }
    let queue = mpd.queue();
    let all = mpd.mpc(&["listall"]);
    let rest: Vec<&str> = all
        .lines()
        .filter(|file| !queue.iter().any(|queued| queued == file))
        .collect();
    let [hated, other] = rest[..] else {
        panic!("{rest:?}")
    };
    // Simultaneous changes cause one event.
    let mut waits = 0;
    until("the events have ended", || {
        let before = std::mem::replace(&mut waits, count("idle"));
        std::thread::sleep(Duration::from_millis(400));
        before == waits
    });
    mpd.mpc(&["sticker", hated, "set", "like", "0"]);
    until("it waits for the next change", || count("idle") > waits);
    mpd.mpc(&["next"]);
    until("a song is added", || mpd.queue().len() == 5);
    assert_eq!((mpd.queue()[4].as_str(), searches()), (other, 8));
}

#[test]
fn following_goes_on_where_mpd_has_lost_a_song() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(mpd) = Mpd::prepare(&sandbox, &music) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    let first = "metal/muldjord-chaos-god.mp3";
    mpd.mpc(&["add", first]);
    mpd.mpc(&["play"]);
    let log = sandbox.path("follow.log");
    let printed = || fs::read_to_string(&log).unwrap();
    let mut follow = mpd.voisin(&sandbox, &["follow", "--ahead", "1"]);
    let _follow = Running(
        follow
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    until("a song is added", || mpd.queue().len() == 2);

    // The nearest songs of the second one are removed without `follow` knowing.
    let second = mpd.queue()[1].clone();
    let seed = music.join(&second);
    let near = fine(sandbox.run(["similar", seed.to_str().unwrap(), "--format", "paths"]));
    let near: Vec<&str> = near.lines().filter(|path| !path.ends_with(first)).collect();
    let (last, gone) = near.split_last().unwrap();
    assert_eq!(gone.len(), 3);
    for path in gone {
        fs::remove_file(path).unwrap();
    }
    mpd.mpc(&["update", "--wait"]);
    // The files are back before MPD has rescanned; missing files would not be requested.
    for path in gone {
        fs::write(path, "").unwrap();
    }
    mpd.mpc(&["next"]);
    until("a song that MPD still has is added", || {
        mpd.queue().len() == 3
    });
    assert!(last.ends_with(&mpd.queue()[2]));
    assert_eq!(
        printed().matches("MPD no longer has").count(),
        3,
        "{}",
        printed()
    );
}

#[test]
fn a_very_large_music_folder_is_no_obstacle() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(mut mpd) = Mpd::prepare(&sandbox, &music) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    mpd.stop();
    let database = sandbox.path("mpd/db");
    let mut all = fs::read_to_string(&database).unwrap();
    for album in 0..1200 {
        all.push_str(&format!(
            "directory: album-{album}\nmtime: 1700000000\nbegin: album-{album}\n"
        ));
        for i in 0..100 {
            let name =
                format!("a-rather-long-artist-name-and-a-rather-long-title-of-the-song-{i}.mp3");
            all.push_str(&format!(
                "song_begin: {name}\nTime: 100\nmtime: 1700000000\nsong_end\n"
            ));
        }
        all.push_str(&format!("end: album-{album}\n"));
    }
    fs::write(&database, all).unwrap();
    mpd.start();
    mpd.mpc(&["add", "metal/muldjord-chaos-god.mp3"]);
    mpd.mpc(&["play"]);
    let found = mpd
        .voisin(&sandbox, &["similar", "--limit", "3", "--verbose"])
        .output()
        .unwrap();
    fine(&found);
    let stderr = text(&found.stderr);
    assert!(
        stderr
            .replace([',', '\u{2009}', '\u{202f}', ' '], "")
            .contains("120006files"),
        "{stderr}"
    );
    assert_eq!(mpd.queue().len(), 4);
}

#[test]
fn mpd_is_found_at_its_usual_places_and_needs_its_password() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let locked = "default_permissions \"\"\npassword \"secret@read,add,player,control,admin\"";
    let Some(mpd) = Mpd::prepare_with(&sandbox, &music, locked) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    mpd.mpc(&["add", "metal/muldjord-chaos-god.mp3"]);
    mpd.mpc(&["play"]);
    let run = |password: Option<&str>| {
        let mut command = sandbox.command(["mpd", "similar", "--limit", "1"]);
        command.env("XDG_RUNTIME_DIR", sandbox.path(""));
        if let Some(password) = password {
            command.env("MPD_HOST", format!("{password}@{}", mpd.socket.display()));
        }
        command.output().unwrap()
    };
    // Without an address MPD is found, and the missing password is named.
    let shut_out = run(None);
    assert_eq!(code(&shut_out), 2);
    let stderr = text(&shut_out.stderr);
    assert!(
        stderr.contains("needs a password") && stderr.contains("PASSWORD@HOST"),
        "{stderr}"
    );
    assert!(stderr.contains(mpd.socket.to_str().unwrap()), "{stderr}");
    let wrong = run(Some("wrong"));
    assert!(
        text(&wrong.stderr).contains("refuses the password"),
        "{}",
        text(&wrong.stderr)
    );
    fine(run(Some("secret")));
    assert_eq!(mpd.queue().len(), 2);
}

#[test]
fn a_list_becomes_a_stored_playlist() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    fs::create_dir_all(sandbox.path("mpd/playlists")).unwrap();
    let more = format!(
        "playlist_directory \"{}\"",
        sandbox.path("mpd/playlists").display()
    );
    let Some(mpd) = Mpd::prepare_with(&sandbox, &music, &more) else {
        return;
    };
    mpd.mpc(&["update", "--wait"]);
    mpd.mpc(&["add", "metal/muldjord-chaos-god.mp3"]);
    let push = |arguments: &[&str]| {
        let all = [&["lists", "push"], arguments].concat();
        sandbox
            .command(all)
            .env("MPD_HOST", &mpd.socket)
            .output()
            .unwrap()
    };
    let stored = |name: &str| -> Vec<String> {
        mpd.mpc(&["playlist", "-f", "%file%", name])
            .lines()
            .map(str::to_owned)
            .collect()
    };
    fine(sandbox.run(["lists", "save", "all of it", "list", "--sort", "path"]));
    fine(push(&["all of it", "--mpd"]));
    assert_eq!(stored("all of it").len(), 6);
    fine(sandbox.run([
        "lists",
        "save",
        "all of it",
        "list",
        "--genre",
        "metal",
        "--sort",
        "path",
    ]));
    fine(push(&[]));
    let metal = stored("all of it");
    assert!(
        metal.len() == 3
            && metal.is_sorted()
            && metal.iter().all(|file| file.starts_with("metal/"))
    );
    assert_eq!(mpd.queue().len(), 1, "the queue stays");
    assert_eq!(
        mpd.mpc(&["lsplaylists"]).lines().count(),
        1,
        "nothing is left over"
    );
    mpd.mpc(&["save", "own"]);
    fine(sandbox.run(["lists", "save", "own", "--template", "new"]));
    let taken = push(&["own", "--mpd"]);
    assert!(
        code(&taken) == 2 && text(&taken.stderr).contains("already has another playlist"),
        "{}",
        text(&taken.stderr)
    );
    assert_eq!(stored("own").len(), 1);
}
