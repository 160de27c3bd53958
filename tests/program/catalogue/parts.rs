//! Long files of which a CUE sheet describes the parts.

use std::fs;
use std::path::Path;

use crate::catalogue::titles;
use crate::common::{Sandbox, code, fine, fine_json, json, noise_wav, text};

/// The samples of a long file: three sounds of six seconds.
fn long_wav() -> Vec<u8> {
    let sound = |seed| noise_wav(16_000, 6.0, seed)[44..].to_vec();
    let samples = [sound(1), sound(2), sound(3)].concat();
    [&noise_wav(16_000, 18.0, 1)[..44], &samples].concat()
}

/// A FLAC file of 14 seconds; with a sheet of three parts inside of it, as a block or (true) as a comment.
fn flac_with_sheet(comment: Option<bool>) -> Vec<u8> {
    let name = "data/demo/library/folk/omri-lahav-an-old-warhorse-goes-to-pasture.flac";
    let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let size =
        |at: usize| u32::from_be_bytes([0, file[at + 1], file[at + 2], file[at + 3]]) as usize;
    let head =
        |kind: u8, block: &[u8]| [&[kind], &(block.len() as u32).to_be_bytes()[1..]].concat();
    match comment {
        None => file,
        Some(false) => {
            let rate = u64::from(u32::from_be_bytes([0, file[18], file[19], file[20]]) >> 4);
            let mut block = vec![0; 395];
            block.push(4);
            for (number, second) in [(1, 0), (2, 4), (3, 8), (170, 14)] {
                block.extend((rate * second).to_be_bytes());
                block.push(number);
                block.extend([0; 26]);
                block.push(u8::from(number != 170));
                block.extend(if number == 170 {
                    &[][..]
                } else {
                    &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
                });
            }
            [&file[..42], &head(5, &block), &block, &file[42..]].concat()
        }
        Some(true) => {
            let mut at = 42;
            while file[at] & 0x7f != 4 {
                at += 4 + size(at);
            }
            let mut block = file[at + 4..at + 4 + size(at)].to_vec();
            let rest = &file[at + 4 + size(at)..];
            let count = 4 + u32::from_le_bytes(block[..4].try_into().unwrap()) as usize;
            block[count] += 1;
            let sheet = "CUESHEET=FILE \"image.wav\" WAVE\nTRACK 01 AUDIO\nTITLE First\nINDEX 01 00:00:00\n\
                TRACK 02 AUDIO\nTITLE Second\nINDEX 01 00:04:00\nTRACK 03 AUDIO\nTITLE Third\nINDEX 01 00:08:00";
            block.extend((sheet.len() as u32).to_le_bytes());
            block.extend(sheet.as_bytes());
            [&file[..at], &head(file[at], &block), &block, rest].concat()
        }
    }
}

const SHEET: &[u8] =
    b"REM GENRE Dub\r\nREM DATE 1999\r\nPERFORMER \"DJ Caf\xe9\"\r\nTITLE \"One \x96 Mix\"\r\n\
    FILE \"ALBUM.WAV\" WAVE\r\n  TRACK 01 AUDIO\r\n    TITLE \"First\"\r\n    INDEX 01 00:00:00\r\n\
      TRACK 02 AUDIO\r\n    TITLE \"Second\"\r\n    PERFORMER \"Else\"\r\n    INDEX 00 00:05:00\r\n    \
    INDEX 01 00:06:00\r\n  TRACK 03 AUDIO\r\n    TITLE \"Third\"\r\n    INDEX 01 00:12:00\r\n";

