//! Paths on the command line, `-` for a list on standard input; and paths of output files.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use voisin_audio::is_audio_candidate;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::scan::{self, Exclusions, Links, Scan};

/// A path as it is written, or that of a local `file://` address, as file managers copy it.
pub(crate) fn local_path(path: PathBuf) -> PathBuf {
    let is_address = |text: &&str| {
        text.get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case("file://"))
    };
    let text = path.to_str().filter(is_address);
    match text.map(path_in_table) {
        // On another machine: stays an address, which is refused.
        Some(local) if !local.as_os_str().as_encoded_bytes().starts_with(b"//") => local,
        _ => path,
    }
}

/// The paths named, with `-` replaced by those of a list on standard input.
pub(crate) fn named_paths(paths: &[impl AsRef<Path>]) -> anyhow::Result<Vec<PathBuf>> {
    let mut named = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        if path.as_os_str() == "-" {
            named.extend(listed_paths(false)?);
        } else {
            named.push(local_path(path.to_owned()));
        }
    }
    Ok(named)
}

/// The paths of the list on standard input.
///
/// - `null`: whether they end in NUL, even if there is but one
pub(crate) fn listed_paths(null: bool) -> anyhow::Result<Vec<PathBuf>> {
    // Bytes, since paths in the list need not be UTF-8.
    let mut list = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut list)
        .context("cannot read the list on standard input")?;
    if null {
        // The last name need not end in NUL, and a name may contain a line break.
        list.push(0);
    }
    let paths = scan::split_list(&list).into_iter();
    Ok(paths.map(local_path).collect())
}

/// The music that the paths stand for.
pub(crate) fn scan_named(paths: &[PathBuf], exclusions: &Exclusions, links: Links) -> Scan {
    scan::scan_without(paths, &is_audio_candidate, exclusions, links)
}

/// Distinct output paths for files, relative to the output folder.
///
/// Below a folder that was named, its folders are mirrored; other files go by their name. Files with the same path are
/// mirrored from the folder that they have in common, and files that differ only in their ending keep it.
pub(crate) fn targets(files: &[PathBuf], roots: &[PathBuf], extension: &str) -> Vec<PathBuf> {
    let with = |path: &Path| {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    };
    let plain = |path: &Path| with(&path.with_extension(""));
    let below_root = |file: &Path| {
        let root = roots
            .iter()
            .filter_map(|root| file.strip_prefix(root).ok())
            // Of nested folders the inner one counts, which leaves the shortest path.
            .min_by_key(|p| p.as_os_str().len());
        root.map_or_else(
            || PathBuf::from(file.file_name().unwrap_or_default()),
            Path::to_owned,
        )
    };
    let mut targets: Vec<PathBuf> = files.iter().map(|file| plain(&below_root(file))).collect();
    // First mirrored from the common folder, then with the ending; then numbered, for files named like folders.
    for again in 0..2 {
        let mut meeting: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        // Sorted, so that the same files get the same places in each run.
        for (i, target) in targets.iter().enumerate() {
            meeting.entry(target.clone()).or_default().push(i);
        }
        for several in meeting.into_values().filter(|several| several.len() > 1) {
            let mut common = files[several[0]]
                .parent()
                .unwrap_or(Path::new(""))
                .to_owned();
            // Ends at the latest at the root, or at the empty path.
            while !several.iter().all(|&i| files[i].starts_with(&common)) && common.pop() {}
            for i in several {
                let inside = files[i].strip_prefix(&common).unwrap_or(&files[i]);
                targets[i] = if again == 0 {
                    plain(inside)
                } else {
                    with(inside)
                };
            }
        }
    }
    let mut taken: HashSet<PathBuf> = HashSet::new();
    for target in &mut targets {
        let first = target.clone();
        let mut n = 2;
        // A file may already have the numbered name.
        while !taken.insert(target.clone()) {
            let stem = first.file_stem().unwrap_or_default().to_string_lossy();
            *target = first.with_file_name(format!("{stem}-{n}.{extension}"));
            n += 1;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_meet() {
        let named = |files: &[&str], roots: &[&str]| -> Vec<String> {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
            targets(&files, &roots, "npz")
                .into_iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        assert_eq!(
            named(&["/m/a/1.mp3", "/m/b/2.flac"], &[]),
            ["1.npz", "2.npz"]
        );
        assert_eq!(
            named(&["/m/a/1.mp3", "/m/b/1.mp3", "/x/2.mp3"], &[]),
            ["a/1.npz", "b/1.npz", "2.npz"]
        );
        assert_eq!(
            named(&["/m/a/1.mp3", "/m/a/1.flac"], &[]),
            ["1.mp3.npz", "1.flac.npz"]
        );
        assert_eq!(
            named(&["/m/a/1.mp3", "/m/a/b/1.mp3"], &["/m"]),
            ["a/1.npz", "a/b/1.npz"]
        );
        assert_eq!(
            named(&["/m/v1.2.mp3", "/m/v1.3.mp3"], &["/m"]),
            ["v1.2.npz", "v1.3.npz"]
        );
        assert_eq!(
            named(&["/m/1.mp3", "/n/1.mp3"], &["/m", "/n"]),
            ["m/1.npz", "n/1.npz"]
        );
        let all = named(&["/a/1.mp3", "/b/1.mp3", "/c/a/1.mp3"], &["/a", "/b", "/c"]);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3, "{all:?}");
    }
}
