//! Pictures of a file's sound: its waveform, its spectrum, and matrices over one time axis.

use std::ops::Range;

use ndarray::ArrayView2;

use super::{Anchor, FAINT, GRID, INK, Rgb, SERIES, Scene, TITLE, blend, number, shorten, ticks};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ramp {
    /// From dark to light, for values from zero.
    Heat,
    /// Blue, white, red, with zero in the middle.
    Signed,
}

impl Ramp {
    fn colour(self, share: f64) -> [u8; 3] {
        // matplotlib's magma, and ColorBrewer's RdBu from below
        const HEAT: [Rgb; 9] = [
            (0, 0, 4),
            (28, 16, 68),
            (79, 18, 123),
            (129, 37, 129),
            (181, 54, 122),
            (229, 80, 100),
            (251, 135, 97),
            (254, 194, 135),
            (252, 253, 191),
        ];
        const SIGNED: [Rgb; 5] = [
            (33, 102, 172),
            (146, 197, 222),
            (247, 247, 247),
            (244, 165, 130),
            (178, 24, 43),
        ];
        let stops: &[Rgb] = if self == Self::Heat { &HEAT } else { &SIGNED };
        blend(stops, share).into()
    }
}

pub(crate) struct Panel<'a> {
    /// Its title, with the unit of its values.
    pub(crate) title: &'a str,
    pub(crate) rows: &'a str,
    /// `[rows, frames]`, the lowest row first.
    pub(crate) values: ArrayView2<'a, f64>,
    pub(crate) range: (f64, f64),
    pub(crate) ramp: Ramp,
    /// Names of rows with their positions: 0 is the lowest row's middle.
    pub(crate) marks: Vec<(f64, String)>,
}

const LEFT: f64 = 84.0;
const WIDE: f64 = 820.0;
const RIGHT: f64 = 92.0;
/// Height of a matrix, of the wave, and of the spectrum.
const HIGH: f64 = 150.0;
const WAVE: f64 = 100.0;
const SPECTRUM: f64 = 130.0;
const GAP: f64 = 44.0;
const NUMBERS: f64 = 24.0;
/// At most this many cells of a matrix in a unit of the scene.
const FINENESS: f64 = 2.0;
/// Lowest frequency of the spectrum's axis, Hz, and its range in decibels.
const LOWEST: f64 = 20.0;
const DEPTH: f64 = 80.0;

/// Draws waveform, spectrum and matrices below each other.
///
/// - `seconds`: of the file, at both ends of the time axis
/// - `wave`: mono samples
/// - `spectrum`: decibels of each bin, the strongest 0; `bin_hz`: distance of two bins
pub(crate) fn sound(
    title: &str,
    seconds: &Range<f64>,
    wave: &[f32],
    (spectrum, bin_hz): (&[f64], f64),
    panels: &[Panel],
) -> Scene {
    let mut scene = Scene::new(LEFT + WIDE + RIGHT, 34.0);
    scene.text((12.0, 18.0), TITLE, Anchor::Start, &shorten(title, 110));
    let top = begin(&mut scene, "Waveform", "amplitude", WAVE);
    time(&mut scene, top + WAVE, seconds, true);
    draw_wave(&mut scene, top, wave);
    let heading = "Amplitude spectrum, mean over the file (decibels below the strongest frequency)";
    let top = begin(&mut scene, heading, "dB", SPECTRUM);
    draw_spectrum(&mut scene, top, spectrum, bin_hz);
    for (at, panel) in panels.iter().enumerate() {
        let top = begin(&mut scene, panel.title, panel.rows, HIGH);
        draw_panel(&mut scene, top, panel);
        time(&mut scene, top + HIGH, seconds, at + 1 == panels.len());
    }
    let below = (LEFT + WIDE / 2.0, scene.height);
    scene.text(below, 13.0, Anchor::Middle, "time");
    scene.height += 18.0;
    scene
}

/// Adds space for one picture with its title and the name of its vertical axis; returns its top.
fn begin(scene: &mut Scene, title: &str, axis: &str, high: f64) -> f64 {
    let top = scene.height + GAP - 12.0;
    scene.text((LEFT, top - 12.0), 13.0, Anchor::Start, title);
    scene.upwards((14.0, top + high / 2.0), 13.0, Anchor::Middle, axis);
    scene.height = top + high;
    top
}

fn frame(scene: &mut Scene, top: f64, high: f64) {
    let right = LEFT + WIDE;
    let bottom = top + high;
    let corners = [
        (LEFT, top),
        (LEFT, bottom),
        (right, bottom),
        (right, top),
        (LEFT, top),
    ];
    scene.line(&corners, FAINT, 1.0);
}

fn mark(scene: &mut Scene, y: f64, name: &str) {
    scene.line(&[(LEFT - 4.0, y), (LEFT, y)], INK, 1.0);
    scene.text((LEFT - 8.0, y), 11.0, Anchor::End, name);
}

/// Ticks below a picture, with their times if `is_named`.
fn time(scene: &mut Scene, bottom: f64, seconds: &Range<f64>, is_named: bool) {
    let length = (seconds.end - seconds.start).max(1e-9);
    // round numbers of seconds below two minutes, of minutes above
    let unit = if length > 120.0 { 60.0 } else { 1.0 };
    for tick in ticks(seconds.start / unit, seconds.end / unit) {
        let at = tick * unit;
        let x = LEFT + (at - seconds.start) / length * WIDE;
        scene.line(&[(x, bottom), (x, bottom + 4.0)], INK, 1.0);
        if is_named {
            let name = if unit > 1.0 {
                format!("{}:{:02.0}", (at / 60.0) as u64, at % 60.0)
            } else {
                format!("{} s", number(at))
            };
            scene.text((x, bottom + 13.0), 11.0, Anchor::Middle, &name);
        }
    }
    if is_named {
        scene.height += NUMBERS + 4.0;
    }
}

