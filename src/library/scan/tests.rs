//! Scanning real folders and playlists.

use std::fs;
use std::path::{Path, PathBuf};

use super::playlist::parse;
use super::*;

fn is_audio(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("mp3"))
}

struct FolderTree {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl FolderTree {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dunce::canonicalize(dir.path()).unwrap();
        let tree = Self { _dir: dir, root };
        for file in files {
            tree.write(file, b"x");
        }
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), bytes).unwrap();
    }

    fn scan(&self, arguments: &[&str]) -> Scan {
        scan(
            &arguments
                .iter()
                .map(|argument| self.at(argument))
                .collect::<Vec<_>>(),
            &is_audio,
        )
    }

    fn names(&self, found: &Scan) -> Vec<String> {
        found
            .files
            .iter()
            .map(|file| {
                file.path
                    .strip_prefix(&self.root)
                    .unwrap()
                    .to_string_lossy()
                    .replace('\\', "/")
            })
            .collect()
    }
}

#[test]
fn a_folder_gives_its_audio_without_hidden_and_marked_folders() {
    let tree = FolderTree::new(&[
        "m/b.mp3",
        "m/a.MP3",
        "m/cover.jpg",
        "m/.hidden.mp3",
        "m/.trash/x.mp3",
        "m/sub/deep/c.mp3",
        "m/ringtones/.nomedia",
        "m/ringtones/r.mp3",
        "m/ringtones/more/s.mp3",
        "m/talk/.notmusic",
        "m/talk/t.mp3",
    ]);
    let found = tree.scan(&["m"]);
    assert_eq!(
        tree.names(&found),
        ["m/a.MP3", "m/b.mp3", "m/sub/deep/c.mp3"]
    );
    assert_eq!(found.roots, [tree.at("m")]);
    assert_eq!(found.problems, []);
    assert_eq!(
        found.files[0],
        FileRecord::read(&tree.at("m/a.MP3")).unwrap()
    );
    // a file that is named is taken, hidden or not, whatever its extension; a second time counts
    // once
    let found = tree.scan(&[
        "m/.hidden.mp3",
        "m/cover.jpg",
        "m/./sub/../b.mp3",
        "m",
        "m/sub",
        "m/.trash",
    ]);
    let names = [
        "m/.hidden.mp3",
        "m/cover.jpg",
        "m/b.mp3",
        "m/a.MP3",
        "m/sub/deep/c.mp3",
        "m/.trash/x.mp3",
    ];
    assert_eq!(tree.names(&found), names);
}

#[test]
fn systems_folders_are_left_out_unless_named() {
    let tree = FolderTree::new(&[
        "m/a/1.mp3",
        "m/a/@eaDir/1.mp3/x.mp3",
        "m/#Recycle/2.mp3",
        "m/.Trash-1000/files/x.mp3",
        "m/__MACOSX/a/1.mp3",
        "m/Recycled/3.mp3",
    ]);
    let kept = ["m/Recycled/3.mp3", "m/a/1.mp3"];
    assert_eq!(tree.names(&tree.scan(&["m"])), kept);
    assert_eq!(
        tree.names(&tree.scan(&["m", "m/#Recycle"])),
        [&kept[..], &["m/#Recycle/2.mp3"]].concat()
    );
    assert_eq!(
        tree.names(&tree.scan(&["m/#Recycle/2.mp3"])),
        ["m/#Recycle/2.mp3"]
    );
}

#[test]
fn patterns_read_as_git_reads_them() {
    let tree = FolderTree::new(&[
        "m/a/x.mp3",
        "m/a/keep.mp3",
        "m/b/b/x.mp3",
        "m/#demos/x.mp3",
        "m/x.mp3",
    ]);
    let names = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        let given = Exclusions::new(&patterns);
        tree.names(&scan_without(
            &[tree.at("m")],
            &is_audio,
            &given,
            Links::Inside,
        ))
    };
    assert_eq!(names(&["x.mp3"]), ["m/a/keep.mp3"]);
    assert_eq!(names(&["*.mp3", "!keep.mp3"]), ["m/a/keep.mp3"]);
    assert_eq!(
        names(&["#demos/", "a/x.mp3", "/b/"]),
        ["m/a/keep.mp3", "m/x.mp3"]
    );
    tree.write("m/.voisinignore", "\u{feff}#demos/\n/x.mp3\n".as_bytes());
    tree.write("m/b/.voisinignore", b"x.mp3\n");
    assert_eq!(
        names(&["!/x.mp3"]),
        ["m/#demos/x.mp3", "m/a/keep.mp3", "m/a/x.mp3", "m/x.mp3"]
    );
}

