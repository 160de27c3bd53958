//! Paths on the command line, `-` for a list on standard input; and paths of output files.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

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

pub(crate) fn scan_named(paths: &[PathBuf], exclusions: &Exclusions, links: Links) -> Scan {
    scan::scan_without(paths, &is_audio_candidate, exclusions, links)
}

/// Distinct output paths for files, relative to the output folder.
///
/// The folders below the one that all have in common are mirrored, and files that differ only in their ending keep it.
pub(crate) fn targets(files: &[PathBuf], roots: &[PathBuf], extension: &str) -> Vec<PathBuf> {
    let single = files
        .iter()
        .filter(|file| !roots.iter().any(|root| file.starts_with(root)));
    let folders = roots.iter().map(PathBuf::as_path);
    let mut folders = folders.chain(single.filter_map(|file| file.parent()));
    let mut common = folders.next().unwrap_or(Path::new("")).to_owned();
    for folder in folders {
        // Ends at the latest at the root, or at the empty path.
        while !folder.starts_with(&common) && common.pop() {}
    }
    // Drives have nothing in common, and no target is outside of the output folder.
    let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_));
    let inside = |file: &PathBuf| -> PathBuf {
        let inside = file.strip_prefix(&common).unwrap_or(file);
        inside.components().filter(is_name).collect()
    };
    let mirrored: Vec<PathBuf> = files.iter().map(inside).collect();
    let mut meeting: HashMap<PathBuf, usize> = HashMap::new();
    for file in &mirrored {
        *meeting.entry(file.with_extension(extension)).or_default() += 1;
    }
    let target = |file: PathBuf| {
        let short = file.with_extension(extension);
        if meeting[&short] == 1 {
            return short;
        }
        let mut name = file.into_os_string();
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    };
    mirrored.into_iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_meet() {
        for (files, roots, expected) in [
            (&["/m/a/1.mp3"][..], &[][..], &["1.npz"][..]),
            (&["/m/a/1.mp3", "/m/b/1.mp3"], &[], &["a/1.npz", "b/1.npz"]),
            (
                &["/m/1.mp3", "/m/1.flac"],
                &[],
                &["1.mp3.npz", "1.flac.npz"],
            ),
            (
                &["/m/a/v1.2.mp3", "/m/a/v1.3.mp3"],
                &["/m"],
                &["a/v1.2.npz", "a/v1.3.npz"],
            ),
            (
                &["/m/1.mp3", "/n/1.mp3"],
                &["/m", "/n"],
                &["m/1.npz", "n/1.npz"],
            ),
        ] {
            let [files, roots, expected] = [files, roots, expected]
                .map(|paths| paths.iter().map(PathBuf::from).collect::<Vec<_>>());
            assert_eq!(targets(&files, &roots, "npz"), expected);
        }
    }
}
