//! Front ends by name or from a TOML file, and the choice of one that fits an input's shape.

use std::path::Path;

use serde::{Deserialize, Serialize};
use voisin_base::regular_file;
use voisin_encoder::{OnnxAxis, OnnxSettings};
use voisin_features::{MelConfig, OpenL3Variant};

/// Values of `--front-end`.
pub const FRONT_ENDS: [&str; 12] = [
    "openl3",
    "musicnn",
    "discogs",
    "vggish",
    "efficientat",
    "clap",
    "clap-htk",
    "ast",
    "raw16",
    "raw24",
    "raw32",
    "raw48",
];

/// Seconds of a window of samples if the network takes any length.
const RAW_SECONDS: usize = 10;
/// Largest manifest, in bytes.
const LARGEST: u64 = 1 << 20;

/// A front end in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontEndFile {
    /// The axes of the input, in order, if they do not follow from its shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    axes: Vec<OnnxAxis>,
    front_end: MelConfig,
}

/// Shape of an input; `None` for a length that may vary.
pub(crate) type InputAxes = [Option<usize>];

/// A front end and the order of the network's axes.
#[derive(Debug)]
pub(crate) struct FittedFrontEnd {
    pub(crate) config: MelConfig,
    pub(crate) axes: Vec<OnnxAxis>,
}

fn named(name: &str) -> Option<MelConfig> {
    let raw = |rate: u32| MelConfig::samples(rate, RAW_SECONDS * rate as usize);
    Some(match name {
        "openl3" => MelConfig::openl3(OpenL3Variant::Original),
        "musicnn" => MelConfig::musicnn(),
        "discogs" => MelConfig::discogs(),
        "vggish" => MelConfig::vggish(),
        "efficientat" => MelConfig::efficientat(),
        "clap" => MelConfig::clap(false, [50.0, 14_000.0]),
        "clap-htk" => MelConfig::clap(true, [50.0, 14_000.0]),
        "ast" => MelConfig::ast(),
        "raw16" => raw(16_000),
        "raw24" => raw(24_000),
        "raw32" => raw(32_000),
        "raw48" => raw(48_000),
        _ => return None,
    })
}

/// The requested front end, with the lengths of the input.
///
/// - `choice`: a name of [`FRONT_ENDS`], or the path of a TOML file
/// - returns: or the reason, with suggestions if none was requested
pub(crate) fn front_end_of(
    choice: Option<&str>,
    input: &InputAxes,
) -> Result<FittedFrontEnd, String> {
    let Some(choice) = choice else {
        return Err(suggestion(input));
    };
    if let Some(config) = named(choice) {
        return fit(config, input).ok_or_else(|| {
            format!(
                "--front-end {choice} does not fit the input {}: {}",
                shown(input),
                suggestion(input)
            )
        });
    }
    if Path::new(choice).extension().is_none_or(|e| e != "toml") {
        return Err(format!(
            "no front end \"{choice}\": expected {} or the path of a .toml file",
            FRONT_ENDS.join(", ")
        ));
    }
    let text = regular_file::read_text(Path::new(choice), LARGEST)
        .map_err(|error| format!("{choice}: {error}"))?;
    let file: FrontEndFile = toml::from_str(&text).map_err(|error| {
        let message: String = error.message().chars().take(300).collect();
        format!("{choice}: {message}")
    })?;
    file.front_end
        .validate()
        .map_err(|error| format!("{choice}: {error}"))?;
    // Axes in the file take precedence: the user has them from the network, `fit` only guesses.
    if !file.axes.is_empty() {
        let axes = file.axes;
        let config = file.front_end;
        return Ok(FittedFrontEnd { config, axes });
    }
    fit(file.front_end, input).ok_or_else(|| {
        format!(
            "{choice} does not fit the input {}: name its axes with axes = [...]",
            shown(input)
        )
    })
}

