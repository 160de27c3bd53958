//! Pictures of genres and of sound: heat map, dendrogram, curves, spectrograms, as SVG text or PNG bytes.
//!
//! Pictures are made of a few shapes ([`Scene`]), so that both formats show the same.

mod chart;
mod kinship;
mod sound;

use std::io;
use std::sync::Once;

pub use chart::{Curve, bars, chart};
pub use kinship::{kinship_dendrogram, kinship_heat_map};
pub use sound::{Panel, Ramp, hertz, sound};

use plotters::{
    backend::BitMapBackend,
    drawing::IntoDrawingArea,
    element::{Circle, PathElement, Rectangle, Text},
    style::{
        Color, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use voisin_base::pixels::{self, FINE};
use voisin_base::text::base64;

const FAMILY: &str = "voisin-sans";

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

const INK: Rgb = (34, 34, 34);
/// Size of titles.
const TITLE: f64 = 15.0;
/// What has no value.
const NOTHING: Rgb = (214, 214, 214);
const FAINT: Rgb = (190, 190, 190);
const GRID: Rgb = (235, 235, 235);
/// Colours that stay apart for the colour-blind (Okabe and Ito).
const SERIES: [Rgb; 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (120, 94, 240),
    (34, 34, 34),
];

/// Where a text's position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its start.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

#[derive(Debug, Clone)]
enum Mark {
    Rect {
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        fill: Rgb,
        title: String,
    },
    Line {
        points: Vec<(f64, f64)>,
        colour: Rgb,
        width: f64,
    },
    Dot {
        x: f64,
        y: f64,
        r: f64,
        colour: Rgb,
    },
    /// Pixels (red, green, blue, row after row from the top) of so many columns.
    Image {
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        columns: usize,
        pixels: Vec<u8>,
    },
    Text {
        x: f64,
        y: f64,
        size: f64,
        anchor: Anchor,
        upwards: bool,
        colour: Rgb,
        text: String,
    },
}

/// A picture: shapes on white, in pixels from the upper left corner.
#[derive(Debug, Clone)]
pub struct Scene {
    width: f64,
    height: f64,
    items: Vec<Mark>,
}

impl Scene {
    fn new(width: f64, height: f64) -> Self {
        Self { width, height, items: Vec::new() }
    }

    fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, fill: Rgb, title: impl Into<String>) {
        self.items.push(Mark::Rect { x, y, w, h, fill, title: title.into() });
    }

    fn line(&mut self, points: Vec<(f64, f64)>, colour: Rgb, width: f64) {
        self.items.push(Mark::Line { points, colour, width });
    }

    fn dot(&mut self, x: f64, y: f64, r: f64, colour: Rgb) {
        self.items.push(Mark::Dot { x, y, r, colour });
    }

    /// A picture stretched to its place; it lies below all else.
    fn image(&mut self, x: f64, y: f64, w: f64, h: f64, columns: usize, pixels: Vec<u8>) {
        self.items.push(Mark::Image { x, y, w, h, columns, pixels });
    }

    fn text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, colour: Rgb, text: impl Into<String>) {
        self.items.push(Mark::Text { x, y, size, anchor, upwards: false, colour, text: text.into() });
    }

    /// The name of an upright axis, at the left edge, read from below.
    fn upwards(&mut self, y: f64, text: &str) {
        let (anchor, colour, text) = (Anchor::Middle, INK, text.to_owned());
        self.items.push(Mark::Text { x: 14.0, y, size: 13.0, anchor, upwards: true, colour, text });
    }

    /// SVG text; it needs nothing outside itself.
    pub fn svg(&self) -> String {
        use std::fmt::Write;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" \
             font-family=\"sans-serif\" role=\"img\"><rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>",
            self.width, self.height
        );
        let hex = |c: Rgb| format!("#{:02x}{:02x}{:02x}", c.0, c.1, c.2);
        // writing to a String cannot fail
        for item in &self.items {
            let _ = match item {
                Mark::Rect { x, y, w, h, fill, title } => write!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{}\"><title>{}</title></rect>",
                    hex(*fill),
                    escape(title)
                ),
                Mark::Line { points, colour, width } => {
                    let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                    write!(
                        out,
                        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"/>",
                        list.join(" "),
                        hex(*colour)
                    )
                }
                Mark::Dot { x, y, r, colour } => {
                    write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\" fill=\"{}\"/>", hex(*colour))
                }
                Mark::Image { x, y, w, h, columns, pixels } => {
                    let rows = pixels.len() / 3 / columns;
                    // memory takes all that is written
                    let png = pixels::encode(pixels, *columns as u32, rows as u32).unwrap_or_default();
                    write!(
                        out,
                        "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" \
                         preserveAspectRatio=\"none\" image-rendering=\"{}\" href=\"data:image/png;base64,{}\"/>",
                        // rows that can be told apart have edges
                        if 2.0 * rows as f64 <= *h { "pixelated" } else { "auto" },
                        base64(&png)
                    )
                }
                Mark::Text { x, y, size, anchor, upwards, colour, text } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    let turn = if *upwards {
                        format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"")
                    } else {
                        String::new()
                    };
                    write!(
                        out,
                        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" \
                         dominant-baseline=\"middle\" fill=\"{}\"{turn}>{}</text>",
                        hex(*colour),
                        escape(text)
                    )
                }
            };
        }
        out.push_str("</svg>");
        out
    }

    /// PNG bytes, `scale` pixels to a unit of the scene (1 to 4).
    ///
    /// Text is drawn with the font built into the program (Latin, Greek, Cyrillic); other letters show as boxes.
    pub fn png(&self, scale: u32) -> io::Result<Vec<u8>> {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            let font: &'static [u8] = voisin_explore::map::FONT;
            // a font that cannot be read leaves the family unknown, and drawing says so
            let _ = register_font(FAMILY, FontStyle::Normal, font);
        });
        let failed = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
        let scale = scale.clamp(1, 4);
        let k = f64::from(scale * FINE);
        let (width, height) =
            ((self.width * f64::from(scale)).ceil() as u32, (self.height * f64::from(scale)).ceil() as u32);
        let mut fine = vec![255; (3 * FINE * FINE * width * height) as usize];
        for item in &self.items {
            if let Mark::Image { x, y, w, h, columns, pixels } = item {
                let rows = pixels.len() / 3 / columns;
                for to_y in (y * k).round() as usize..((y + h) * k).round() as usize {
                    for to_x in (x * k).round() as usize..((x + w) * k).round() as usize {
                        let of = |to: usize, from: f64, size: f64, all: usize| {
                            ((((to as f64 + 0.5) / k - from) / size * all as f64) as usize).min(all - 1)
                        };
                        let from = 3 * (of(to_y, *y, *h, rows) * columns + of(to_x, *x, *w, *columns));
                        let to = 3 * (to_y * (width * FINE) as usize + to_x);
                        fine[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
                    }
                }
            }
        }
        {
            let size = (width * FINE, height * FINE);
            let area = BitMapBackend::with_buffer(&mut fine, size).into_drawing_area();
            let at = |x: f64, y: f64| ((x * k).round() as i32, (y * k).round() as i32);
            let rgb = |c: Rgb| RGBColor(c.0, c.1, c.2);
            for item in &self.items {
                match item {
                    Mark::Image { .. } => Ok(()),
                    Mark::Rect { x, y, w, h, fill, .. } => {
                        area.draw(&Rectangle::new([at(*x, *y), at(x + w, y + h)], rgb(*fill).filled()))
                    }
                    Mark::Line { points, colour, width } => area.draw(&PathElement::new(
                        points.iter().map(|(x, y)| at(*x, *y)).collect::<Vec<_>>(),
                        ShapeStyle::from(rgb(*colour)).stroke_width((width * k).round().max(1.0) as u32),
                    )),
                    Mark::Dot { x, y, r, colour } => {
                        area.draw(&Circle::new(at(*x, *y), (r * k) as i32, rgb(*colour).filled()))
                    }
                    Mark::Text { x, y, size, anchor, upwards, colour, text } => {
                        let horizontal = match anchor {
                            Anchor::Start => HPos::Left,
                            Anchor::Middle => HPos::Center,
                            Anchor::End => HPos::Right,
                        };
                        let colour = rgb(*colour);
                        let mut style = TextStyle::from((FontFamily::Name(FAMILY), size * k).into_font())
                            .color(&colour)
                            .pos(Pos::new(horizontal, VPos::Center));
                        if *upwards {
                            style = style.transform(FontTransform::Rotate270);
                        }
                        area.draw(&Text::new(text.as_str(), at(*x, *y), style))
                    }
                }
                .map_err(|e| failed(&e))?;
            }
            area.present().map_err(|e| failed(&e))?;
        }
        pixels::png(&fine, width, height).map_err(|e| failed(&e))
    }
}