fn draw_wave(scene: &mut Scene, top: f64, wave: &[f32]) {
    let most = wave.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let most = if most > 0.0 { f64::from(most) } else { 1.0 };
    let columns = (WIDE * FINENESS) as usize;
    let y = |level: f64| top + WAVE / 2.0 - level / most * WAVE / 2.0;
    // Minimum and maximum of a column's samples, as editors draw a waveform.
    let chunk = wave.len().div_ceil(columns).max(1);
    let points = wave.chunks(chunk).enumerate().flat_map(|(at, part)| {
        let low = part.iter().copied().fold(f32::MAX, f32::min);
        let high = part.iter().copied().fold(f32::MIN, f32::max);
        let x = LEFT + WIDE * (at * chunk) as f64 / wave.len() as f64;
        [low, high].map(|level| (x, y(f64::from(level))))
    });
    scene.line(&points.collect::<Vec<_>>(), SERIES[0], 0.5);
    for level in [most, 0.0, -most] {
        mark(scene, y(level), &format!("{level:.2}"));
    }
    frame(scene, top, WAVE);
}

/// Over a logarithmic axis of frequencies.
fn draw_spectrum(scene: &mut Scene, top: f64, decibels: &[f64], bin_hz: f64) {
    let highest = bin_hz * (decibels.len().max(2) - 1) as f64;
    let x = |hz: f64| LEFT + (hz / LOWEST).ln() / (highest / LOWEST).ln() * WIDE;
    // Decibels go down from 0 at the top.
    let y = |db: f64| top - db.clamp(-DEPTH, 0.0) / DEPTH * SPECTRUM;
    for level in [0.0, -20.0, -40.0, -60.0, -80.0] {
        scene.line(&[(LEFT, y(level)), (LEFT + WIDE, y(level))], GRID, 1.0);
        mark(scene, y(level), &number(level));
    }
    let marks = [20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4];
    for hz in marks.into_iter().filter(|hz| *hz <= highest) {
        scene.line(&[(x(hz), top), (x(hz), top + SPECTRUM)], GRID, 1.0);
        let below = (x(hz), top + SPECTRUM + 13.0);
        scene.text(below, 11.0, Anchor::Middle, &hertz(hz));
    }
    let bins = decibels.iter().enumerate();
    let points = bins.map(|(bin, db)| (bin as f64 * bin_hz, *db));
    let points = points.filter(|(hz, _)| *hz >= LOWEST);
    let points: Vec<(f64, f64)> = points.map(|(hz, db)| (x(hz), y(db))).collect();
    scene.line(&points, SERIES[1], 1.2);
    frame(scene, top, SPECTRUM);
    scene.height += NUMBERS;
}

fn draw_panel(scene: &mut Scene, top: f64, panel: &Panel) {
    const STEPS: usize = 50;
    let cells = |unit: f64, most: usize| ((unit * FINENESS) as usize).min(most).max(1);
    // No more cells than the picture can show, since hours of frames would make a huge file.
    let columns = cells(WIDE, panel.values.ncols());
    let rows = cells(HIGH, panel.values.nrows());
    let (low, high) = panel.range;
    let pixels = pooled(panel.values, columns, rows).into_iter();
    let pixels = pixels.flat_map(|value| panel.ramp.colour((value - low) / (high - low)));
    let pixels: Vec<u8> = pixels.collect();
    scene.image([LEFT, top, WIDE, HIGH], columns, &pixels);
    frame(scene, top, HIGH);
    for (place, name) in &panel.marks {
        let share = (place + 0.5) / panel.values.nrows() as f64;
        mark(scene, top + HIGH - share * HIGH, name);
    }
    let x = LEFT + WIDE + 14.0;
    let steps = (0..STEPS).rev();
    let steps = steps.flat_map(|i| panel.ramp.colour((i as f64 + 0.5) / STEPS as f64));
    let steps: Vec<u8> = steps.collect();
    scene.image([x, top, 12.0, HIGH], 1, &steps);
    for value in [low, f64::midpoint(low, high), high] {
        let y = top + HIGH - (value - low) / (high - low) * HIGH;
        scene.text((x + 18.0, y), 11.0, Anchor::Start, &number(value));
    }
}

pub(crate) fn hertz(hz: f64) -> String {
    if hz >= 1000.0 {
        format!("{} kHz", number(hz / 1000.0))
    } else {
        format!("{} Hz", number(hz))
    }
}

/// Means over the fields of a grid, row by row from the highest.
fn pooled(values: ArrayView2<f64>, columns: usize, rows: usize) -> Vec<f64> {
    let span = |at: usize, parts: usize, all: usize| at * all / parts..(at + 1) * all / parts;
    let mut out = Vec::with_capacity(rows * columns);
    for row in (0..rows).rev() {
        for column in 0..columns {
            let field = values.slice(ndarray::s![
                span(row, rows, values.nrows()),
                span(column, columns, values.ncols())
            ]);
            out.push(field.mean().unwrap_or(f64::NAN));
        }
    }
    out
}
