//! `torch.save` files: a zip archive of a pickle and the tensors' bytes, or, before torch 1.6, pickles followed by bytes.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

use half::{bf16, f16};

use crate::WeightTensor;
use crate::canonical::list;
use crate::constant::{elements, shorten};
use crate::pickle::{self, ObjectId, Pickle, REBUILD_PARAMETER, REBUILD_TENSOR, Value};
use crate::{ImportError, MAX_ELEMENTS, MAX_FILE, MAX_TOTAL, WeightFormat};

const FORMAT: WeightFormat = WeightFormat::Torch;
/// The pickled number with which older files begin, 0x1950a86a20f9469cfc6c, as a ten-byte integer.
const LEGACY: [u8; 12] = [
    0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];
/// Dictionaries within dictionaries that are searched for the tensors.
const MAX_NESTING: usize = 3;

/// Whether a file has the older format.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x80) && bytes.get(2..).is_some_and(|rest| rest.starts_with(&LEGACY))
}

/// Numbers of one storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StorageType {
    F64,
    F32,
    F16,
    Bf16,
    /// Counters, which are not needed.
    Integer,
}

impl StorageType {
    fn of(storage: &str) -> Option<Self> {
        Some(match storage {
            "torch.DoubleStorage" | "torch.float64" => Self::F64,
            "torch.FloatStorage" | "torch.float32" => Self::F32,
            "torch.HalfStorage" | "torch.float16" => Self::F16,
            "torch.BFloat16Storage" | "torch.bfloat16" => Self::Bf16,
            // All other storages of `KNOWN`; their tensors are counters such as
            // `num_batches_tracked`.
            other if other.ends_with("Storage") => Self::Integer,
            _ => return None,
        })
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32)
                .collect(),
            Self::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            Self::F16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect(),
            Self::Bf16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32())
                .collect(),
            Self::Integer => Vec::new(),
        }
    }
}

