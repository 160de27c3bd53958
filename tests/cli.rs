//! The command line as a process: what users type, what they read, and what survives when they pull the plug.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{DEMO, Sandbox, code, fine, json, noise_wav, six_tracks, text, tone_wav};
use serde_json::Value;

#[test]
fn the_main_job() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let added = sandbox.run(["add", "--format", "json", music.to_str().unwrap()]);
    assert_eq!(code(&added), 0, "{}", text(&added.stderr));
    let summary = json(&added);
    assert_eq!(summary["added"], 6);
    for key in ["updated", "moved", "unchanged", "removed", "failed"] {
        assert_eq!(summary[key], 0, "{key}");
    }
    assert!(summary["device"].as_str().unwrap().starts_with("CPU"));
    assert_eq!(summary["model"], "musicnn-msd");
    assert!(text(&added.stderr).contains("musicnn-msd on CPU"), "the device in use is always said");

    // Nothing is done twice.
    let again = json(sandbox.run(["add", "--format", "json", music.to_str().unwrap()]));
    assert_eq!((&again["added"], &again["unchanged"]), (&0.into(), &6.into()));

    let status = json(sandbox.run(["status", "--format", "json"]));
    assert_eq!(status["tracks"], 6);
    assert_eq!(status["failed"], 0);
    assert_eq!(status["dimension"], 200);
    assert!(status["windows"].as_u64().unwrap() >= 6 && status["index_generation"].as_u64().unwrap() > 0);

    // The nearest of a death metal track is the band's other track; the track itself is not in the list.
    let similar = json(sandbox.run(["similar", "chaos god", "--format", "json"]));
    let neighbours = similar["neighbours"].as_array().unwrap();
    assert_eq!(neighbours.len(), 5);
    assert_eq!(neighbours[0]["artist"], "Muldjord");
    assert_eq!(neighbours[0]["rank"], 1);
    assert!(neighbours.iter().all(|n| !n["path"].as_str().unwrap().ends_with("chaos-god.mp3")));
    assert!(similar["seeds"][0]["path"].as_str().unwrap().ends_with("muldjord-chaos-god.mp3"));

    // A file that is not in the library, classified with its evidence.
    let file = format!("{DEMO}/held-out/sectoid-war-of-freedom.mp3");
    let answer = json(sandbox.run(["classify", &file, "--format", "json"]));
    let answer = &answer[0];
    assert_eq!(answer["path"], file.as_str());
    let votes: f64 = answer["votes"].as_object().unwrap().values().map(|share| share.as_f64().unwrap()).sum();
    assert!((votes - 1.0).abs() < 1e-5);
    assert_eq!(answer["evidence"].as_array().unwrap().len(), 6);
    assert_eq!(json(sandbox.run(["status", "--format", "json"]))["tracks"], 6, "classifying adds nothing");
}

#[test]
fn every_track_finds_itself_first_however_it_is_searched() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    sandbox.run(["add", music.to_str().unwrap()]);
    for mode in ["auto", "exact", "scan", "lists", "hnsw"] {
        for id in 1..=6 {
            let id = format!("id:{id}");
            let found =
                json(sandbox.run(["similar", &id, "--include-seed", "--search", mode, "--format", "json"]));
            let first = &found["neighbours"][0];
            assert_eq!(format!("id:{}", first["id"]), id, "{mode}");
            assert!(first["similarity"].as_f64().unwrap() > 0.9999, "{mode}");
            assert_eq!(found["neighbours"].as_array().unwrap().len(), 6, "{mode}");
        }
    }
}