#[test]
fn a_long_file_with_a_sheet_is_its_parts() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    let mix = music.join("Techno/mix");
    let single = music.join("single");
    fs::create_dir_all(&mix).unwrap();
    fs::create_dir_all(&single).unwrap();
    fs::write(mix.join("album.wav"), long_wav()).unwrap();
    let sheet = mix.join("album.cue");
    fs::write(&sheet, SHEET).unwrap();
    // The second sound by itself.
    fs::write(single.join("alone.wav"), noise_wav(16_000, 6.0, 2)).unwrap();
    let add = || sandbox.run(["add", music.to_str().unwrap(), "--format", "json"]);
    assert_eq!(fine_json(add())["added"], 4);
    assert_eq!(fine_json(add())["unchanged"], 4);

    let page = fine_json(sandbox.run(["list", "--sort", "path", "--format", "json"]));
    let tracks = page["tracks"].as_array().unwrap();
    let paths: Vec<&str> = tracks
        .iter()
        .map(|track| track["path"].as_str().unwrap())
        .collect();
    let part = |number: &str| sheet.join(number).to_str().unwrap().to_owned();
    assert_eq!(paths[..3], [part("01"), part("02"), part("03")]);
    for (track, (artist, title)) in tracks.iter().zip([
        ("DJ Caf\u{e9}", "First"),
        ("Else", "Second"),
        ("DJ Caf\u{e9}", "Third"),
    ]) {
        assert_eq!(
            (&track["artist"], &track["title"]),
            (&artist.into(), &title.into())
        );
        assert_eq!(
            (&track["album"], &track["seconds"]),
            (&"One \u{2013} Mix".into(), &6.0.into())
        );
        assert_eq!(
            (&track["year"], &track["genres"][0]),
            (&1999.into(), &"Dub".into())
        );
    }

    // A part is near to the same music in its own file, and is named by path, number, words and its sheet.
    let similarity = |seed: &str, to: &str| {
        let line = [
            "similar",
            seed,
            "--include-seed",
            "--limit",
            "2",
            "--format",
            "json",
        ];
        let found = fine_json(sandbox.run(line));
        let mut found = found["neighbours"].as_array().unwrap().clone();
        found.retain(|track| track["path"] == to);
        found[0]["similarity"].as_f64().unwrap()
    };
    let alone = single.join("alone.wav").to_str().unwrap().to_owned();
    for seed in [
        part("02"),
        format!("id:{}", tracks[1]["id"]),
        "else second".to_owned(),
    ] {
        assert!(similarity(&seed, &alone) > 0.9999, "{seed}");
    }
    let line = [
        "similar",
        sheet.to_str().unwrap(),
        "--include-seed",
        "--format",
        "json",
    ];
    let of_sheet = fine_json(sandbox.run(line));
    assert_eq!(
        (
            &of_sheet["seeds"].as_array().unwrap().len(),
            of_sheet["neighbours"].as_array().unwrap().len()
        ),
        (&3, 4)
    );
    assert_eq!(
        titles(&sandbox, &["--folder", mix.to_str().unwrap()]).len(),
        3
    );

    // Players get the file and the times; a bare path leads back to the very part.
    let list = |format: &str| {
        fine(sandbox.run([
            "list",
            "second",
            "--format",
            format,
            "--folder",
            mix.to_str().unwrap(),
        ]))
    };
    let file = mix.join("album.wav").to_str().unwrap().to_owned();
    let m3u8 = list("m3u8");
    let options = "#EXTVLCOPT:start-time=6.000\n#EXTVLCOPT:stop-time=12.000\n";
    assert!(m3u8.contains(&format!("{options}{file}\n")), "{m3u8}");
    let bare = list("paths");
    assert_eq!(bare.trim_end(), part("02"));
    assert!(similarity(bare.trim_end(), &alone) > 0.9999);

    let card = &fine_json(sandbox.run(["show", &part("03"), "--format", "json"]))[0];
    let place = &card["places"][0];
    assert_eq!(
        (&place["state"], &place["bytes"]),
        (&"there".into(), &0.into())
    );
    assert_eq!(
        place["part"],
        serde_json::json!({"file": file, "from": 12.0, "to": null})
    );
    let shown = fine(sandbox.run(["show", &part("02")]));
    assert!(shown.contains("album.wav, 0:06 to 0:12"), "{shown}");

    // A part can have its own label and a folder's name as genre, but its genre is never written into the long file.
    fine(sandbox.run(["labels", "set", &part("02"), "Ambient"]));
    let list = sandbox.path("accepted.csv");
    fs::write(&list, format!("path,genre\n{},Ambient\n", part("02"))).unwrap();
    let list = list.to_str().unwrap();
    let written = sandbox.run([
        "classify",
        "--write-tags",
        "--from-list",
        list,
        "--format",
        "json",
        "--overwrite",
    ]);
    assert_eq!(
        (code(&written), &json(&written)[0]["outcome"]),
        (1, &"failed".into())
    );
    assert!(
        json(&written)[0]["reason"]
            .as_str()
            .unwrap()
            .contains("a label by hand"),
        "{}",
        text(&written.stdout)
    );
    assert_eq!(fs::read(mix.join("album.wav")).unwrap(), long_wav());
    let folders = fine_json(sandbox.run(["labels", "folder", "--format", "json"]));
    assert!(
        folders.to_string().to_lowercase().contains("\"mix\"")
            && !folders.to_string().contains("cue"),
        "{folders}"
    );
    fine(sandbox.run(["verify", "--deep"]));
    fine(sandbox.run([
        "embed",
        sheet.to_str().unwrap(),
        "--output",
        sandbox.path("vectors").to_str().unwrap(),
    ]));
    assert_eq!(fs::read_dir(sandbox.path("vectors")).unwrap().count(), 3);

    // A changed sheet: another title, and one part less.
    let shorter = text(SHEET)
        .replace("Second", "Zweiter")
        .replace("TITLE \"Third\"", "");
    let shorter = shorter.split("  TRACK 03").next().unwrap();
    fs::write(&sheet, shorter).unwrap();
    let changed = fine_json(add());
    assert_eq!(
        (&changed["gone"], &changed["failed"]),
        (&1.into(), &0.into()),
        "{changed}"
    );
    assert_eq!(titles(&sandbox, &["zweiter"]), ["Zweiter"]);
    fine(sandbox.run(["remove", sheet.to_str().unwrap()]));
    let left = fine_json(sandbox.run(["list", "--format", "json"]));
    assert_eq!(
        (&left["total"], &left["tracks"][0]["path"]),
        (&1.into(), &alone.into())
    );
    fine_json(add());
    assert_eq!(
        titles(&sandbox, &["--folder", mix.to_str().unwrap()]).len(),
        2
    );
}

