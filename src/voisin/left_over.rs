//! Files that killed runs were reading.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::EngineError;
use super::add::{AddEvent, AddOptions};
use voisin_library::{Failure, FileRecord, Library};

#[derive(Default)]
pub(super) struct LeftOver {
    /// They are read first, each alone.
    pub(super) once: HashSet<PathBuf>,
    /// They are not read.
    pub(super) twice: HashSet<PathBuf>,
}

impl LeftOver {
    /// The files of a run that killed runs left over. Those that were left over twice, the second time when they were read
    /// alone, are recorded as failed.
    pub(super) fn find(
        library: &mut Library,
        files: &[FileRecord],
        options: &AddOptions,
        on_event: &mut dyn FnMut(AddEvent<'_>),
    ) -> Result<Self, EngineError> {
        const REASON: &str = "reading it ended the process twice";
        let mut left_over = Self::default();
        let mut times: HashMap<PathBuf, usize> = HashMap::new();
        for path in library.leftovers().interrupted {
            *times.entry(path).or_default() += 1;
        }
        if !times.is_empty() {
            on_event(AddEvent::CutOff { files: times.len() });
        }
        if options.force || options.retry {
            let failures = library.failures()?.into_iter();
            let deadly = failures.filter(|failure| failure.reason.starts_with(REASON));
            left_over.once.extend(deadly.map(|failure| failure.path));
        }
        for file in files {
            let path = file.path.clone();
            match times.get(&path) {
                None => {}
                Some(1) => {
                    left_over.once.insert(path);
                }
                Some(_) => {
                    let reason = format!("{REASON}: set aside until it changes");
                    on_event(AddEvent::SetAside {
                        path: &path,
                        reason: &reason,
                    });
                    left_over.twice.insert(path.clone());
                    library.record_failure(&Failure {
                        path,
                        size: Some(file.size),
                        mtime_ns: Some(file.mtime_ns),
                        reason,
                        transient: false,
                        attempts: 0,
                        failed_at: 0,
                    })?;
                }
            }
        }
        // Otherwise the journals are needed until the files of `once` are read.
        if left_over.once.is_empty() {
            library.forget_interrupted();
        }
        Ok(left_over)
    }
}
