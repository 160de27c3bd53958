//! Answers written into files as tags, and undone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli_genre::AUDIO;
use crate::cli_genre::shelf::Shelf;
use crate::common::{Sandbox, code, json, noise_wav, text};
use voisin_audio::tags::read_tags;

/// Real files of every format with writable genres, in a synthetic library with their genre.
#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn answers_are_written_into_files_only_as_requested() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(3, 15, 0.6);
    let folder = sandbox.path("files");
    fs::create_dir_all(&folder).unwrap();
    let names = [
        "vbr.mp3",
        "mono.flac",
        "vorbis.ogg",
        "music.opus",
        "aac.m4a",
    ];
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let files: Vec<PathBuf> = names
        .iter()
        .map(|name| {
            let to = folder.join(name);
            fs::copy(format!("{AUDIO}/{name}"), &to).unwrap();
            fs::File::options()
                .write(true)
                .open(&to)
                .unwrap()
                .set_modified(old)
                .unwrap();
            shelf.put(&to, 1, "", 0.3);
            to
        })
        .collect();
    // a file of the library that is missing
    shelf.put(&folder.join("gone.mp3"), 1, "", 0.3);
    assert_eq!(code(&sandbox.run(["train"])), 0);
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before: Vec<Vec<u8>> = files.iter().map(|f| fs::read(f).unwrap()).collect();
    let ids: Vec<String> = (46..51).map(|id| format!("id:{id}")).collect();
    let run = |more: &[&str]| {
        let mut arguments = vec!["tag"];
        arguments.extend(ids.iter().map(String::as_str));
        arguments.extend(more);
        sandbox.run(arguments)
    };

    let dry = run(&["--dry-run"]);
    assert_eq!(code(&dry), 0, "{}", text(&dry.stderr));
    assert_eq!(
        text(&dry.stdout).matches("+ genre: Genre 1").count(),
        5,
        "{}",
        text(&dry.stdout)
    );
    assert!(text(&dry.stderr).contains("5 files would be written"));
    for (file, bytes) in files.iter().zip(&before) {
        assert_eq!(&fs::read(file).unwrap(), bytes, "a dry run changes nothing");
    }

    let done = run(&["--keep-times"]);
    assert_eq!(code(&done), 0, "{}", text(&done.stderr));
    assert!(
        text(&done.stderr).contains("5 files written"),
        "{}",
        text(&done.stderr)
    );
    for file in &files {
        assert_eq!(
            read_tags(file).unwrap().genres,
            ["Genre 1"],
            "{}",
            file.display()
        );
        assert_eq!(modified(file), old);
    }
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        5,
        "no temporary copy stays behind"
    );

    // existing genres are kept, unless `--overwrite` is given
    let mp3 = &files[0];
    voisin_audio::tags::write_genres(
        mp3,
        &["My Own".to_owned()],
        voisin_audio::tags::WriteOptions {
            overwrite: true,
            ..Default::default()
        },
    )
    .unwrap();
    let kept = json(run(&["--format", "json"]));
    assert_eq!(
        (&kept[0]["outcome"], &kept[0]["before"][0]),
        (&"kept".into(), &"My Own".into())
    );
    assert_eq!(kept[1]["outcome"], "unchanged");
    assert_eq!(read_tags(mp3).unwrap().genres, ["My Own"]);
    let dry = text(&run(&["--overwrite", "--dry-run"]).stdout);
    assert!(dry.contains("- genre: My Own\n+ genre: Genre 1"), "{dry}");
    let over = json(run(&["--overwrite", "--format", "json"]));
    assert_eq!(over[0]["outcome"], "written");
    assert_eq!(read_tags(mp3).unwrap().genres, ["Genre 1"]);
    assert!(modified(mp3) > old, "times are kept only on request");

    // one file that fails does not stop the others, and is counted
    fs::copy(format!("{AUDIO}/vbr.mp3"), mp3).unwrap();
    let some = sandbox.run(["tag", "id:51", "id:46", "--format", "json"]);
    assert_eq!(code(&some), 1);
    let some = json(&some);
    assert_eq!(
        (&some[0]["outcome"], &some[1]["outcome"]),
        (&"failed".into(), &"written".into())
    );
}

