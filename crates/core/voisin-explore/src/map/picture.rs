//! A static map for papers: PNG or SVG with names that do not overlap and a legend beside the points.

use super::super::scene::{Anchor, Rgb, Scene, shorten, text_width};
use super::super::{ExploreError, Result};
use super::MapData;
use super::colour::{self, ColourBy};
use super::labels::{Category, categories, place};

/// Size and content of a static map.
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
        Self {
            width: 1600,
            height: 1100,
            title: String::new(),
            colour_by: ColourBy::default(),
        }
    }
}

/// Largest width and height of a PNG.
const LARGEST: u32 = 10_000;
/// Most pixels of a PNG, each of which takes 27 bytes while it is drawn; an A2 sheet at 300 dpi has 35 million.
const MOST_PIXELS: u32 = 40_000_000;

/// Share of its field that a map fills, so that no dot is on the edge.
const INSET: f64 = 0.96;

const OPACITY: f64 = 0.82;

const BLACK: Rgb = (0, 0, 0);
const WHITE: Rgb = (255, 255, 255);

/// Bytes of a PNG file.
pub fn png(data: &MapData<'_>, options: &StaticOptions) -> Result<Vec<u8>> {
    let width = options.width;
    let height = options.height;
    if width.max(height) > LARGEST || width * height > MOST_PIXELS {
        return Err(ExploreError::Parameter {
            name: "size of the picture",
            found: format!("{width} × {height}"),
            expected: "at most 10000 pixels each way and 40 million in all; SVG has no limit",
        });
    }
    draw(data, options)?
        .png(1)
        .map_err(|error| ExploreError::Draw(error.to_string()))
}

/// SVG text.
pub fn svg(data: &MapData<'_>, options: &StaticOptions) -> Result<String> {
    Ok(draw(data, options)?.svg())
}

fn draw(data: &MapData<'_>, options: &StaticOptions) -> Result<Scene> {
    data.check()?;
    if options.width < 400 || options.height < 300 {
        return Err(ExploreError::Parameter {
            name: "size of the picture",
            found: format!("{} × {}", options.width, options.height),
            expected: "at least 400 × 300",
        });
    }
    let way = options.colour_by;
    let mut labels = way.labels(data);
    let ramp = way.numbers(data).and_then(|numbers| {
        let ends = colour::range(&numbers)?;
        let name = match way {
            ColourBy::Scale(place) => data.scales[place].name.clone(),
            other => other.name().to_owned(),
        };
        Some(ColourRamp {
            name,
            numbers,
            ends,
        })
    });
    if ramp.is_some() {
        // All numbers are one category, within which the ramp distinguishes.
        labels.iter_mut().flatten().for_each(String::clear);
    }
    let order = way.order(data, &labels);
    let (of_row, categories) = categories(data, &labels, way.none(), &order);
    // Agreement is scattered over the whole map, so that its two names have no place on it.
    let named = way != ColourBy::Agreement;
    Ok(paint(
        data,
        options,
        &Drawn {
            of_row,
            categories,
            named,
            ramp,
        },
    ))
}

/// Everything to draw besides positions.
struct Drawn {
    /// Category of each row.
    of_row: Vec<usize>,
    categories: Vec<Category>,
    /// Whether their names are on the map.
    named: bool,
    /// For colourings by numbers.
    ramp: Option<ColourRamp>,
}

/// Numbers as colours from dark to light.
struct ColourRamp {
    name: String,
    /// One per row.
    numbers: Vec<Option<f32>>,
    /// The numbers at the ends of the ramp.
    ends: [f32; 2],
}