#[test]
fn filters_act_inside_the_search() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    sandbox.run(["add", music.to_str().unwrap()]);
    let search = |arguments: &[&str]| -> Vec<Value> {
        let mut all = vec!["similar", "chaos god", "--format", "json"];
        all.extend(arguments);
        json(sandbox.run(all))["neighbours"].as_array().unwrap().clone()
    };
    let ambient = search(&["--genre", "AMBIENT"]);
    assert_eq!(ambient.len(), 3);
    assert!(ambient.iter().all(|n| n["genres"][0] == "Ambient"));
    assert_eq!(search(&["--artist", "muldjord"]).len(), 1);
    assert_eq!(search(&["--exclude-artist", "Muldjord"]).len(), 4);
    assert_eq!(search(&["--folder", music.join("metal").to_str().unwrap()]).len(), 2);
    assert_eq!(search(&["--limit", "2"]).len(), 2);
    let all = search(&[]);
    let third = all[2]["similarity"].as_f64().unwrap();
    assert_eq!(search(&["--min-similarity", &format!("{}", third - 1e-4)]).len(), 3);
    let nothing = sandbox.run(["similar", "chaos god", "--year", "1850-1860"]);
    assert_eq!(code(&nothing), 1, "nothing found");
    // Several seeds: none of them is in the answer.
    let both = json(sandbox.run(["similar", "chaos god", "nebula", "--format", "json"]));
    assert_eq!(both["seeds"].as_array().unwrap().len(), 2);
    assert_eq!(both["neighbours"].as_array().unwrap().len(), 4);
}

