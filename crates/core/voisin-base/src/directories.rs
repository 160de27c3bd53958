//! The user's folders.

use std::path::PathBuf;

/// A folder from an environment variable; an empty one counts as not set.
pub fn from_variable(name: &str) -> Option<PathBuf> {
    set(name, |name| std::env::var_os(name).map(PathBuf::from))
}

/// voisin's folder for data, after the XDG Base Directory Specification: `XDG_DATA_HOME/voisin`, else
/// `~/.local/share/voisin`; `None` without a home.
pub fn data() -> Option<PathBuf> {
    data_from(|name| std::env::var_os(name).map(PathBuf::from)).map(|data| data.join("voisin"))
}

/// The user's home.
pub fn home() -> Option<PathBuf> {
    // `home_dir` uses Windows' profile, and Unix's user database if HOME is not set.
    from_variable("HOME").or_else(std::env::home_dir)
}

fn set(name: &str, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable(name).filter(|value| !value.as_os_str().is_empty())
}

fn data_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // By the specification relative values are ignored.
    let named = set("XDG_DATA_HOME", &variable).filter(|folder| folder.is_absolute());
    named.or_else(|| {
        let home = set("HOME", &variable).or_else(std::env::home_dir)?;
        Some(home.join(".local/share"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_lies_where_the_environment_says() {
        let xdg = if cfg!(windows) { r"C:\xdg" } else { "/xdg" };
        let with = |data: &str, home: &str| {
            data_from(|name| match name {
                "XDG_DATA_HOME" => Some(data.into()),
                "HOME" => Some(home.into()),
                _ => None,
            })
        };
        assert_eq!(with(xdg, "/home/a"), Some(PathBuf::from(xdg)));
        let home = Some(PathBuf::from("/home/a/.local/share"));
        assert_eq!(with("relative", "/home/a"), home);
        assert_eq!(with("", "/home/a"), home);
    }
}
