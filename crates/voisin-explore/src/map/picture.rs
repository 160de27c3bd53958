//! A still map for papers: PNG or SVG, names that do not overlap, the legend outside the points.

use std::sync::Once;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use super::super::{ExploreError, Result};
use super::MapData;
use super::colour::{self, ColourBy};
use super::labels::{Category, MarkerShape, Order, categories, place};
use voisin_base::pixels::{self, FINE};

/// Size and content of a still map.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticOptions {
    /// Width in pixels, at least 400.
    pub width: u32,
    /// Height in pixels, at least 300.
    pub height: u32,
    /// Title on top; empty for none.
    pub title: String,
    /// Colours.
    pub colour_by: ColourBy,
}

impl Default for StaticOptions {
    fn default() -> Self {
        Self { width: 1600, height: 1100, title: String::new(), colour_by: ColourBy::default() }
    }
}

/// Widest and highest PNG.
const LARGEST: u32 = 10_000;

/// Share of its field that a map fills, so that no dot lies on the edge.
const INSET: f64 = 0.96;

/// Family that viewers of the SVG know, and under which the font for measuring and for PNG is registered.
const FAMILY: &str = "sans-serif";

/// `DejaVu` Sans, Latin, Greek and Cyrillic, as a TrueType file (see `font/README.md`): text looks the same on machines
/// without fonts.
pub static FONT: &[u8] = include_bytes!("font/DejaVuSans-subset.ttf");

fn with_font() -> Result<()> {
    static REGISTER: Once = Once::new();
    let mut failed = false;
    REGISTER.call_once(|| {
        let font = FONT;
        failed = [FontStyle::Normal, FontStyle::Bold]
            .iter()
            .any(|&style| register_font(FAMILY, style, font).is_err());
    });
    if failed { Err(ExploreError::Draw("the built-in font cannot be read".into())) } else { Ok(()) }
}

/// PNG file's bytes.
pub fn png(data: &MapData<'_>, options: &StaticOptions) -> Result<Vec<u8>> {
    with_font()?;
    let (width, height) = (options.width, options.height);
    if width.max(height) > LARGEST {
        return Err(ExploreError::Parameter {
            name: "size of the picture",
            found: format!("{width} × {height}"),
            expected: "at most 10000 pixels each way; SVG has no limit",
        });
    }
    let larger = StaticOptions { width: width * FINE, height: height * FINE, ..options.clone() };
    let mut fine = vec![255; 3 * larger.width as usize * larger.height as usize];
    draw(
        &BitMapBackend::with_buffer(&mut fine, (larger.width, larger.height)).into_drawing_area(),
        data,
        &larger,
    )?;
    pixels::png(&fine, width, height).map_err(|error| ExploreError::Draw(error.to_string()))
}

/// SVG text.
pub fn svg(data: &MapData<'_>, options: &StaticOptions) -> Result<String> {
    with_font()?;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (options.width, options.height)).into_drawing_area();
        draw(&area, data, options)?;
    }
    Ok(text)
}

type Area<B> = DrawingArea<B, plotters::coord::Shift>;

fn draw<B: DrawingBackend>(area: &Area<B>, data: &MapData<'_>, options: &StaticOptions) -> Result<()> {
    data.check()?;
    if options.width < 400 || options.height < 300 {
        return Err(ExploreError::Parameter {
            name: "size of the picture",
            found: format!("{} × {}", options.width, options.height),
            expected: "at least 400 × 300",
        });
    }
    let way = options.colour_by;
    let labels = way.labels(data);
    let (of_row, categories) = match way {
        ColourBy::Agreement => categories(data, &labels, way.none(), Order::Given(&colour::AGREEMENT)),
        // One category of all years: the ramp tells them apart.
        ColourBy::Year => {
            let known: Vec<Option<String>> =
                labels.iter().map(|year| year.as_ref().map(|_| String::new())).collect();
            categories(data, &known, way.none(), Order::Count)
        }
        _ => categories(data, &labels, way.none(), Order::Count),
    };
    // Whether tags and prediction agree is a matter of tracks, not of places.
    let named = way != ColourBy::Agreement;
    let years = colour::year_range(data.meta).filter(|_| way == ColourBy::Year);
    let drawn = Drawn { of_row, categories, named, years };
    paint(area, data, options, &drawn).map_err(|error| ExploreError::Draw(error.to_string()))
}

