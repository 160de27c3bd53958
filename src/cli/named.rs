//! Paths as they are named on the command line, `-` for a list on standard input.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::library::scan;

/// The paths named, those of a list on standard input in the place of `-`.
pub(crate) fn named_paths(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut named = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut list = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut list)
                .context("cannot read the list on standard input")?;
            named.extend(scan::split_list(&list));
        } else {
            named.push(path.clone());
        }
    }
    Ok(named)
}
