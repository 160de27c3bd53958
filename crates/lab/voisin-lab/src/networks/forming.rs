//! The formation of a network's inner layer as a vector space: its map, epoch by epoch, and the
//! position of a class that it was not trained on.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use crate::LabError;
use crate::report::Forming;
use voisin_explore::layout::principal_axes;
use voisin_learn::metrics::argmax;
use voisin_train::classifier::{places_file, read_tensors};

/// Most training tracks, and most tracks on a map.
pub(super) const WATCHED: usize = 400;

/// Tracks whose positions in the inner layer are recorded in every epoch: training tracks, whose
/// means represent the classes, then the tracks on the map.
pub(super) struct WatchedTracks<'a> {
    /// Names of the classes.
    pub(super) classes: &'a [String],
    /// The class of each training track.
    pub(super) learnt: Vec<usize>,
    /// The class of each track on the map; none for the left-out class.
    pub(super) drawn: Vec<Option<usize>>,
    /// Name of the left-out class.
    pub(super) left_out: &'a str,
    /// Artists of each class, including the left-out one; empty if none are known.
    pub(super) artists: BTreeMap<String, usize>,
}

/// Voting neighbours of a track, as in a library.
const VOTERS: usize = 10;

impl WatchedTracks<'_> {
    /// Reads the positions that the training recorded.
    ///
    /// - `best`: the epoch whose weights are kept, from 0
    /// - returns: nothing if the network has no such layer
    pub(super) fn forming(
        &self,
        folder: &Path,
        epochs: usize,
        best: usize,
    ) -> Result<Option<Forming>, LabError> {
        let mut all = Vec::new();
        for epoch in 0..=epochs {
            let path = places_file(folder, epoch);
            if !path.exists() {
                // Only networks whose inner layer is a vector space record positions.
                return Ok(None);
            }
            let places = read_tensors(&path)?.remove("places").unwrap_or_default();
            let rows = self.learnt.len() + self.drawn.len();
            let places = Array2::from_shape_vec((rows, places.len() / rows.max(1)), places);
            all.push(
                self.centred(&places.map_err(|error| LabError::run(&path, error.to_string()))?),
            );
        }
        let first = &all[0];
        // The first file is from before training, so an epoch's is one further.
        let last = &all[best + 1];
        // one plane for all epochs, so that the maps can be compared
        let (plane, plane_agrees) = self.plane(last);
        let on_plane = |units: ArrayView2<f32>| -> Vec<[f32; 2]> {
            let along = |row: ArrayView1<f32>, at| plane.get(at).map_or(0.0, |axis| row.dot(axis));
            units
                .outer_iter()
                .map(|row| [along(row, 0), along(row, 1)])
                .collect()
        };
        let [before, after] = [first, last].map(|units| self.nearest(units));
        // of the tracks on the map for which `wanted` is known, the share for which it is true
        let shares = |wanted: &dyn Fn(Option<usize>, usize) -> Option<bool>| {
            [&before, &after].map(|nearest| {
                let pairs = self.drawn.iter().zip(nearest);
                let hits: Vec<bool> = pairs
                    .filter_map(|(class, near)| wanted(*class, *near))
                    .collect();
                hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
            })
        };
        let mut nearest: Vec<(String, [f64; 2])> = Vec::new();
        let mut votes: Vec<(String, [f64; 2])> = Vec::new();
        if !self.left_out.is_empty() {
            let share_near =
                |class| shares(&|of_track, near| of_track.is_none().then_some(near == class));
            let voted = [first, last].map(|units| self.votes(units));
            for (class, name) in self.classes.iter().enumerate() {
                nearest.push((name.clone(), share_near(class)));
                votes.push((name.clone(), [voted[0][class], voted[1][class]]));
            }
            // By the final share, which matters most.
            for list in [&mut nearest, &mut votes] {
                list.sort_by(|a, b| b.1[1].total_cmp(&a.1[1]));
            }
        }
        let name = |class: &Option<usize>| {
            class
                .map_or(self.left_out, |class| &self.classes[class])
                .to_owned()
        };
        Ok(Some(Forming {
            classes: self.drawn.iter().map(name).collect(),
            epochs: all
                .iter()
                .map(|units| on_plane(self.drawn_of(units)))
                .collect(),
            means: all
                .iter()
                .map(|units| on_plane(self.means(units).view()))
                .collect(),
            left_out: self.left_out.to_owned(),
            nearest,
            votes,
            left_out_tracks: self.drawn.iter().filter(|class| class.is_none()).count(),
            artists: self.artists.clone(),
            plane_agrees,
            in_class: shares(&|class, near| class.map(|class| class == near)),
        }))
    }

    fn drawn_of<'a>(&self, rows: &'a Array2<f32>) -> ArrayView2<'a, f32> {
        rows.slice(s![self.learnt.len().., ..])
    }

    /// Positions relative to the mean of the training tracks, of length 1.
    fn centred(&self, places: &Array2<f32>) -> Array2<f32> {
        let learnt = places.slice(s![..self.learnt.len(), ..]);
        let mean = learnt
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(places.ncols()));
        // the mean is common to all classes; with it cosines would differ little
        let mut units = places - &mean;
        units
            .outer_iter_mut()
            .for_each(|mut row| row /= length(row.view()));
        units
    }

    /// The mean of each class, of length 1.
    fn means(&self, units: &Array2<f32>) -> Array2<f32> {
        let mut means = Array2::<f32>::zeros((self.classes.len(), units.ncols()));
        for (&class, row) in self.learnt.iter().zip(units.outer_iter()) {
            means.row_mut(class).scaled_add(1.0, &row);
        }
        means
            .outer_iter_mut()
            .for_each(|mut row| row /= length(row.view()));
        means
    }

    /// The classes of the [`VOTERS`] nearest training tracks, as shares over all left-out tracks.
    fn votes(&self, units: &Array2<f32>) -> Vec<f64> {
        let learnt = units.slice(s![..self.learnt.len(), ..]);
        let mut counts = vec![0_usize; self.classes.len()];
        let drawn = self.drawn_of(units);
        let left_out = self.drawn.iter().zip(drawn.outer_iter());
        for (_, row) in left_out.filter(|(class, _)| class.is_none()) {
            let cosines = learnt.dot(&row);
            let mut order: Vec<usize> = (0..cosines.len()).collect();
            order.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]));
            for &neighbour in order.iter().take(VOTERS) {
                counts[self.learnt[neighbour]] += 1;
            }
        }
        let all = counts.iter().sum::<usize>().max(1) as f64;
        counts.iter().map(|&count| count as f64 / all).collect()
    }

    /// The plane of the maps, and the share of tracks whose nearest class on it is that in all
    /// dimensions. Of the plane of the tracks' largest variance and that of the class means, the
    /// one with the larger share.
    fn plane(&self, units: &Array2<f32>) -> (Vec<Array1<f32>>, f64) {
        let means = self.means(units);
        let near = self.nearest(units);
        let agreement = |plane: &[Array1<f32>]| {
            let flat = |row: ArrayView1<f32>| {
                [0, 1].map(|at| plane.get(at).map_or(0.0, |axis| row.dot(axis)))
            };
            let places: Vec<[f32; 2]> = means.outer_iter().map(flat).collect();
            let mut shown = 0_usize;
            let mut all = 0_usize;
            let drawn = self.drawn_of(units);
            for ((class, row), &near) in self.drawn.iter().zip(drawn.outer_iter()).zip(&near) {
                // With a left-out class, the map is about that class.
                if class.is_some() && !self.left_out.is_empty() {
                    continue;
                }
                let [x, y] = flat(row);
                let distances: Array1<f32> = places
                    .iter()
                    .map(|at| -(at[0] - x).hypot(at[1] - y))
                    .collect();
                all += 1;
                shown += usize::from(argmax(distances.view()) == near);
            }
            shown as f64 / all.max(1) as f64
        };
        let planes = [
            principal_axes(self.drawn_of(units), 1),
            principal_axes(means.view(), 1),
        ];
        let mut rated = planes.map(|plane| {
            let agreement = agreement(&plane);
            (plane, agreement)
        });
        // The plane of the tracks if both are equal.
        let best = usize::from(rated[1].1 > rated[0].1);
        std::mem::take(&mut rated[best])
    }

    /// The class with the nearest mean for each track on the map.
    fn nearest(&self, units: &Array2<f32>) -> Vec<usize> {
        self.drawn_of(units)
            .dot(&self.means(units).t())
            .outer_iter()
            .map(argmax)
            .collect()
    }
}