use plotters::style::IntoFont as _;

/// Text for inside XML or HTML, attribute values included; characters that XML forbids are dropped.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => {}
            c => out.push(c),
        }
    }
    out
}

/// At most `most` characters; what is cut off shows as an ellipsis.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// White to dark blue for 0 to 1.
fn blue(value: f64) -> Rgb {
    let v = value.clamp(0.0, 1.0);
    let mix = |from: f64, to: f64| (from + (to - from) * v).round() as u8;
    (mix(247.0, 8.0), mix(251.0, 69.0), mix(255.0, 148.0))
}

/// A square of cells: `value` in [0, 1] colours it (no value: grey), `label` stands in it.
fn matrix(
    names: &[String],
    title: &str,
    cell: impl Fn(usize, usize) -> (Option<f64>, String, String),
) -> Scene {
    let n = names.len();
    let side = if n <= 16 { 44.0 } else { (720.0 / n as f64).max(12.0) };
    let names: Vec<String> = names.iter().map(|name| short(name, 24)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64;
    let margin = 24.0 + 7.5 * longest;
    // the title must fit too; a letter is at most 0.6 of its size wide on average
    let width = (margin + side * n as f64 + 20.0).max(24.0 + 0.6 * TITLE * title.chars().count() as f64);
    let mut scene = Scene::new(width, 40.0 + margin + side * n as f64);
    scene.text(12.0, 18.0, TITLE, Anchor::Start, INK, title);
    for i in 0..n {
        let along = side.mul_add(i as f64, side / 2.0);
        scene.text(margin - 8.0, 40.0 + along, 13.0f64.min(side), Anchor::End, INK, names[i].as_str());
        scene.items.push(Mark::Text {
            x: margin + along,
            y: 40.0 + side * n as f64 + 8.0,
            size: 13.0f64.min(side),
            anchor: Anchor::End,
            upwards: true,
            colour: INK,
            text: names[i].clone(),
        });
        for j in 0..n {
            let (value, label, hint) = cell(i, j);
            let (x, y) = (margin + side * j as f64, 40.0 + side * i as f64);
            scene.rect(x, y, side - 1.0, side - 1.0, value.map_or(NOTHING, blue), hint);
            if side >= 30.0 && !label.is_empty() {
                let colour = if value.is_some_and(|value| value > 0.5) { (255, 255, 255) } else { INK };
                scene.text(x + side / 2.0, y + side / 2.0, 12.0, Anchor::Middle, colour, label);
            }
        }
    }
    scene
}

/// Counts of true genre (row) against answer (column), coloured by share of the row.
pub(crate) fn confusion_map(names: &[String], confusion: &[Vec<usize>]) -> Scene {
    matrix(names, "True genre (rows) against the answer (columns)", |i, j| {
        let total: usize = confusion[i].iter().sum();
        let count = confusion[i][j];
        let label = if count > 0 { count.to_string() } else { String::new() };
        (
            Some(count as f64 / total.max(1) as f64),
            label,
            format!("{} answered as {}: {count} of {total}", names[i], names[j]),
        )
    })
}

/// A curve with a name.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) dots: bool,
}

