//! The user's folders.

use std::path::PathBuf;

/// A folder from an environment variable; an empty one counts as not set.
pub fn from_variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).map(PathBuf::from);
    value.filter(|value| !value.as_os_str().is_empty())
}

/// voisin's folder for data, after the XDG Base Directory Specification: `XDG_DATA_HOME/voisin`, else
/// `~/.local/share/voisin`; `None` without a home.
pub fn data() -> Option<PathBuf> {
    // By the specification relative values are ignored.
    let named = from_variable("XDG_DATA_HOME").filter(|folder| folder.is_absolute());
    let data = named.or_else(|| Some(home()?.join(".local/share")));
    data.map(|data| data.join("voisin"))
}

pub fn home() -> Option<PathBuf> {
    // `home_dir` uses Windows' profile, and Unix's user database if HOME is not set.
    from_variable("HOME").or_else(std::env::home_dir)
}
