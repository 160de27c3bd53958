//! The reason why files that are no longer on the disk stay in the library.

use voisin::MissingFiles;

/// The reason why some files stay in the library, and the next step; `None` if none do.
pub(crate) fn why_some_stay(gone: &MissingFiles) -> Option<String> {
    let folders = gone.absent_folders();
    let first = folders.first()?.display();
    let stay = match gone.out_of_reach.len() {
        1 => "1 file cannot be found and stays".to_owned(),
        files => format!("{files} files cannot be found and stay"),
    };
    let (are, folder) = match folders.len() {
        1 => ("is".to_owned(), format!("\"{first}\"")),
        more => (format!("and {} more are", more - 1), "FOLDER".to_owned()),
    };
    Some(format!(
        "{stay} in the library, since {first} {are} absent or empty, as if a disk is not mounted: mount it and run this again; only if the folder is gone for good: voisin remove --missing --force {folder}"
    ))
}
