//! Why files of the library stay in it that are no longer on the disk.

use std::path::Path;

use crate::cli::render::count;
use voisin_engine::MissingFiles;

/// How many folders a message names.
const NAMED: usize = 5;

/// Why files stay in the library, if some do, and how to go on.
pub(crate) fn why_some_stay(gone: &MissingFiles) -> Option<String> {
    let folders = gone.absent_folders();
    // With a single folder the command to go on with can be given whole.
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
        "{stay} in the library, since {} {are} absent or empty, as without a disk that is not mounted: mount it and ask again; only if the folder is gone for good: voisin remove --missing --force {folder}",
        names.join(", "),
    ))
}
