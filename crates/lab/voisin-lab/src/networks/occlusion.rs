//! Occlusion maps of a network: parts of its input are masked in turn, and it predicts again.
//! Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.

use std::ops::Range;

use super::ClipReader;
use super::examples::RunExamples;
use crate::LabError;
use crate::report::{Importance, Occlusion};
use voisin_encoder::StackShape;
use voisin_learn::metrics::Spread;
use voisin_train::classifier::{ClassPredictor, ClassTraining};

/// Strips into which bands and times are divided.
const STRIPS: usize = 8;
/// Tracks for masking whole strips, and tracks for masking each strip of bands in each strip of time.
const STRIPED: usize = 60;
const IN_CELLS: usize = 16;

/// Divides rows into strips of nearly equal size.
fn strips(rows: usize) -> Vec<Range<usize>> {
    let count = STRIPS.min(rows);
    (0..count)
        .map(|at| at * rows / count..(at + 1) * rows / count)
        .collect()
}

/// Sets bands in frames to the mean of the example.
fn blank(example: &mut [f32], frames: usize, rows: &Range<usize>, columns: &Range<usize>) {
    // the mean rather than 0, which is not neutral in a spectrogram in decibels
    let mean = example.iter().sum::<f32>() / example.len() as f32;
    for row in example
        .chunks_exact_mut(frames)
        .skip(rows.start)
        .take(rows.len())
    {
        row[columns.clone()].fill(mean);
    }
}

/// The loss of probability of the tracks' true classes with masked bands, times, or bands in times.
///
/// - `tracks`: tracks that it was not trained on, in the order of use
pub(super) fn occlusion(
    net: &dyn ClassPredictor,
    examples: RunExamples<'_>,
    tracks: &[usize],
    reader: &ClipReader,
    training: &ClassTraining,
) -> Result<(Vec<Importance>, Option<Occlusion>), LabError> {
    let [bands, frames] = match reader.input() {
        StackShape::Image(_, bands, frames) => [bands, frames],
        other => [other.cells(), 1],
    };
    // Probability of the true class of each track, with these bands and frames masked.
    let truths =
        |most: usize, rows: Range<usize>, columns: Range<usize>| -> Result<Vec<f64>, LabError> {
            let load = |track: usize, window: usize, place: Option<f64>, to: &mut [f32]| {
                (examples.load)(track, window, place, to)?;
                blank(to, frames, &rows, &columns);
                Ok(())
            };
            let tracks = &tracks[..most.min(tracks.len())];
            let predicted = RunExamples {
                load: &load,
                ..examples
            }
            .predict(net, tracks, training.batch)?;
            let probability_of_truth = |(windows, &track): (&Vec<Vec<f32>>, &usize)| {
                f64::from(training.decide.join(windows)[examples.class_of[track]])
            };
            Ok(predicted
                .iter()
                .zip(tracks)
                .map(probability_of_truth)
                .collect())
        };
    // Without masking, on the same tracks and crops.
    let before = truths(STRIPED, 0..0, 0..0)?;
    // The cells use only the first of the strips' tracks.
    let lost =
        |after: Vec<f64>| -> Vec<f64> { before.iter().zip(after).map(|(a, b)| a - b).collect() };
    let rows = strips(bands);
    let columns = strips(frames);
    let names: Vec<String> = rows.iter().map(|rows| reader.bands(rows)).collect();
    let times: Vec<String> = columns
        .iter()
        .map(|columns| reader.times(columns))
        .collect();
    let mut found = Vec::new();
    let mut put =
        |single, names: &[String], strips: Vec<[Range<usize>; 2]>| -> Result<(), LabError> {
            for (name, [rows, columns]) in names.iter().zip(strips) {
                let lost = lost(truths(STRIPED, rows, columns)?);
                let Spread { mean, deviation } = Spread::of(&lost);
                // the standard error of the mean
                let deviation = deviation / (lost.len() as f64).sqrt();
                found.push(Importance {
                    columns: name.clone(),
                    drop: mean,
                    deviation,
                    internal: None,
                    single,
                });
            }
            Ok(())
        };
    put(
        false,
        &names,
        rows.iter().map(|rows| [rows.clone(), 0..frames]).collect(),
    )?;
    // means over time have no times to mask
    if frames < STRIPS {
        return Ok((found, None));
    }
    put(
        true,
        &times,
        columns
            .iter()
            .map(|columns| [0..bands, columns.clone()])
            .collect(),
    )?;
    let mut cells = Vec::new();
    for rows in &rows {
        let row = columns.iter().map(|columns| {
            Ok(Spread::of(&lost(truths(IN_CELLS, rows.clone(), columns.clone())?)).mean)
        });
        cells.push(row.collect::<Result<Vec<f64>, LabError>>()?);
    }
    Ok((
        found,
        Some(Occlusion {
            bands: names,
            times,
            lost: cells,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_cover_all_rows_and_mask_only_theirs() {
        assert_eq!(
            strips(20).into_iter().flatten().collect::<Vec<_>>(),
            (0..20).collect::<Vec<_>>()
        );
        assert_eq!(strips(3), [0..1, 1..2, 2..3]);
        let mut example: Vec<f32> = (0..12).map(|x| x as f32).collect();
        blank(&mut example, 4, &(1..2), &(2..4));
        assert_eq!(
            example,
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.5, 5.5, 8.0, 9.0, 10.0, 11.0]
        );
        let before = example.clone();
        blank(&mut example, 4, &(0..0), &(0..0));
        assert_eq!(example, before);
    }
}