#[test]
fn one_bad_file_never_stops_a_run() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let good = format!("{DEMO}/library/metal/muldjord-chaos-god.mp3");
    let whole = fs::read(&good).unwrap();
    fs::write(music.join("good.mp3"), &whole).unwrap();
    fs::write(music.join("empty.mp3"), b"").unwrap();
    let random: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(music.join("random.mp3"), random).unwrap();
    fs::write(music.join("picture.flac"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0")
        .unwrap();
    fs::write(music.join("truncated.mp3"), &whole[..whole.len() / 3]).unwrap();
    fs::write(music.join("silent.wav"), tone_wav(16_000, 600.0, 0.0, 0.0)).unwrap();
    let mut liar = noise_wav(22_050, 8.0, 7);
    liar[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    liar[40..44].copy_from_slice(&(u32::MAX - 36).to_le_bytes());
    fs::write(music.join("four-gigabytes.wav"), liar).unwrap();
    fs::write(music.join("short.wav"), tone_wav(44_100, 0.4, 440.0, 0.5)).unwrap();
    let mut handled = vec!["good.mp3", "truncated.mp3", "four-gigabytes.wav"];
    let mut failing = vec!["empty.mp3", "random.mp3", "picture.flac", "silent.wav", "short.wav"];
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::PermissionsExt as _;
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.mp3");
        let other = format!("{DEMO}/library/ambient/nikola-whallon-ambient-2.mp3");
        fs::copy(other, music.join(name)).unwrap();
        handled.push("caf\u{fffd}.mp3");
        let locked = music.join("locked.mp3");
        fs::write(&locked, &whole[..whole.len() - 1000]).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read everything; then the file is simply added.
        let list = if fs::read(&locked).is_err() { &mut failing } else { &mut handled };
        list.push("locked.mp3");
    }
    let added = sandbox.run(["add", "--format", "json", music.to_str().unwrap()]);
    assert_eq!(code(&added), 1, "{}", text(&added.stderr));
    let summary = json(&added);
    assert_eq!(summary["added"], handled.len(), "{}", text(&added.stderr));
    assert_eq!(summary["failed"], failing.len());

    let failed = text(&sandbox.run(["failed"]).stdout);
    assert_eq!(failed.lines().count(), failing.len(), "one line each:\n{failed}");
    for (name, reason) in [
        ("empty.mp3", "empty"),
        ("random.mp3", "not an audio file"),
        ("picture.flac", "not an audio file"),
        ("silent.wav", "silent throughout"),
        ("short.wav", "at least"),
    ] {
        let line =
            failed.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name} in:\n{failed}"));
        assert!(line.contains(reason), "{line}");
    }
    // Known failures are skipped until they change; then the run is fine.
    let again = sandbox.run(["add", "--format", "json", music.to_str().unwrap()]);
    assert_eq!((code(&again), &json(&again)["failed"]), (0, &0.into()));
    assert_eq!(json(&again)["skipped"], failing.len());
    // A retry looks at them again, and fails again.
    let retried = sandbox.run(["retry", "--format", "json"]);
    assert_eq!((code(&retried), &json(&retried)["failed"]), (1, &failing.len().into()));
    // A file that was mended is added.
    fs::write(music.join("empty.mp3"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(json(sandbox.run(["add", "--format", "json", music.to_str().unwrap()]))["added"], 1);
}

#[test]
fn moved_retagged_copied_and_removed_files() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    sandbox.run(["add", music.to_str().unwrap()]);
    let before = sandbox.vectors();

    fs::rename(music.join("metal/muldjord-chaos-god.mp3"), music.join("ambient/renamed.mp3")).unwrap();
    fs::copy(music.join("ambient/maxstack-nebula.ogg"), music.join("metal/copy.ogg")).unwrap();
    let summary = json(sandbox.run(["add", "--format", "json", music.to_str().unwrap()]));
    assert_eq!(
        (&summary["moved"], &summary["updated"], &summary["added"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!(sandbox.vectors(), before, "moving and copying change no vector");

    // The copy is an exact duplicate: it is not its own neighbour.
    let found =
        json(sandbox.run(["similar", music.join("metal/copy.ogg").to_str().unwrap(), "--format", "json"]));
    assert!(found["neighbours"].as_array().unwrap().iter().all(|n| n["title"] != "Nebula"));

    fs::remove_file(music.join("ambient/renamed.mp3")).unwrap();
    let dry = text(&sandbox.run(["remove", "--missing", "--dry-run"]).stdout);
    assert_eq!(dry.trim(), music.join("ambient/renamed.mp3").to_str().unwrap());
    assert_eq!(json(sandbox.run(["status", "--format", "json"]))["tracks"], 6);
    assert_eq!(code(&sandbox.run(["remove", "--missing"])), 0);
    assert_eq!(json(sandbox.run(["status", "--format", "json"]))["tracks"], 5);
    let left =
        json(sandbox.run(["similar", "nebula", "--include-seed", "--limit", "100", "--format", "json"]));
    assert_eq!(left["neighbours"].as_array().unwrap().len(), 5, "no ghosts");
    assert!(!text(&sandbox.run(["similar", "nebula", "--limit", "100"]).stdout).contains("Chaos God"));
    assert_eq!(code(&sandbox.run(["remove", music.join("metal").to_str().unwrap()])), 0);
    assert_eq!(json(sandbox.run(["status", "--format", "json"]))["tracks"], 3);
}

#[test]
fn formats_for_programs() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    sandbox.run(["add", music.to_str().unwrap()]);
    let paths = sandbox.run(["similar", "nebula", "--format", "paths", "-0"]);
    let listed: Vec<_> = paths.stdout.split(|&b| b == 0).filter(|p| !p.is_empty()).collect();
    assert_eq!(listed.len(), 5);
    assert!(listed.iter().all(|path| Path::new(std::str::from_utf8(path).unwrap()).is_file()));

    let playlist = text(&sandbox.run(["similar", "nebula", "--format", "m3u8"]).stdout);
    assert!(playlist.starts_with("#EXTM3U\n"));
    assert_eq!(playlist.lines().filter(|line| line.starts_with("#EXTINF:14,")).count(), 5);
    let relative =
        sandbox.run(["similar", "nebula", "--format", "m3u8", "--relative-to", music.to_str().unwrap()]);
    assert!(text(&relative.stdout).lines().any(|line| line == "metal/muldjord-armygeddon.m4a"));

    let csv = text(&sandbox.run(["similar", "nebula", "--format", "csv"]).stdout);
    assert_eq!(csv.lines().next(), Some("rank,id,path,similarity,artist,title,genres"));
    let genres = text(&sandbox.run(["classify", "--all", "--format", "csv"]).stdout);
    assert_eq!(genres.lines().count(), 7);

    // The export has one row order, and numpy's own layout.
    let out = sandbox.path("export");
    assert_eq!(code(&sandbox.run(["export", out.to_str().unwrap()])), 0);
    let vectors: ndarray::Array2<f32> = ndarray_npy::read_npy(out.join("vectors.npy")).unwrap();
    assert_eq!(vectors.dim(), (6, 200));
    for row in vectors.rows() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-5);
    }
    let windows = fs::read(out.join("windows.npy")).unwrap();
    let rows = fs::read_to_string(out.join("windows.csv")).unwrap().lines().count() - 1;
    assert_eq!(windows.len(), 128 + rows * 200 * 2);
    assert_eq!(fs::read_to_string(out.join("tracks.csv")).unwrap().lines().count(), 7);

    // One file's windows, as researchers know them: hop 0.1 s, centred.
    let embedded = sandbox.path("npz");
    let file = music.join("metal/muldjord-chaos-god.mp3");
    let done =
        sandbox.run(["embed", file.to_str().unwrap(), "--hop", "1", "--output", embedded.to_str().unwrap()]);
    assert_eq!(code(&done), 0, "{}", text(&done.stderr));
    let mut npz =
        ndarray_npy::NpzReader::new(fs::File::open(embedded.join("muldjord-chaos-god.npz")).unwrap())
            .unwrap();
    let embedding: ndarray::Array2<f32> = npz.by_name("embedding").unwrap();
    let timestamps: ndarray::Array1<f64> = npz.by_name("timestamps").unwrap();
    assert_eq!((embedding.nrows(), embedding.ncols()), (timestamps.len(), 200));
    assert!((timestamps[1] - 1.0).abs() < 1e-9 && timestamps[0] == 0.0);
}

#[test]
fn hostile_names_reach_no_terminal() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("a\u{1b}[2Jb.wav"), noise_wav(22_050, 5.0, 1)).unwrap();
    fs::write(music.join("=cmd.wav"), noise_wav(22_050, 5.0, 2)).unwrap();
    fs::write(music.join("bad\u{1b}]0;x\u{7}.mp3"), b"nothing").unwrap();
    let added = sandbox.run(["add", "-v", music.to_str().unwrap()]);
    let found = sandbox.run(["similar", "id:1", "--include-seed"]);
    let failed = sandbox.run(["failed"]);
    for output in [&added, &found, &failed] {
        for stream in [&output.stdout, &output.stderr] {
            assert!(!stream.contains(&0x1b) && !stream.contains(&0x07), "{}", text(stream));
        }
    }
    assert!(text(&found.stdout).contains("=cmd.wav"));
}

