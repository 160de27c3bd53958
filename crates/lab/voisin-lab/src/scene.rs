//! Drawings of simple shapes as SVG text or PNG bytes, with the same result in both formats.
//!
//! For: drawing lines and letters at given positions. Not for: axes, legends and maps.

use std::io;
use std::sync::Once;

use plotters::{
    backend::BitMapBackend,
    drawing::IntoDrawingArea,
    element::{Circle, PathElement, Rectangle, Text},
    style::{
        Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle,
        register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::pixels::{self, FINE};
use voisin_base::text::{base64, xml};

const FAMILY: &str = "voisin-sans";
/// Line height of the font, which sizes in PNG refer to, for letters of size 1, which sizes in SVG refer to.
const LINE: f64 = 1.164;

/// `DejaVu` Sans, Latin, Greek and Cyrillic, as a TrueType file (see `map/font/README.md`), so that text looks the same
/// on machines without fonts.
static FONT: &[u8] = include_bytes!("font/DejaVuSans-subset.ttf");

/// Registers the font; if it cannot be read, drawing fails.
fn with_font() {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| drop(register_font(FAMILY, FontStyle::Normal, FONT)));
}

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

/// The point of a text that its position refers to.
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
        fill: Rgb,
        opacity: f64,
    },
    /// Pixels (red, green, blue, in rows from the top) of so many columns.
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
    /// Its width.
    pub width: f64,
    /// Its height, which may grow while it is drawn.
    pub height: f64,
    items: Vec<Mark>,
}

