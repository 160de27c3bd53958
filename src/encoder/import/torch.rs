//! Archives of `torch.save`, read by Candle, which runs no code of them.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::DType;
use candle_core::pickle::PthTensors;

use crate::WeightTensor;

/// Licence of the only weights that are published in this format.
pub(crate) const LICENCE: &str = "CC BY 4.0 (openl3's weights as converted by torchopenl3)";
/// Most bytes of the pickle, which names the tensors: those of OpenL3 take 10 kB.
const LARGEST_PICKLE: u64 = 1 << 17;
/// Stack of the thread that reads: a pickle of that size may nest as deeply, and is dropped recursively.
const STACK: usize = 64 << 20;
/// Most numbers of all tensors; OpenL3 has 4.7 million.
const MOST_NUMBERS: usize = 1 << 24;

/// Whether these are the first bytes of an archive.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The tensors of numbers in an archive, by name.
///
/// # Errors
/// A message for users.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, WeightTensor>, String> {
    let path = path.to_owned();
    let reader = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || tensors(&path))
        .map_err(|error| error.to_string())?;
    // Candle may panic on a damaged archive.
    reader
        .join()
        .unwrap_or_else(|_| Err("the archive contradicts itself".to_owned()))
}

/// The first line of an error: Candle may add a backtrace, or a whole pickle.
fn short(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

fn tensors(path: &Path) -> Result<BTreeMap<String, WeightTensor>, String> {
    check_entries(path)?;
    let archive = PthTensors::new(path, None).map_err(short)?;
    let mut tensors = BTreeMap::new();
    let mut numbers = 0_usize;
    for (name, info) in archive.tensor_infos() {
        let dims = info.layout.dims();
        // OpenL3's networks of 256 bands have layers of the same shapes; torchopenl3's files tell by their mel filters.
        if name == "speclayer.mel_basis" && dims.first().is_some_and(|bands| *bands != 128) {
            return Err(format!("expected 128 mel bands, found {}", dims[0]));
        }
        // Counts of batches are no weights; the front end computes what torchopenl3 stores of its spectrogram.
        let is_count = name.ends_with(".num_batches_tracked");
        if is_count
            || matches!(info.dtype, DType::I64 | DType::U8)
            || name.starts_with("speclayer.")
        {
            continue;
        }
        let count = dims
            .iter()
            .try_fold(1_usize, |n, axis| n.checked_mul(*axis));
        numbers = count
            .and_then(|count| numbers.checked_add(count))
            .filter(|numbers| *numbers <= MOST_NUMBERS)
            .ok_or_else(|| format!("more than {MOST_NUMBERS} numbers"))?;
        let values = archive
            .get(name)
            .and_then(|tensor| {
                tensor
                    .map(|found| found.to_dtype(DType::F32)?.flatten_all()?.to_vec1())
                    .transpose()
            })
            .map_err(|error| format!("tensor \"{}\": {}", short(name), short(error)))?
            .unwrap_or_default();
        let shape = dims.to_vec();
        tensors.insert(name.to_owned(), WeightTensor { shape, values });
    }
    if tensors.is_empty() {
        return Err(
            "expected a dictionary of tensors, as torch.save(model.state_dict(), FILE) writes it"
                .to_owned(),
        );
    }
    Ok(tensors)
}

/// Refuses an archive that would take far more memory than its file.
fn check_entries(path: &Path) -> Result<(), String> {
    let file = voisin_base::regular_file::open(path).map_err(short)?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(short)?;
    let mut pickle = 0;
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(short)?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(
                "expected an archive without compression, as torch.save writes it".to_owned(),
            );
        }
        if entry.name().is_ok_and(|name| name.ends_with("data.pkl")) {
            pickle += entry.size();
        }
    }
    if !(1..=LARGEST_PICKLE).contains(&pickle) {
        return Err(format!(
            "expected data.pkl of at most {LARGEST_PICKLE} bytes, which torch.save writes, found {pickle}"
        ));
    }
    Ok(())
}