#[test]
fn an_unsure_answer_is_written_only_on_request() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    // neighbours with similar vectors and two different labels
    for i in 0..16 {
        shelf.put(
            Path::new(&format!("/music/{i}.mp3")),
            0,
            ["Rock", "Pop"][i % 2],
            0.6,
        );
    }
    let file = sandbox.path("between.flac");
    fs::copy(format!("{AUDIO}/mono.flac"), &file).unwrap();
    shelf.put(&file, 0, "", 0.0);
    let write = |more: &[&str]| {
        let output = sandbox.run(["tag", "id:17", "--format", "json"].iter().chain(more));
        (json(&output)[0]["outcome"].clone(), text(&output.stderr))
    };
    let share =
        json(sandbox.run(["classify", "id:17", "--format", "json"]))[0]["probability"].clone();
    assert!((0.5..0.9).contains(&share.as_f64().unwrap()), "{share}");
    let (outcome, stderr) = write(&[]);
    assert_eq!(outcome, "unknown");
    assert!(
        stderr.contains("less than 90 % of the votes") && stderr.contains("1 left alone"),
        "{stderr}"
    );
    assert_eq!(write(&["--precision", "0.5"]).0, "written");
    assert_eq!(read_tags(&file).unwrap().genres.len(), 1);
    let (_, stderr) = write(&[]);
    assert!(stderr.contains("1 with a genre already"), "{stderr}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn undo_restores_genres_of_files() {
    use voisin_audio::tags::{WriteOptions, write_genres};
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(2, 3, 0.6);
    let folder = sandbox.path("files");
    fs::create_dir_all(&folder).unwrap();
    let mut files = Vec::new();
    // as `suspects --format csv` prints it, with lines deleted
    let mut list = String::from("rank,id,path,suggested\n");
    for name in [
        "vbr.mp3",
        "mono.flac",
        "vorbis.ogg",
        "music.opus",
        "aac.m4a",
    ] {
        let to = folder.join(name);
        fs::copy(format!("{AUDIO}/{name}"), &to).unwrap();
        list += &format!("1,1,{},Zeuhl\n", to.display());
        files.push(to);
    }
    list += &format!("7,7,{},Zeuhl\n", folder.join("gone.mp3").display());
    let table = sandbox.path("accepted.csv");
    fs::write(&table, list).unwrap();
    let genres = |path: &Path| read_tags(path).unwrap().genres;
    let set_genre = |path: &Path, genre: &str| {
        let options = WriteOptions {
            overwrite: true,
            ..Default::default()
        };
        write_genres(path, &[genre.to_owned()], options).unwrap();
    };
    set_genre(&files[1], "Chanson");
    let before: Vec<Vec<String>> = files.iter().map(|file| genres(file)).collect();
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(
        code(&sandbox.run(["tag", "--undo"])),
        1,
        "nothing was written yet"
    );
    let table = table.to_str().unwrap();
    let write = ["tag", "--from", table, "--overwrite"];
    assert_eq!(
        code(&sandbox.run(write.iter().chain(&["--dry-run"]))),
        1,
        "a file of the list is gone"
    );
    assert_eq!(
        code(&sandbox.run(["tag", "--undo"])),
        1,
        "a dry run leaves nothing to take back"
    );
    let written = sandbox.run(write);
    assert_eq!(code(&written), 1);
    let stderr = text(&written.stderr);
    assert!(
        stderr.contains("5 files written") && stderr.contains("\"voisin tag --undo\" undoes this"),
        "{stderr}"
    );
    assert!(files.iter().all(|file| genres(file) == ["Zeuhl"]));

    let dry = sandbox.run(["tag", "--undo", "--dry-run"]);
    assert_eq!(code(&dry), 0, "{}", text(&dry.stderr));
    assert!(
        text(&dry.stdout).contains("- genre: Zeuhl\n+ genre: Chanson"),
        "{}",
        text(&dry.stdout)
    );
    assert!(files.iter().all(|file| genres(file) == ["Zeuhl"]));
    // A file that was restored by hand: a dry run restores nothing there either.
    let written = fs::read(&files[1]).unwrap();
    fs::write(&files[1], &bytes[1]).unwrap();
    let dry = json(sandbox.run(["tag", "--undo", "--dry-run", "--format", "json"]));
    assert!(!dry.to_string().contains("\"restored\""), "{dry}");
    fs::write(&files[1], written).unwrap();
    // later changes by hand stay
    set_genre(&files[0], "My Own");
    let undone = sandbox.run(["tag", "--undo", "--format", "json"]);
    assert_eq!(code(&undone), 1);
    let undone = json(&undone);
    let count_of = |outcome: &str| {
        undone
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["outcome"] == outcome)
            .count()
    };
    assert_eq!(
        (count_of("restored"), count_of("changed_since")),
        (4, 1),
        "{undone}"
    );
    assert_eq!(genres(&files[0]), ["My Own"]);
    for (file, bytes) in files.iter().zip(&bytes).skip(1) {
        assert!(&fs::read(file).unwrap() == bytes, "{}", file.display());
    }
    set_genre(&files[0], "Zeuhl");
    // Another program adds a tag: restoring the old bytes would remove it.
    let mut old_tag = b"TAGTheir title".to_vec();
    old_tag.resize(127, 0);
    old_tag.push(255);
    let written = fs::read(&files[0]).unwrap();
    fs::write(&files[0], [&written[..], &old_tag].concat()).unwrap();
    let dry = sandbox.run(["tag", "--undo", "--dry-run", "--format", "json"]);
    assert_eq!(json(&dry)[0]["outcome"], "would_restore_tags");
    let undone = sandbox.run(["tag", "--undo"]);
    let notes = text(&undone.stderr);
    assert_eq!(code(&undone), 0, "{notes}");
    assert!(
        notes.contains("other bytes of it were changed since"),
        "{notes}"
    );
    assert!(
        notes.contains("0 files as before, 1 with tags as before"),
        "{notes}"
    );
    assert_eq!(genres(&files[0]), before[0]);
    assert!(fs::read(&files[0]).unwrap().ends_with(&old_tag));
    assert_eq!(code(&sandbox.run(["tag", "--undo"])), 1);
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        5,
        "no temporary copy stays behind"
    );
}

