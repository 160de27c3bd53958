//! Folders of files that are not part of a collection: bins, snapshots, system folders; also downloads and copies.

use std::path::{Component, Path, PathBuf};

/// Folders of Windows and macOS, which ignore case: bins, metadata, and what both leave on servers and in archives. And
/// those of Synology's DSM (`@eaDir`, `#recycle`, `#snapshot`, `@tmp`, `@sharebin`), QNAP's QTS (`@Recycle`,
/// `@Recently-Snapshot`, `.@__thumb`), `TrueNAS` (`.zfs`, `.recycle`), `NetApp` (`~snapshot`, `.snapshot`), Unraid
/// (`.Recycle.Bin`), Nextcloud and Syncthing: nobody names a folder like this, and copies may have other case.
const WITHOUT_CASE: [&str; 29] = [
    "#recycle",
    "#snapshot",
    "@recently-snapshot",
    "@recycle",
    "@eadir",
    "@sharebin",
    "@tmp",
    ".@__thumb",
    ".recycle.bin",
    ".recycle",
    ".snapshot",
    ".snapshots",
    ".stversions",
    ".zfs",
    "files_trashbin",
    "files_versions",
    "~snapshot",
    "recycle.bin",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    ".appledouble",
    ".appledb",
    ".spotlight-v100",
    ".fseventsd",
    ".temporaryitems",
    ".documentrevisions-v100",
    "network trash folder",
    "temporary items",
];

/// Folders of Linux, of Buffalo and of shares' bins, in exact case: an album may be called Lost+Found.
const WITH_CASE: [&str; 3] = ["Recycle Bin", "lost+found", "trashbox"];

/// Prefix of a folder of recovered files, before three digits: `FOUND.000` of Windows.
const FOUND: &str = "found.";

/// Prefix of bins by freedesktop.org's Trash specification (`.Trash`, `.Trash-1000`) and of macOS (`.Trashes`).
const TRASH: &str = ".trash";

/// Bins of Windows before Vista. An album may have these names: only a user's folder in them, or a file like `Dc1.mp3`,
/// shows a bin.
const OLD_BINS: [&str; 2] = ["recycler", "recycled"];
/// Prefix of a user's folder in such a bin, by Windows' user ids.
const USER: &str = "s-1-";

/// Names of browsers' download folders.
const DOWNLOADS: [&str; 14] = [
    "download",
    "downloads",
    "my downloads",
    "descargas",
    "hämtade filer",
    "letöltések",
    "pobrane",
    "scaricati",
    "stažené",
    "transferências",
    "téléchargements",
    "загрузки",
    "ダウンロード",
    "下载",
];

/// Prefixes and suffixes of the names of file managers' copies, before a number.
const COPY_BEGINS: [&str; 6] = [
    "copy of ",
    "kopie von ",
    "kopie av ",
    "copie de ",
    "copia de ",
    "копия ",
];
const COPY_ENDS: [&str; 9] = [
    "copy",
    "kopie",
    "kopia",
    "kopi",
    "copie",
    "copia",
    "cópia",
    "копия",
    "副本",
];

/// How untidy a file's place is; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tidiness {
    /// An ordinary place and name.
    Kept,
    /// A name that file managers and browsers give to a second copy: `Song (1)`, `Song - Copy`, `Kopie von
    /// Song`.
    Copy,
    /// In a folder of downloads.
    Download,
    /// In a bin, a snapshot, or a system folder.
    Bin,
}

impl Tidiness {
    /// Classifies a file by its path.
    pub fn of(path: &Path) -> Self {
        if system_folder(path).is_some() {
            return Self::Bin;
        }
        let is_download = |folder: &Path| {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase();
            DOWNLOADS.contains(&name.as_str())
        };
        // The file itself may have such a name.
        if path.ancestors().skip(1).any(is_download) {
            return Self::Download;
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        if is_copy(&name) {
            Self::Copy
        } else {
            Self::Kept
        }
    }

    /// A description for reports.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kept => "in a folder of music",
            Self::Copy => "a copy by its name",
            Self::Download => "in a folder of downloads",
            Self::Bin => "in a bin or a snapshot",
        }
    }
}

/// Whether a file's name in lower case, without extension, is that of a copy.
fn is_copy(name: &str) -> bool {
    // At most two digits: "Song (1999)" is a year.
    let number = |text: &str| {
        !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())
    };
    let name = name.trim();
    // "song (1)"
    let inside = name
        .strip_suffix(')')
        .and_then(|rest| rest.rsplit_once(" ("));
    // "(3rd copy)", but not "(photocopy)".
    let ends_so = |inside: &str| {
        let before = COPY_ENDS.iter().find_map(|word| inside.strip_suffix(word));
        before.is_some_and(|before| !before.ends_with(char::is_alphabetic))
    };
    if let Some((_, inside)) = inside.filter(|(song, _)| !song.is_empty())
        && (number(inside) || ends_so(inside))
    {
        return true;
    }
    if COPY_BEGINS.iter().any(|word| name.starts_with(word)) {
        return true;
    }
    // "song - copy", "song - copy (2)", "song copy 2"
    // Without a number at the end, in brackets or not.
    let bare = inside
        .filter(|(_, inside)| number(inside))
        .map_or(name, |(rest, _)| rest);
    let bare = bare
        .rsplit_once(' ')
        .filter(|(_, last)| number(last))
        .map_or(bare, |(rest, _)| rest);
    bare.rsplit_once([' ', '_', '-'])
        .is_some_and(|(song, last)| !song.is_empty() && COPY_ENDS.contains(&last))
}

