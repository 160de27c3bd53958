//! The forms of a seed that docs/guide.md lists, each with an example, for the tests of both sources: a library here, and
//! one in a database.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use lofty::file::{AudioFile as _, TaggedFileExt as _};

use super::{Sandbox, fine, fine_json};

/// A form of a seed, as the table's first column has it, and an example.
pub(crate) struct SeedExample {
    /// As docs/guide.md writes it.
    pub(crate) form: &'static str,
    /// The text that a user types.
    pub(crate) written: String,
    /// Lines on standard input.
    pub(crate) input: String,
    /// Tracks that it stands for.
    pub(crate) tracks: usize,
}

/// The forms in the table of docs/guide.md.
pub(crate) fn documented_forms() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md"))
        .expect("a page");
    let table = page.split_once("## Tracks: seeds").expect("its heading").1;
    let rows = table
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        row.split('`')
            .nth(1)
            .expect("a form in backticks")
            .to_owned()
    })
    .collect()
}

/// A library of six demo tracks, two of them of one album, and an example of each documented form.
pub(crate) fn library_of_examples(sandbox: &Sandbox) -> Vec<SeedExample> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library");
    let music = sandbox.path("music");
    for genre in ["metal", "folk"] {
        let folder = music.join(genre);
        fs::create_dir_all(&folder).expect("a folder");
        let mut files: Vec<_> = fs::read_dir(demo.join(genre))
            .expect("the demo")
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files.iter().take(3) {
            fs::copy(file, folder.join(file.file_name().unwrap())).expect("a copy");
        }
    }
    for entry in fs::read_dir(music.join("metal")).expect("a folder").take(2) {
        let path = entry.unwrap().path();
        let mut tagged = lofty::read_from_path(&path).expect("readable tags");
        let kind = tagged.primary_tag_type();
        let tag = tagged.tag_mut(kind).expect("a tag");
        tag.insert_text(lofty::tag::ItemKey::AlbumTitle, "Lieder".to_owned());
        tagged
            .save_to_path(&path, lofty::config::WriteOptions::default())
            .expect("written tags");
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));

    let folk = music.join("folk");
    let folk = folk.to_str().unwrap();
    let listed = fine_json(sandbox.run(["list", "--folder", folk, "--format", "json"]));
    let listed = listed["tracks"].as_array().expect("tracks");
    let first = &listed[0];
    let artist = first["artist"].as_str().expect("an artist").to_owned();
    let path = first["path"].as_str().expect("a path").to_owned();
    let is_by = |track: &&serde_json::Value| track["artist"] == first["artist"];
    let by_artist = listed.iter().filter(is_by).count();
    let playlist = sandbox.path("list.m3u8");
    fs::write(&playlist, format!("{path}\n")).expect("a playlist");
    let example = |form, written: String, tracks| SeedExample {
        form,
        written,
        input: String::new(),
        tracks,
    };
    vec![
        example("song.flac", path.clone(), 1),
        example("id:17", format!("id:{}", first["id"]), 1),
        example("list.m3u8", playlist.to_str().unwrap().to_owned(), 1),
        example(
            "~/Music/album/",
            music.join("metal").to_str().unwrap().to_owned(),
            3,
        ),
        example("album:blue train", "album:lieder".to_owned(), 2),
        example("artist:coltrane", format!("artist:{artist}"), by_artist),
        example("nina simone sinnerman", "muldjord armygeddon".to_owned(), 1),
        SeedExample {
            input: format!("{path}\n"),
            ..example("-", "-".to_owned(), 1)
        },
    ]
}

/// The lines of a question that takes one or several seeds, `{}` where the seed stands.
pub(crate) const QUESTIONS: [&str; 5] = [
    "similar {} --limit 2 --format json",
    "similar {} --from 0 --to 3 --limit 2 --format json",
    "playlist {} --limit 2 --format json",
    "classify {} --format json",
    "show {} --format json",
];

/// Runs a question with the example's seed and standard input.
pub(crate) fn run_with_seed(
    sandbox: &Sandbox,
    question: &str,
    seed: &SeedExample,
    more: &[&str],
) -> Output {
    let words = question.split(' ').map(|word| {
        if word == "{}" {
            seed.written.as_str()
        } else {
            word
        }
    });
    let mut command = sandbox.command(words.chain(more.iter().copied()));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A verb that refuses first closes its end, which is no failure.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(seed.input.as_bytes());
    child.wait_with_output().expect("it ends")
}
