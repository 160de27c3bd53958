//! File names and tags never reach a terminal, spreadsheet, page, playlist or statement unescaped.

use lofty::config::WriteOptions;
use lofty::tag::{Accessor as _, Tag, TagExt as _, TagType};

use super::*;

const TITLE: &str = "=HYPERLINK(\"http://x\",\"y\")";
const ARTIST: &str = "\u{1b}]0;pwned\u{7}\u{9b}31m'; DROP TABLE audio; --";
const ALBUM: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>";
const GENRE: &str = "Rock;=1+1";

fn tagged(path: &Path, seed: u64, title: &str) {
    fs::write(path, noise_wav(22_050, 5.0, seed)).unwrap();
    let mut tag = Tag::new(TagType::Id3v2);
    tag.set_title(title.to_owned());
    tag.set_artist(ARTIST.to_owned());
    tag.set_album(ALBUM.to_owned());
    tag.set_genre(GENRE.to_owned());
    tag.save_to_path(path, WriteOptions::default()).unwrap();
}

fn hostile_library(sandbox: &Sandbox) -> PathBuf {
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for (i, name) in [
        "=cmd.wav",
        "a\u{1b}[2Jb.wav",
        "<!--<script>.wav",
        "x\n#EXTINF:1,y\n.wav",
    ]
    .iter()
    .enumerate()
    {
        tagged(&music.join(name), 40 + i as u64, &format!("{TITLE}{i}"));
    }
    tagged(&music.join("+1.wav"), 50, "-2+3 cmd|' /C calc'!A0");
    fs::write(music.join("bad\u{1b}]0;x\u{7}.mp3"), b"nothing").unwrap();
    let added = sandbox.run(["add", "-v", &string(&music)]);
    assert_eq!(code(&added), 1, "{}", text(&added.stderr));
    tame(&added, "add");
    assert_eq!(status(sandbox)["tracks"], 5);
    music
}

/// The output has no control characters.
fn tame(output: &Output, what: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let commands = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(
            !text(stream).contains(commands),
            "{what}: {:?}",
            text(stream)
        );
    }
}

#[test]
fn no_verb_lets_a_tag_command_a_terminal() {
    let sandbox = Sandbox::new();
    hostile_library(&sandbox);
    for format in ["table", "json", "csv", "m3u8"] {
        for verb in [vec!["similar", "id:1"], vec!["list", "--failed"]] {
            tame(
                &sandbox.run(verb.into_iter().chain(["--format", format])),
                format,
            );
        }
    }
    for format in ["table", "json", "csv"] {
        for verb in [
            vec!["classify", "--all"],
            vec!["genres"],
            vec!["clusters"],
            vec!["similar", "--by", "artist"],
            vec!["duplicates"],
        ] {
            let what = format!("{verb:?} {format}");
            tame(
                &sandbox.run(verb.into_iter().chain(["--format", format])),
                &what,
            );
        }
    }
    for format in ["table", "json", "m3u8"] {
        tame(
            &sandbox.run(["playlist", "id:1", "--limit", "3", "--format", format]),
            format,
        );
        tame(
            &sandbox.run(["path", "id:1", "id:2", "--format", format]),
            format,
        );
    }
    for arguments in [
        vec!["status"],
        vec!["verify", "--deep"],
        vec!["similar", ARTIST],
        vec!["remove", "\u{1b}[2J"],
    ] {
        tame(&sandbox.run(&arguments), arguments[0]);
    }
    // JSON has the tag unchanged, in escaped form. U+009B is how a program wrote the byte that Windows-1252 has for
    // "›".
    let found = json(fine(&sandbox, &["similar", "id:1", "--format", "json"]));
    let artist = ARTIST.replace('\u{9b}', "›");
    assert_eq!(found["neighbours"][0]["artist"], artist);
}