#[cfg(unix)]
#[test]
fn a_name_with_a_line_end_is_told_on_one_line() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let wav = tone_wav(16_000, 4.0, 440.0, 0.5);
    for name in ["plain.wav", "new\nline.wav"] {
        fs::write(music.join(name), &wav).unwrap();
    }
    fs::write(music.join("no\nmusic.mp3"), "no music").unwrap();
    for arguments in [&["add", "--dry-run"][..], &["-v", "add"], &["-v", "add", "--force"]] {
        let output = sandbox.run([arguments, &[music.to_str().unwrap()]].concat());
        let said = text(&output.stderr);
        assert!(said.contains("new line.wav") && said.contains("no music.mp3"), "{arguments:?}: {said}");
        assert!(said.lines().all(|line| !line.starts_with("line.wav")), "{arguments:?}: {said}");
    }
    let copies = fine(sandbox.run(["duplicates"]));
    assert!(copies.contains("new line.wav") && copies.lines().count() == 3, "{copies}");
}

#[test]
fn what_cannot_be_added_is_told_plainly() {
    let sandbox = Sandbox::new();
    let (empty, absent) = (sandbox.path("empty"), sandbox.path("absent"));
    fs::create_dir_all(&empty).unwrap();
    let output = sandbox.run(["add", empty.to_str().unwrap()]);
    assert!(text(&output.stderr).contains("there are no files of audio"), "{}", text(&output.stderr));
    let output = sandbox.run(["add", absent.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains("absent: there is no such file or folder"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn mistakes_are_told_plainly() {
    let sandbox = Sandbox::new();
    for (arguments, expected_code, words) in [
        (vec!["similar", "anything"], 2, "voisin add"),
        (vec!["add", "/no/such/folder"], 1, "/no/such/folder"),
        (vec!["similar"], 2, "expected <TRACK>"),
        (vec!["add", ".", "--windows", "0"], 2, "1 to 100000"),
        (vec!["--device", "abacus", "status"], 2, "abacus"),
        (vec!["--device", "cuda", "model", "check"], 2, "cuda"),
        (vec!["--dtype", "f64", "status"], 2, "expected f32 or bf16"),
        (vec!["--model", "no-such-model", "model", "check"], 2, "no-such-model"),
        (vec!["frobnicate"], 2, "frobnicate"),
    ] {
        let output = sandbox.run(arguments.clone());
        assert_eq!(code(&output), expected_code, "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
    let music = six_tracks(&sandbox);
    sandbox.run(["add", music.to_str().unwrap()]);
    // Words that fit several tracks list them; words that fit none say what would.
    let several = sandbox.run(["similar", "muldjord"]);
    assert_eq!(code(&several), 1);
    assert!(text(&several.stderr).contains("id:") && text(&several.stderr).contains("Armygeddon"));
    let none = sandbox.run(["similar", "zzz qqq"]);
    assert_eq!(code(&none), 1);
    assert!(text(&none.stderr).contains("neither a file nor a track"));
}

#[test]
fn help_completions_and_manual() {
    let sandbox = Sandbox::new();
    let help = text(&sandbox.run(["--help"]).stdout);
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        // What is wrapped stands further in.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 14, "{verbs:?}");
    for verb in verbs {
        let page = text(&sandbox.run([verb, "--help"]).stdout);
        assert!(page.contains("Usage: voisin"), "{verb}");
        if !["model", "genre"].contains(&verb) {
            assert!(page.contains("Example"), "{verb} --help has an example");
        }
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(sandbox.run(["completions", shell]).stdout.len() > 1000, "{shell}");
    }
    assert!(text(&sandbox.run(["man"]).stdout).contains(".TH voisin"));
}

#[test]
fn an_instruction_set_that_cannot_be_had_is_an_error() {
    let sandbox = Sandbox::new();
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    for (name, said) in [("sse9", "unknown instruction set \"sse9\""), (foreign, "this machine lacks")] {
        let output = sandbox.command(["status"]).env("VOISIN_ISA", name).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(
            message.contains(said) && message.contains("portable") && message.contains("unset"),
            "{message}"
        );
        assert_eq!(message.matches("VOISIN_ISA").count(), 1, "{message}");
    }
    for name in ["", "portable", "Portable"] {
        let mut command = sandbox.command(["bench", "mel", "--seconds", "0.1", "--format", "json"]);
        let isa = json(command.env("VOISIN_ISA", name).output().unwrap())["isa"].clone();
        assert!(name.is_empty() || isa == "portable", "{isa}");
    }
}

#[test]
fn bench_says_what_ran() {
    use voisin::internals::kernels::{Precision, isa};
    let sandbox = Sandbox::new();
    let measured = |precision| {
        let mut words = vec!["--threads", "1", "--device", "cpu", "--dtype", precision, "bench", "encoder"];
        words.extend(["--arch", "openl3", "--batch", "1", "--seconds", "0.1", "--format", "json"]);
        json(sandbox.run(words))
    };
    let result = measured("f32");
    assert_eq!(
        (&result["threads"], &result["batch"], &result["precision"]),
        (&1.into(), &1.into(), &"f32".into())
    );
    assert!(result["windows_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(result["isa"], isa().unwrap().to_string());
    // Asked for where the processor lacks it, bf16 is not claimed.
    let best = if Precision::Bf16.is_available(isa().unwrap()) { "bf16" } else { "f32" };
    assert_eq!(measured("bf16")["precision"], best);
}

#[test]
fn a_list_on_standard_input() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let mut child = sandbox
        .command(["add", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let list = format!(
        "{}\n{}\n",
        music.join("metal").display(),
        music.join("ambient/maxstack-nebula.ogg").display()
    );
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), list.as_bytes()).unwrap();
    assert_eq!(json(child.wait_with_output().unwrap())["added"], 4);
}

/// Twenty kills at twenty moments, then one more run: exactly the vectors of a run that nobody disturbed.
#[test]
#[cfg(unix)]
fn killed_at_any_moment_nothing_is_lost() {
    let undisturbed = Sandbox::new();
    let music = undisturbed.path("music");
    fs::create_dir_all(&music).unwrap();
    for i in 0..24 {
        fs::write(music.join(format!("{i:02}.wav")), noise_wav(16_000, 4.0, 100 + i)).unwrap();
    }
    fs::write(music.join("broken.mp3"), b"no music at all").unwrap();
    let start = std::time::Instant::now();
    undisturbed.run(["add", music.to_str().unwrap()]);
    let whole = start.elapsed();
    let expected = undisturbed.vectors();
    assert_eq!(expected.len(), 24);

    let killed = Sandbox::new();
    for i in 0..20u32 {
        let mut child = killed
            .command(["add", "--quiet", music.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From "before it did anything" to "nearly done", in an order that is not sorted.
        std::thread::sleep(whole.mul_f64(f64::from(i * 7 % 20) / 20.0 * 0.9) + Duration::from_millis(1));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = killed.run(["add", "--format", "json", music.to_str().unwrap()]);
    let summary = json(&last);
    assert_eq!(summary["added"].as_u64().unwrap() + summary["unchanged"].as_u64().unwrap(), 24, "{summary}");
    assert_eq!(killed.vectors(), expected);
    let first = json(killed.run(["similar", "id:1", "--include-seed", "--format", "json"]));
    assert_eq!(first["neighbours"][0]["id"], 1);
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_is_done() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for i in 0..40 {
        fs::write(music.join(format!("{i:02}.wav")), noise_wav(16_000, 30.0, 300 + i)).unwrap();
    }
    let child = sandbox
        .command(["add", "--threads", "1", "--format", "json", music.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Wait until something is stored, then interrupt as a terminal does.
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while std::time::Instant::now() < deadline {
        let status = sandbox.run(["status", "--format", "json"]);
        if serde_json::from_slice::<Value>(&status.stdout).is_ok_and(|s| s["tracks"].as_u64() > Some(0)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 130, "{}", text(&output.stderr));
    let kept = json(&output)["added"].as_u64().unwrap();
    assert!((1..40).contains(&kept), "{kept}");
    assert!(text(&output.stderr).contains("finished first"));
    assert_eq!(json(sandbox.run(["status", "--format", "json"]))["tracks"], kept);
}

#[test]
fn threads_and_order_change_no_vector() {
    let one = Sandbox::new();
    let music = six_tracks(&one);
    one.run(["add", "--threads", "1", music.to_str().unwrap()]);
    let many = Sandbox::new();
    many.run(["add", "--threads", "5", music.join("ambient").to_str().unwrap()]);
    many.run(["add", "--threads", "3", music.join("metal").to_str().unwrap()]);
    let (a, b): (BTreeMap<_, _>, BTreeMap<_, _>) = (one.vectors(), many.vectors());
    assert_eq!(a.len(), 6);
    assert_eq!(a, b, "the same bits with 1 or 5 threads, at once or in pieces");
}

/// A reader that goes away (`| head`) ends the program quietly, and what was begun is finished: the trace is whole.
#[test]
fn a_closed_pipe_ends_quietly() {
    let sandbox = Sandbox::new();
    let trace = sandbox.path("trace.json");
    let traced: &[&str] = if cfg!(feature = "trace") { &["--trace", trace.to_str().unwrap()] } else { &[] };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        sandbox.command(traced.iter().copied().chain(["model", "list"])).stdout(writer).output().unwrap();
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
    if cfg!(feature = "trace") {
        let trace = fs::read_to_string(trace).unwrap();
        assert!(serde_json::from_str::<Value>(&trace).is_ok(), "cut off: {trace}");
    }
}

#[test]
fn the_demo_leaves_libraries_alone() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let tracks = || json(sandbox.run(["status", "--format", "json"]))["tracks"].clone();
    // a variable is no request; the demo runs in a folder of its own
    let shown = sandbox.run(["demo"]);
    assert!(text(&shown.stdout).contains("Now on your own music"), "{}", text(&shown.stderr));
    assert_eq!(tracks(), 6);
    let library = sandbox.path("library");
    let refused = sandbox.run(["--library", library.to_str().unwrap(), "demo"]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("holds 6 tracks of your own"), "{}", text(&refused.stderr));
    assert_eq!(tracks(), 6);
}

#[test]
fn a_model_or_device_that_cannot_be_had_is_refused_even_if_nothing_is_listened_to() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    for (arguments, words) in [
        (&["--model", "nosuch"], "nosuch"),
        (&["--model", "voisin-2"], "vectors of two models never mix"),
        (&["--device", "cuda:77"], "cuda:77"),
    ] {
        let refused = sandbox.run([&["similar", "id:1"], &arguments[..]].concat());
        assert_eq!(code(&refused), 2, "{arguments:?}: {}", text(&refused.stdout));
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
    }
    fine(sandbox.run(["similar", "id:1", "--model", "musicnn-msd", "--device", "cpu"]));
}

#[test]
fn files_that_have_gone_are_told_and_taken_out_when_asked() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let add = |more: &[&str]| {
        let output = sandbox.run([&["add", "--format", "json", music.to_str().unwrap()], more].concat());
        let counts = json(&output);
        let of = |key: &str| counts[key].as_u64().unwrap();
        (of("gone"), of("out_of_reach"), of("removed"))
    };
    let tracks = || json(sandbox.run(["status", "--format", "json"]))["tracks"].clone();
    assert_eq!(add(&[]), (0, 0, 0));
    let nothing = sandbox.run(["remove", "--missing", "--dry-run"]);
    assert_eq!(code(&nothing), 1);
    assert!(text(&nothing.stderr).contains("nothing to remove"), "{}", text(&nothing.stderr));

    fs::remove_file(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    assert_eq!(add(&[]), (1, 0, 0));
    let said = text(&sandbox.run(["add", music.to_str().unwrap()]).stderr);
    assert!(said.contains("1 file gone since: --remove-missing takes them out"), "{said}");
    let dry = sandbox.run(["remove", "--missing", "--dry-run"]);
    assert!(text(&dry.stderr).contains("would remove 1 file and 1 track"), "{}", text(&dry.stderr));
    assert_eq!(add(&["--remove-missing", "--dry-run"]), (1, 0, 0));
    assert_eq!(tracks(), 6);
    assert_eq!(add(&["--remove-missing"]), (1, 0, 1));
    assert_eq!(tracks(), 5);

    // a folder that is empty, one that is absent, and one in which nothing of the library is left
    let away = sandbox.path("away");
    fs::rename(music.join("ambient"), &away).unwrap();
    fs::create_dir(music.join("ambient")).unwrap();
    assert_eq!(add(&["--remove-missing"]), (0, 3, 0));
    fs::remove_dir(music.join("ambient")).unwrap();
    let ambient = music.join("ambient");
    let absent = sandbox.run(["add", ambient.to_str().unwrap(), "--remove-missing"]);
    assert!(code(&absent) > 0 && text(&absent.stderr).contains("a disk may just not be mounted"));
    fs::create_dir(&ambient).unwrap();
    fs::write(ambient.join("cover.jpg"), "").unwrap();
    fine(sandbox.run(["add", ambient.to_str().unwrap(), "--remove-missing"]));
    assert_eq!(tracks(), 5);
    // a folder that went as a whole, beside others that are there, has gone
    fs::remove_dir_all(&ambient).unwrap();
    assert_eq!(add(&["--remove-missing"]), (3, 0, 3));
    assert_eq!(tracks(), 2);

    let retried = sandbox.run(["retry", "nosuchpath"]);
    assert_eq!(code(&retried), 1);
    assert!(text(&retried.stderr).contains("no failed file is there"), "{}", text(&retried.stderr));
}

#[test]
fn settings_come_from_options_then_the_environment_then_the_config_file() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("home/.config/voisin/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let shown = |library: Option<&str>, arguments: &[&str]| {
        let mut command = sandbox.command([&["config", "--format", "json"], arguments].concat());
        match library {
            Some(library) => command.env("VOISIN_LIBRARY", library),
            None => command.env_remove("VOISIN_LIBRARY"),
        };
        let answer = json(command.output().unwrap());
        let of =
            |at: usize| (answer["settings"][at]["value"].clone(), answer["settings"][at]["from"].clone());
        (of(0), of(1), of(2))
    };
    let home = sandbox.path("home").join(".local/share/voisin");
    let (library, model, device) = shown(None, &[]);
    assert_eq!(library, (home.to_str().unwrap().into(), "default".into()));
    assert_eq!((model, device), ((Value::Null, "default".into()), ("auto".into(), "default".into())));

    fs::write(&config, "library = \"~/mine\"\nmodel = \"voisin-2\"\ndevice = \"cpu\"\n").unwrap();
    let mine = sandbox.path("home/mine");
    let (library, model, device) = shown(Some(""), &[]);
    assert_eq!(library, (mine.to_str().unwrap().into(), "config.toml".into()), "empty is not set");
    assert_eq!(model, ("voisin-2".into(), "config.toml".into()));
    assert_eq!(device, ("cpu".into(), "config.toml".into()));
    assert_eq!(shown(Some("/env"), &[]).0, ("/env".into(), "VOISIN_LIBRARY".into()));
    let (library, model, device) =
        shown(Some("/env"), &["--library", "/opt", "--model", "musicnn-msd", "--device", "auto"]);
    assert_eq!(library, ("/opt".into(), "--library".into()));
    assert_eq!(model, ("musicnn-msd".into(), "--model".into()));
    assert_eq!(device, ("auto".into(), "--device".into()));
    assert!(fine(sandbox.run(["config"])).contains("VOISIN_LIBRARY"));
    fs::write(&config, "color = \"always\"\n").unwrap();
    let coloured = |arguments: &[&str]| {
        let printed = fine(sandbox.run([&["config"], arguments].concat()));
        assert!(printed.contains("color"), "{printed}");
        printed.contains('\u{1b}')
    };
    assert!(coloured(&[]) && !coloured(&["--color", "never"]));

    fs::write(&config, "library = \"~/mine\"\nmodel = \"voisin-2\"\n").unwrap();
    // it is used: a new library has its model, one that is there keeps its own
    let music = six_tracks(&sandbox);
    let metal = music.join("metal");
    fine(sandbox.command(["add", metal.to_str().unwrap()]).env_remove("VOISIN_LIBRARY").output().unwrap());
    let status = |command: &mut std::process::Command| {
        let status = json(command.output().unwrap());
        (status["library"].as_str().unwrap().to_owned(), status["model"].clone())
    };
    let arguments = ["status", "--format", "json"];
    let found = status(sandbox.command(arguments).env_remove("VOISIN_LIBRARY"));
    assert_eq!(found, (mine.to_str().unwrap().to_owned(), "voisin-2".into()));
    fs::write(&config, "model = \"musicnn-msd\"\n").unwrap();
    let ambient = music.join("ambient/maxstack-nebula.ogg");
    fine(sandbox.command(["add", ambient.to_str().unwrap()]).env("VOISIN_LIBRARY", &mine).output().unwrap());

    for (text_of_file, words) in [
        ("library = \"a\"\nlibary = \"b\"\n", "config.toml, line 2: unknown field `libary`"),
        ("library = 3\n", "config.toml, line 1"),
        ("device = \"abacus\"\n", "abacus"),
        ("color = \"blue\"\n", "expected auto, always or never"),
    ] {
        fs::write(&config, text_of_file).unwrap();
        let refused = sandbox.run(["config"]);
        assert_eq!(code(&refused), 2);
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
    }
}