/// A tensor as the pickle describes it.
struct View {
    kind: StorageType,
    /// The storage's key.
    key: String,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, WeightTensor>, ImportError> {
    if is_legacy(bytes) {
        return read_legacy(bytes);
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| damaged(format!("zip: {error}")))?;
    let name = archive
        .file_names()
        .filter_map(Result::ok)
        .find(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or_else(|| {
            ImportError::other(
                FORMAT,
                "zip archive",
                "data.pkl, which torch.save writes",
                format!("{} other files", archive.len()),
            )
        })?
        .into_owned();
    // torch names this folder after the file that it saved, or "archive".
    let folder = name.trim_end_matches("data.pkl").to_owned();
    // Older versions of torch do not write this entry; little-endian is assumed then.
    if entry(&mut archive, &format!("{folder}byteorder")).is_ok_and(|order| order != b"little") {
        return Err(ImportError::other(FORMAT, "byteorder", "little", "another"));
    }
    let pickle = pickle::read(&entry(&mut archive, &name)?).map_err(damaged)?;
    let mut storages: HashMap<String, (StorageType, Vec<f32>)> = HashMap::new();
    let mut total = 0usize;
    collect(&pickle, |view| {
        // Tensors that are views share one storage: it is unpacked once.
        if !storages.contains_key(&view.key) {
            let bytes = entry(&mut archive, &format!("{folder}data/{}", view.key))?;
            total += bytes.len();
            if total as u64 > MAX_FILE {
                return Err(ImportError::TooLarge {
                    found: total as u64,
                    limit: MAX_FILE,
                });
            }
            storages.insert(view.key.clone(), (view.kind, view.kind.decode(&bytes)));
        }
        storages
            .get(&view.key)
            // Two views may not read the same bytes as different types: these were decoded as the first view's.
            .filter(|(kind, _)| *kind == view.kind)
            .map_or_else(
                || {
                    Err(damaged(format!(
                        "storage {} has two types",
                        shorten(&view.key)
                    )))
                },
                |(_, values)| gather(&view, values),
            )
    })
}

/// A file of the archive, read up to the limit of a weights file, whatever size its header states.
fn entry(archive: &mut zip::ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, ImportError> {
    let file = archive
        .by_name(name)
        .map_err(|error| damaged(format!("\"{}\": {error}", shorten(name))))?;
    // Eight bytes a number: the widest type. One byte beyond the limit shows that it is too large,
    // without unpacking all of a zip bomb.
    let limit = (MAX_ELEMENTS * 8) as u64;
    let mut content = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|error| damaged(format!("\"{}\": {error}", shorten(name))))?;
    if content.len() as u64 > limit {
        return Err(ImportError::TooLarge {
            found: content.len() as u64,
            limit,
        });
    }
    Ok(content)
}

/// Magic number, protocol and system as pickles, then the pickle, the list of storages, and their bytes.
fn read_legacy(bytes: &[u8]) -> Result<BTreeMap<String, WeightTensor>, ImportError> {
    let mut rest = bytes;
    let mut next = || -> Result<Pickle, ImportError> {
        let pickle = pickle::read(rest).map_err(damaged)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    next()?;
    let protocol = next()?;
    if protocol.int(protocol.root) != Some(1001) {
        return Err(ImportError::other(
            FORMAT,
            "protocol",
            "1001",
            format!("{:?}", protocol.value(protocol.root)),
        ));
    }
    let system = next()?;
    if let Value::Dict(entries) = system.value(system.root)
        && entries.iter().any(|&(key, value)| {
            system.text(key) == Some("little_endian") && system.value(value) == &Value::Bool(false)
        })
    {
        return Err(ImportError::other(FORMAT, "byte order", "little", "big"));
    }
    let pickle = next()?;
    let keys = next()?;
    let Value::List(keys_ids) = keys.value(keys.root) else {
        return Err(damaged("no list of storages after the pickle".to_owned()));
    };
    // The storages' bytes follow in the order of the list; the types, and so their lengths, are in
    // the pickle.
    let mut kinds: HashMap<String, StorageType> = HashMap::new();
    collect(&pickle, |view| {
        kinds.insert(view.key.clone(), view.kind);
        Ok(WeightTensor {
            shape: Vec::new(),
            values: Vec::new(),
        })
    })?;
    // `kinds` lacks the counters, but their bytes have to be skipped too.
    let all_kinds = storage_kinds(&pickle);
    let mut storages: HashMap<String, Vec<f32>> = HashMap::new();
    for &id in keys_ids {
        let key = keys
            .text(id)
            .ok_or_else(|| damaged("a storage without a name".to_owned()))?;
        let (count, after) = rest
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged(format!("storage {} is missing", shorten(key))))?;
        let size = all_kinds.get(key).copied().unwrap_or(4);
        let length = usize::try_from(u64::from_le_bytes(*count))
            .ok()
            .and_then(|n| n.checked_mul(size));
        let (content, after) = length
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(|| {
                damaged(format!(
                    "storage {} of {} numbers, {} bytes before the end",
                    shorten(key),
                    u64::from_le_bytes(*count),
                    after.len()
                ))
            })?;
        rest = after;
        // The bytes of counters are skipped.
        if let Some(kind) = kinds.get(key) {
            storages.insert(key.to_owned(), kind.decode(content));
        }
    }
    // A second pass, since the bytes of all storages follow the pickle that describes the tensors.
    collect(&pickle, |view| match storages.get(&view.key) {
        Some(values) => gather(&view, values),
        None => Err(damaged(format!(
            "storage {} is missing",
            shorten(&view.key)
        ))),
    })
}

/// Bytes per number of every storage in the pickle, including counters.
fn storage_kinds(pickle: &Pickle) -> HashMap<String, usize> {
    let mut sizes = HashMap::new();
    for value in &pickle.values {
        let Value::Persistent(id) = value else {
            continue;
        };
        let Some([_, kind, key, ..]) = pickle.tuple(*id) else {
            continue;
        };
        if let (Value::Global(kind), Some(key)) = (pickle.value(*kind), pickle.text(*key)) {
            let size = match *kind {
                "torch.DoubleStorage" | "torch.LongStorage" => 8,
                "torch.FloatStorage" | "torch.IntStorage" => 4,
                "torch.HalfStorage" | "torch.BFloat16Storage" | "torch.ShortStorage" => 2,
                _ => 1,
            };
            sizes.insert(key.to_owned(), size);
        }
    }
    sizes
}

/// Finds the dictionary of tensors and decodes each with `decode`; tensors of integers are skipped.
fn collect(
    pickle: &Pickle,
    mut decode: impl FnMut(View) -> Result<WeightTensor, ImportError>,
) -> Result<BTreeMap<String, WeightTensor>, ImportError> {
    let mut at = pickle.root;
    for _ in 0..MAX_NESTING {
        let Value::Dict(entries) = pickle.value(at) else {
            break;
        };
        // training scripts save the dictionary inside a checkpoint, under one of these names
        let nested = entries.iter().find(|(key, value)| {
            matches!(
                pickle.text(*key),
                Some("state_dict" | "model_state_dict" | "model")
            ) && matches!(pickle.value(*value), Value::Dict(_))
        });
        let Some((_, value)) = nested else { break };
        at = *value;
    }
    let Value::Dict(entries) = pickle.value(at) else {
        return Err(ImportError::other(
            FORMAT,
            "pickle",
            "a dictionary of tensors",
            kind_of(pickle.value(at)),
        ));
    };
    let mut tensors = BTreeMap::new();
    let mut total = 0usize;
    for &(key, value) in entries {
        let Some(name) = pickle.text(key) else {
            return Err(ImportError::other(
                FORMAT,
                "dictionary",
                "names of tensors",
                kind_of(pickle.value(key)),
            ));
        };
        // torch's DataParallel puts this before every name
        let name = name.strip_prefix("module.").unwrap_or(name);
        let Some(view) = view(pickle, value) else {
            let found = kind_of(pickle.value(value));
            return Err(ImportError::other(
                FORMAT,
                format!("\"{}\"", shorten(name)),
                "a tensor",
                found,
            ));
        };
        // torchopenl3 stores the Fourier transform of its spectrogram as kernels; the front end
        // computes it, so they are skipped.
        if view.kind == StorageType::Integer || name.starts_with("speclayer.dft_") {
            continue;
        }
        // Any number of tensors may share a storage.
        let tensor = decode(view)?;
        total += tensor.values.len();
        if total > MAX_TOTAL {
            return Err(ImportError::TooLarge {
                found: total as u64 * 4,
                limit: MAX_TOTAL as u64 * 4,
            });
        }
        tensors.insert(name.to_owned(), tensor);
    }
    if tensors.is_empty() {
        return Err(ImportError::other(
            FORMAT,
            "dictionary",
            "tensors",
            list(tensors.keys()),
        ));
    }
    Ok(tensors)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => "a number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Tuple(_) => "a tuple",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dictionary",
        Value::Global(name) | Value::Called { callable: name, .. } => name,
        Value::Persistent(_) => "a storage",
    }
}

/// A tensor: `_rebuild_tensor_v2((‘storage’, type, key, location, numbers), offset, shape, strides, …)`, perhaps within
/// `_rebuild_parameter`.
fn view(pickle: &Pickle, id: ObjectId) -> Option<View> {
    let Value::Called {
        callable,
        arguments,
    } = pickle.value(id)
    else {
        return None;
    };
    let arguments = pickle.tuple(*arguments)?;
    if *callable == REBUILD_PARAMETER {
        let inner = *arguments.first()?;
        // Parameters do not hold parameters.
        return match pickle.value(inner) {
            Value::Called { callable, .. } if *callable == REBUILD_PARAMETER => None,
            _ => view(pickle, inner),
        };
    }
    if !REBUILD_TENSOR.contains(callable) {
        return None;
    }
    let &[storage, offset, shape, strides, ..] = arguments else {
        return None;
    };
    let Value::Persistent(storage) = pickle.value(storage) else {
        return None;
    };
    let &[tag, kind, key, ..] = pickle.tuple(*storage)? else {
        return None;
    };
    let Value::Global(kind) = pickle.value(kind) else {
        return None;
    };
    if pickle.text(tag) != Some("storage") {
        return None;
    }
    // A negative size makes the tensor "not a tensor".
    let sizes = |id: ObjectId| -> Option<Vec<usize>> {
        pickle
            .tuple(id)?
            .iter()
            .map(|&item| pickle.int(item).and_then(|n| usize::try_from(n).ok()))
            .collect()
    };
    Some(View {
        kind: StorageType::of(kind)?,
        key: pickle.text(key)?.to_owned(),
        offset: usize::try_from(pickle.int(offset)?).ok()?,
        shape: sizes(shape)?,
        strides: sizes(strides)?,
    })
}

/// The numbers of a tensor, row-major.
fn gather(view: &View, storage: &[f32]) -> Result<WeightTensor, ImportError> {
    let bad = || {
        damaged(format!(
            "a tensor of shape {:?}, strides {:?}, offset {} in a storage of {} numbers",
            view.shape,
            view.strides,
            view.offset,
            storage.len()
        ))
    };
    let count = elements(&view.shape)
        // No layer has more than eight axes; the bound keeps the loop below short.
        .filter(|_| view.shape.len() == view.strides.len() && view.shape.len() <= 8);
    // A tensor of more numbers than its storage repeats some, which no tensor of the network does.
    let count = count
        .filter(|&count| count <= storage.len())
        .ok_or_else(bad)?;
    let mut values = Vec::with_capacity(count);
    let mut place = vec![0usize; view.shape.len()];
    for _ in 0..count {
        let at = place
            .iter()
            .zip(&view.strides)
            .try_fold(view.offset, |at, (i, stride)| {
                i.checked_mul(*stride).and_then(|step| at.checked_add(step))
            });
        values.push(*at.and_then(|at| storage.get(at)).ok_or_else(bad)?);
        // Counts up as an odometer, last axis fastest: strides may describe a transposed tensor.
        for (i, size) in place.iter_mut().zip(&view.shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    Ok(WeightTensor {
        shape: view.shape.clone(),
        values,
    })
}

fn damaged(reason: String) -> ImportError {
    ImportError::damaged(FORMAT, reason)
}
