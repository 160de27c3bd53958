//! Reports as documents, rendered as one self-contained HTML page or on a terminal.

use crate::scene::Scene;
use voisin_base::text::xml;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"Content-Security-Policy\" \
content=\"default-src 'none'; style-src 'unsafe-inline'\"><style>body{font:16px/1.5 sans-serif;max-width:62rem;margin:2rem auto;\
padding:0 1rem;color:#222}table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;text-align:right;\
border-bottom:1px solid #ddd}td{white-space:nowrap}th:first-child,td:first-child{text-align:left;white-space:normal}.text{text-align:left;white-space:normal}\
a{color:inherit}.best{font-weight:bold}svg{max-width:100%;height:auto}.note{color:#555;font-size:.92em}p{overflow-wrap:anywhere}h2{margin-top:2.2rem}.wide{overflow-x:auto}\
.picture{background:#fff;border-radius:6px;width:fit-content;max-width:100%}\
@media(prefers-color-scheme:dark){body{background:#121216;color:#ececf1}.note{color:#a6a6b3}th,td{border-bottom-color:#3a3a46}}\
@media(max-width:40rem){svg,.picture{max-width:none}body{margin:1rem auto}th,td{padding:.25rem .2rem}h1{font-size:1.5rem}table{font-size:.8rem}}</style>";

/// Headings from which on a page begins with links to them: fewer are in sight.
const CONTENTS_FROM: usize = 4;

/// A part of a page.
#[derive(Debug, Clone)]
pub enum DocumentPart {
    /// A heading; not on a terminal.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// An explanation; not on a terminal.
    Hint(String),
    /// A table.
    Table {
        /// Names of the columns; the first is left-aligned.
        header: Vec<String>,
        /// The cells.
        rows: Vec<Vec<String>>,
        /// The row to highlight.
        best: Option<usize>,
        /// Whether a terminal shows it.
        is_brief: bool,
    },
    /// A drawing; not on a terminal.
    Picture(Scene),
}

/// A report.
#[derive(Debug, Clone)]
pub struct Document {
    title: String,
    /// From top to bottom.
    pub parts: Vec<DocumentPart>,
}

