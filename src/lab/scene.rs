//! Drawings of simple shapes as SVG text.

use std::fmt::Write as _;

use png::{BitDepth, ColorType, Encoder, EncodingError};
use voisin_base::text::{base64, xml};

pub(crate) type Rgb = (u8, u8, u8);

/// The point of a text that its position refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture: shapes on white, in pixels from the upper left corner.
#[derive(Debug, Clone)]
pub struct Scene {
    pub(crate) width: f64,
    /// Its height, which may grow while it is drawn.
    pub(crate) height: f64,
    shapes: String,
}

impl Scene {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            shapes: String::new(),
        }
    }

    pub(crate) fn rect(&mut self, [x, y, w, h]: [f64; 4], fill: Rgb, title: &str) {
        let fill = hex(fill);
        let title = xml(title);
        // Writing to a String cannot fail.
        let _ = write!(
            self.shapes,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{fill}\"><title>{title}</title></rect>"
        );
    }

    pub(crate) fn line(&mut self, points: &[(f64, f64)], colour: Rgb, width: f64) {
        let places = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}"));
        let places: Vec<String> = places.collect();
        let _ = write!(
            self.shapes,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"/>",
            places.join(" "),
            hex(colour)
        );
    }

    /// A picture of so many columns, red, green, blue of each pixel from the top, scaled to a rectangle.
    pub(crate) fn image(&mut self, [x, y, w, h]: [f64; 4], columns: usize, pixels: &[u8]) {
        let rows = pixels.len() / 3 / columns;
        let png = png(pixels, columns as u32, rows as u32).unwrap_or_default();
        // Rows at least two pixels high are drawn with sharp edges.
        let edges = if 2.0 * rows as f64 <= h {
            "pixelated"
        } else {
            "auto"
        };
        let _ = write!(
            self.shapes,
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" preserveAspectRatio=\"none\" \
             image-rendering=\"{edges}\" href=\"data:image/png;base64,{}\"/>",
            base64(&png)
        );
    }

    /// One line of text; `y` is its middle.
    pub(crate) fn text(&mut self, place: (f64, f64), size: f64, anchor: Anchor, text: &str) {
        self.coloured(place, size, anchor, INK, text);
    }

    pub(crate) fn coloured(
        &mut self,
        (x, y): (f64, f64),
        size: f64,
        anchor: Anchor,
        colour: Rgb,
        text: &str,
    ) {
        self.letters(
            &format!("x=\"{x:.1}\" y=\"{y:.1}\""),
            size,
            anchor,
            colour,
            text,
        );
    }

    /// The same, rotated to be read upwards.
    pub(crate) fn upwards(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, text: &str) {
        let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-90 {x:.1} {y:.1})\"");
        self.letters(&place, size, anchor, INK, text);
    }

    fn letters(&mut self, place: &str, size: f64, anchor: Anchor, colour: Rgb, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.shapes,
            "<text {place} font-size=\"{size}\" text-anchor=\"{anchor}\" dominant-baseline=\"middle\" fill=\"{}\">{}</text>",
            hex(colour),
            xml(text)
        );
    }

    pub fn svg(&self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" \
             font-family=\"sans-serif\" role=\"img\"><rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>{2}</svg>",
            self.width, self.height, self.shapes
        )
    }
}

pub(crate) const INK: Rgb = (34, 34, 34);

fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn png(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// Interpolates a colour between two or more `stops`, at a share from 0 to 1.
pub(crate) fn blend(stops: &[Rgb], share: f64) -> Rgb {
    let place = unit(share) * (stops.len() - 1) as f64;
    let at = (place as usize).min(stops.len() - 2);
    let part = place - at as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    let [a, b] = [stops[at], stops[at + 1]];
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// A number within 0 and 1; 0 for one that is not a number.
fn unit(x: f64) -> f64 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// At most `most` characters, the last an ellipsis if some are left out.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
