//! Music files with valid and odd tags, generated from arbitrary bytes: a genre is written into
//! each, and everything else must stay unchanged. Shared by a fuzz target and a test.

use std::path::Path;

use voisin_audio::AudioError;
use voisin_audio::tags::{WriteOptions, WriteOutcome, prepare, read_tags, restore};

const MP3: &[u8] = include_bytes!("../../tests/data/audio/noxing.mp3");
const FLAC: &[u8] = include_bytes!("../../tests/data/audio/mono.flac");
const VORBIS: &[u8] = include_bytes!("../../tests/data/audio/vorbis.ogg");
const OPUS: &[u8] = include_bytes!("../../tests/data/audio/music.opus");
const M4A: &[u8] = include_bytes!("../../tests/data/audio/aac.m4a");

/// The outcome of an edit.
pub enum Outcome {
    /// Written, compared, and undone.
    Written,
    /// Refused with this reason, and unchanged.
    Refused(String),
}

/// A file, and the byte strings in it that must not change, in their order.
struct Made {
    kind: &'static str,
    bytes: Vec<u8>,
    kept: Vec<Vec<u8>>,
}

/// Generates a file at `path` from `choices`, writes a genre into it, compares it, and undoes that; returns the kind of file.
///
/// Panics if anything else changed.
pub fn write_and_take_back(path: &Path, choices: &[u8]) -> (&'static str, Outcome) {
    let mut choices = Choices(choices);
    let made = choices.file();
    std::fs::write(path, &made.bytes).expect("room for a file");
    let info = voisin_audio::probe(path);
    let genres = ["Zouk \u{e9}lectrique".to_owned()];
    let options = WriteOptions {
        overwrite: true,
        ..WriteOptions::default()
    };
    let mut patch = None;
    let outcome = prepare(path, &genres, options, &mut |_| {}).and_then(|prepared| {
        patch = prepared.reverse_patch().cloned();
        prepared.commit()
    });
    let after = std::fs::read(path).expect("still there");
    match outcome {
        Err(AudioError::TagsUnwritable { reason, .. }) => {
            assert!(
                after == made.bytes,
                "{}: refused ({reason}) and changed",
                made.kind
            );
            (made.kind, Outcome::Refused(reason))
        }
        Err(error) => {
            assert!(
                after == made.bytes,
                "{}: failed ({error}) and changed",
                made.kind
            );
            (made.kind, Outcome::Refused("it is not decoded".to_owned()))
        }
        Ok(outcome) => {
            assert_eq!(outcome, WriteOutcome::Written, "{}", made.kind);
            let read = read_tags(path).expect("readable");
            assert_eq!(read.genres, genres, "{}", made.kind);
            let flattened = flat(&after);
            let mut rest = &flattened[..];
            for kept in &made.kept {
                let at = find(rest, kept);
                let at =
                    at.unwrap_or_else(|| panic!("{}: lost {}", made.kind, kept.escape_ascii()));
                rest = &rest[at + kept.len()..];
            }
            let before = info.expect("it was written").content;
            assert!(
                voisin_audio::probe(path).expect("still decoded").content == before,
                "{}",
                made.kind
            );
            let patch = patch.expect("tags of this size are kept");
            assert!(
                restore(path, &patch, options, &mut |_| {}).expect("restorable"),
                "{}",
                made.kind
            );
            assert!(
                std::fs::read(path).expect("there") == made.bytes,
                "{}: not undone",
                made.kind
            );
            (made.kind, Outcome::Written)
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let mut from = 0;
    loop {
        from += bytes[from..].iter().position(|byte| *byte == wanted[0])?;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

/// The contents of Ogg pages; other files unchanged.
fn flat(bytes: &[u8]) -> Vec<u8> {
    if !bytes.starts_with(b"OggS") {
        return bytes.to_vec();
    }
    pages(bytes)
        .iter()
        .flat_map(|page| page[27 + usize::from(page[26])..].to_vec())
        .collect()
}

/// The pages of an Ogg file.
pub fn pages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while bytes.len() >= 27 {
        let table = 27 + usize::from(bytes[26]);
        let size = table
            + bytes[27..table]
                .iter()
                .map(|&size| usize::from(size))
                .sum::<usize>();
        let (page, rest) = bytes.split_at(size);
        all.push(page);
        bytes = rest;
    }
    all
}

/// Sets the checksum of a page (RFC 3533, section 6).
pub fn seal(page: &mut [u8]) {
    page[22..26].fill(0);
    let sum = page.iter().fold(0_u32, |sum, &byte| {
        let sum = sum ^ u32::from(byte) << 24;
        (0..8).fold(sum, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
}

fn seven_bits(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

fn big(size: usize) -> [u8; 4] {
    (size as u32).to_be_bytes()
}

fn little(size: usize) -> [u8; 4] {
    (size as u32).to_le_bytes()
}

fn boxed(kind: &[u8], content: &[u8]) -> Vec<u8> {
    [&big(content.len() + 8)[..], kind, content].concat()
}

/// Texts as in real tags.
const TEXTS: [&[u8]; 14] = [
    b"Title",
    b"2011-05-06",
    b"1998-1999",
    b"ca. 1970",
    b"0",
    b"\xc2\xa92008",
    b"31.05.2004",
    b"2008/05/06",
    b"Caf\xe9",
    b"two\0values",
    b"",
    b"\xd0\xa0\xd0\xbe\xd0\xba",
    b"=",
    b"3/12",
];

/// A picture in a FLAC block.
pub fn picture(data: &[u8]) -> Vec<u8> {
    [
        &big(3)[..],
        &big(9),
        b"image/png",
        &big(0),
        &[0; 16],
        &big(data.len()),
        data,
    ]
    .concat()
}

/// A FLAC file with these blocks, type and content, after its STREAMINFO; and its audio.
pub fn flac(blocks: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let mut at = 4;
    let mut is_last = false;
    while !is_last {
        is_last = FLAC[at] & 0x80 != 0;
        at += 4 + u32::from_be_bytes([0, FLAC[at + 1], FLAC[at + 2], FLAC[at + 3]]) as usize;
    }
    let mut bytes = FLAC[..8 + 34].to_vec();
    bytes[4] = if blocks.is_empty() { 0x80 } else { 0 };
    for (i, (kind, content)) in blocks.iter().enumerate() {
        bytes.push(if i + 1 == blocks.len() {
            kind | 0x80
        } else {
            *kind
        });
        bytes.extend(&big(content.len())[1..]);
        bytes.extend(content);
    }
    bytes.extend(&FLAC[at..]);
    (bytes, FLAC[at..].to_vec())
}

/// An Opus or Vorbis file with this list of comments, and the other contents of its packets and pages.
///
/// - `list`: the comments, and the bytes after them
/// - `most`: segments of a page
pub fn ogg(is_opus: bool, list: &[u8], most: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let old = pages(if is_opus { OPUS } else { VORBIS });
    let mut packets: Vec<Vec<u8>> = vec![Vec::new()];
    let mut used = 1;
    while packets.len() <= if is_opus { 1 } else { 2 } {
        let page = old[used];
        let table = &page[27..27 + usize::from(page[26])];
        let mut body = &page[27 + table.len()..];
        for &size in table {
            let (piece, rest) = body.split_at(usize::from(size));
            body = rest;
            packets.last_mut().expect("never empty").extend(piece);
            if size < 255 {
                packets.push(Vec::new());
            }
        }
        used += 1;
    }
    packets.pop();
    packets[0] = [
        if is_opus {
            &b"OpusTags"[..]
        } else {
            b"\x03vorbis"
        },
        list,
    ]
    .concat();
    let mut kept = packets[1..].to_vec();
    let mut segments = Vec::new();
    for packet in &packets {
        segments.extend(std::iter::repeat_n(255, packet.len() / 255));
        segments.push((packet.len() % 255) as u8);
    }
    let body = packets.concat();
    let mut rest = &body[..];
    let mut new = vec![old[0].to_vec()];
    let mut is_continued = false;
    for table in segments.chunks(most) {
        let (content, after) = rest.split_at(table.iter().map(|&size| usize::from(size)).sum());
        rest = after;
        let mut page = [&old[1][..26], &[table.len() as u8], table, content].concat();
        page[5] = is_continued.into();
        page[6..14].fill(if table.iter().all(|&size| size == 255) {
            0xff
        } else {
            0
        });
        is_continued = table[table.len() - 1] == 255;
        new.push(page);
    }
    for page in &old[used..] {
        kept.push(page[27 + usize::from(page[26])..].to_vec());
        new.push(page.to_vec());
    }
    for (number, page) in new.iter_mut().enumerate() {
        page[18..22].copy_from_slice(&little(number));
        seal(page);
    }
    (new.concat(), kept)
}

/// An M4A file with these items and this box next to their list, and its audio.
///
/// - `padding`: bytes after the list
/// - `is_first`: metadata comes before the audio
pub fn m4a(
    items: Option<(&[u8], &[u8])>,
    padding: Option<usize>,
    is_first: bool,
) -> (Vec<u8>, Vec<u8>) {
    let atoms = |mut rest: &'static [u8]| {
        let mut all = Vec::new();
        while rest.len() >= 8 {
            let size = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let (atom, after) = rest.split_at(size);
            all.push(atom);
            rest = after;
        }
        all
    };
    let all = atoms(M4A);
    let one = |kind: &[u8]| {
        *all.iter()
            .find(|atom| &atom[4..8] == kind)
            .expect("in every file")
    };
    let mut within: Vec<Vec<u8>> = atoms(&one(b"moov")[8..])
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    within.retain(|atom| &atom[4..8] != b"udta");
    if let Some((items, other)) = items {
        let handler = boxed(b"hdlr", b"\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0");
        let padding = padding
            .map(|size| boxed(b"free", &vec![0; size]))
            .unwrap_or_default();
        let meta = boxed(
            b"meta",
            &[&[0; 4], &handler[..], &boxed(b"ilst", items), &padding].concat(),
        );
        within.push(boxed(b"udta", &[&meta, other].concat()));
    }
    let mut moov = boxed(b"moov", &within.concat());
    let start = one(b"ftyp");
    let sound = one(b"mdat");
    let old_place = find(M4A, sound).expect("its offset");
    let place = start.len() + if is_first { moov.len() } else { 0 };
    let at = find(&moov, b"stco").expect("offsets of the audio") + 8;
    let count = u32::from_be_bytes([moov[at], moov[at + 1], moov[at + 2], moov[at + 3]]) as usize;
    for entry in moov[at + 4..at + 4 + 4 * count].chunks_exact_mut(4) {
        let old = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
        entry.copy_from_slice(&big(old + place - old_place));
    }
    let bytes = if is_first {
        [start, &moov, sound].concat()
    } else {
        [start, sound, &moov].concat()
    };
    (bytes, sound.to_vec())
}

struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// The next byte; 0 at the end.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.below(one_in) == one_in - 1
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let n = self.below(most + 1);
        (0..n).map(|_| self.byte()).collect()
    }

    fn file(&mut self) -> Made {
        match self.below(5) {
            0 => self.mp3(),
            1 => self.flac(),
            2 => self.ogg(false),
            3 => self.ogg(true),
            _ => self.m4a(),
        }
    }

    /// An ID3v2 tag; all fields but those that are written are in `kept`.
    fn id3(&mut self, kept: &mut Vec<Vec<u8>>) -> Vec<u8> {
        const IDS: [(&[u8], &[u8]); 20] = [
            (b"TCON", b"TCO"),
            (b"TIT2", b"TT2"),
            (b"TPE1", b"TP1"),
            (b"TPE1", b"TP1"),
            (b"TALB", b"TAL"),
            (b"TYER", b"TYE"),
            (b"TDAT", b"TDA"),
            (b"TDRC", b"TRD"),
            (b"TDOR", b"TOR"),
            (b"TDEN", b"TEN"),
            (b"RVA2", b"RVA"),
            (b"WOAR", b"WAR"),
            (b"WCOM", b"WCM"),
            (b"COMM", b"COM"),
            (b"TXXX", b"TXX"),
            (b"WFED", b"WFD"),
            (b"APIC", b"PIC"),
            (b"PRIV", b"CRM"),
            (b"CHAP", b"CRA"),
            (b"UFID", b"UFI"),
        ];
        let version = self.pick(&[3, 4, 2]);
        let mut frames = Vec::new();
        for _ in 0..self.below(12) {
            let (id, old) = self.pick(&IDS);
            let text = self.pick(&TEXTS);
            let body = match id {
                b"COMM" => [b"\0eng\0", text].concat(),
                b"TXXX" => [b"\0replaygain_album_gain\0", text].concat(),
                b"WOAR" | b"WCOM" => b"http://x.example/a".to_vec(),
                b"WFED" => b"\0http://x.example/feed".to_vec(),
                b"UFID" => b"http://x.example\0id".to_vec(),
                b"APIC" if version == 2 => [&b"\0PNG\x03\0"[..], &self.bytes(200)].concat(),
                b"APIC" => [&b"\0image/png\0\x03\0"[..], &self.bytes(200)].concat(),
                _ if id[0] == b'T' => [&[if version == 4 { 3 } else { 0 }], text].concat(),
                _ => self.bytes(60),
            };
            // Grouped, encrypted, or read-only, in either version: readers skip such a frame.
            let flags = if version > 2 && id[0] != b'T' && self.is(6) {
                self.pick(&[0x20, 0x40, 0x04])
            } else {
                0
            };
            let frame = match version {
                2 => [old, &big(body.len())[1..], &body].concat(),
                3 => [id, &big(body.len()), &[0, flags], &body].concat(),
                _ => [id, &seven_bits(body.len()), &[0, flags], &body].concat(),
            };
            if id != b"TCON" {
                kept.push(frame.clone());
            }
            frames.extend(frame);
        }
        frames.resize(frames.len() + self.below(100), 0);
        let size = seven_bits(frames.len());
        [&[b'I', b'D', b'3', version, 0, 0], &size[..], &frames].concat()
    }

    fn mp3(&mut self) -> Made {
        let mut kept = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..self.pick(&[1, 1, 1, 0, 2]) {
            bytes.extend(self.id3(&mut kept));
        }
        bytes.extend(MP3);
        kept.push(MP3.to_vec());
        if self.is(3) {
            let mut items = Vec::new();
            let mut count = 0;
            for _ in 0..self.below(6) {
                let key = self.pick(&[
                    &b"Genre"[..],
                    b"Title",
                    b"Artist",
                    b"Cover Art (Front)",
                    b"genre",
                ]);
                let is_binary = key.starts_with(b"Cover");
                let value = if is_binary {
                    self.bytes(90)
                } else {
                    self.pick(&TEXTS).to_vec()
                };
                let item = [
                    &little(value.len())[..],
                    &[if is_binary { 2 } else { 0 }, 0, 0, 0],
                    key,
                    &[0],
                    &value,
                ];
                count += 1;
                items.extend(item.concat());
            }
            let mark = |flags: u32| {
                let numbers = [2000, items.len() as u32 + 32, count, flags]
                    .map(u32::to_le_bytes)
                    .concat();
                [b"APETAGEX", &numbers[..], &[0; 8]].concat()
            };
            let tag = if self.is(2) {
                [mark(0xa000_0000), items.clone(), mark(0x8000_0000)].concat()
            } else {
                [items.clone(), mark(0)].concat()
            };
            kept.push(tag.clone());
            bytes.extend(tag);
        }
        if self.is(2) {
            let mut tag = b"TAG".to_vec();
            for size in [30, 30, 30, 4, 30] {
                let mut text = self.pick(&TEXTS).to_vec();
                text.resize(size, 0);
                tag.extend(text);
            }
            tag.push(self.pick(&[17, 255, 0]));
            kept.push(tag.clone());
            bytes.extend(tag);
        }
        Made {
            kind: "MP3",
            bytes,
            kept,
        }
    }

    /// A list of comments; those of fields that are not written are in `kept`.
    fn comments(&mut self, kept: &mut Vec<Vec<u8>>) -> Vec<u8> {
        const NAMES: [&[u8]; 12] = [
            b"GENRE=",
            b"TITLE=",
            b"ARTIST=",
            b"ARTIST=",
            b"DATE=",
            b"COMMENT=",
            b"K\xc3\x84Y=",
            b"",
            b"UFIDhttp://x.example",
            b"METADATA_BLOCK_PICTURE=no base64!",
            b"genre=",
            b"\xe9=",
        ];
        let vendor = self.pick(&TEXTS);
        let mut list = [&little(vendor.len())[..], vendor].concat();
        let n = self.below(10);
        list.extend(little(n));
        for _ in 0..n {
            let name = self.pick(&NAMES);
            let comment = [name, self.pick(&TEXTS)].concat();
            let comment = [&little(comment.len())[..], &comment].concat();
            if !name.eq_ignore_ascii_case(b"GENRE=") {
                kept.push(comment.clone());
            }
            list.extend(comment);
        }
        list
    }

    fn flac(&mut self) -> Made {
        let mut kept = Vec::new();
        let tag = if self.is(6) {
            self.id3(&mut kept)
        } else {
            Vec::new()
        };
        kept.push(FLAC[8..8 + 34].to_vec());
        let mut blocks = Vec::new();
        for _ in 0..self.below(5) {
            let block = match self.below(6) {
                0 => (1, vec![0; self.below(90)]),
                1 => (2, [b"test".to_vec(), self.bytes(50)].concat()),
                2 => (9, self.bytes(50)),
                3 => (6, picture(&self.bytes(90))),
                _ => (4, self.comments(&mut kept)),
            };
            if ![1, 4].contains(&block.0) {
                kept.push(block.1.clone());
            }
            blocks.push(block);
        }
        let (stream, sound) = flac(&blocks);
        kept.push(sound);
        Made {
            kind: "FLAC",
            bytes: [tag, stream].concat(),
            kept,
        }
    }

    fn ogg(&mut self, is_opus: bool) -> Made {
        let mut kept = Vec::new();
        let list = self.comments(&mut kept);
        // Bytes after the comments: any for Opus, a set bit for Vorbis.
        let behind = if is_opus { self.bytes(60) } else { vec![1] };
        // Long ones need separate pages.
        let behind = if is_opus && self.is(4) {
            behind.repeat(1 + self.below(2000))
        } else {
            behind
        };
        kept.push(behind.clone());
        let most = self.pick(&[255, 255, 17]);
        let (bytes, after) = ogg(is_opus, &[list, behind].concat(), most);
        kept.extend(after);
        Made {
            kind: if is_opus { "Opus" } else { "Vorbis" },
            bytes,
            kept,
        }
    }

    fn m4a(&mut self) -> Made {
        let mut kept = Vec::new();
        let mut items = Vec::new();
        for _ in 0..self.below(9) {
            let kind = self.pick(&[
                &b"\xa9gen"[..],
                b"\xa9nam",
                b"\xa9ART",
                b"\xa9cmt",
                b"covr",
                b"gnre",
                b"----",
            ]);
            let text = self.pick(&TEXTS);
            let code = if kind == b"covr" {
                14
            } else {
                self.pick(&[1, 2, 0, 1])
            };
            let data = boxed(b"data", &[&big(code)[..], &[0; 4], text].concat());
            let item = match kind {
                b"----" => {
                    let names = [
                        boxed(b"mean", b"\0\0\0\0org.example"),
                        boxed(b"name", b"\0\0\0\0X"),
                    ]
                    .concat();
                    boxed(kind, &[names, data].concat())
                }
                b"gnre" => boxed(kind, &boxed(b"data", b"\0\0\0\0\0\0\0\0\0\x09")),
                _ => boxed(kind, &data),
            };
            if ![&b"\xa9gen"[..], b"gnre"].contains(&kind) {
                kept.push(item.clone());
            }
            items.extend(item);
        }
        let padding = if self.is(3) {
            Some(self.below(80))
        } else {
            None
        };
        let other = boxed(b"Xtra", &self.bytes(40));
        let has_items = !self.is(5);
        if has_items {
            kept.push(other.clone());
        } else {
            kept.clear();
        }
        let is_first = self.is(2);
        let (bytes, sound) = m4a(has_items.then_some((&items, &other)), padding, is_first);
        if is_first {
            kept.push(sound);
        } else {
            kept.insert(0, sound);
        }
        Made {
            kind: "M4A",
            bytes,
            kept,
        }
    }
}