/// What is drawn besides positions.
struct Drawn {
    /// Category of each row.
    of_row: Vec<usize>,
    categories: Vec<Category>,
    /// Whether the map bears their names.
    named: bool,
    /// First and last year of the ramp, on a map by year.
    years: Option<[i32; 2]>,
}

fn paint<B: DrawingBackend>(
    area: &Area<B>,
    data: &MapData<'_>,
    options: &StaticOptions,
    drawn: &Drawn,
) -> std::result::Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let (width, height) = (options.width as i32, options.height as i32);
    let unit = (f64::from(height) / 1100.0).max(0.6);
    let size = |points: f64| (points * unit).round();
    let normal = |points: f64| TextStyle::from((FAMILY, size(points)).into_font()).color(&BLACK);
    let margin = size(24.0) as i32;
    let top = if options.title.is_empty() { margin } else { margin + size(44.0) as i32 };
    let legend_width = (width / 4).min(size(380.0) as i32);
    let frame = [margin, top, width - margin - legend_width, height - margin];
    if !options.title.is_empty() {
        area.draw_text(&shorten(&one_line(&options.title), 90), &normal(28.0), (margin, margin))?;
    }

    // Equal units on both axes.
    let bounds = data.bounds();
    let scale = (f64::from(frame[2] - frame[0]) / f64::from(bounds[2] - bounds[0]))
        .min(f64::from(frame[3] - frame[1]) / f64::from(bounds[3] - bounds[1]))
        * INSET;
    let middle =
        [f64::from(f32::midpoint(bounds[0], bounds[2])), f64::from(f32::midpoint(bounds[1], bounds[3]))];
    let to_pixel = |x: f32, y: f32| {
        let px = f64::from(frame[0] + frame[2]) / 2.0 + (f64::from(x) - middle[0]) * scale;
        let py = f64::from(frame[1] + frame[3]) / 2.0 - (f64::from(y) - middle[1]) * scale;
        (px.round() as i32, py.round() as i32)
    };
    let radius = (size(90.0) / (data.meta.len().max(1) as f64).sqrt()).clamp(1.5, size(7.0)).round() as i32;
    // Grey ones first, so that they hide nothing.
    let Drawn { of_row, categories, named, years } = drawn;
    let mut rows: Vec<usize> = (0..data.meta.len()).collect();
    rows.sort_by_key(|&row| categories[of_row[row]].spot.is_some());
    // Dense maps have no room without points; there names lie on them.
    let mut points = Vec::new();
    for row in rows {
        let category = &categories[of_row[row]];
        let at = to_pixel(data.positions[[row, 0]], data.positions[[row, 1]]);
        let colour = match (years, data.meta[row].year) {
            (Some([low, high]), Some(year)) => {
                colour::ramp(f64::from(year - low) / f64::from((high - low).max(1)))
            }
            _ => category.colour,
        };
        mark(area, at, radius, category.shape, colour)?;
        if data.meta.len() <= 5000 {
            points.push(at);
        }
    }

    // Names on the map, with a white halo.
    let largest = categories.iter().filter(|c| c.spot.is_some()).map(|c| c.count).max().unwrap_or(1);
    let mut wanted = Vec::new();
    let mut names = Vec::new();
    for category in categories.iter().filter(|category| *named && !category.name.is_empty()) {
        if let Some([x, y]) = category.spot {
            let name = shorten(&one_line(&category.name), 34);
            // Size by tracks: 14 to 24 points.
            let share = (category.count as f64 / largest as f64).sqrt();
            let style = normal(14.0 + 10.0 * share);
            let (w, h) = area.estimate_text_size(&name, &style)?;
            let (px, py) = to_pixel(x, y);
            wanted.push(([px, py], [w as i32 + 8, h as i32 + 8]));
            names.push((name, style, [px, py]));
        }
    }
    let placed = place(&wanted, frame, &points, radius);
    // A name that had to move away is tied to its place.
    for ((_, _, spot), field) in names.iter().zip(&placed) {
        let Some([left, top, right, bottom]) = *field else { continue };
        let end = (spot[0].clamp(left, right), spot[1].clamp(top, bottom));
        let apart = f64::from((end.0 - spot[0]).pow(2) + (end.1 - spot[1]).pow(2)).sqrt();
        if apart > size(6.0) {
            for (colour, wide) in [(WHITE, 4.0), (BLACK, 1.5)] {
                let style = colour.stroke_width(size(wide).max(1.0) as u32);
                area.draw(&PathElement::new(vec![(spot[0], spot[1]), end], style))?;
            }
        }
    }
    let halo_width = size(2.0).max(1.0) as i32;
    for ((name, style, _), field) in names.iter().zip(&placed) {
        let Some(field) = field else { continue };
        let centre = (i32::midpoint(field[0], field[2]), i32::midpoint(field[1], field[3]));
        let centred = style.clone().pos(Pos::new(HPos::Center, VPos::Center));
        let halo = centred.color(&WHITE);
        for (dx, dy) in [(-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (-1, 1), (1, -1)] {
            let at = (centre.0 + dx * halo_width / 2, centre.1 + dy * halo_width / 2);
            area.draw_text(name, &halo, at)?;
        }
        area.draw_text(name, &centred, centre)?;
    }

    let left = frame[2] + size(28.0) as i32;
    legend(area, [left, top, left + legend_width - size(34.0) as i32, height - margin], unit, drawn)?;
    area.present()
}