/// A FLAC file that gets a sheet later has the same parts as one that always had it.
#[test]
fn parts_take_the_place_of_the_whole_that_came_first() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let wav = music.join("album.wav");
    let flac = music.join("image.flac");
    fs::write(&wav, long_wav()).unwrap();
    fs::write(&flac, flac_with_sheet(None)).unwrap();
    let add = |more: &[&str]| {
        let line = [&["add", music.to_str().unwrap(), "--format", "json"], more].concat();
        sandbox.run(line)
    };
    assert_eq!(fine_json(add(&[]))["added"], 2);
    for whole in [&wav, &flac] {
        fine(sandbox.run(["labels", "set", whole.to_str().unwrap(), "Dub"]));
    }
    fs::write(music.join("album.cue"), SHEET).unwrap();
    fs::write(&flac, flac_with_sheet(Some(false))).unwrap();

    let tried = add(&["--dry-run"]);
    let stderr = text(&tried.stderr);
    assert!(
        stderr.contains("album.wav would be replaced by its 3 parts")
            && stderr.contains("image.flac would"),
        "{stderr}"
    );
    let replaced = add(&[]);
    let stderr = text(&replaced.stderr);
    assert_eq!(
        (&fine_json(&replaced)["added"], &json(&replaced)["removed"]),
        (&6.into(), &2.into()),
        "{stderr}"
    );
    assert!(stderr.contains("image.flac was added as one track before its CUE sheet: its 3 parts replace it and keep its label, Dub"), "{stderr}");
    let page = fine_json(sandbox.run(["list", "--sort", "path", "--format", "json"]));
    let tracks = page["tracks"].as_array().unwrap();
    assert_eq!(tracks.len(), 6);
    assert!(
        tracks
            .iter()
            .all(|track| track["genres"] == serde_json::json!(["Dub"])),
        "{page}"
    );
    let part = flac.join("02");
    assert_eq!(
        (&tracks[4]["path"], &tracks[4]["seconds"]),
        (&part.to_str().unwrap().into(), &4.0.into())
    );
    assert_eq!(
        tracks[4]["artist"], "Omri Lahav",
        "fields that the block lacks come from the file"
    );
    let card = &fine_json(sandbox.run(["show", part.to_str().unwrap(), "--format", "json"]))[0];
    assert_eq!(
        card["places"][0]["part"],
        serde_json::json!({"file": flac, "from": 4.0, "to": 8.0})
    );
    let m3u8 = fine(sandbox.run([
        "list",
        "--folder",
        flac.to_str().unwrap(),
        "--format",
        "m3u8",
    ]));
    assert_eq!(m3u8.matches("image.flac\n").count(), 3, "{m3u8}");
    fine(sandbox.run(["verify", "--deep"]));
    assert_eq!(fine_json(add(&[]))["unchanged"], 6);

    // A comment has titles; the audio stays the same.
    fs::write(&flac, flac_with_sheet(Some(true))).unwrap();
    let named = fine_json(add(&[]));
    assert_eq!((&named["added"], &named["updated"]), (&0.into(), &3.into()));
    assert_eq!(
        titles(
            &sandbox,
            &["--folder", flac.to_str().unwrap(), "--sort", "path"]
        ),
        ["First", "Second", "Third"]
    );
    // The whole file, if named, is one track; without the sheet it is one track again.
    fine(sandbox.run(["similar", flac.to_str().unwrap()]));
    let out = sandbox.path("vectors");
    fine(sandbox.run([
        "embed",
        music.to_str().unwrap(),
        "--output",
        out.to_str().unwrap(),
        "--hop",
        "1",
    ]));
    let made = |folder: &str| fs::read_dir(out.join(folder)).unwrap().count();
    assert_eq!((made("album.cue"), made("image.flac")), (3, 3));
    fs::write(&flac, flac_with_sheet(None)).unwrap();
    let whole = fine_json(add(&["--remove-missing"]));
    assert_eq!((&whole["added"], &whole["removed"]), (&1.into(), &3.into()));
}

