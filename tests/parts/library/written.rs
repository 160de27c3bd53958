//! Tags written into a file, and the records that undo uses.

use voisin::{TagOutcome, TagWish, write_tags};
use voisin_audio::tags::{ReversePatch, WriteOptions, restore};

use super::*;

#[test]
fn a_file_written_twice_in_a_run_gets_its_first_bytes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let file = dir.path().join("a.mp3");
    std::fs::copy("tests/data/audio/noxing.mp3", &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let options = WriteOptions {
        overwrite: true,
        ..WriteOptions::default()
    };
    let wishes = ["Dub", "Jazz"].map(|genre| TagWish {
        path: file.clone(),
        genres: vec![genre.to_owned()],
        reason: String::new(),
    });
    let mut outcomes = Vec::new();
    let run = write_tags(&mut library, &wishes, options, |result| {
        outcomes.push(result.outcome);
        Ok::<_, LibraryError>(true)
    });
    assert_eq!(outcomes, [TagOutcome::Written, TagOutcome::Kept]);
    let written = library.written_tags(run.unwrap()).unwrap();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].before, Vec::<String>::new());
    assert_eq!(written[0].after, ["Dub"]);
    let patch = ReversePatch::from_bytes(written[0].patch.as_deref().unwrap()).unwrap();
    assert!(restore(&file, &patch, options, &mut |_| {}).unwrap());
    assert!(std::fs::read(&file).unwrap() == bytes);
}
