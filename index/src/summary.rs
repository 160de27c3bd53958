//! The summary of an index file, without loading it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use voisin_kernels::dot::ALIGN;

use super::file::{self, Behind, Damage, array};
use super::tuning::Queries;
use super::types::{IndexSummary, SearchMode};
use super::{IndexError, VectorIndex, tail_file};

/// Most bytes of a head: the header and 32 bytes for each 16 KiB of vectors.
const LARGEST_HEAD: u64 = 1 << 30;

impl VectorIndex {
    /// Summary of the index at `path`, from its head and that of its tail; the vectors are neither
    /// read nor checked.
    #[doc(hidden)]
    pub fn summary(path: &Path) -> Result<IndexSummary, IndexError> {
        let io = |doing| {
            move |source| IndexError::Io {
                path: path.to_owned(),
                doing,
                source,
            }
        };
        let damage = Damage(path.to_owned());
        let mut file = File::open(path).map_err(io("opening"))?;
        let length = file.metadata().map_err(io("reading"))?.len();
        let mut prefix = [0; file::PREFIX];
        if length < file::PAGE as u64 {
            return Err(damage.error("shorter than its header"));
        }
        file.read_exact(&mut prefix).map_err(io("reading"))?;
        let body_start = u64::from_le_bytes(array(&prefix[16..24]));
        let mut head = Vec::new();
        // The size in the file is not trusted: a larger head is not read into memory.
        if (file::PREFIX as u64..=length.min(LARGEST_HEAD)).contains(&body_start) {
            file.seek(SeekFrom::Start(0)).map_err(io("reading"))?;
            file.by_ref()
                .take(body_start)
                .read_to_end(&mut head)
                .map_err(io("reading"))?;
        } else {
            head.extend_from_slice(&prefix);
        }
        let (header, root) = file::parse_head(&damage, &head)?;
        let end = header
            .body_len()
            .and_then(|body| u64::try_from(body).ok()?.checked_add(body_start));
        let mut behind = Vec::new();
        if let Some(end) = end.filter(|&end| end < length) {
            file.seek(SeekFrom::Start(end)).map_err(io("reading"))?;
            file.take(tail_file::HEAD)
                .read_to_end(&mut behind)
                .map_err(io("reading"))?;
        }
        let behind = Behind::of(&behind);
        let is_marked = behind == Behind::Mark || !header.complete;
        let tail = match behind {
            Behind::Changes(bytes) => tail_file::summary(&damage, &bytes, root)?,
            // Changes after the base are newer than those beside it.
            Behind::Mark | Behind::Nothing | Behind::Log(_) => {
                match tail_file::read(path, tail_file::HEAD)? {
                    Some(bytes) => {
                        tail_file::summary(&Damage(tail_file::path_of(path)), &bytes, root)?
                    }
                    None => None,
                }
            }
        };
        if tail.is_none() && is_marked {
            return Err(tail_file::missing(path));
        }
        let mut stamp = header.stamp();
        if let Some(tail) = &tail {
            stamp.generation = tail.generation;
        }
        let width = (header.space.lifted_dimension() as u64).next_multiple_of(ALIGN as u64);
        let low_width = if header.space.is_euclidean() {
            4 * header.space.dimension as u64
        } else {
            width
        };
        let full = if header.residual_bits().is_none() {
            header.n as u64
        } else {
            0
        };
        let mode_for = |queries| {
            header
                .tuning
                .mode(header.has_lists(), header.has_graph(), queries)
        };
        let mode = mode_for(Queries::Alone);
        // Blocks, which a process makes that walks the graph often.
        let blocks = if mode == SearchMode::Hnsw {
            header.block_bytes()
        } else {
            0
        };
        let (added, removed) = tail.map_or((0, 0), |tail| (tail.added, tail.removed));
        Ok(IndexSummary {
            stamp,
            bytes: length,
            // Without links and the second half of vectors, with a sign of each component for scans.
            resident: length
                .saturating_add(full.saturating_mul(width) / 8)
                .saturating_add(blocks)
                .saturating_sub(full.saturating_mul(low_width))
                .saturating_sub(header.graph_bytes()),
            items: (header.n + added).saturating_sub(removed),
            mode,
            batch_mode: mode_for(Queries::Batch),
            speeds: header.tuning.measured_speeds(),
            graph_from: header.options.graph_from,
            lists_from: header.options.lists_from,
            lists: header
                .has_lists()
                .then(|| header.tuning.list_stats(header.residual_bits().is_some())),
            recall: header
                .tuning
                .recall(header.has_lists(), header.has_graph())
                .map(|recall| recall.mean),
            ef: header.has_graph().then(|| header.tuning.ef(10)),
            residual_bits: header.residual_bits(),
            tail: added,
            tombstones: removed,
        })
    }
}