/// The axes of an input that match this front end, and the front end with the input's length.
fn fit(config: MelConfig, input: &InputAxes) -> Option<FittedFrontEnd> {
    use OnnxAxis::{Batch, Channel, Mel, Time};
    let orders: &[&[OnnxAxis]] = if config.is_samples() {
        &[&[Time], &[Batch, Time], &[Batch, Channel, Time]]
    } else {
        &[
            &[Mel, Time],
            &[Time, Mel],
            &[Batch, Mel, Time],
            &[Batch, Time, Mel],
            &[Batch, Channel, Mel, Time],
            &[Batch, Channel, Time, Mel],
            &[Batch, Mel, Time, Channel],
            &[Batch, Time, Mel, Channel],
        ]
    };
    let matches = |order: &&&[OnnxAxis]| {
        order.len() == input.len()
            && order
                .iter()
                .zip(input)
                .all(|(axis, length)| match (axis, length) {
                    // A network has weights for each band, so their number is fixed.
                    (Mel, length) => *length == Some(config.n_mels()),
                    (Channel, Some(length)) => *length == 1,
                    _ => true,
                })
    };
    let mut fitting: Vec<&&[OnnxAxis]> = orders.iter().filter(matches).collect();
    // A variable length is more likely time than channels.
    let is_likely = |order: &&&[OnnxAxis]| {
        let channel = order.iter().position(|axis| *axis == Channel);
        channel.is_none_or(|at| input[at].is_some())
    };
    if fitting.iter().any(is_likely) {
        fitting.retain(is_likely);
    }
    // Two orders may fit if a length is variable or both are equal; then the front end's default length decides.
    let exact = |order: &&&&[OnnxAxis]| {
        let time = order.iter().position(|axis| *axis == Time);
        time.is_some_and(|at| input[at] == Some(config.n_frames()))
    };
    let only = match fitting.as_slice() {
        [] => return None,
        [only] => *only,
        several => {
            let mut exact = several.iter().filter(|order| exact(order));
            match (exact.next(), exact.next()) {
                (Some(only), None) => *only,
                _ => return None,
            }
        }
    };
    let time = only.iter().position(|axis| *axis == Time)?;
    let config = match input[time] {
        Some(frames) => with_frames(config, frames)?,
        None => config,
    };
    let axes = only.to_vec();
    Some(FittedFrontEnd { config, axes })
}

/// The same front end with another number of frames.
fn with_frames(config: MelConfig, frames: usize) -> Option<MelConfig> {
    // The number of frames comes from the file and must not overflow the window.
    let longer = frames.checked_sub(config.n_frames());
    let window_samples = match longer {
        Some(longer) => config
            .window_samples()
            .checked_add(longer.checked_mul(config.hop)?)?,
        None => config
            .window_samples()
            .checked_sub((config.n_frames() - frames).checked_mul(config.hop)?)?,
    };
    let config = MelConfig {
        n_frames: frames,
        window_samples,
        ..config
    };
    config.validate().is_ok().then_some(config)
}

/// A shape for messages.
fn shown(input: &InputAxes) -> String {
    let lengths = input
        .iter()
        .map(|length| length.map_or("?".to_owned(), |n| n.to_string()));
    format!("[{}]", lengths.collect::<Vec<_>>().join(", "))
}