impl Document {
    /// An empty document.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            parts: Vec::new(),
        }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(DocumentPart::Heading(text.into()));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) {
        self.parts.push(DocumentPart::Text(text.into()));
    }

    /// Adds an explanation.
    pub fn hint(&mut self, text: impl Into<String>) {
        self.parts.push(DocumentPart::Hint(text.into()));
    }

    /// Adds a table.
    pub fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>, best: Option<usize>) {
        self.put(header, rows, best, true);
    }

    /// Adds a table that a terminal does not show.
    pub fn detail(&mut self, header: &[&str], rows: Vec<Vec<String>>) {
        self.put(header, rows, None, false);
    }

    fn put(
        &mut self,
        header: &[&str],
        rows: Vec<Vec<String>>,
        best: Option<usize>,
        is_brief: bool,
    ) {
        // A header without rows would look like an error.
        if !rows.is_empty() {
            let header = header.iter().map(|&name| name.to_owned()).collect();
            self.parts.push(DocumentPart::Table {
                header,
                rows,
                best,
                is_brief,
            });
        }
    }

    /// Adds a drawing.
    pub fn picture(&mut self, scene: Scene) {
        self.parts.push(DocumentPart::Picture(scene));
    }

    /// One page of HTML without scripts or external resources; names from tags are escaped.
    pub fn html(&self) -> String {
        // All text is escaped by `xml`, since names of tracks and classes may contain markup.
        let title = xml(&self.title);
        let contents = self.contents();
        let mut out =
            format!("{HEAD}<title>{title}</title></head><body><h1>{title}</h1>{contents}");
        let cells = |tag: &str, row: &[String], texts: &[bool]| -> String {
            let class = |at: usize| {
                if texts.get(at) == Some(&true) {
                    " class=\"text\""
                } else {
                    ""
                }
            };
            row.iter()
                .enumerate()
                .map(|(at, cell)| format!("<{tag}{}>{}</{tag}>", class(at), xml(cell)))
                .collect()
        };
        for (place, part) in self.parts.iter().enumerate() {
            out += &match part {
                DocumentPart::Heading(text) => {
                    format!("<h2 id=\"part-{place}\">{}</h2>", xml(text))
                }
                DocumentPart::Text(text) => format!("<p>{}</p>", xml(text)),
                DocumentPart::Hint(text) => format!("<p class=\"note\">{}</p>", xml(text)),
                DocumentPart::Table {
                    header, rows, best, ..
                } => {
                    let class = |at| {
                        if *best == Some(at) {
                            " class=\"best\""
                        } else {
                            ""
                        }
                    };
                    // the first column is left-aligned anyway
                    let texts: Vec<bool> = (0..header.len())
                        .map(|column| column > 0 && is_text(rows, column))
                        .collect();
                    let header = cells("th", header, &texts);
                    let rows = rows.iter().enumerate();
                    let rows = rows.map(|(at, row)| {
                        format!("<tr{}>{}</tr>", class(at), cells("td", row, &texts))
                    });
                    let rows = rows.collect::<String>();
                    format!("<div class=\"wide\"><table><tr>{header}</tr>{rows}</table></div>")
                }
                DocumentPart::Picture(scene) => {
                    format!(
                        "<div class=\"wide\"><div class=\"picture\">{}</div></div>",
                        scene.svg()
                    )
                }
            };
        }
        out + "</body></html>\n"
    }

    /// Links to the headings of a page of HTML; empty for a short one.
    fn contents(&self) -> String {
        let headings = self.parts.iter().enumerate();
        let links: Vec<String> = headings
            .filter_map(|(place, part)| match part {
                DocumentPart::Heading(text) => {
                    Some(format!("<a href=\"#part-{place}\">{}</a>", xml(text)))
                }
                _ => None,
            })
            .collect();
        if links.len() < CONTENTS_FROM {
            return String::new();
        }
        format!("<nav aria-label=\"Contents\">{}</nav>", links.join(" · "))
    }
}

/// Whether a column has words, which are left-aligned, and not numbers.
fn is_text(rows: &[Vec<String>], column: usize) -> bool {
    let is_word = |cell: &String| cell.is_empty() || cell.starts_with(char::is_alphabetic);
    let mut cells = rows.iter().filter_map(|row| row.get(column));
    cells.all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::plots::bars;

    #[test]
    fn names_stay_text() {
        let mut page = Document::new("r & b");
        page.text("a|b <x>\u{7}[c](d)");
        page.table(
            &["genre", "share"],
            vec![vec!["r|b".to_owned(), "1".to_owned()]],
            Some(0),
        );
        page.detail(&["x", "note"], vec![vec!["1".to_owned(), "why".to_owned()]]);
        page.picture(bars("T", &[]));
        let html = page.html();
        assert!(
            html.contains("<h1>r &amp; b</h1><p>a|b &lt;x&gt;[c](d)</p>"),
            "{html}"
        );
        assert!(
            html.contains("<tr class=\"best\"><td>r|b</td><td>1</td></tr>"),
            "{html}"
        );
        assert!(
            html.contains("<td>1</td><td class=\"text\">why</td>"),
            "words are left-aligned: {html}"
        );
    }

    #[test]
    fn a_long_page_begins_with_links_to_its_headings() {
        let mut page = Document::new("r");
        page.heading("Data");
        page.heading("Classes");
        page.heading("Time");
        assert!(!page.html().contains("<nav"));
        page.text("some");
        page.heading("R & b");
        let html = page.html();
        assert!(
            html.contains(" · <a href=\"#part-4\">R &amp; b</a></nav>")
                && html.contains("<h2 id=\"part-4\">R &amp; b</h2>"),
            "{html}"
        );
    }
}
