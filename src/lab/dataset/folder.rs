//! A folder for each genre, at any depth below it.

use std::borrow::Cow;

use super::{Dataset, Item, Source};
use crate::LabError;
use voisin_audio::is_audio_candidate;
use voisin_library::scan::scan;

pub(super) fn read(source: &Source) -> Result<Dataset, LabError> {
    let root = &source.path;
    let root = root.canonicalize().map_err(LabError::io(root))?;
    let found = scan(std::slice::from_ref(&root), &is_audio_candidate);
    let mut set = Dataset::new(source, "path", "genre");
    for problem in &found.problems {
        set.fault(problem.path.display().to_string(), problem.reason.clone());
    }
    for file in found.files {
        let below = file.path.strip_prefix(&root).unwrap_or(&file.path);
        let key = below.to_string_lossy().into_owned();
        let mut parts = below.iter().map(|part| part.to_string_lossy());
        let genre = parts.next().map(Cow::into_owned);
        // a file directly in the root is in no genre's folder
        if parts.next().is_none() {
            set.fault(key, "expected a file in a genre's folder");
            continue;
        }
        set.items.push(Item {
            path: Some(file.path),
            key,
            label: genre,
            ..Item::default()
        });
    }
    if set.items.is_empty() {
        return Err(source.wrong("expected a folder of audio files for each genre, found none"));
    }
    Ok(set)
}
