use super::*;

const ALBUM: &str = "REM GENRE \"Dub Techno\"\nREM DATE 2003\nPERFORMER \"Various\"\nTITLE \"A \"long\" mix\"\n\
    FILE \"mix.wav\" WAVE\n  TRACK 01 AUDIO\n    TITLE \"One\"\n    PERFORMER \"X\"\n    INDEX 01 00:00:00\n  \
    TRACK 02 AUDIO\n    TITLE \"Two\"\n    ISRC USRC17607839\n    INDEX 00 03:20:00\n    INDEX 01 03:25:37\n";

fn folder_with(sheet: &[u8], files: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::write(folder.path().join(file), b"x").unwrap();
    }
    let path = folder.path().join("album.cue");
    std::fs::write(&path, sheet).unwrap();
    (folder, path)
}

#[test]
fn a_sheet_gives_parts_with_times_and_names() {
    let (folder, path) = folder_with(ALBUM.as_bytes(), &["mix.wav"]);
    let parts = read(&path).unwrap().parts;
    assert_eq!(parts.len(), 2);
    let one = &parts[0];
    assert_eq!((one.start, one.end), (0, Some((3 * 60 + 25) * 75 + 37)));
    assert_eq!(
        (one.title.as_deref(), one.artist.as_deref()),
        (Some("One"), Some("X"))
    );
    assert_eq!(one.album.as_deref(), Some("A \"long\" mix"));
    let two = &parts[1];
    assert_eq!((two.start, two.end), (one.end.unwrap(), None));
    assert_eq!(
        (two.artist.as_deref(), two.isrc.as_deref()),
        (Some("Various"), Some("USRC17607839"))
    );
    assert_eq!(
        (two.genre.as_deref(), two.date.as_deref()),
        (Some("Dub Techno"), Some("2003"))
    );
    assert_eq!(two.path(), path.join("02"));
    assert_eq!(
        Place::of(&path.join("02")).unwrap(),
        Place::Part(Box::new(two.clone()))
    );
    assert_eq!(
        Place::of(&path.join("3")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let audio = folder.path().join("mix.wav");
    assert_eq!(Place::of(&audio).unwrap(), Place::File(&audio));
    assert!(
        Place::exists(&audio)
            && Place::exists(&path.join("02"))
            && !Place::exists(&path.join("03"))
    );
}

#[test]
fn any_encoding_is_read() {
    let title = |bytes: &[u8]| {
        parse(&encoding::decode_file(bytes)).unwrap().files[0].tracks[0]
            .title
            .clone()
            .unwrap()
    };
    let lines = |title: &str| {
        format!("FILE a.wav WAVE\r\nTRACK 1 AUDIO\r\nTITLE {title}\r\nINDEX 01 00:00:00\r\n")
    };
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(lines("Ž–é").encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let unmarked: Vec<u8> = lines("Ž–é")
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let latin: Vec<u8> = lines("?")
        .bytes()
        .flat_map(|b| {
            if b == b'?' {
                vec![0x8e, 0x96, 0xe9]
            } else {
                vec![b]
            }
        })
        .collect();
    for bytes in [
        lines("Ž–é").into_bytes(),
        format!("\u{feff}{}", lines("Ž–é")).into_bytes(),
        lines("Ž–é").replace("\r\n", "\r").into_bytes(),
        utf16[2..].to_vec(),
        unmarked,
        utf16,
        latin,
    ] {
        assert_eq!(title(&bytes), "Ž–é");
    }
}

#[test]
fn old_sheets_name_files_in_their_own_letters() {
    // "Группа.wav" and a title in Windows-1251; in Shift_JIS the same.
    let sheet = |name: &[u8], title: &[u8]| {
        let tracks = b"TRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 01 00:01:00\n";
        [
            b"TITLE \"",
            title,
            b"\"\nFILE \"",
            name,
            b"\" WAVE\n",
            tracks,
        ]
        .concat()
    };
    let russian = sheet(b"\xc3\xf0\xf3\xef\xef\xe0.wav", b"\xca\xe8\xed\xee");
    let (_folder, path) = folder_with(&russian, &["Группа.wav"]);
    let part = read(&path).unwrap().parts.remove(0);
    assert_eq!(part.album.as_deref(), Some("Кино"));
    // An existing file shows the encoding even of a name of one letter in two bytes.
    let japanese = sheet(b"\x89\xb9.wav", b"\x89\xb9");
    let (_folder, path) = folder_with(&japanese, &["音.wav"]);
    let part = read(&path).unwrap().parts.remove(0);
    assert_eq!(part.album.as_deref(), Some("音"));
    // Accents that are decomposed in the file's name.
    let (_folder, path) = folder_with(&sheet("é.wav".as_bytes(), b"x"), &["e\u{301}.wav"]);
    assert_eq!(read(&path).unwrap().parts.len(), 2);
}

#[test]
fn files_are_found_beside_the_sheet_and_nowhere_else() {
    let sheet = |name: &str| ALBUM.replace("mix.wav", name);
    for (name, there) in [
        ("MIX.WAV", "mix.wav"),
        ("mix.wav", "mix.flac"),
        (r"C:\Rips\mix.wav", "mix.mp3"),
        ("/elsewhere/mix.wav", "mix.wav"),
        ("../mix.wav", "mix.wav"),
    ] {
        let (folder, path) = folder_with(sheet(name).as_bytes(), &[there, "mix.txt"]);
        let parts = read(&path).unwrap().parts;
        // If the file system ignores case, a file is found under the sheet's spelling.
        let is_it = |audio: &Path| match audio.file_name().and_then(|found| found.to_str()) {
            Some(found) if cfg!(windows) => found.eq_ignore_ascii_case(there),
            found => found == Some(there),
        };
        let parent = folder.path();
        let all = parts
            .iter()
            .all(|part| part.audio.parent() == Some(parent) && is_it(&part.audio));
        assert!(all, "{name}: {parts:?}");
        assert_eq!(parts.len(), 2);
    }
    for name in [
        "../../../../../../../../../../etc/hostname",
        "..",
        "/",
        "a\0b",
    ] {
        let (_folder, path) = folder_with(sheet(name).as_bytes(), &["mix.txt"]);
        let read = read(&path).unwrap();
        assert!(
            read.parts.is_empty() && read.fault().unwrap().to_string().contains("FILE line"),
            "{name}"
        );
    }
}

#[test]
fn a_file_below_the_sheet_is_found_by_the_end_of_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("cd/Alb.flac");
    std::fs::create_dir(folder.path().join("cd")).unwrap();
    std::fs::write(&there, b"x").unwrap();
    std::fs::create_dir(folder.path().join("other")).unwrap();
    for (name, is_found) in [
        (r"\\nas\rips\CD\alb.wav", true),
        (r"D:\CD\alb.wav", true),
        (r"CD\alb.wav", true),
        ("../x/cd/Alb.flac", true),
        ("cd/../Alb.flac", false),
        (r"\\nas\other\alb.wav", false),
        ("alb.wav", false),
    ] {
        let found = find(folder.path(), name);
        assert_eq!(
            found.as_ref() == Some(&there),
            is_found,
            "{name}: {found:?}"
        );
    }
}

#[test]
fn several_files_and_those_of_one_track_alone() {
    let text = "FILE a.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 00 01:00:00\n\
                FILE b.wav WAVE\nINDEX 01 00:00:00\nTRACK 03 AUDIO\nINDEX 01 02:00:00\n\
                FILE gone.wav WAVE\nTRACK 04 AUDIO\nINDEX 01 00:00:00\n";
    let (folder, path) = folder_with(text.as_bytes(), &["a.wav", "b.wav"]);
    let read = read(&path).unwrap();
    // TRACK 01 and TRACK 04 have their own files.
    let parts: Vec<_> = read
        .parts
        .iter()
        .map(|part| (part.number, part.start, part.end))
        .collect();
    assert_eq!(parts, [(2, 0, Some(9000)), (3, 9000, None)]);
    let [a, b] = ["a.wav", "b.wav"].map(|name| folder.path().join(name));
    assert_eq!((&read.parts[0].audio, read.missing.len()), (&b, 0));
    assert_eq!(of_whole(&a), read.wholes.first().cloned());
    assert_eq!(of_whole(&a).map(|part| part.number), Some(1));
    assert_eq!(of_whole(&b), None);
}

#[test]
fn music_before_the_first_track_is_a_part() {
    let ranges = |start: &str| {
        let text = format!(
            "PERFORMER X\nFILE a.wav WAVE\nTRACK 01 AUDIO\nINDEX 00 00:00:00\nINDEX 01 {start}\n\
             TRACK 02 AUDIO\nINDEX 01 05:00:00\n"
        );
        let (_folder, path) = folder_with(text.as_bytes(), &["a.wav"]);
        let parts = read(&path).unwrap().parts;
        assert!(parts.iter().all(|part| part.artist.as_deref() == Some("X")));
        assert!(parts.iter().all(|part| Place::exists(&part.path())));
        let range = |part: &CuePart| (part.number, part.start, part.end);
        parts.iter().map(range).collect::<Vec<_>>()
    };
    let hidden = [(0, 0, Some(4500)), (1, 4500, Some(22500)), (2, 22500, None)];
    assert_eq!(ranges("01:00:00"), hidden);
    assert_eq!(ranges("00:05:00")[0], (0, 0, Some(375)));
    assert_eq!(ranges("00:04:00").len(), 2);
    assert_eq!(ranges("00:02:00"), [(1, 150, Some(22500)), hidden[2]]);
}

#[test]
fn a_senseless_sheet_is_described_in_one_line() {
    let track = |index: &str| {
        format!("FILE a.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:01:00\nTRACK 02 AUDIO\n{index}\n")
    };
    for (text, expected) in [
        (
            track("INDEX 01 03:75:00"),
            "line 5: expected a time such as 03:25:74, found \"03:75:00\"",
        ),
        (track("INDEX 01 3:25"), "line 5: expected a time"),
        (track("INDEX 01 -3:25:00"), "line 5: expected a time"),
        (
            track("INDEX 01 99999999999999999999:00:00"),
            "line 5: expected a time",
        ),
        (
            track("INDEX 01 00:00:74"),
            "line 5: expected TRACK 02 to begin after TRACK 01, found 00:00:74",
        ),
        (
            track("INDEX 00 00:02:00"),
            "line 4: expected an INDEX 01 for TRACK 02",
        ),
        (
            track("INDEX 01 00:02:00\nTRACK 2 AUDIO"),
            "line 6: TRACK 02 is there twice",
        ),
        (
            track("INDEX 01 00:02:00\nINDEX 01 00:03:00"),
            "line 6: expected a TRACK before",
        ),
        (
            "TRACK 01 AUDIO\nINDEX 01 00:00:00".into(),
            "line 2: expected a FILE before",
        ),
        (
            "FILE a.bin BINARY\n".into(),
            "line 1: expected a file of audio",
        ),
        ("FILE\n".into(), "line 1: expected FILE"),
        (
            "FILE a.wav WAVE\n".repeat(1000),
            "line 1000: expected at most 999 FILE lines",
        ),
        (
            "TRACK 0 AUDIO".into(),
            "line 1: expected TRACK with a number from 1 to 999",
        ),
        (String::new(), "expected FILE, TRACK and INDEX 01 lines"),
        (
            "\u{0}\u{1b}[31m garbage\n".repeat(1000),
            "expected FILE, TRACK and INDEX 01 lines",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(
            error.starts_with(expected) && !error.contains(char::is_control),
            "{error}"
        );
    }
}

/// The head of a FLAC file at 44.1 kHz with these blocks.
fn flac(blocks: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut info = vec![0; 34];
    info[10..13].copy_from_slice(&(44_100_u32 << 4).to_be_bytes()[1..]);
    let mut file = b"fLaC".to_vec();
    let last = blocks.len();
    for (i, (kind, block)) in [&[(0, info)], blocks].concat().into_iter().enumerate() {
        file.push(kind | if i == last { 0x80 } else { 0 });
        file.extend(&(block.len() as u32).to_be_bytes()[1..]);
        file.extend(block);
    }
    [file, vec![0; 100]].concat()
}

fn comments(texts: &[&str]) -> (u8, Vec<u8>) {
    let sized = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let texts: Vec<u8> = texts.iter().flat_map(|text| sized(text)).collect();
    (4, [sized("maker"), vec![9, 0, 0, 0], texts].concat())
}

/// A CUESHEET block: numbers and seconds of its tracks, and the lead-out.
fn block(tracks: &[(u8, u64)]) -> (u8, Vec<u8>) {
    let mut block = vec![0; 395];
    block.push(tracks.len() as u8 + 1);
    for &(number, second) in tracks.iter().chain(&[(170, 1000)]) {
        block.extend((44_100 * second).to_be_bytes());
        block.push(number);
        block.extend(if number == 2 {
            *b"USRC17607839"
        } else {
            [0; 12]
        });
        block.extend([0; 14]);
        // An index before INDEX 01, which is a second after the track's offset.
        block.push(if number == 170 { 0 } else { 2 });
        if number != 170 {
            block.extend([0; 12]);
            block.extend([&44_100_u64.to_be_bytes()[..], &[1, 0, 0, 0]].concat());
        }
    }
    (5, block)
}

#[test]
fn a_flac_file_holds_a_sheet_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("album.FLAC");
    let parts_of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read(&path).unwrap().parts
    };
    let comment = format!(
        "cuesheet={}",
        ALBUM.replace("mix.wav", "of another name.wav")
    );
    let of_comment = comments(&["TITLE=A", &comment]);
    // The comment, which has titles, comes before the block; each alone suffices, also after an ID3 tag.
    for file in [
        vec![of_comment.clone()],
        vec![block(&[(1, 0), (2, 9)]), of_comment.clone()],
    ] {
        let parts = parts_of(
            &[
                b"ID3\x04\0\0\0\0\x01\x02".to_vec(),
                vec![7; 130],
                flac(&file),
            ]
            .concat(),
        );
        assert_eq!((parts.len(), parts[0].title.as_deref()), (2, Some("One")));
        assert_eq!(
            (parts[1].start, parts[1].isrc.as_deref()),
            ((3 * 60 + 25) * 75 + 37, Some("USRC17607839"))
        );
        assert_eq!((&parts[1].audio, parts[1].path()), (&path, path.join("02")));
        assert_eq!(Place::part(&path.join("02")).unwrap(), parts[1]);
    }
    let nonsense = comments(&["CUESHEET=TRACK 01 AUDIO"]);
    let parts = parts_of(&flac(&[nonsense.clone(), block(&[(1, 0), (2, 9)])]));
    let of_block = [
        (1, 75, Some(750), None),
        (2, 750, None, Some("USRC17607839")),
    ];
    let shown = |part: &CuePart| (part.number, part.start, part.end, part.isrc.clone());
    assert_eq!(
        parts.iter().map(shown).collect::<Vec<_>>(),
        of_block.map(|(number, start, end, isrc)| (number, start, end, isrc.map(str::to_owned)))
    );
    assert_eq!(super::folder(&path.join("02")), Some(folder.path()));
    assert_eq!(super::folder(&path), Some(folder.path()));
    assert_eq!(
        Place::of(&path.join("03")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(Place::part(&path).is_none() && Place::part(&path.join("cover")).is_none());
    // No parts: nothing, one track, tracks out of order, and truncated or wrong headers.
    for file in [
        vec![],
        vec![nonsense],
        vec![block(&[(1, 0)])],
        vec![block(&[(2, 0), (1, 9)])],
        vec![block(&[(1, 9), (2, 9)])],
    ] {
        assert_eq!(parts_of(&flac(&file)), []);
    }
    let whole = flac(&[of_comment, block(&[(1, 0), (2, 9)])]);
    for end in (0..whole.len() - 100).step_by(7) {
        parts_of(&whole[..end]);
    }
    for at in (0..whole.len()).step_by(7) {
        let mut lying = whole.clone();
        lying[at] = !lying[at];
        parts_of(&lying);
    }
}