impl Scene {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            items: Vec::new(),
        }
    }

    /// A filled rectangle, with a tooltip in SVG.
    pub fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, fill: Rgb, title: impl Into<String>) {
        self.items.push(Mark::Rect {
            x,
            y,
            w,
            h,
            fill,
            title: title.into(),
        });
    }

    /// A line through points.
    pub fn line(&mut self, points: Vec<(f64, f64)>, colour: Rgb, width: f64) {
        self.items.push(Mark::Line {
            points,
            colour,
            width,
        });
    }

    /// A filled circle.
    pub fn dot(&mut self, (x, y): (f64, f64), r: f64, fill: Rgb, opacity: f64) {
        self.items.push(Mark::Dot {
            x,
            y,
            r,
            fill,
            opacity,
        });
    }

    /// A picture of so many columns, scaled to a rectangle below all other shapes.
    pub fn image(&mut self, x: f64, y: f64, w: f64, h: f64, columns: usize, pixels: Vec<u8>) {
        self.items.push(Mark::Image {
            x,
            y,
            w,
            h,
            columns,
            pixels,
        });
    }

    /// One line of text; `y` is its middle.
    pub fn text(
        &mut self,
        x: f64,
        y: f64,
        size: f64,
        anchor: Anchor,
        colour: Rgb,
        text: impl Into<String>,
    ) {
        self.items.push(Mark::Text {
            x,
            y,
            size,
            anchor,
            upwards: false,
            colour,
            text: text.into(),
        });
    }

    /// The same, rotated to be read upwards.
    pub fn upwards(
        &mut self,
        x: f64,
        y: f64,
        size: f64,
        anchor: Anchor,
        colour: Rgb,
        text: impl Into<String>,
    ) {
        self.items.push(Mark::Text {
            x,
            y,
            size,
            anchor,
            upwards: true,
            colour,
            text: text.into(),
        });
    }

    /// Self-contained SVG text.
    pub fn svg(&self) -> String {
        use std::fmt::Write;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" \
             font-family=\"sans-serif\" role=\"img\"><rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>",
            self.width, self.height
        );
        let hex = |c: Rgb| format!("#{:02x}{:02x}{:02x}", c.0, c.1, c.2);
        let list = |points: &[(f64, f64)]| {
            points
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        // Writing to a String cannot fail.
        for item in &self.items {
            let _ = match item {
                Mark::Rect {
                    x,
                    y,
                    w,
                    h,
                    fill,
                    title,
                } => write!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{}\"><title>{}</title></rect>",
                    hex(*fill),
                    xml(title)
                ),
                Mark::Line {
                    points,
                    colour,
                    width,
                } => write!(
                    out,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"/>",
                    list(points),
                    hex(*colour)
                ),
                Mark::Dot {
                    x,
                    y,
                    r,
                    fill,
                    opacity,
                } => write!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\" fill=\"{}\" opacity=\"{opacity}\"/>",
                    hex(*fill)
                ),
                Mark::Image {
                    x,
                    y,
                    w,
                    h,
                    columns,
                    pixels,
                } => {
                    let rows = pixels.len() / 3 / columns;
                    // Writing to memory cannot fail.
                    let png =
                        pixels::encode(pixels, *columns as u32, rows as u32).unwrap_or_default();
                    write!(
                        out,
                        "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" \
                         preserveAspectRatio=\"none\" image-rendering=\"{}\" href=\"data:image/png;base64,{}\"/>",
                        // Rows at least two pixels high are drawn with sharp edges.
                        if 2.0 * rows as f64 <= *h {
                            "pixelated"
                        } else {
                            "auto"
                        },
                        base64(&png)
                    )
                }
                Mark::Text {
                    x,
                    y,
                    size,
                    anchor,
                    upwards,
                    colour,
                    text,
                } => {
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
                        xml(text)
                    )
                }
            };
        }
        out.push_str("</svg>");
        out
    }

    /// PNG bytes, `scale` pixels per unit of the scene (1 to 4).
    ///
    /// Text is drawn with the font built into the program (Latin, Greek, Cyrillic); other letters show as boxes.
    pub fn png(&self, scale: u32) -> io::Result<Vec<u8>> {
        with_font();
        let failed = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
        // The number of pixels grows with the square of the scale.
        let scale = scale.clamp(1, 4);
        let k = f64::from(scale * FINE);
        let width = (self.width * f64::from(scale)).ceil() as u32;
        let height = (self.height * f64::from(scale)).ceil() as u32;
        // White. The size fits into 32 bits for pictures of up to 40 million pixels at scale 1.
        let mut fine = vec![255; (3 * FINE * FINE * width * height) as usize];
        for item in &self.items {
            if let Mark::Image {
                x,
                y,
                w,
                h,
                columns,
                pixels,
            } = item
            {
                let rows = pixels.len() / 3 / columns;
                // Pixel by pixel, since the drawing library cannot scale
                // pictures.
                for to_y in (y * k).round() as usize..((y + h) * k).round() as usize {
                    for to_x in (x * k).round() as usize..((x + w) * k).round() as usize {
                        let source_pixel = |to: usize, from: f64, size: f64, all: usize| {
                            ((((to as f64 + 0.5) / k - from) / size * all as f64) as usize)
                                // Rounding may give one more than the last column or row.
                                .min(all - 1)
                        };
                        let from = 3
                            * (source_pixel(to_y, *y, *h, rows) * columns
                                + source_pixel(to_x, *x, *w, *columns));
                        let to = 3 * (to_y * (width * FINE) as usize + to_x);
                        fine[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
                    }
                }
            }
        }
        {
            let size = (width * FINE, height * FINE);
            // In a block, because the area borrows the pixels until it is dropped.
            let area = BitMapBackend::with_buffer(&mut fine, size).into_drawing_area();
            let at = |x: f64, y: f64| ((x * k).round() as i32, (y * k).round() as i32);
            let rgb = |c: Rgb| RGBColor(c.0, c.1, c.2);
            for item in &self.items {
                match item {
                    Mark::Image { .. } => Ok(()),
                    Mark::Rect {
                        x, y, w, h, fill, ..
                    } => area.draw(&Rectangle::new(
                        [at(*x, *y), at(x + w, y + h)],
                        rgb(*fill).filled(),
                    )),
                    Mark::Line {
                        points,
                        colour,
                        width,
                    } => area.draw(&PathElement::new(
                        points.iter().map(|(x, y)| at(*x, *y)).collect::<Vec<_>>(),
                        ShapeStyle::from(rgb(*colour))
                            .stroke_width((width * k).round().max(1.0) as u32),
                    )),
                    Mark::Dot {
                        x,
                        y,
                        r,
                        fill,
                        opacity,
                    } => {
                        let style = rgb(*fill).mix(*opacity).filled();
                        area.draw(&Circle::new(at(*x, *y), (r * k) as i32, style))
                    }
                    Mark::Text {
                        x,
                        y,
                        size,
                        anchor,
                        upwards,
                        colour,
                        text,
                    } => {
                        let horizontal = match anchor {
                            Anchor::Start => HPos::Left,
                            Anchor::Middle => HPos::Center,
                            Anchor::End => HPos::Right,
                        };
                        let colour = rgb(*colour);
                        let mut style = TextStyle::from(
                            (FontFamily::Name(FAMILY), size * LINE * k).into_font(),
                        )
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

/// Interpolates a colour between two or more `stops`, at a share from 0 to 1.
pub fn blend(stops: &[Rgb], share: f64) -> Rgb {
    let place = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    } * (stops.len() - 1) as f64;
    let at = (place as usize).min(stops.len() - 2);
    let a = stops[at];
    let b = stops[at + 1];
    let part = place - at as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// At most `most` characters, the last an ellipsis if some are left out.
pub fn shorten(text: &str, most: usize) -> String {
    let text = text.trim_end_matches('…');
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_ink_at_its_shapes() {
        let mut scene = Scene::new(40.0, 30.0);
        scene.rect(0.0, 0.0, 10.0, 10.0, (255, 0, 0), "");
        scene.text(25.0, 20.0, 12.0, Anchor::Middle, (0, 0, 0), "Mm");
        let png = scene.png(2).unwrap();
        assert_eq!(&png[1..4], b"PNG");
        // Width and height in the header.
        assert_eq!((png[19], png[23]), (80, 60));
        let empty = Scene::new(40.0, 30.0).png(2).unwrap();
        assert!(png.len() > empty.len() + 50);
    }

    #[test]
    fn long_names_are_shortened() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
    }
}
