//! Chunks of WAV files whose names lofty takes for the end of the file: what is not ASCII, or has a space before other
//! characters. They get another name while it writes.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::source::read_up_to;

type Name = [u8; 4];

/// The names that odd chunks of a file had, in their order, and the one that all of them have meanwhile.
pub(super) struct Renamed {
    names: Vec<Name>,
    stand_in: Name,
}

/// Gives the odd chunks of a WAV file a name that it has nowhere else.
pub(super) fn rename(file: &mut (impl Read + Write + Seek)) -> io::Result<Renamed> {
    let chunks = chunks(file)?;
    let taken: HashSet<Name> = chunks.iter().map(|(_, name)| *name).collect();
    let stand_in = (0..=u16::MAX).map(|n| std::array::from_fn(|i| b'a' + (n >> (4 * i) & 15) as u8));
    let stand_in = stand_in.into_iter().find(|name| !taken.contains(name)).unwrap_or(*b"odd.");
    let mut names = Vec::new();
    for (at, name) in chunks.into_iter().filter(|(_, name)| is_odd(*name)) {
        put(file, at, stand_in)?;
        names.push(name);
    }
    Ok(Renamed { names, stand_in })
}

impl Renamed {
    /// Gives the chunks their names back, wherever they lie now.
    ///
    /// # Errors
    /// One of them is gone.
    pub(super) fn restore(&self, file: &mut (impl Read + Write + Seek)) -> io::Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        let mut places = chunks(file)?;
        places.retain(|(_, name)| *name == self.stand_in);
        if places.len() != self.names.len() {
            return Err(io::Error::other("its chunks overlap"));
        }
        places.iter().zip(&self.names).try_for_each(|((at, _), name)| put(file, *at, *name))
    }
}

fn put(file: &mut (impl Write + Seek), at: u64, name: Name) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&name)
}

fn is_odd(name: Name) -> bool {
    let mut words = name.split(|&byte| byte == b' ');
    !(words.next().unwrap_or_default().iter().all(u8::is_ascii_graphic) && words.all(<[u8]>::is_empty))
}

/// Where chunks begin, with their names.
fn chunks(file: &mut (impl Read + Seek)) -> io::Result<Vec<(u64, Name)>> {
    /// As many as are looked at.
    const MOST: usize = 1 << 16;
    let mut found = Vec::new();
    let mut at = 12;
    while found.len() < MOST {
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        if read_up_to(file, &mut head)? < head.len() {
            break;
        }
        let [a, b, c, d, size @ ..] = head;
        found.push((at, [a, b, c, d]));
        let size = u64::from(u32::from_le_bytes(size));
        at += 8 + size + (size & 1);
    }
    Ok(found)
}