fn paint(data: &MapData<'_>, options: &StaticOptions, drawn: &Drawn) -> Scene {
    let mut scene = Scene::new(f64::from(options.width), f64::from(options.height));
    let width = options.width as i32;
    let height = options.height as i32;
    let unit = (f64::from(height) / 1100.0).max(0.6);
    let size = |points: f64| (points * unit).round();
    let margin = size(24.0) as i32;
    let top = if options.title.is_empty() {
        margin
    } else {
        margin + size(44.0) as i32
    };
    // The legend is beside the points and takes at most a quarter.
    let legend_width = (width / 4).min(size(380.0) as i32);
    let frame = [margin, top, width - margin - legend_width, height - margin];
    if !options.title.is_empty() {
        let x = f64::from(margin);
        let y = f64::from(margin) + size(24.0) / 2.0;
        scene.text(
            x,
            y,
            size(24.0),
            Anchor::Start,
            BLACK,
            shorten(&one_line(&options.title), 90),
        );
    }

    // Equal units on both axes.
    let bounds = data.bounds();
    let scale = (f64::from(frame[2] - frame[0]) / f64::from(bounds[2] - bounds[0]))
        .min(f64::from(frame[3] - frame[1]) / f64::from(bounds[3] - bounds[1]))
        * INSET;
    let middle = [
        f64::from(f32::midpoint(bounds[0], bounds[2])),
        f64::from(f32::midpoint(bounds[1], bounds[3])),
    ];
    let to_pixel = |x: f32, y: f32| {
        let px = f64::from(frame[0] + frame[2]) / 2.0 + (f64::from(x) - middle[0]) * scale;
        let py = f64::from(frame[1] + frame[3]) / 2.0 - (f64::from(y) - middle[1]) * scale;
        (px, py)
    };
    let radius = (size(90.0) / (data.meta.len().max(1) as f64).sqrt()).clamp(1.5, size(7.0));
    // Grey ones first, so that they do not hide others.
    let Drawn {
        of_row,
        categories,
        named,
        ramp,
    } = drawn;
    let mut rows: Vec<usize> = (0..data.meta.len()).collect();
    // Stable, so that rows of one kind keep their order.
    rows.sort_by_key(|&row| !categories[of_row[row]].spots.is_empty());
    // In dense maps names are over points.
    let mut points = Vec::new();
    for row in rows {
        let category = &categories[of_row[row]];
        let at = to_pixel(data.positions[[row, 0]], data.positions[[row, 1]]);
        let share = ramp.as_ref().and_then(|ramp| {
            let [low, high] = ramp.ends;
            let number = ramp.numbers[row]?;
            let wide = if high > low { high - low } else { 1.0 };
            Some(f64::from(number - low) / f64::from(wide))
        });
        let colour = share.map_or(category.colour, colour::ramp);
        scene.dot(at, radius, colour, OPACITY);
        if data.meta.len() <= 5000 {
            points.push((at.0 as i32, at.1 as i32));
        }
    }

    // Names on the map, with a white outline.
    let largest = categories
        .iter()
        .filter(|c| !c.spots.is_empty())
        .map(|c| c.count)
        .max()
        .unwrap_or(1);
    let mut wanted = Vec::new();
    let mut names = Vec::new();
    for category in categories
        .iter()
        .filter(|category| *named && !category.name.is_empty())
    {
        for &[x, y] in &category.spots {
            let name = shorten(&one_line(&category.name), 34);
            // Size by tracks: 12 to 20 points.
            let share = (category.count as f64 / largest as f64).sqrt();
            // By the square root, since areas are compared by eye.
            let letters = size(12.0 + 8.0 * share);
            let (x, y) = to_pixel(x, y);
            let spot = [x as i32, y as i32];
            wanted.push((
                spot,
                [text_width(&name, letters) as i32 + 8, letters as i32 + 8],
            ));
            names.push((name, letters, spot));
        }
    }
    let placed = place(&wanted, frame, &points, radius.round() as i32);
    // A line connects a name that was moved to its spot.
    for ((_, _, spot), field) in names.iter().zip(&placed) {
        let Some([left, top, right, bottom]) = *field else {
            continue;
        };
        let end = (spot[0].clamp(left, right), spot[1].clamp(top, bottom));
        let apart = f64::from((end.0 - spot[0]).pow(2) + (end.1 - spot[1]).pow(2)).sqrt();
        if apart > size(6.0) {
            for (colour, wide) in [(WHITE, 4.0), (BLACK, 1.5)] {
                let ends = [(spot[0], spot[1]), end].map(|(x, y)| (f64::from(x), f64::from(y)));
                scene.line(ends.to_vec(), colour, size(wide).max(1.0));
            }
        }
    }
    let halo = size(2.0).max(1.0) / 2.0;
    for ((name, letters, _), field) in names.iter().zip(&placed) {
        let Some(field) = field else { continue };
        let x = f64::from(field[0] + field[2]) / 2.0;
        let y = f64::from(field[1] + field[3]) / 2.0;
        for (dx, dy) in [
            (-2, 0),
            (2, 0),
            (0, -2),
            (0, 2),
            (-1, -1),
            (1, 1),
            (-1, 1),
            (1, -1),
        ] {
            let x = x + f64::from(dx) * halo;
            let y = y + f64::from(dy) * halo;
            scene.text(x, y, *letters, Anchor::Middle, WHITE, name.as_str());
        }
        scene.text(x, y, *letters, Anchor::Middle, BLACK, name.as_str());
    }

    let left = f64::from(frame[2]) + size(28.0);
    let right = left + f64::from(legend_width) - size(34.0);
    legend(
        &mut scene,
        [left, f64::from(top), right, f64::from(height - margin)],
        unit,
        drawn,
    );
    scene
}

