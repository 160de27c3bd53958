//! From one machine to another: shards of a run, damage, merges.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use voisin_library::{Library, OpenMode};

use crate::common::{Sandbox, code, fine, json, noise_wav, text};
use crate::{TRACKS, half_vectors, music, parquet_files};

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn results_of_several_machines_merge_into_one_library() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    let vectors = sandbox.path("vectors");
    let list: String = fs::read_dir(&music)
        .unwrap()
        .map(|entry| format!("{}\n", entry.unwrap().path().display()))
        .collect();
    fs::write(sandbox.path("list"), list).unwrap();
    let embed = |shard: &str| {
        let mut command = sandbox.command([
            "embed", "-", "--format", "parquet", "--shard", shard, "--output",
        ]);
        let output = command
            .arg(&vectors)
            .stdin(fs::File::open(sandbox.path("list")).unwrap())
            .output()
            .unwrap();
        assert!(code(&output) <= 1, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    for shard in ["0/3", "1/3", "2/3"] {
        embed(shard);
    }
    // Files with a row are not analysed again; those whose rows are gone are.
    let again = embed("0/1");
    assert!(
        again.starts_with("0 files and 0 failures") && again.contains("7 there"),
        "{again}"
    );
    fs::remove_file(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    let again = embed("0/1");
    assert!(
        again.contains(" and 0 failures") && !again.starts_with("0 files"),
        "{again}"
    );
    let taken = sandbox.run([
        "add",
        "--format",
        "json",
        "--from-parquet",
        vectors.to_str().unwrap(),
    ]);
    assert_eq!(code(&taken), 0, "{}", text(&taken.stderr));
    assert_eq!(json(&taken)["added"], 6);
    let again = json(sandbox.run([
        "add",
        "--format",
        "json",
        "--from-parquet",
        vectors.to_str().unwrap(),
    ]));
    assert_eq!(
        (&again["added"], &again["updated"], &again["unchanged"]),
        (&0.into(), &0.into(), &6.into())
    );
    assert_eq!(
        json(sandbox.run(["list", "--failed", "--format", "json"]))
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // The same as if it had been added here, except for the last bits of 16.
    let here = Sandbox::new();
    assert_eq!(code(&here.run(["add", music.to_str().unwrap()])), 1);
    let taken = half_vectors(&sandbox);
    let added = half_vectors(&here);
    assert_eq!(
        taken.keys().collect::<Vec<_>>(),
        added.keys().collect::<Vec<_>>()
    );
    for (content, (_, logits)) in &added {
        assert!(logits.len() > 50);
        assert_eq!(&taken[content].1, logits);
    }
    for (content, (vector, _)) in here.vectors() {
        let joined = &sandbox.vectors()[&content].0;
        let dot: f32 = vector
            .iter()
            .zip(joined)
            .map(|(a, b)| f32::from_bits(*a) * f32::from_bits(*b))
            .sum();
        assert!((dot - 1.0).abs() < 1e-6, "{dot}");
    }
    let measured = |sandbox: &Sandbox| {
        let mut list =
            json(sandbox.run(["list", "--sort", "path", "--format", "json"]))["tracks"].clone();
        for track in list.as_array_mut().unwrap() {
            for key in ["id", "added"] {
                track.as_object_mut().unwrap().remove(key);
            }
        }
        list
    };
    assert_eq!(measured(&sandbox), measured(&here));

    // A library imports what another one exported.
    let exported = sandbox.path("exported.parquet");
    let exported = exported.to_str().unwrap();
    fine(sandbox.run(["export", exported]));
    let third = Sandbox::new();
    fine(third.run(["add", "--from-parquet", exported]));
    assert_eq!(measured(&third), measured(&sandbox));
    assert_eq!(half_vectors(&third), half_vectors(&sandbox));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn hostile_files_are_reported_and_the_others_imported() {
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    // A name that is not UTF-8, and one with a line end.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = music.join(std::ffi::OsStr::from_bytes(b"od\xffd\n.wav"));
        fs::write(odd, noise_wav(22_050, 8.0, 7)).unwrap();
    }
    let vectors = sandbox.path("vectors");
    let arguments = [
        "embed",
        music.to_str().unwrap(),
        "--format",
        "parquet",
        "--output",
        vectors.to_str().unwrap(),
    ];
    assert_eq!(code(&sandbox.run(arguments)), 1);
    let whole = fs::read(&parquet_files(&vectors, "tracks-")[0]).unwrap();
    fs::write(vectors.join("cut.parquet"), &whole[..whole.len() / 2]).unwrap();
    fs::write(vectors.join("empty.parquet"), b"").unwrap();
    fs::write(
        vectors.join("noise.parquet"),
        b"PAR1 but nothing that follows makes sense PAR1",
    )
    .unwrap();
    // With any byte inverted the file is refused or read, without a panic.
    for (i, at) in (0..whole.len()).step_by(whole.len() / 40).enumerate() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(vectors.join(format!("turned-{i}.parquet")), bytes).unwrap();
    }
    let taken = sandbox.run([
        "add",
        "--format",
        "json",
        "--from-parquet",
        vectors.to_str().unwrap(),
    ]);
    assert_eq!(code(&taken), 1, "{}", text(&taken.stderr));
    let stderr = text(&taken.stderr);
    assert!(
        stderr.contains("cut.parquet: expected a Parquet file"),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
    let paths: BTreeSet<PathBuf> = library
        .tracks()
        .unwrap()
        .into_iter()
        .map(|track| track.path)
        .collect();
    for file in fs::read_dir(&music)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        assert_eq!(
            paths.contains(&file),
            !file.ends_with("bad.mp3"),
            "{}",
            file.display()
        );
    }
}

#[test]
fn libraries_merge_by_their_audio() {
    let sandbox = Sandbox::new();
    let other = Sandbox::new();
    let music = music(&sandbox);
    let files: Vec<PathBuf> = TRACKS
        .iter()
        .map(|name| music.join(Path::new(name).file_name().unwrap()))
        .collect();
    let add = |sandbox: &Sandbox, files: &[PathBuf]| {
        let mut arguments = vec!["add".to_owned()];
        arguments.extend(files.iter().map(|file| file.to_str().unwrap().to_owned()));
        assert_eq!(code(&sandbox.run(&arguments)), 0);
    };
    add(&sandbox, &files[..4]);
    add(&other, &files[2..]);
    assert_eq!(code(&other.run(["labels", "set", "nebula", "Doom"])), 0);
    let before = half_vectors(&sandbox);
    let exported = other.path("exported.parquet");
    let exported = exported.to_str().unwrap();
    fine(other.run(["export", exported]));
    let merge = ["add", "--format", "json", "--from-parquet", exported];
    let first = sandbox.run(merge);
    assert_eq!(code(&first), 0, "{}", text(&first.stderr));
    let first = json(&first);
    assert_eq!(
        (&first["added"], &first["updated"], &first["unchanged"]),
        (&2.into(), &1.into(), &1.into())
    );
    let again = json(sandbox.run(merge));
    assert_eq!(
        (&again["added"], &again["updated"], &again["unchanged"]),
        (&0.into(), &0.into(), &4.into())
    );
    let after = half_vectors(&sandbox);
    assert!(
        after.len() == 6
            && before
                .iter()
                .all(|(content, vector)| after[content] == *vector)
    );
    for (content, vector) in half_vectors(&other) {
        assert_eq!(after[&content], vector);
    }
    let listed = json(sandbox.run(["list", "nebula", "--format", "json"]));
    assert_eq!(listed["tracks"][0]["genres"][0], "Doom");
    assert_eq!(
        json(sandbox.run(["verify", "--format", "json"]))["ok"],
        true
    );
}
