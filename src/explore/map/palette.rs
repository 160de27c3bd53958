//! The colours of both maps: the page of `voisin map` and the server's page.
//!
//! For: reading [palette.json](palette.json). Not for: assigning colours to names ([`colour`](super::colour)).

use std::collections::HashMap;

use serde::Deserialize;

const FILE: &str = include_str!("palette.json");

/// The script by which both pages draw their map: a module that includes the palette.
pub const CORE: &str = concat!(
    "const PALETTE = ",
    include_str!("palette.json"),
    ";\n",
    include_str!("page/core.js")
);

/// The number of categories with a colour of their own.
pub(super) fn colours() -> usize {
    read("light").colours.len()
}

/// Colours on one background; the first of [`colours`](Palette::colours) are Okabe and Ito's ("Color Universal Design", 2008),
/// except those with too little contrast to the background.
#[derive(Debug, Deserialize)]
struct Palette {
    colours: Vec<String>,
}

fn read(ground: &str) -> Palette {
    let mut grounds: HashMap<String, Palette> =
        serde_json::from_str(FILE).expect("the palette is JSON");
    grounds.remove(ground).expect("light and dark")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rgb = (u8, u8, u8);

    fn rgb(hex: &str) -> Rgb {
        let part = |at: usize| {
            let digits = hex.get(at..at + 2).expect("seven letters");
            u8::from_str_radix(digits, 16).expect("two digits")
        };
        (part(1), part(3), part(5))
    }

    /// Red, green and blue as shares of light (sRGB's inverse transfer).
    fn linear((r, g, b): Rgb) -> [f64; 3] {
        [r, g, b].map(|part| {
            let share = f64::from(part) / 255.0;
            if share <= 0.040_45 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        })
    }

    /// WCAG 2's contrast.
    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let light = |colour| {
            let [r, g, b] = linear(colour);
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let ratio = light(one) / light(other);
        ratio.max(1.0 / ratio)
    }

    /// Distance in Oklab (Ottosson, 2020), where black and white are 1 apart.
    fn distance(one: Rgb, other: Rgb) -> f64 {
        let oklab = |colour| {
            let [r, g, b] = linear(colour);
            let l = (0.412_221 * r + 0.536_333 * g + 0.051_446 * b).cbrt();
            let m = (0.211_903 * r + 0.680_700 * g + 0.107_397 * b).cbrt();
            let s = (0.088_302 * r + 0.281_719 * g + 0.629_979 * b).cbrt();
            [
                0.210_454 * l + 0.793_618 * m - 0.004_072 * s,
                1.977_998 * l - 2.428_592 * m + 0.450_594 * s,
                0.025_904 * l + 0.782_772 * m - 0.808_676 * s,
            ]
        };
        let one = oklab(one);
        let other = oklab(other);
        (0..3)
            .map(|d| (one[d] - other[d]).powi(2))
            .sum::<f64>()
            .sqrt()
    }

    #[test]
    fn colours_contrast_with_the_background_and_each_other() {
        // The page of `voisin map` and the server's page (`--back` and `--ground` of their styles).
        for (ground, backs) in [
            ("light", ["#ffffff", "#faf8f5"]),
            ("dark", ["#121216", "#161513"]),
        ] {
            let colours: Vec<Rgb> = read(ground).colours.iter().map(|hex| rgb(hex)).collect();
            for (i, &colour) in colours.iter().enumerate() {
                for back in backs {
                    let ratio = contrast(colour, rgb(back));
                    assert!(ratio >= 3.0, "{ground} {i} on {back}: {ratio:.2}");
                }
                for &other in &colours[..i] {
                    let apart = distance(colour, other);
                    assert!(apart >= 0.09, "{ground} {i} and {other:?}: {apart:.3}");
                }
            }
        }
        assert_eq!(read("light").colours.len(), read("dark").colours.len());
        assert!(distance((0, 0, 0), (255, 255, 255)) > 0.99);
    }
}