/// A copy outside the library of audio that is in it twice.
#[test]
fn only_the_named_file_is_written() {
    let sandbox = Sandbox::new();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library/metal");
    let music = sandbox.path("music");
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir_all(&music).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    let mut labels = "path,genre\n".to_owned();
    for name in [
        "muldjord-chaos-god.mp3",
        "muldjord-mutilated-mime.mp3",
        "martin-linda-comix-6.mp3",
    ] {
        fs::copy(demo.join(name), music.join(name)).unwrap();
        labels.push_str(&format!("{},Noise\n", music.join(name).display()));
    }
    // Enough labels for writing, and none of them near.
    for i in 0..13 {
        let to = music.join(format!("{i}.wav"));
        fs::write(&to, noise_wav(16_000, 5.0, i)).unwrap();
        labels.push_str(&format!(
            "{},{}\n",
            to.display(),
            if i < 5 { "Noise" } else { "Hiss" }
        ));
    }
    let known = music.join("muldjord-chaos-god.mp3");
    let copy = music.join("copy.mp3");
    let mine = elsewhere.join("mine.mp3");
    fs::copy(&known, &copy).unwrap();
    fs::copy(&known, &mine).unwrap();
    let table = sandbox.path("labels.csv");
    fs::write(&table, labels).unwrap();
    assert_eq!(code(&sandbox.run([Path::new("add"), &music])), 0);
    assert_eq!(code(&sandbox.run([Path::new("labels"), &table])), 0);
    let write = |what: &Path, more: &[&str]| {
        let mut command = sandbox.command(["tag", "--overwrite"]);
        // Two voters, and music far from the labels: more than half of the votes is the most possible.
        command.args(["--precision", "0.5"]).arg(what).args(more);
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let genres = |path: &Path| read_tags(path).unwrap().genres;

    let dry = write(&mine, &["--dry-run"]);
    assert!(
        dry.contains("mine.mp3") && !dry.contains("chaos-god") && !dry.contains("copy.mp3"),
        "{dry}"
    );
    write(&mine, &[]);
    assert_eq!(
        (genres(&mine), genres(&known)),
        (vec!["Noise".into()], vec!["Metal".into()])
    );
    // One of two files of the library: the other one was not named.
    write(&copy, &[]);
    assert_eq!(
        (genres(&copy), genres(&known)),
        (vec!["Noise".into()], vec!["Metal".into()])
    );
    // A track that is named by words is all its files.
    write(Path::new("chaos god"), &[]);
    assert_eq!(genres(&known), ["Noise"]);
}

/// A file to write a genre to, the table with that genre, and a library that stores the previous tags.
#[cfg(unix)]
fn listed(sandbox: &Sandbox, genre: &str) -> (PathBuf, PathBuf) {
    Shelf::new(sandbox).put(Path::new("/music/other.mp3"), 0, "Rock", 0.3);
    let file = sandbox.path("song.mp3");
    let list = sandbox.path("list.csv");
    fs::copy(format!("{AUDIO}/vbr.mp3"), &file).unwrap();
    fs::write(&list, format!("path,genre\n{},{genre}\n", file.display())).unwrap();
    (file, list)
}

#[cfg(unix)]
fn write_listed(sandbox: &Sandbox, list: &Path, more: &[&str]) -> std::process::Output {
    let list = list.to_str().unwrap();
    sandbox.run([&["tag", "--overwrite", "--from", list], more].concat())
}

/// A run that wrote both left the first genre behind when it was undone.
#[cfg(unix)]
#[test]
fn a_file_with_two_paths_is_written_and_undone_once() {
    let sandbox = Sandbox::new();
    let (file, list) = listed(&sandbox, "Two");
    let link = sandbox.path("link.mp3");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let bytes = fs::read(&file).unwrap();
    let rows = [&link, &file].map(|path| path.display().to_string());
    fs::write(
        &list,
        format!("path,genre\n{},One\n{},Two\n", rows[0], rows[1]),
    )
    .unwrap();
    let written = text(&write_listed(&sandbox, &list, &[]).stderr);
    assert!(written.contains("1 file written"), "{written}");
    assert_eq!(read_tags(&file).unwrap().genres, ["Two"]);
    let undone = sandbox.run(["tag", "--undo"]);
    assert_eq!(code(&undone), 0, "{}", text(&undone.stderr));
    assert!(fs::read(&file).unwrap() == bytes);
}

/// An access control list as Linux keeps it: besides owner, group and others this user may read.
#[cfg(target_os = "linux")]
fn readable_by(user: u32) -> Vec<u8> {
    let none = u32::MAX;
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (0x01_u16, 6_u16, none),
        (0x02, 4, user),
        (0x04, 0, none),
        (0x10, 4, none),
        (0x20, 0, none),
    ] {
        list.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    list
}

#[cfg(unix)]
#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn writing_tags_keeps_extended_attributes_and_rights() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let sandbox = Sandbox::new();
    let (file, list) = listed(&sandbox, "Dub");
    if let Err(error) = xattr::set(&file, "user.rating", b"5") {
        eprintln!(
            "skipped: {} keeps no extended attributes: {error}",
            file.display()
        );
        return;
    }
    let long = vec![b'x'; 2000];
    xattr::set(&file, "user.empty", b"").unwrap();
    xattr::set(&file, "user.comment", &long).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    // Some file systems have attributes and no access control lists.
    #[cfg(target_os = "linux")]
    let has_lists = xattr::set(&file, "system.posix_acl_access", &readable_by(12_345)).is_ok();
    let state = || {
        let attributes: Vec<_> = xattr::list(&file)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(&file, name).unwrap()))
            .collect();
        let metadata = fs::metadata(&file).unwrap();
        (
            std::collections::BTreeMap::from_iter(attributes),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
        )
    };
    let before = state();
    let inode = fs::metadata(&file).unwrap().ino();
    assert!(before.0.len() >= 3, "{before:?}");
    #[cfg(target_os = "linux")]
    assert_eq!(
        before
            .0
            .contains_key(std::ffi::OsStr::new("system.posix_acl_access")),
        has_lists
    );

    let written = write_listed(&sandbox, &list, &[]);
    assert_eq!(code(&written), 0, "{}", text(&written.stderr));
    assert_eq!(read_tags(&file).unwrap().genres, ["Dub"]);
    assert_ne!(
        fs::metadata(&file).unwrap().ino(),
        inode,
        "it is a new file"
    );
    assert_eq!(state(), before);
    assert_eq!(code(&sandbox.run(["tag", "--undo"])), 0);
    assert!(read_tags(&file).unwrap().genres != ["Dub"]);
    assert_eq!(state(), before);

    // A folder's default list does not apply to files that were there.
    #[cfg(target_os = "linux")]
    if has_lists {
        xattr::remove(&file, "system.posix_acl_access").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        xattr::set(
            file.parent().unwrap(),
            "system.posix_acl_default",
            &readable_by(54_321),
        )
        .unwrap();
        let before = state();
        assert_eq!(code(&write_listed(&sandbox, &list, &[])), 0);
        assert_eq!(state(), before);
    }
}

#[cfg(unix)]
#[test]
fn writing_tags_refuses_files_with_several_names() {
    let sandbox = Sandbox::new();
    let (file, list) = listed(&sandbox, "Dub");
    let other = sandbox.path("other.mp3");
    fs::hard_link(&file, &other).unwrap();
    let before = fs::read(&file).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let refused = write_listed(&sandbox, &list, more);
        let why = text(&refused.stderr);
        assert_eq!(code(&refused), 1, "{why}");
        assert!(
            why.contains("it has 2 names (hard links)") && why.contains("1 failed"),
            "{why}"
        );
        assert!(fs::read(&file).unwrap() == before && fs::read(&other).unwrap() == before);
    }
    fs::remove_file(&other).unwrap();
    assert_eq!(code(&write_listed(&sandbox, &list, &[])), 0);
    assert_eq!(read_tags(&file).unwrap().genres, ["Dub"]);
}