/// Lists the categories to the right of the points; years as a bar.
///
/// - `field`: where, in pixels: left, top, right, bottom
/// - `unit`: pixels to a point
fn legend<B: DrawingBackend>(
    area: &Area<B>,
    field: [i32; 4],
    unit: f64,
    drawn: &Drawn,
) -> std::result::Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let [left, mut top, right, bottom] = field;
    let size = |points: f64| (points * unit).round() as i32;
    let text = TextStyle::from((FAMILY, 17.0 * unit).into_font())
        .color(&BLACK)
        .pos(Pos::new(HPos::Left, VPos::Center));
    let line = size(29.0);
    if let Some([low, high]) = drawn.years {
        let (bar, width) = (size(260.0).min(bottom - top - 2 * line), size(26.0));
        top += line / 2;
        for y in 0..bar {
            let [r, g, b] = colour::ramp(1.0 - f64::from(y) / f64::from(bar.max(2) - 1));
            let style = RGBColor(r, g, b).filled();
            area.draw(&Rectangle::new([(left, top + y), (left + width, top + y + 1)], style))?;
        }
        // Years beyond the ends of the ramp have the colours of its ends.
        let middle = low + (high - low) / 2;
        for (year, y) in
            [(high, 0), (middle, bar / 2), (low, bar)].into_iter().take(if low == high { 1 } else { 3 })
        {
            area.draw_text(&year.to_string(), &text, (left + width + size(10.0), top + y))?;
        }
        top += bar + line;
    }
    let mut y = top + line / 2;
    for category in drawn.categories.iter().filter(|category| !category.name.is_empty()) {
        if y + line / 2 > bottom {
            break;
        }
        mark(area, (left, y), size(7.0), category.shape, category.colour)?;
        let mut name = one_line(&category.name);
        let room = (right - left - size(16.0)).max(40) as u32;
        let with_count = |name: &str| format!("{name}  {}", category.count);
        while name.chars().count() > 4 && area.estimate_text_size(&with_count(&name), &text)?.0 > room {
            name = shorten(&name, name.chars().count() - 1);
        }
        area.draw_text(&with_count(&name), &text, (left + size(16.0), y))?;
        y += line;
    }
    Ok(())
}

