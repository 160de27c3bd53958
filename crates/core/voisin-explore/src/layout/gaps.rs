//! Narrows empty stretches of a map.
//!
//! The optimiser pushes groups without common neighbours apart without limit, so that one far group would
//! leave the others only a corner of the picture. Distances between such groups have no meaning; groups
//! themselves are unchanged.

/// Width of the widest stretch without a track, in units of the map, in which a group of 50 tracks is about 2 wide.
const WIDEST: f32 = 1.5;
/// Rounds over all directions; a group between two others can move in the second.
const ROUNDS: usize = 2;

/// Narrows wide empty stretches along both axes and both diagonals.
///
/// Tracks on one side of a stretch move together, and the sides stay [`WIDEST`] apart.
pub(super) fn close_gaps(positions: &mut [[f32; 2]]) {
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let directions = [[1.0, 0.0], [0.0, 1.0], [half, half], [half, -half]];
    for _ in 0..ROUNDS {
        for direction in directions {
            close_along(positions, direction);
        }
    }
}

/// Narrows stretches across one direction, a vector of length 1.
fn close_along(positions: &mut [[f32; 2]], direction: [f32; 2]) {
    let along = |at: &[f32; 2]| at[0] * direction[0] + at[1] * direction[1];
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by(|&i, &j| along(&positions[i]).total_cmp(&along(&positions[j])));
    let places: Vec<f32> = order.iter().map(|&i| along(&positions[i])).collect();
    let mut shift = 0.0;
    for (rank, &row) in order.iter().enumerate().skip(1) {
        // Everything after the gap moves, so that distances on either side are unchanged.
        shift += (places[rank] - places[rank - 1] - WIDEST).max(0.0);
        positions[row][0] -= shift * direction[0];
        positions[row][1] -= shift * direction[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square of 7 × 7 points, half a unit apart.
    fn square(corner: [f32; 2]) -> impl Iterator<Item = [f32; 2]> {
        (0..49).map(move |i| {
            [
                corner[0] + (i % 7) as f32 * 0.5,
                corner[1] + (i / 7) as f32 * 0.5,
            ]
        })
    }

    fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    #[test]
    fn far_groups_move_nearer_and_keep_their_shape() {
        let corners = [[0.0, 0.0], [80.0, 3.0], [-40.0, 60.0], [30.0, -25.0]];
        let before: Vec<[f32; 2]> = corners.into_iter().flat_map(square).collect();
        let mut after = before.clone();
        close_gaps(&mut after);
        for group in 0..4 {
            for i in 1..49 {
                let first = group * 49;
                let was = distance(before[first], before[first + i]);
                let is = distance(after[first], after[first + i]);
                assert!((was - is).abs() < 1e-3, "{was} {is}");
            }
        }
        let mut nearest = f32::INFINITY;
        for i in 0..after.len() {
            for j in (i / 49 + 1) * 49..after.len() {
                nearest = nearest.min(distance(after[i], after[j]));
            }
        }
        assert!(nearest > WIDEST * 0.99, "groups overlap: {nearest}");
        for axis in 0..2 {
            let least = after
                .iter()
                .map(|at| at[axis])
                .fold(f32::INFINITY, f32::min);
            let most = after
                .iter()
                .map(|at| at[axis])
                .fold(-f32::INFINITY, f32::max);
            assert!(
                most - least < 4.0 * (3.0 + WIDEST),
                "axis {axis}: {least} to {most}"
            );
        }
    }

    #[test]
    fn a_map_without_wide_gaps_is_unchanged() {
        let before: Vec<[f32; 2]> = square([1.0, 2.0]).chain(square([4.5, 2.0])).collect();
        let mut after = before.clone();
        close_gaps(&mut after);
        assert_eq!(before, after);
        close_gaps(&mut []);
        close_gaps(&mut [[3.0, 4.0]]);
    }
}