/// Whether a folder is a bin, a snapshot, or a system folder.
///
/// - `above`: the name of its parent folder, unless the user named that
pub fn is_of_system(name: &str, above: Option<&str>) -> bool {
    let lower = name.to_ascii_lowercase();
    WITH_CASE.contains(&name)
        || WITHOUT_CASE.contains(&lower.as_str())
        || lower.starts_with(TRASH)
        || lower.starts_with(USER) && above.is_some_and(is_old_bin)
        || lower.strip_prefix(FOUND).is_some_and(|number| {
            number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Whether a folder may be an old bin by its name; a real one has Windows' list `INFO2` in it.
pub fn is_old_bin(name: &str) -> bool {
    OLD_BINS.iter().any(|bin| name.eq_ignore_ascii_case(bin))
}

/// Whether a file's name without extension is one of an old bin: `Dc12`, with its drive and number.
fn is_binned(stem: &str) -> bool {
    let number = match stem.as_bytes() {
        [b'D' | b'd', drive, number @ ..] if drive.is_ascii_alphabetic() => number,
        _ => &[],
    };
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// The outermost folder of a path that [`is_of_system`].
fn system_folder(path: &Path) -> Option<PathBuf> {
    let mut folder = PathBuf::new();
    let mut above: Option<String> = None;
    for component in path.parent()?.components() {
        folder.push(component);
        // Roots and drives have no name.
        let Component::Normal(name) = component else {
            continue;
        };
        let name = name.to_string_lossy();
        if is_of_system(&name, above.as_deref()) {
            return Some(folder);
        }
        above = Some(name.into_owned());
    }
    let stem = path.file_stem()?.to_string_lossy();
    (above.is_some_and(|above| is_old_bin(&above)) && is_binned(&stem)).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_folders_are_told_from_albums() {
        for path in [
            "/volume1/music/#recycle/Artist/01.mp3",
            "/share/Music/@Recycle/x.mp3",
            "/share/Music/@Recently-Snapshot/GMT+01_2026/x.mp3",
            "/m/Artist/@eaDir/01.mp3/SYNOAUDIO_01.mp3",
            "/m/#snapshot/daily/x.mp3",
            "/m/$Recycle.Bin/S-1-5-21-1/$R0A1B2.mp3",
            "/m/RECYCLER/S-1-5-21-1/Dc1.mp3",
            "/m/lost+found/#1234/x.mp3",
            "/m/System Volume Information/x.mp3",
            "/m/SYSTEM VOLUME INFORMATION/x.mp3",
            "/m/__MACOSX/x.mp3",
            "/m/.Trash-1000/files/x.mp3",
            "/m/.Trashes/501/x.mp3",
            "/m/.zfs/snapshot/daily/x.mp3",
            "/m/~snapshot/x.mp3",
            "/m/#Recycle/x.mp3",
            "/m/@recycle/x.mp3",
            "/m/@EADIR/x.mp3",
            "/m/RECYCLE.BIN/x.mp3",
            "/m/Recycle Bin/x.mp3",
            "/m/FOUND.000/x.mp3",
            "/m/found.012/x.mp3",
            "/m/Recycled/Dc12.mp3",
        ] {
            assert_eq!(Tidiness::of(Path::new(path)), Tidiness::Bin, "{path}");
        }
        let folder = |path| system_folder(Path::new(path));
        assert_eq!(
            folder("/m/#recycle/a/@eaDir/x.mp3"),
            Some(PathBuf::from("/m/#recycle"))
        );
        for path in [
            // ZZ Top's album of 1990, and similar names.
            "/m/ZZ Top/Recycler/01.mp3",
            "/m/Nektar/Recycled/01.mp3",
            "/m/Nektar/Recycled/Dance 1.mp3",
            "/m/Artist/recycle bin/01.mp3",
            "/m/Artist/Lost+Found/01.mp3",
            "/m/Artist/Found.1/01.mp3",
            "/m/Artist/Snapshot/01.mp3",
            "/m/Artist/#1's/01.mp3",
            "/m/Trash Talk/01.mp3",
            "/m/@tmpo/01.mp3",
            "/m/Lost and Found/01.mp3",
            "/m/#recycle.mp3",
        ] {
            assert_eq!(folder(path), None, "{path}");
        }
    }

    #[test]
    fn copies_are_told_by_their_names() {
        for name in [
            "Song (1)",
            "Song (12)",
            "Song - Copy",
            "Song - Copy (2)",
            "Song copy",
            "Song copy 2",
            "Song (copy)",
            "Song (3rd copy)",
            "Copy of Song",
            "Kopie von Song",
            "Song - Kopie",
            "Song – Copie",
            "Song - 副本",
        ] {
            let path = Path::new("/m/a").join(format!("{name}.mp3"));
            assert_eq!(Tidiness::of(&path), Tidiness::Copy, "{name}");
        }
        for name in [
            "Song",
            "Song (1999)",
            "Song (Live)",
            "(1)",
            "Copy",
            "Copycat",
            "Xerocopy",
            "Song (Photocopy)",
            "01 Song 2",
        ] {
            let path = Path::new("/m/a").join(format!("{name}.mp3"));
            assert_eq!(Tidiness::of(&path), Tidiness::Kept, "{name}");
        }
        assert_eq!(
            Tidiness::of(Path::new("/home/me/Downloads/x/Song.mp3")),
            Tidiness::Download
        );
        assert_eq!(Tidiness::of(Path::new("/m/Downloads.mp3")), Tidiness::Kept);
        let order = [
            Tidiness::Kept,
            Tidiness::Copy,
            Tidiness::Download,
            Tidiness::Bin,
        ];
        assert!(order.is_sorted());
    }
}
