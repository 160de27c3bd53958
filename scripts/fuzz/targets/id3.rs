//! ID3v2 tags of nested frames, compressed or not, with wrong sizes: random bytes rarely make such tags.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voisin_audio::probe;
use voisin_audio::tags::{WriteOptions, read_tags, write_genres};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("id3"));

/// The next byte; 0 at the end.
fn next(bytes: &mut &[u8]) -> u8 {
    let Some((first, rest)) = bytes.split_first() else {
        return 0;
    };
    *bytes = rest;
    *first
}

fn seven_bits(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

/// A zlib stream of one stored block with a valid checksum.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(0xffff)];
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    let length = bytes.len() as u16;
    [
        &[0x78, 1, 1][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        bytes,
        &(b << 16 | a).to_be_bytes(),
    ]
    .concat()
}

/// Frames generated from the bytes, each around the former ones or next to them.
fn frames(bytes: &mut &[u8]) -> Vec<u8> {
    const IDS: [&[u8; 4]; 8] = [
        b"CHAP", b"CTOC", b"TIT2", b"TXXX", b"APIC", b"UFID", b"WXXX", b"TCON",
    ];
    let mut all: Vec<u8> = Vec::new();
    while !bytes.is_empty() && all.len() < 50_000 {
        let kind = next(bytes);
        let flags = next(bytes);
        let how = next(bytes);
        let text = usize::from(next(bytes) % 16).min(bytes.len());
        let (text, rest) = bytes.split_at(text);
        *bytes = rest;
        let inside = how & 1 != 0;
        let mut body = [b"c\0................", text].concat();
        if inside {
            body.extend(&all);
        }
        if how & 2 != 0 {
            body = [&seven_bits(body.len())[..], &stored(&body)].concat();
        }
        let claimed = if how & 4 != 0 {
            body.len() + usize::from(next(bytes))
        } else {
            body.len()
        };
        let id = IDS[usize::from(kind) % IDS.len()];
        let frame = [&id[..], &seven_bits(claimed), &[0, flags], &body].concat();
        if inside {
            all = frame;
        } else {
            all.extend(frame);
        }
    }
    all
}

fuzz_target!(
    init: voisin_fuzz::only_guarded_panics(),
    |bytes: &[u8]| {
        let mut bytes = bytes;
        let (version, flags, place) = (2 + next(&mut bytes) % 3, next(&mut bytes), next(&mut bytes));
        let frames = frames(&mut bytes);
        let tag = [&[b'I', b'D', b'3', version, 0, flags][..], &seven_bits(frames.len()), &frames].concat();
        let size = tag.len() as u32;
        let file = match place % 4 {
            0 => [&tag[..], &[0xff, 0xfb, 0x90, 0x64], &[0; 413]].concat(),
            1 => [b"RIFF\xff\xff\xff\xffWAVEid3 ", &size.to_le_bytes()[..], &tag].concat(),
            2 => [b"FORM\0\0\xff\xffAIFFID3 ", &size.to_be_bytes()[..], &tag].concat(),
            _ => [&tag[..], &tag, b"fLaC"].concat(),
        };
        std::fs::write(&*FILE, &file).expect("room in memory");
        let _ = read_tags(&FILE).expect("errors are those of the file system only");
        let _ = probe(&FILE);
        let options = WriteOptions { dry_run: true, overwrite: true, ..WriteOptions::default() };
        let _ = write_genres(&FILE, &["Jazz".to_owned()], options);
    }
);