/// Lists the categories to the right of the points; numbers as a bar.
///
/// - `field`: the rectangle in pixels: left, top, right, bottom
/// - `unit`: pixels per point
fn legend(scene: &mut Scene, field: [f64; 4], unit: f64, drawn: &Drawn) {
    let [left, mut top, right, bottom] = field;
    let size = |points: f64| (points * unit).round();
    let letters = 14.6 * unit;
    let line = size(29.0);
    if let Some(ramp) = &drawn.ramp {
        let [low, high] = ramp.ends.map(f32::round);
        scene.text(
            left,
            top + line / 2.0,
            letters,
            Anchor::Start,
            BLACK,
            ramp.name.as_str(),
        );
        top += line;
        let bar = size(260.0).min(bottom - top - 2.0 * line);
        let width = size(26.0);
        top += line / 2.0;
        // At least two, because the share is divided by one fewer.
        let steps = bar.max(2.0) as usize;
        let colours = (0..steps).map(|y| colour::ramp(1.0 - y as f64 / (steps - 1) as f64));
        scene.image(
            left,
            top,
            width,
            bar,
            1,
            colours.flat_map(<[u8; 3]>::from).collect(),
        );
        // Numbers beyond the ends of the ramp have the colours of its ends.
        let middle = (low + (high - low) / 2.0).floor();
        for (number, y) in [(high, 0.0), (middle, bar / 2.0), (low, bar)]
            .into_iter()
            .take(if low < high { 3 } else { 1 })
        {
            let x = left + width + size(10.0);
            scene.text(
                x,
                top + y,
                letters,
                Anchor::Start,
                BLACK,
                number.to_string(),
            );
        }
        top += bar + line;
    }
    let mut y = top + line / 2.0;
    for category in lines(&drawn.categories) {
        if y + line / 2.0 > bottom {
            break;
        }
        scene.dot((left, y), size(7.0), category.colour, OPACITY);
        let mut name = one_line(&category.name);
        let room = (right - left - size(16.0)).max(40.0);
        // After a name from right to left the count would be on its other side.
        let turn = if is_right_to_left(&name) {
            "\u{200e}"
        } else {
            ""
        };
        let with_count = |name: &str| format!("{name}{turn}  {}", category.count);
        // Shortened by measured width, since letters differ.
        while name.chars().count() > 4 && text_width(&with_count(&name), letters) > room {
            name = shorten(&name, name.chars().count() - 1);
        }
        scene.text(
            left + size(16.0),
            y,
            letters,
            Anchor::Start,
            BLACK,
            with_count(&name),
        );
        y += line;
    }
}

/// The lines of the legend: most tracks first; of equals the category whose colour comes first, and "other" last.
fn lines(categories: &[Category]) -> Vec<&Category> {
    // `categories` always ends with "other" and the tracks without a category.
    let (named, grey) = categories.split_at(categories.len() - 2);
    let mut lines: Vec<&Category> = named.iter().chain(grey.iter().rev()).collect();
    lines.retain(|line| line.count > 0 && !line.name.is_empty());
    // Stable.
    lines.sort_by_key(|line| std::cmp::Reverse(line.count));
    lines
}

