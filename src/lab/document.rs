//! Reports as documents, rendered as one self-contained HTML page or on a terminal.

use crate::scene::Scene;
use voisin_base::text::xml;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"Content-Security-Policy\" \
content=\"default-src 'none'; style-src 'unsafe-inline'\"><style>body{font:16px/1.5 sans-serif;max-width:62rem;margin:2rem auto;\
padding:0 1rem;color:#222}table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;text-align:right;\
border-bottom:1px solid #ddd}td{white-space:nowrap}th:first-child,td:first-child{text-align:left;white-space:normal}\
.best{font-weight:bold}svg{max-width:100%;height:auto}.note{color:#555;font-size:.92em}p{overflow-wrap:anywhere}h2{margin-top:2.2rem}.wide{overflow-x:auto}\
.picture{background:#fff;border-radius:6px;width:fit-content;max-width:100%}\
@media(prefers-color-scheme:dark){body{background:#121216;color:#ececf1}.note{color:#a6a6b3}th,td{border-bottom-color:#3a3a46}}\
@media(max-width:40rem){svg,.picture{max-width:none}body{margin:1rem auto}th,td{padding:.25rem .2rem}h1{font-size:1.5rem}table{font-size:.8rem}}</style>";

#[derive(Debug, Clone)]
pub enum DocumentPart {
    /// A heading; not on a terminal.
    Heading(String),
    Text(String),
    /// An explanation; not on a terminal.
    Hint(String),
    Table {
        /// Names of the columns; the first is left-aligned.
        header: Vec<String>,
        rows: Vec<Vec<String>>,
        best: Option<usize>,
        /// Whether a terminal shows it.
        is_brief: bool,
    },
    /// A drawing; not on a terminal.
    Picture(Scene),
}

/// A report, its parts from top to bottom.
#[derive(Debug, Clone)]
pub struct Document {
    title: String,
    pub parts: Vec<DocumentPart>,
}

impl Document {
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            parts: Vec::new(),
        }
    }

    pub fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(DocumentPart::Heading(text.into()));
    }

    pub fn text(&mut self, text: impl Into<String>) {
        self.parts.push(DocumentPart::Text(text.into()));
    }

    pub fn hint(&mut self, text: impl Into<String>) {
        self.parts.push(DocumentPart::Hint(text.into()));
    }

    pub fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>, best: Option<usize>) {
        self.put(header, rows, best, true);
    }

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

    pub fn picture(&mut self, scene: Scene) {
        self.parts.push(DocumentPart::Picture(scene));
    }

    /// One page of HTML without scripts or external resources; names from tags are escaped.
    pub fn html(&self) -> String {
        let title = xml(&self.title);
        let mut out = format!("{HEAD}<title>{title}</title></head><body><h1>{title}</h1>");
        for part in &self.parts {
            out += &match part {
                DocumentPart::Heading(text) => format!("<h2>{}</h2>", xml(text)),
                DocumentPart::Text(text) => format!("<p>{}</p>", xml(text)),
                DocumentPart::Hint(text) => format!("<p class=\"note\">{}</p>", xml(text)),
                DocumentPart::Table {
                    header, rows, best, ..
                } => table(header, rows, *best),
                DocumentPart::Picture(scene) => {
                    let svg = scene.svg();
                    format!("<div class=\"wide\"><div class=\"picture\">{svg}</div></div>")
                }
            };
        }
        out + "</body></html>\n"
    }
}

fn table(header: &[String], rows: &[Vec<String>], best: Option<usize>) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        let cells = row.iter().map(|cell| xml(cell));
        cells.map(|cell| format!("<{tag}>{cell}</{tag}>")).collect()
    };
    let mut out = format!(
        "<div class=\"wide\"><table><tr>{}</tr>",
        cells("th", header)
    );
    for (at, row) in rows.iter().enumerate() {
        let is_best = best == Some(at);
        out += if is_best {
            "<tr class=\"best\">"
        } else {
            "<tr>"
        };
        out += &cells("td", row);
        out += "</tr>";
    }
    out + "</table></div>"
}
