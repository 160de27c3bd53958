//! Kinship.

use ndarray::{Array2, Axis};
use voisin_genre::{Genre, kinship};

use crate::genre::data::blobs;

#[test]
fn kin_are_found_by_their_vectors() {
    // genre 3 is placed next to genre 1
    let mut train = blobs(4, 24, 10, 0.5, 11);
    let centre = |v: &Array2<f32>, c: usize| {
        let rows: Vec<usize> = (0..96).filter(|i| i % 4 == c).collect();
        v.select(Axis(0), &rows).mean_axis(Axis(0)).unwrap()
    };
    let shift = centre(&train.vectors, 1) * 0.8 - centre(&train.vectors, 3) * 0.8;
    for i in (3..96).step_by(4) {
        let mut row = train.vectors.row_mut(i);
        row += &shift;
    }
    let kin = kinship(&train.set()).unwrap();
    let third = kin.of(&Genre::plain("Genre 03")).unwrap();
    assert_eq!(third.nearest[0].genre.name(), "genre 01");
    let nearest = &third.nearest[0];
    assert!(nearest.distance < third.nearest[1].distance && nearest.votes > 0.6);
    assert!(kin.of(&Genre::plain("polka")).is_err());
    for a in 0..4 {
        assert!(kin.distance[a][a].abs() < 1e-12);
        for b in 0..4 {
            assert!(
                (kin.distance[a][b] - kin.distance[b][a]).abs() < 1e-12
                    && kin.distance[a][b] <= 1.0 + 1e-9
            );
        }
    }
    assert_eq!(third.typical.len(), 5);
}