#[test]
fn scanning_goes_on_behind_a_bad_path() {
    let tree = FolderTree::new(&["m/a.mp3"]);
    let found = tree.scan(&["nowhere", "m/nothing.mp3", "m"]);
    assert_eq!(tree.names(&found), ["m/a.mp3"]);
    let paths: Vec<_> = found
        .problems
        .iter()
        .map(|problem| problem.path.clone())
        .collect();
    assert_eq!(paths, [tree.at("nowhere"), tree.at("m/nothing.mp3")]);
    assert!(
        found.problems[0].reason.to_lowercase().contains("no such"),
        "{}",
        found.problems[0].reason
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_once_and_loops_end() {
    use std::os::unix::fs::symlink;
    let tree = FolderTree::new(&[
        "m/a.mp3",
        "m/sub/b.mp3",
        "elsewhere/c.mp3",
        "elsewhere/d.mp3",
    ]);
    symlink(tree.at("m"), tree.at("m/sub/loop")).unwrap();
    symlink(tree.at("elsewhere"), tree.at("m/link1")).unwrap();
    symlink(tree.at("elsewhere"), tree.at("m/link2")).unwrap();
    symlink(tree.at("m/a.mp3"), tree.at("m/again.mp3")).unwrap();
    symlink(tree.at("gone"), tree.at("m/broken.mp3")).unwrap();
    let found = tree.scan(&["m"]);
    assert_eq!(
        tree.names(&found),
        [
            "m/a.mp3",
            "elsewhere/c.mp3",
            "elsewhere/d.mp3",
            "m/sub/b.mp3"
        ]
    );
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert_eq!(found.problems[0].path, tree.at("m/broken.mp3"));
    assert_eq!(tree.scan(&["m/link1", "elsewhere"]).files.len(), 2);
    let inside = |argument: &str| {
        let none = Exclusions::default();
        scan_without(&[tree.at(argument)], &is_audio, &none, Links::Inside)
    };
    // Links that lead out of the folder are left alone unless they are to be followed.
    let found = inside("m");
    assert_eq!(tree.names(&found), ["m/a.mp3", "m/sub/b.mp3"]);
    assert_eq!(found.leading_out, [tree.at("m/link1"), tree.at("m/link2")]);
    // A link argument is a folder like others.
    assert_eq!(
        tree.names(&inside("m/link1")),
        ["elsewhere/c.mp3", "elsewhere/d.mp3"]
    );
    // The link's name is kept if the link is the argument.
    assert_eq!(tree.names(&tree.scan(&["m/again.mp3"])), ["m/again.mp3"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_any_bytes_and_things_that_are_no_files() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let tree = FolderTree::new(&[]);
    let odd = tree.root.join(OsStr::from_bytes(b"\xff\n\x1b.mp3"));
    fs::write(&odd, b"x").unwrap();
    let fifo = tree.at("fifo.mp3");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    let found = scan(std::slice::from_ref(&tree.root), &is_audio);
    assert_eq!(
        found
            .files
            .iter()
            .map(|file| &file.path)
            .collect::<Vec<_>>(),
        [&odd]
    );
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(
            scan(&[fifo], &is_audio).problems[0].reason,
            "is neither a file nor a folder"
        );
    }
}

#[test]
fn lists_are_split_at_nul_or_at_lines() {
    let paths = |bytes: &[u8]| {
        split_list(bytes)
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(b"a b\r\n\n c \nd"), ["a b", " c ", "d"]);
    assert_eq!(paths(b"a\nb\0c\r\0\0"), ["a\nb", "c\r"]);
    assert_eq!(paths(b""), Vec::<String>::new());
}

#[test]
fn m3u_lists_its_lines() {
    let text = "\u{feff}#EXTM3U\r\n#EXTINF:1,A - B\r\n a.mp3 \r\n\r\n../b c.mp3\n/abs/100%.mp3\n\
                file:///abs/with%20space%2.mp3\nFILE://localhost/l.mp3\nfile:/one.mp3\nfile://server/share.mp3\n\
                http://radio/stream\nC:\\x.mp3\nBach: Air.mp3\nfile://\n";
    let expected = [
        "a.mp3",
        "../b c.mp3",
        "/abs/100%.mp3",
        "/abs/with space%2.mp3",
        "/l.mp3",
        "/one.mp3",
        "//server/share.mp3",
        "C:\\x.mp3",
        "Bach: Air.mp3",
    ];
    assert_eq!(parse(text.as_bytes()), expected.map(str::as_bytes));
    assert_eq!(parse(b"\xef\xbb\xbf\xe9.mp3"), [b"\xe9.mp3"]);
}

#[test]
fn a_playlist_stands_for_its_files() {
    let tree = FolderTree::new(&["m/a.mp3", "m/b.data", "m/c.mp3"]);
    tree.write(
        "lists/l.m3u8",
        b"../m/b.data\n../m/a.mp3\n../m/gone.mp3\nhttp://r/s\n../m/a.mp3\nother.m3u\n../m\n",
    );
    tree.write("lists/other.m3u", b"../m/c.mp3");
    let found = tree.scan(&["lists/l.m3u8"]);
    assert_eq!(tree.names(&found), ["m/b.data", "m/a.mp3"]);
    let reasons: Vec<_> = found
        .problems
        .iter()
        .map(|problem| problem.reason.as_str())
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(
        reasons[1..],
        [
            "playlists inside playlists are not followed",
            "is not a file"
        ]
    );
    assert_eq!(tree.names(&tree.scan(&["lists/other.m3u"])), ["m/c.mp3"]);
    assert_eq!(
        tree.scan(&["lists"]).files.len(),
        0,
        "a playlist inside a folder is no argument"
    );
}

#[test]
fn playlists_of_other_systems_lead_to_the_files_here() {
    let tree = FolderTree::new(&["Music/Artist/Plain.mp3", "Music/Artist/Кино.mp3"]);
    let list: &[u8] = b"#EXTENC: WINDOWS-1251\r\nMUSIC\\Artist\\\xca\xe8\xed\xee.mp3\r\n\
        F:\\Music\\Artist\\Plain.mp3\r\n\\\\nas\\x\\gone.mp3\r\n";
    tree.write("l.m3u", list);
    let found = tree.scan(&["l.m3u"]);
    let expected = ["Music/Artist/Кино.mp3", "Music/Artist/Plain.mp3"];
    assert_eq!(tree.names(&found), expected);
    assert_eq!(found.problems.len(), 1);
}
