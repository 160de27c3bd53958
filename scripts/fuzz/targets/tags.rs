//! Reading tags, and writing genres into anything recognised as music.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voisin_audio::tags::{WriteOptions, read_tags, write_genres};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("tags"));

fuzz_target!(
    init: voisin_fuzz::only_guarded_panics(),
    |bytes: &[u8]| {
        std::fs::write(&*FILE, bytes).expect("room in memory");
        let tags = read_tags(&FILE).expect("errors are those of the file system only");
        let texts = [&tags.title, &tags.artist, &tags.album, &tags.album_artist].into_iter().flatten();
        assert!(texts.chain(&tags.genres).all(|text| !text.contains('\0')), "{tags:?}");
        let options = WriteOptions { dry_run: true, overwrite: true, ..WriteOptions::default() };
        let _ = write_genres(&FILE, &["Jazz".to_owned()], options);
        assert!(std::fs::read(&*FILE).expect("still there") == bytes, "a dry run changed the file");
    }
);