/// Curves in the unit square with the diagonal as a guide, if wanted.
pub(crate) fn curves(
    title: &str,
    x_name: &str,
    y_name: &str,
    series: &[Series],
    diagonal: bool,
    top: f64,
) -> Scene {
    const SIDE: f64 = 340.0;
    const LEFT: f64 = 64.0;
    const UP: f64 = 40.0;
    let legend = if series.len() > 1 { 190.0 } else { 20.0 };
    let height = (UP + SIDE + 60.0).max(UP + 20.0 * series.len() as f64 + 20.0);
    let mut scene = Scene::new(LEFT + SIDE + legend, height);
    let at = |(x, y): (f64, f64)| (LEFT + x * SIDE, UP + SIDE - y / top * SIDE);
    scene.text(12.0, 18.0, TITLE, Anchor::Start, INK, title);
    for tick in 0..=5 {
        let v = f64::from(tick) / 5.0;
        let (x, y) = (LEFT + v * SIDE, UP + SIDE - v * SIDE);
        scene.line(vec![(x, UP), (x, UP + SIDE)], GRID, 1.0);
        scene.line(vec![(LEFT, y), (LEFT + SIDE, y)], GRID, 1.0);
        scene.text(x, UP + SIDE + 14.0, 12.0, Anchor::Middle, INK, format!("{:.0} %", 100.0 * v));
        scene.text(LEFT - 8.0, y, 12.0, Anchor::End, INK, format!("{:.0} %", 100.0 * v * top));
    }
    if diagonal {
        scene.line(vec![at((0.0, 0.0)), at((1.0, 1.0))], FAINT, 1.0);
    }
    scene.text(LEFT + SIDE / 2.0, UP + SIDE + 38.0, 13.0, Anchor::Middle, INK, x_name);
    scene.upwards(UP + SIDE / 2.0, y_name);
    for (i, s) in series.iter().enumerate() {
        let colour = SERIES[i % SERIES.len()];
        scene.line(s.points.iter().copied().map(at).collect(), colour, 2.0);
        if s.dots {
            for &p in &s.points {
                let (x, y) = at(p);
                scene.dot(x, y, 4.0, colour);
            }
        }
        if series.len() > 1 {
            let y = UP + 10.0 + 20.0 * i as f64;
            scene.line(vec![(LEFT + SIDE + 14.0, y), (LEFT + SIDE + 34.0, y)], colour, 3.0);
            scene.text(LEFT + SIDE + 40.0, y, 12.0, Anchor::Start, INK, short(s.name, 22));
        }
    }
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text() {
        let names = vec!["<script>alert('x')</script>".to_owned(), "a&b\"\u{1}".to_owned()];
        let svg = confusion_map(&names, &[vec![1, 2], vec![3, 4]]).svg();
        assert!(!svg.contains("<script") && !svg.contains("a&b") && !svg.contains('\u{1}'));
        assert!(svg.contains("&lt;script&gt;") && svg.contains("a&amp;b&quot;"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn titles_fit_small_pictures() {
        let names = vec!["A".to_owned(), "B".to_owned()];
        let title = "A title that is longer than two cells are wide, by far";
        let scene = matrix(&names, title, |_, _| (Some(0.5), "0.50".into(), String::new()));
        let png = scene.png(1).unwrap();
        // the last letters leave ink inside the picture: cut off, it would end at the margin of the cells
        assert!(scene.width > 12.0 + 0.5 * TITLE * title.chars().count() as f64 && !png.is_empty());
        let wide: Vec<String> = (0..12).map(|i| format!("genre {i}")).collect();
        let scene = matrix(&wide, "T", |_, _| (Some(0.5), String::new(), String::new()));
        assert!((scene.width - (24.0 + 7.5 * 8.0 + 44.0 * 12.0 + 20.0)).abs() < 1e-9);
    }

    #[test]
    fn a_picture_has_ink_where_it_should() {
        let mut scene = Scene::new(40.0, 30.0);
        scene.rect(0.0, 0.0, 10.0, 10.0, (255, 0, 0), "");
        scene.text(25.0, 20.0, 12.0, Anchor::Middle, (0, 0, 0), "Mm");
        let png = scene.png(2).unwrap();
        assert_eq!(&png[1..4], b"PNG");
        // width and height in the header
        assert_eq!((png[19], png[23]), (80, 60));
        let empty = Scene::new(40.0, 30.0).png(2).unwrap();
        assert!(png.len() > empty.len() + 50);
    }

    #[test]
    fn colours_darken() {
        assert_eq!(blue(0.0), (247, 251, 255));
        assert_eq!(blue(2.0), (8, 69, 148));
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