/// Whether a name has Hebrew or Arabic letters.
fn is_right_to_left(name: &str) -> bool {
    name.chars().any(
        |c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'),
    )
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{grouped, unit_vectors};
    use super::super::super::{KnnGraph, TrackMeta};
    use super::super::MapScale;
    use super::*;
    use voisin_base::track::TrackId;

    #[test]
    fn png_and_svg_have_the_legend() {
        let (vectors, labels) = grouped(5, 40, 16, 0.6, 2);
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let positions = unit_vectors(200, 2, 3);
        let meta: Vec<TrackMeta> = labels
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let mut track = TrackMeta::new(TrackId(i as i64), "x.mp3");
                track.genres = vec![
                    ["Rock & Roll", "<b>Jazz</b>", "Dub\n", "Techno", "Élégie"][*label].into(),
                ];
                track
            })
            .collect();
        let data = MapData {
            positions: positions.view(),
            meta: &meta,
            graph: &graph,
            clustering: None,
            scales: &[],
        };
        let options = StaticOptions {
            width: 800,
            height: 600,
            title: "A <map>".into(),
            ..StaticOptions::default()
        };
        let text = svg(&data, &options).expect("drawn");
        assert!(text.contains("&lt;b&gt;Jazz&lt;/b&gt;  40") && !text.contains("<b>"));
        assert!(text.matches("<circle").count() >= 200);
        let bytes = png(&data, &options).expect("drawn");
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&bytes[16..24], [0, 0, 3, 32, 0, 0, 2, 88]);
        let larger = StaticOptions {
            width: 10_000,
            height: 4001,
            ..options
        };
        let refused = png(&data, &larger).expect_err("too large").to_string();
        assert!(refused.contains("10000 × 4001"), "{refused}");
    }

    #[test]
    fn the_legend_begins_with_the_largest_category() {
        let positions = unit_vectors(12, 2, 3);
        let graph = KnnGraph::exact(unit_vectors(12, 8, 1).view(), 5).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..12_usize)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i as i64), "x.mp3");
                track.genres = ["Dub", "Dub", "Dub", "\u{639}\u{631}\u{628}\u{64a}"]
                    .get(i)
                    .map(|genre| vec![(*genre).to_owned()])
                    .unwrap_or_default();
                track
            })
            .collect();
        let data = MapData {
            positions: positions.view(),
            meta: &meta,
            graph: &graph,
            clustering: None,
            scales: &[],
        };
        let text = svg(&data, &StaticOptions::default()).expect("drawn");
        let legend: Vec<&str> = text
            .split("</text>")
            .filter_map(|text| text.rsplit('>').next())
            .filter(|text| text.contains("  "))
            .collect();
        // The mark after the Arabic name keeps its count to its right.
        assert_eq!(
            legend,
            [
                "no genre  8",
                "Dub  3",
                "\u{639}\u{631}\u{628}\u{64a}\u{200e}  1"
            ]
        );
    }

    #[test]
    fn letters_are_placed_at_fractions_of_pixels() {
        let positions = unit_vectors(20, 2, 3);
        let graph = KnnGraph::exact(unit_vectors(20, 8, 1).view(), 5).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..20)
            .map(|i| TrackMeta::new(TrackId(i), "x.mp3"))
            .collect();
        let data = MapData {
            positions: positions.view(),
            meta: &meta,
            graph: &graph,
            clustering: None,
            scales: &[],
        };
        let options = StaticOptions {
            width: 800,
            height: 600,
            title: "l".repeat(24),
            ..StaticOptions::default()
        };
        // Variation of the distances between adjacent letters of the title, in pixels.
        let unevenness = |pixels: &[u8]| {
            let ink = |x: usize| -> f64 {
                (10..34)
                    .map(|y| 255.0 - f64::from(pixels[3 * (800 * y + x)]))
                    .sum::<f64>()
            };
            let mut places = Vec::new();
            let mut mass = 0.0;
            let mut moment = 0.0;
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
        let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG file");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
        reader.next_frame(&mut pixels).expect("whole");
        assert!(unevenness(&pixels) < 0.5, "{}", unevenness(&pixels));
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
        let energy = MapScale {
            name: "energy".into(),
            values: (0..100)
                .map(|i| (i % 4 > 0).then_some(i as f32 / 2.0))
                .collect(),
        };
        let data = MapData {
            positions: positions.view(),
            meta: &meta,
            graph: &graph,
            clustering: None,
            scales: &[energy],
        };
        let draw = |colour_by| {
            svg(
                &data,
                &StaticOptions {
                    width: 800,
                    height: 600,
                    colour_by,
                    ..StaticOptions::default()
                },
            )
            .expect("drawn")
        };
        let years = draw(ColourBy::Year);
        let circles = |text: &str| -> std::collections::HashSet<String> {
            let colour = |circle: &str| {
                Some(
                    circle
                        .split("fill=\"")
                        .nth(1)?
                        .split('"')
                        .next()?
                        .to_owned(),
                )
            };
            text.split("<circle").skip(1).filter_map(colour).collect()
        };
        assert!(circles(&years).len() > 30, "a colour for each year");
        for text in ["year", "1951", "1975", "1999", "no year  10"] {
            assert!(years.contains(&format!(">{text}<")), "{text}");
        }
        let energies = draw(ColourBy::Scale(0));
        assert!(circles(&energies).len() > 50, "a colour for each value");
        for text in ["energy", "1", "25", "49", "no value  25"] {
            assert!(energies.contains(&format!(">{text}<")), "{text}");
        }
        let agreement = draw(ColourBy::Agreement);
        let place = |text: &str| agreement.find(text).expect("a line of the legend");
        assert!(place("differ  80") < place("agree  20"));
        // The smaller group keeps the first colour, and the names are only in the legend.
        assert!(agreement.contains("#0072b2") && agreement.matches("differ").count() == 1);
        assert!(draw(ColourBy::Folder).contains("2  33"));
    }
}
