//! Reports in Markdown, with plots beside them.

use std::path::Path;

use anyhow::Context as _;

use crate::eval::plots::Scene;

/// Text for a Markdown table or paragraph: what has a meaning there is escaped, control characters are dropped.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '~' | '&') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A table with its first column left and the others right.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!("| {} |\n|---|", header.join(" | "));
    out.push_str(&"---:|".repeat(header.len().saturating_sub(1)));
    out.push('\n');
    for row in rows {
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    out.push('\n');
    out
}

/// Writes the report, and each plot as `STEM-NAME.svg` beside it; the text refers to them by [`picture`].
pub(super) fn write(path: &Path, text: &str, plots: &[(&str, Scene)]) -> anyhow::Result<()> {
    let put = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, scene) in plots {
        put(&path.with_file_name(file(path, name)), scene.svg().as_bytes())?;
    }
    put(path, text.as_bytes())
}

/// A line that shows the plot `name` of the report at `path`.
pub(super) fn picture(path: &Path, name: &str, title: &str) -> String {
    format!("![{title}](<{}>)\n\n", file(path, name).replace(['<', '>', '\n', '\r'], "_"))
}

fn file(path: &Path, name: &str) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{stem}-{name}.svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        assert_eq!(plain("a|b <x>\u{7}[c](d)"), "a\\|b \\<x\\>\\[c\\](d)");
        let text = table(&["genre", "share"], &[vec![plain("r|b"), "1".to_owned()]]);
        assert_eq!(text, "| genre | share |\n|---|---:|\n| r\\|b | 1 |\n\n");
        assert_eq!(picture(Path::new("out/r.md"), "bars", "T"), "![T](<r-bars.svg>)\n\n");
    }
}