fn length(row: ArrayView1<f32>) -> f32 {
    row.dot(&row).sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn tracks_of_a_class_left_out_move_to_the_nearest_mean() {
        let folder = tempfile::tempdir().unwrap();
        let classes = ["a".to_owned(), "b".to_owned()];
        let watched = WatchedTracks {
            classes: &classes,
            learnt: vec![0, 0, 1, 1],
            drawn: vec![Some(0), Some(1), None],
            left_out: "c",
            artists: BTreeMap::new(),
        };
        let learnt = [[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]];
        let before = ndarray::concatenate![Axis(0), array![[1.0, 0.0], [1.0, 0.2], [0.9, 0.3]]];
        let before = ndarray::concatenate![Axis(0), ndarray::arr2(&learnt), before];
        let mut after = before.clone();
        after.row_mut(5).assign(&array![-1.0, 0.2]);
        after.row_mut(6).assign(&array![-0.8, 0.3]);
        assert_eq!(watched.nearest(&watched.centred(&before)), [0, 0, 0]);
        assert_eq!(watched.nearest(&watched.centred(&after)), [0, 1, 1]);
        assert_eq!(watched.forming(folder.path(), 1, 0).unwrap(), None);
        // With four training tracks, all four vote.
        assert_eq!(watched.votes(&watched.centred(&after)), [0.5, 0.5]);
        assert_eq!(watched.plane(&watched.centred(&after)).1, 1.0);
    }

    #[test]
    fn neighbours_vote_for_a_wide_class_whose_mean_is_far() {
        // "wide" is a circle around the track, so its mean has no direction; "narrow" is a cluster farther off.
        let classes = ["wide".to_owned(), "narrow".to_owned()];
        let mut rows = Vec::new();
        for i in 0..12 {
            let angle = std::f32::consts::TAU * i as f32 / 12.0;
            rows.push([1.0, 0.6 * angle.cos(), 0.6 * angle.sin(), 0.0]);
        }
        for i in 0..12 {
            rows.push([0.2, 0.02 * i as f32, 0.0, 1.0]);
        }
        rows.push([1.0, 0.1, 0.0, 0.4]);
        let watched = WatchedTracks {
            classes: &classes,
            learnt: [[0; 12], [1; 12]].concat(),
            drawn: vec![None],
            left_out: "new",
            artists: BTreeMap::new(),
        };
        let rows = ndarray::arr2(&rows);
        let votes = watched.votes(&rows);
        assert!(votes[0] > 0.9 && votes[0] + votes[1] == 1.0, "{votes:?}");
    }
}
