//! Writing: the body first, which is hashed, then the head with the digests.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use crate::IndexError;
use crate::fields::HeaderFields;
use crate::graph::Graph;
use voisin_base::atomic_file::AtomicFile;
pub use voisin_kernels::dot::short::BLOCK_BYTES;

use super::{
    BaseParts, BasePlace, DIGEST, Header, ListShape, MAGIC, PAGE, PIECE, PREFIX, Sections, VERSION,
    head_digest,
};

/// Writes and hashes the body.
struct HashingWriter<W> {
    out: W,
    hasher: blake3::Hasher,
    in_piece: usize,
    table: Vec<u8>,
}

impl<W: Write> HashingWriter<W> {
    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.in_piece));
            self.out.write_all(now)?;
            self.hasher.update(now);
            self.in_piece += now.len();
            if self.in_piece == PIECE {
                self.end_piece();
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_piece(&mut self) {
        if self.in_piece > 0 {
            self.table
                .extend_from_slice(self.hasher.finalize().as_bytes());
            self.hasher.reset();
            self.in_piece = 0;
        }
    }

    fn words<const N: usize>(
        &mut self,
        words: impl Iterator<Item = [u8; N]>,
    ) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(1 << 16);
        for word in words {
            buffer.extend_from_slice(&word);
            if buffer.len() + N > 1 << 16 {
                self.write(&buffer)?;
                buffer.clear();
            }
        }
        self.write(&buffer)
    }
}

/// Atomically writes `write`'s output to `path`.
pub(crate) fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<T>,
) -> Result<T, IndexError> {
    let io = |doing| {
        let path = path.to_owned();
        move |source| IndexError::Io {
            path,
            doing,
            source,
        }
    };
    let mut file = AtomicFile::create(path).map_err(io("creating"))?;
    let written = write(file.file()).map_err(io("writing"))?;
    file.commit().map_err(io("replacing"))?;
    Ok(written)
}

/// Writes a base, whose head is hashed last and written first.
pub(crate) fn write(
    file: &mut (impl Write + Seek),
    parts: BaseParts<'_>,
) -> std::io::Result<BasePlace> {
    let mut header = Header {
        generation: parts.stamp.generation,
        model_fingerprint: parts.stamp.model_fingerprint.clone(),
        complete: parts.complete,
        n: parts.base.len(),
        options: *parts.options,
        tuning: *parts.tuning,
        space: parts.codec.space.clone(),
        stride: parts.graph.map_or(0, |graph| graph.stride),
        lists: parts.lists.map_or(ListShape::default(), |lists| ListShape {
            lists: lists.len(),
            copies: lists.copies,
            blocks: lists.blocks.len() / BLOCK_BYTES,
            step: lists.directions.step,
            bits: lists.directions.bits,
        }),
    };
    let sections = Sections::of(&header).ok_or(std::io::ErrorKind::FileTooLarge)?;
    let complete = header.complete;
    let header = HeaderFields::written(|fields| header.pass(fields))?;
    let pieces = sections.end().div_ceil(PIECE);
    let body_start = (PREFIX + header.len() + pieces * DIGEST).next_multiple_of(PAGE);
    file.seek(SeekFrom::Start(body_start as u64))?;
    let out = BufWriter::with_capacity(1 << 20, &mut *file);
    let mut body = HashingWriter {
        out,
        hasher: blake3::Hasher::new(),
        in_piece: 0,
        table: Vec::new(),
    };
    write_body(&mut body, parts, &sections)?;
    body.end_piece();
    body.out.flush()?;
    let table = std::mem::take(&mut body.table);
    drop(body);
    let mut head = vec![0; body_start];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&(header.len() as u32).to_le_bytes());
    head[16..24].copy_from_slice(&(body_start as u64).to_le_bytes());
    head[PREFIX..][..header.len()].copy_from_slice(&header);
    head[PREFIX + header.len()..][..table.len()].copy_from_slice(&table);
    let root = head_digest(&head);
    head[24..PREFIX].copy_from_slice(&root);
    file.rewind()?;
    file.write_all(&head)?;
    Ok(BasePlace {
        root,
        end: (body_start + sections.end()) as u64,
        complete,
    })
}

fn write_body<W: Write>(
    body: &mut HashingWriter<W>,
    parts: BaseParts<'_>,
    sections: &Sections,
) -> std::io::Result<()> {
    let codes = &parts.base.codes;
    body.words(parts.codec.mean.iter().map(|x| x.to_le_bytes()))?;
    body.words(
        codes
            .meta
            .iter()
            .flat_map(|meta| [meta.scale.to_le_bytes(), meta.offset.to_le_bytes()]),
    )?;
    body.words(parts.base.ids.iter().map(|id| id.0.to_le_bytes()))?;
    if let Some(lists) = parts.lists {
        body.words(lists.starts.iter().map(|start| start.to_le_bytes()))?;
    }
    if let Some(residuals) = parts.residuals {
        body.words(residuals.scales.iter().map(|scale| scale.to_le_bytes()))?;
    }
    body.write(&vec![0; sections.directions.start - sections.scales.end])?;
    if let Some(lists) = parts.lists {
        body.write(lists.directions.rows.plane())?;
        body.write(&lists.centres)?;
        body.write(lists.blocks.raw())?;
    }
    if let Some(residuals) = parts.residuals {
        return body.write(&residuals.rows.raw()[..sections.hi.len()]);
    }
    body.write(&codes.hi.raw()[..codes.len() * codes.width])?;
    body.write(&codes.lo.raw()[..codes.len() * codes.low_width])?;
    let graph = parts.graph.map(Graph::sections).into_iter().flatten();
    graph
        .into_iter()
        .try_for_each(|section| body.write(section))
}