/// The front ends that fit an input, those of exactly its length first.
fn suggestion(input: &InputAxes) -> String {
    let all: Vec<(&'static str, MelConfig)> = FRONT_ENDS
        .into_iter()
        .filter_map(|name| Some((name, named(name)?)))
        .collect();
    let fits = |exact: bool| {
        let names = all.iter().filter(|(_, config)| {
            fit(config.clone(), input).is_some_and(|found| {
                // Ten seconds of samples are only a default, so an equal length is no evidence.
                !exact || found.config.n_frames() == config.n_frames() && !config.is_samples()
            })
        });
        names.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let mut names = fits(true);
    if names.is_empty() {
        names = fits(false);
    }
    let shape = shown(input);
    if !names.is_empty() {
        return format!(
            "its input {shape} fits --front-end {}; take the one that the model's card describes, or a .toml file with \
             all numbers",
            names.join(" or ")
        );
    }
    let example = FrontEndFile {
        axes: OnnxSettings::default_axes(input.len()),
        front_end: MelConfig {
            n_mels: input
                .iter()
                // A guess for the example: the last length that could be a number of bands.
                .rev()
                .flatten()
                .copied()
                .find(|n| (8..=512).contains(n))
                .unwrap_or(128),
            ..MelConfig::efficientat()
        },
    };
    format!(
        "its input {shape} fits no front end by name; write its numbers, as the model's card states them, into a .toml \
         file for --front-end, for example:\n{}",
        toml::to_string(&example).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(text: &str) -> Vec<Option<usize>> {
        text.split(',').map(|n| n.parse().ok()).collect()
    }

    #[test]
    fn shapes_of_published_networks_suggest_their_front_ends() {
        for (input, expected) in [
            ("?,1,128,1000", "fits --front-end efficientat;"),
            (
                "1,1,128,?",
                "fits --front-end openl3 or efficientat or ast;",
            ),
            ("1,1024,128", "fits --front-end ast;"),
            ("64,128,96", "fits --front-end discogs;"),
            ("?,187,96", "fits --front-end musicnn;"),
            ("?,1,96,64", "fits --front-end vggish;"),
            ("?,128,199,1", "fits --front-end openl3;"),
            ("?,1,1001,64", "fits --front-end clap or clap-htk;"),
            ("?,?", "raw16 or raw24 or raw32 or raw48;"),
            ("1,1,80,3000", "n_mels = 80"),
        ] {
            let text = front_end_of(None, &axes(input)).unwrap_err();
            assert!(
                text.contains(expected) && text.len() < 2000,
                "{input}: {text}"
            );
        }
    }

    #[test]
    fn a_front_end_takes_the_length_of_the_input() {
        use OnnxAxis::{Batch, Channel, Mel, Time};
        let found = front_end_of(Some("efficientat"), &axes("?,1,128,500")).unwrap();
        assert_eq!(found.axes, [Batch, Channel, Mel, Time]);
        assert_eq!(
            [found.config.n_frames, found.config.window_samples],
            [500, 160_000]
        );
        let found = front_end_of(Some("raw24"), &axes("1,120000")).unwrap();
        assert_eq!(found.axes, [Batch, Time]);
        assert_eq!(
            [found.config.n_frames, found.config.window_samples],
            [120_000; 2]
        );
        let found = front_end_of(Some("discogs"), &axes("64,128,96")).unwrap();
        assert_eq!(found.axes, [Batch, Time, Mel]);
        for (name, input) in [
            ("efficientat", "1,1,64,500"),
            ("raw16", "1,2,3,4"),
            ("vggish", "1,1,64,0"),
        ] {
            let text = front_end_of(Some(name), &axes(input)).unwrap_err();
            assert!(text.contains("does not fit"), "{text}");
        }
        assert!(
            front_end_of(Some("mp3"), &axes("1,2"))
                .unwrap_err()
                .contains("no front end")
        );
    }

    #[test]
    fn all_numbers_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front_end.toml");
        let choice = path.to_str().unwrap();
        let text = front_end_of(None, &axes("1,1,80,3000")).unwrap_err();
        let example = text.split_once("for example:\n").unwrap().1;
        std::fs::write(&path, example.replace("n_frames = 1000", "n_frames = 3000")).unwrap();
        let found = front_end_of(Some(choice), &axes("1,1,80,3000")).unwrap();
        assert_eq!([found.config.n_mels, found.config.n_frames], [80, 3000]);
        assert_eq!(found.config.mean, Some(-4.5));
        for (from, to, expected) in [
            ("n_mels = 80", "n_mels = 0", "n_mels is 0"),
            ("hop = 320", "hops = 320", "unknown field"),
            ("[front_end]", "[front", "front_end.toml"),
        ] {
            std::fs::write(&path, example.replace(from, to)).unwrap();
            let text = front_end_of(Some(choice), &axes("1,1,80,3000")).unwrap_err();
            assert!(text.contains(expected) && text.len() < 2000, "{text}");
        }
    }
}