fn mark<B: DrawingBackend>(
    area: &Area<B>,
    at: (i32, i32),
    radius: i32,
    shape: MarkerShape,
    [r, g, b]: [u8; 3],
) -> std::result::Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let style = RGBColor(r, g, b).mix(0.82).filled();
    match shape {
        MarkerShape::Circle => area.draw(&Circle::new(at, radius, style)),
        MarkerShape::Square => {
            let half = (f64::from(radius) * 0.88).round() as i32;
            area.draw(&Rectangle::new([(at.0 - half, at.1 - half), (at.0 + half, at.1 + half)], style))
        }
        MarkerShape::Triangle => {
            area.draw(&TriangleMarker::new(at, (f64::from(radius) * 1.25).round() as i32, style))
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// At most `most` characters, the last an ellipsis if some are left out.
fn shorten(text: &str, most: usize) -> String {
    let text = text.trim_end_matches('…');
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{grouped, unit_vectors};
    use super::super::super::{KnnGraph, TrackMeta};
    use super::*;
    use voisin_base::track::TrackId;

    #[test]
    fn png_and_svg_hold_the_legend() {
        let (vectors, labels) = grouped(5, 40, 16, 0.6, 2);
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let positions = unit_vectors(200, 2, 3);
        let meta: Vec<TrackMeta> = labels
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let mut track = TrackMeta::new(TrackId(i as i64), "x.mp3");
                track.genres =
                    vec![["Rock & Roll", "<b>Jazz</b>", "Dub\n", "Techno", "Élégie"][*label].into()];
                track
            })
            .collect();
        let data = MapData { positions: positions.view(), meta: &meta, graph: &graph, clustering: None };
        let options =
            StaticOptions { width: 800, height: 600, title: "A <map>".into(), ..StaticOptions::default() };
        let text = svg(&data, &options).expect("drawn");
        assert!(text.contains("&lt;b&gt;Jazz&lt;/b&gt;  40") && !text.contains("<b>"));
        assert!(text.matches("<circle").count() >= 200);
        let bytes = png(&data, &options).expect("drawn");
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&bytes[16..24], [0, 0, 3, 32, 0, 0, 2, 88]);
    }

    #[test]
    fn letters_stand_where_they_belong_and_not_on_whole_pixels() {
        let positions = unit_vectors(20, 2, 3);
        let graph = KnnGraph::exact(unit_vectors(20, 8, 1).view(), 5).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..20).map(|i| TrackMeta::new(TrackId(i), "x.mp3")).collect();
        let data = MapData { positions: positions.view(), meta: &meta, graph: &graph, clustering: None };
        let options =
            StaticOptions { width: 800, height: 600, title: "l".repeat(24), ..StaticOptions::default() };
        // How unlike the distances between neighbouring letters of the title are, in pixels.
        let unevenness = |pixels: &[u8]| {
            let ink = |x: usize| -> f64 {
                (10..34).map(|y| 255.0 - f64::from(pixels[3 * (800 * y + x)])).sum::<f64>()
            };
            let (mut places, mut mass, mut moment) = (Vec::new(), 0.0, 0.0);
            for x in 0..300 {
                if ink(x) > 0.0 {
                    mass += ink(x);
                    moment += x as f64 * ink(x);
                } else if mass > 0.0 {
                    places.push(moment / mass);
                    (mass, moment) = (0.0, 0.0);
                }
            }
            assert_eq!(places.len(), 24, "{places:?}");
            let gaps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
            gaps.iter().fold(f64::MIN, |most, &gap| most.max(gap))
                - gaps.iter().fold(f64::MAX, |least, &gap| least.min(gap))
        };
        let bytes = png(&data, &options).expect("drawn");
        let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG file");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
        reader.next_frame(&mut pixels).expect("whole");
        assert!(unevenness(&pixels) < 0.5, "{}", unevenness(&pixels));
        // Drawn as large as it is wanted, the same title has letters on whole pixels.
        let mut plain = vec![255; 3 * 800 * 600];
        draw(&BitMapBackend::with_buffer(&mut plain, (800, 600)).into_drawing_area(), &data, &options)
            .expect("drawn");
        assert!(unevenness(&plain) > 0.9, "{}", unevenness(&plain));
    }

    #[test]
    fn years_are_a_ramp_and_agreement_keeps_its_colours() {
        let positions = unit_vectors(100, 2, 3);
        let graph = KnnGraph::exact(unit_vectors(100, 8, 1).view(), 5).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..100)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i), format!("/m/{}/x.mp3", i % 3));
                track.year = (i % 10 != 0).then_some(1950 + i as i32 / 2);
                track.genres = vec!["Rock".into()];
                track.predicted_genre = Some(if i < 20 { "rock" } else { "Jazz" }.into());
                track
            })
            .collect();
        let data = MapData { positions: positions.view(), meta: &meta, graph: &graph, clustering: None };
        let draw = |colour_by| {
            svg(&data, &StaticOptions { width: 800, height: 600, colour_by, ..StaticOptions::default() })
                .expect("drawn")
        };
        let years = draw(ColourBy::Year);
        let circles = |text: &str| -> std::collections::HashSet<String> {
            let colour = |circle: &str| Some(circle.split("fill=\"").nth(1)?.split('"').next()?.to_owned());
            text.split("<circle").skip(1).filter_map(colour).collect()
        };
        assert!(circles(&years).len() > 30, "a colour for each year");
        for text in ["1951", "1975", "1999", "no year  10"] {
            assert!(years.lines().any(|line| line.trim() == text), "{text}");
        }
        let agreement = draw(ColourBy::Agreement);
        assert!(agreement.contains("agree  20") && agreement.contains("differ  80"));
        // The smaller group has the first colour all the same, and only the legend names them.
        assert!(agreement.contains("#0072B2") && agreement.matches("differ").count() == 1);
        assert!(draw(ColourBy::Folder).contains("2  33"));
    }

    #[test]
    fn long_names_are_shortened() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
    }
}
