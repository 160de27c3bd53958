//! The reason why files that are no longer on the disk stay in the library.

use std::path::Path;

use crate::cli::render::count;
use voisin::MissingFiles;

/// Number of folders that a message names.
const NAMED: usize = 5;

/// The reason why some files stay in the library, and the next step; `None` if none do.
pub(crate) fn why_some_stay(gone: &MissingFiles) -> Option<String> {
    let folders = gone.absent_folders();
    // For a single folder the message has the complete command.
    let one = folders.keys().next().filter(|_| folders.len() == 1);
    let name = |(folder, files): (&&Path, &u64)| {
        let alone = one.is_some();
        let files = if alone {
            String::new()
        } else {
            format!(" ({})", count(*files, "file"))
        };
        format!("{}{files}", folder.display())
    };
    let mut names: Vec<String> = folders.iter().take(NAMED).map(name).collect();
    if folders.len() > NAMED {
        names.push(format!("{} more", folders.len() - NAMED));
    }
    let stay = match gone.out_of_reach.len() {
        0 => return None,
        1 => "1 file cannot be found and stays".to_owned(),
        files => format!("{files} files cannot be found and stay"),
    };
    let (are, folder) = match one {
        Some(folder) => ("is", format!("\"{}\"", folder.display())),
        None => ("are", "FOLDER".to_owned()),
    };
    Some(format!(
        "{stay} in the library, since {} {are} absent or empty, as if a disk is not mounted: mount it and run this again; only if the folder is gone for good: voisin remove --missing --force {folder}",
        names.join(", "),
    ))
}
