//! Playlists: any bytes are read, and playlists that voisin writes are read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::playlist::{Format, write};
use voisin_library::scan::playlist::parse;
use voisin_library::scan::split_list;

fuzz_target!(|bytes: &[u8]| {
    assert!(parse(bytes).iter().all(|path| !path.is_empty()));
    assert!(
        split_list(bytes)
            .iter()
            .all(|path| !path.as_os_str().is_empty())
    );

    // A track whose path and tags are these bytes gives one entry with the same path.
    let text = String::from_utf8_lossy(bytes).replace('\0', "");
    if text.is_empty() || text.len() > 4000 {
        return;
    }
    let path = format!("/music/{text}");
    let mut track = TrackMeta::new(TrackId(1), path.clone());
    track.title = text.clone();
    track.artist = Some(text);
    let written = write(&[&track, &track], &track.title, Format::M3u8, None).expect("writable");
    let entries = parse(&written);
    assert_eq!(entries.len(), 2, "{written:?}");
    for entry in entries {
        assert_eq!(entry, path.as_bytes(), "{written:?}");
    }
});
