//! The new version of a user's file, written beside it, with the owner, permissions and extended attributes of the old
//! one.

use std::fs::{File, FileTimes, Metadata};
use std::io::{self, Write as _};
use std::path::Path;

use voisin_base::atomic_file::AtomicFile;
use voisin_base::regular_file;

/// A hidden copy beside a file; removed unless it replaces the file.
pub(super) struct Copy(AtomicFile);

impl Copy {
    /// Creates an empty copy.
    pub(super) fn beside(target: &Path, note: &mut dyn FnMut(&Path)) -> io::Result<Self> {
        Ok(Self(AtomicFile::create_noted(target, note)?))
    }

    pub(super) fn file(&mut self) -> &mut File {
        self.0.file()
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Copies the file's metadata: everything besides its contents.
    pub(super) fn take_after(&mut self, target: &Path, before: &Metadata) -> Result<(), String> {
        let copy = self.0.file();
        #[cfg(unix)]
        {
            let original = regular_file::open(target).map_err(|error| error.to_string())?;
            unix::keep_owner(copy, before)?;
            unix::keep_attributes(copy, &original)?;
            // Last, since access control lists change the mode.
            unix::keep_mode(copy, before)
        }
        #[cfg(not(unix))]
        {
            let _ = target;
            copy.set_permissions(before.permissions())
                .map_err(|error| error.to_string())
        }
    }

    /// Replaces the file by the copy, if the file was not changed meanwhile.
    pub(super) fn replace(
        mut self,
        target: &Path,
        before: &Metadata,
        keep_mtime: bool,
    ) -> io::Result<()> {
        // Links are not followed: a link that replaced the file leads to another one.
        let now = std::fs::symlink_metadata(target)?;
        let is_same = regular_file::is_same(&now, before)
            && now.len() == before.len()
            && now.modified()? == before.modified()?;
        #[cfg(unix)]
        let is_same = is_same && unix::changed_at(&now) == unix::changed_at(before);
        if !is_same {
            return Err(io::Error::other("the file was changed meanwhile"));
        }
        self.file().flush()?;
        if keep_mtime {
            let mut times = FileTimes::new().set_modified(before.modified()?);
            if let Ok(accessed) = before.accessed() {
                times = times.set_accessed(accessed);
            }
            self.file().set_times(times)?;
        }
        self.0.commit()
    }
}

/// Why replacing the file would lose something, if it would.
pub(super) fn loss(before: &Metadata) -> Option<String> {
    #[cfg(unix)]
    {
        let names = std::os::unix::fs::MetadataExt::nlink(before);
        (names > 1).then(|| {
            format!(
                "it has {names} names (hard links), and the others would keep the old tags: make it a file of its own first (cp -p FILE NEW && mv NEW FILE)"
            )
        })
    }
    #[cfg(not(unix))]
    {
        let _ = before;
        None
    }
}

#[cfg(unix)]
mod unix {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::fs::{File, Metadata, Permissions};
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

    use xattr::FileExt as _;

    /// Attributes that the system derives from a file's contents or origin, which would be wrong for new contents.
    const OF_THE_SYSTEM: [&str; 4] = [
        "security.capability",
        "security.evm",
        "security.ima",
        "com.apple.provenance",
    ];

    /// Time of the last change of contents, attributes, owner, permissions or names.
    pub(super) fn changed_at(metadata: &Metadata) -> (i64, i64) {
        (metadata.ctime(), metadata.ctime_nsec())
    }

    pub(super) fn keep_owner(copy: &File, before: &Metadata) -> Result<(), String> {
        let owner = |metadata: &Metadata| (metadata.uid(), metadata.gid());
        let failed = |error: io::Error| format!("its owner cannot be kept: {error}");
        let (uid, gid) = owner(before);
        if owner(&copy.metadata().map_err(failed)?) == (uid, gid) {
            return Ok(());
        }
        fchown(copy, Some(uid), Some(gid)).map_err(|error| {
            format!("it belongs to user {uid} and group {gid}, and its new version would not ({error}): run voisin as that user")
        })
    }

    /// Sets the permissions of owner, group and others, without setuid and setgid.
    pub(super) fn keep_mode(copy: &File, before: &Metadata) -> Result<(), String> {
        let mode = Permissions::from_mode(before.mode() & 0o1777);
        copy.set_permissions(mode)
            .map_err(|error| format!("its rights cannot be kept: {error}"))
    }

    /// The extended attributes of a file, including access control lists on Linux; none if the file system has none.
    fn attributes(file: &File) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
        let names = match file.list_xattr() {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(error),
        };
        let mut attributes = BTreeMap::new();
        for name in names.filter(|name| !OF_THE_SYSTEM.iter().any(|of_it| *name == **of_it)) {
            if let Some(value) = file.get_xattr(&name)? {
                attributes.insert(name, value);
            }
        }
        Ok(attributes)
    }

    /// Copies extended attributes, and removes those that the copy inherited from its folder, such as a
    /// default access control list.
    pub(super) fn keep_attributes(copy: &File, original: &File) -> Result<(), String> {
        let failed = |error: io::Error| format!("its extended attributes cannot be kept: {error}");
        let wanted = attributes(original).map_err(failed)?;
        let present = attributes(copy).map_err(failed)?;
        for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
            copy.remove_xattr(name).map_err(failed)?;
        }
        for (name, value) in &wanted {
            if present.get(name) != Some(value) {
                copy.set_xattr(name, value).map_err(failed)?;
            }
        }
        Ok(())
    }
}