#[test]
fn broken_cue_sheets_are_reported_in_one_line_each() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("album.wav"), long_wav()).unwrap();
    let two = "FILE album.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 01 ";
    let sheets: [(&str, Vec<u8>, &str); 6] = [
        (
            "a-time.cue",
            format!("{two}00:61:00").into_bytes(),
            "line 5: expected a time such as 03:25:74",
        ),
        (
            "b-gone.cue",
            format!("{two}00:06:00")
                .replace("album", "../gone")
                .into_bytes(),
            "found no",
        ),
        ("c-large.cue", vec![b'x'; 2 << 20], "expected at most 1 MB"),
        (
            "d-bytes.cue",
            (0..=255).cycle().take(10_000).collect(),
            "expected FILE, TRACK and INDEX 01 lines",
        ),
        (
            "e-disc.cue",
            b"FILE \"image.bin\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00".to_vec(),
            "a disc's data",
        ),
        (
            "f-empty.cue",
            Vec::new(),
            "expected FILE, TRACK and INDEX 01 lines",
        ),
    ];
    for (name, bytes, _) in &sheets {
        fs::write(music.join(name), bytes).unwrap();
    }
    #[cfg(unix)]
    assert!(
        std::process::Command::new("mkfifo")
            .arg(music.join("g-pipe.cue"))
            .status()
            .unwrap()
            .success()
    );
    let add = || sandbox.run(["add", music.to_str().unwrap(), "--format", "json"]);
    let first = add();
    // The long file is one track: none of its sheets is valid.
    assert_eq!(
        (
            code(&first),
            &json(&first)["added"],
            &json(&first)["failed"]
        ),
        (1, &1.into(), &6.into())
    );
    let failed = fine_json(sandbox.run(["failed", "--format", "json"]));
    for (name, _, expected) in &sheets {
        let failures: Vec<_> = failed
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["path"].as_str().unwrap().ends_with(name))
            .collect();
        let reason = failures[0]["reason"].as_str().unwrap();
        assert!(
            failures.len() == 1 && reason.contains(expected) && !reason.contains('\n'),
            "{name}: {reason}"
        );
    }
    assert_eq!(
        fine_json(add())["skipped"],
        6,
        "an unchanged failure is not retried"
    );

    // A part beyond the end of its file fails alone; a corrected sheet is no failure any more.
    fs::write(music.join("a-time.cue"), format!("{two}00:59:00")).unwrap();
    let behind = add();
    assert_eq!(
        (&json(&behind)["added"], &json(&behind)["failed"]),
        (&1.into(), &1.into()),
        "{}",
        text(&behind.stderr)
    );
    let reasons = fine(sandbox.run(["failed"]));
    assert!(reasons.contains("begins within the 18.0 s of"), "{reasons}");
    assert_eq!(
        json(&behind)["removed"],
        1,
        "the existing part replaces the long file"
    );
    fs::write(music.join("a-time.cue"), format!("{two}00:06:00")).unwrap();
    let mended = add();
    assert_eq!(
        (&fine_json(&mended)["added"], &json(&mended)["removed"]),
        (&2.into(), &1.into())
    );
    let failed = fine_json(sandbox.run(["failed", "--format", "json"]));
    assert!(!failed.to_string().contains("a-time.cue"), "{failed}");
    // A sheet given by name is reported too.
    let named = sandbox.run(["similar", music.join("b-gone.cue").to_str().unwrap()]);
    assert_eq!(code(&named), 1, "{}", text(&named.stderr));
}
