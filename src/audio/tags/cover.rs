//! The picture of a file's front cover.

use std::fs::File;
use std::io;
use std::path::Path;

use lofty::config::ParsingMode;
use lofty::picture::{Picture, PictureType};

use super::texts::of_ogg;
use super::{flac, id3, mp4, ogg};
use crate::AudioError;
use crate::bytes::{MAX_TAG_BYTES, bytes_at};
use crate::guard::guard;
use crate::source::open;

/// Most bytes of a picture.
const MOST: usize = 12 << 20;

/// A picture, and whether it is that of the front.
type Cover = (bool, Vec<u8>);

/// Reads a file's front cover, else its first picture, up to 12 MB; `None` if it has none, or its tags are damaged. The
/// picture's format must be detected from its bytes. Errors are those of the file system only.
pub fn read_cover(path: &Path) -> Result<Option<Vec<u8>>, AudioError> {
    let mut file = open(path)?;
    let Ok(found) = guard(path, || covers(&mut file)) else {
        return Ok(None);
    };
    let mut found = found.map_err(|error| AudioError::from_io(path, error))?;
    found.retain(|(_, data)| (1..=MOST).contains(&data.len()));
    let front = found.iter().position(|(is_front, _)| *is_front);
    let cover = found.into_iter().nth(front.unwrap_or(0));
    Ok(cover.map(|(_, data)| data))
}

fn covers(file: &mut File) -> io::Result<Vec<Cover>> {
    let found = id3::find(file)?;
    let tags = found.tags.iter();
    let mut all: Vec<Cover> = tags.flat_map(|(_, tag)| of_id3(tag)).collect();
    let start = found.audio;
    let head = bytes_at(file, start, 12)?;
    match &head[..] {
        [b'f', b'L', b'a', b'C', ..] => {
            let (blocks, _) = flac::follow(file, start, file.metadata()?.len())?;
            for block in blocks.iter().filter(|block| block.kind == flac::PICTURE) {
                if block.size <= MAX_TAG_BYTES as u64 {
                    all.extend(of_block(&block.read(file)?, false));
                }
            }
        }
        [b'O', b'g', b'g', b'S', ..] => {
            let (packet, _) = ogg::comments_packet(file, start)?;
            let texts = of_ogg(&packet);
            let blocks = texts
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("METADATA_BLOCK_PICTURE"));
            all.extend(blocks.filter_map(|(_, block)| of_block(block, true)));
        }
        head if mp4::is_movie(head) => {
            let pictures = mp4::pictures(file)?.into_iter();
            all.extend(pictures.map(|picture| (true, picture)));
        }
        _ => {}
    }
    Ok(all)
}

/// - `is_text`: it is in base64
fn of_block(block: &[u8], is_text: bool) -> Option<Cover> {
    let (picture, _) = Picture::from_flac_bytes(block, is_text, ParsingMode::Relaxed).ok()?;
    let is_front = picture.pic_type() == PictureType::CoverFront;
    Some((is_front, picture.into_data()))
}

/// The pictures of an `ID3v2` tag (ID3 2.4 native frames, 4.14).
fn of_id3(tag: &[u8]) -> Vec<Cover> {
    const FRONT: u8 = 3;
    let is_picture = |id: &[u8]| matches!(id, b"APIC" | b"PIC").then_some(MOST);
    let Some((version, frames)) = id3::contents(tag, is_picture) else {
        return Vec::new();
    };
    let cover = |content: &[u8]| {
        let (&encoding, rest) = content.split_first()?;
        // The format is three letters or a type of MIME.
        let format = match version {
            2 => 3,
            _ => rest.iter().position(|&byte| byte == 0)? + 1,
        };
        let (&kind, rest) = rest.get(format..)?.split_first()?;
        let (_, data) = id3::split_at_nul(rest, matches!(encoding, 1 | 2))?;
        Some((kind == FRONT, data.to_vec()))
    };
    let covers = frames.iter().filter_map(|(_, content)| cover(content));
    covers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_the_cover_and_else_the_first_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp3");
        let picture = |kind: u8, data: &[u8]| {
            let body = [b"\0image/png\0", &[kind][..], b"a\0", data].concat();
            super::super::frames::framed(3, "APIC", &body)
        };
        let cover = |frames: &[Vec<u8>]| {
            let frames = frames.concat();
            let head = [b'I', b'D', b'3', 3, 0, 0, 0, 0, 0, frames.len() as u8];
            std::fs::write(&path, [&head[..], &frames, &[0x55; 200]].concat()).unwrap();
            read_cover(&path).unwrap()
        };
        let [back, front] = [picture(4, b"back"), picture(3, b"front")];
        assert_eq!(cover(&[back.clone(), front]).unwrap(), b"front");
        assert_eq!(cover(&[back]).unwrap(), b"back");
        assert_eq!(cover(&[]), None);
    }
}