#[test]
fn no_cell_is_a_formula() {
    let sandbox = Sandbox::new();
    let music = hostile_library(&sandbox);
    // A name that a leading apostrophe would break.
    let split = music.join("a;-b.wav");
    tagged(&split, 60, "Split");
    fine(&sandbox, &["add", &string(&split)]);
    let export = sandbox.path("export");
    fine(&sandbox, &["export", &string(&export)]);
    let exported = fs::read_to_string(export.join("tracks.csv")).unwrap();
    assert!(exported.contains("/music/a%3B-b.wav,"), "{exported}");
    let mut tables = vec![fs::read(export.join("tracks.csv")).unwrap()];
    for verb in [
        vec!["similar", "id:1"],
        vec!["list", "--failed"],
        vec!["classify", "--all"],
        vec!["clusters"],
        vec!["similar", "--by", "artist"],
    ] {
        tables.push(
            sandbox
                .run(verb.into_iter().chain(["--format", "csv"]))
                .stdout,
        );
    }
    let mut seen = 0;
    for table in tables {
        // Read by programs that split at commas, and at semicolons.
        for delimiter in *b",;" {
            let mut reader = csv::ReaderBuilder::new()
                .delimiter(delimiter)
                .has_headers(false)
                .flexible(true)
                .from_reader(table.as_slice());
            for cell in reader.records().flat_map(|record| {
                record
                    .unwrap()
                    .iter()
                    .map(ToOwned::to_owned)
                    .collect::<Vec<_>>()
            }) {
                let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r'])
                    && cell.parse::<f64>().is_err();
                assert!(!formula, "{cell:?} in {}", text(&table));
                seen += usize::from(cell.contains("HYPERLINK"));
            }
        }
    }
    assert!(seen > 5, "the tags were there");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn pages_playlists_and_statements_escape_hostile_names() {
    let sandbox = Sandbox::new();
    let music = hostile_library(&sandbox);
    let page = sandbox.path("map.html");
    fine(&sandbox, &["map", "--output", &string(&page)]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(
        !html.contains("<script>alert") && !html.contains("<img src=x"),
        "a tag became a tag"
    );
    assert!(html.contains("alert(1)"), "and is there as text");

    // Every entry of a playlist is a file of the library: no line is injected.
    let list = sandbox.path("list.m3u8");
    let written = fine(
        &sandbox,
        &[
            "playlist",
            "id:1",
            "--limit",
            "5",
            "--max-per-artist",
            "0",
            "--keep-duplicates",
            "--format",
            "m3u8",
        ],
    )
    .stdout;
    fs::write(&list, written).unwrap();
    let added = json(fine(&sandbox, &["add", "--format", "json", &string(&list)]));
    assert_eq!(
        (&added["unchanged"], &added["added"], &added["failed"]),
        (&5.into(), &0.into(), &0.into())
    );
    let list = text(&fine(&sandbox, &["similar", "id:1", "--format", "m3u8"]).stdout);
    assert_eq!(
        list.lines()
            .filter(|line| line.starts_with("#EXTINF:"))
            .count(),
        4
    );
    assert_eq!(list.lines().count(), 2 + 2 * 4, "{list}");

    // Search words are not interpreted.
    for words in [
        "'; DROP TABLE audio; --",
        "\" OR 1=1 --",
        "%",
        "_",
        "id:1 OR 1=1",
        "\\'",
    ] {
        for arguments in [
            vec!["similar", words],
            vec!["similar", "id:1", "--genre", words],
            vec!["similar", "id:1", "--artist", words],
            vec!["similar", "id:1", "--folder", words],
        ] {
            let output = sandbox.run(&arguments);
            // A genre that no track has is a mistake, whatever its name.
            let most = if arguments.contains(&"--genre") { 2 } else { 1 };
            assert!(
                code(&output) <= most || words.is_empty(),
                "{arguments:?}: {}",
                text(&output.stderr)
            );
        }
    }
    assert_eq!(status(&sandbox)["tracks"], 5);
    fine(&sandbox, &["verify"]);
    drop(music);
}

#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn paths_are_any_bytes_from_end_to_end() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::Stdio;
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let names: [&[u8]; 4] = [
        b"caf\xe9 \xff.wav",
        b"new\nline.wav",
        b" blank .wav",
        b"-0.wav",
    ];
    for (i, name) in names.iter().enumerate() {
        fs::write(
            music.join(std::ffi::OsStr::from_bytes(name)),
            noise_wav(16_000, 4.0, 70 + i as u64),
        )
        .unwrap();
    }
    fine(&sandbox, &["add", &string(&music)]);
    let piped = fine(&sandbox, &["list", "--format", "paths", "-0"]).stdout;
    let mut listed: Vec<&[u8]> = piped
        .split(|&byte| byte == 0)
        .filter(|path| !path.is_empty())
        .collect();
    listed.sort_unstable();
    let mut expected: Vec<Vec<u8>> = names
        .iter()
        .map(|name| [music.as_os_str().as_bytes(), b"/", name].concat())
        .collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let feed = |arguments: &[&str], input: &[u8]| {
        let mut command = sandbox.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        child.wait_with_output().unwrap()
    };
    // The output of one voisin is the input of the next.
    let again = json(feed(&["add", "-", "-0", "--format", "json"], &piped));
    assert_eq!(
        (&again["unchanged"], &again["added"]),
        (&4.into(), &0.into()),
        "{again}"
    );
    let one = feed(&["add", "-", "-0", "--format", "json"], &expected[3]);
    assert_eq!(
        json(&one)["unchanged"],
        1,
        "a single name with a line end in it"
    );
    let seeded = feed(&["similar", "-", "--format", "json"], &piped);
    assert_eq!(json(&seeded)["seeds"].as_array().unwrap().len(), 4);
    // Playlists name the files that are there.
    for arguments in [vec!["list"], vec!["playlist", "id:1", "--limit", "4"]] {
        let written = fine(
            &sandbox,
            &arguments
                .into_iter()
                .chain(["--format", "m3u8"])
                .collect::<Vec<_>>(),
        )
        .stdout;
        let list = sandbox.path("list.m3u8");
        fs::write(&list, &written).unwrap();
        let read = json(fine(&sandbox, &["add", "--format", "json", &string(&list)]));
        assert_eq!(read["unchanged"], 4, "{}", text(&written));
    }
    // Tables name them too, by their bytes.
    let found = fine(&sandbox, &["find", "calm", "--format", "csv"]).stdout;
    assert!(
        text(&found).contains("/caf%E9%20%FF.wav,"),
        "{}",
        text(&found)
    );
    // And they can be removed one by one.
    let mut remove = sandbox.command(["remove"]);
    let removed = remove
        .arg(music.join(std::ffi::OsStr::from_bytes(names[0])))
        .output()
        .unwrap();
    assert_eq!(code(&removed), 0, "{}", text(&removed.stderr));
    assert_eq!(status(&sandbox)["tracks"], 3);
}
