//! The kinship of genres as a table.

use super::{Align, Table};
use voisin_genre::{Genre, GenreKinship, Kinship};

/// Number of kin per genre in the overview.
const KIN: usize = 3;
/// Number of tracks from which a genre is compared with others.
const LEAST: usize = 3;

/// Prints the overview of all genres; those of one or two tracks, too few to compare, are listed in one line below.
pub(crate) fn print_kinship(kinship: &Kinship) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("genre", Align::Left),
        ("tracks", Align::Right),
        ("cohesion", Align::Right),
        ("nearest genres (distance, 0 to 1)", Align::Left),
    ]);
    let few = few(kinship);
    let is_shown = |genre: &Genre| !few.iter().any(|small| small.genre == *genre);
    for genre in kinship.genres.iter().filter(|row| is_shown(&row.genre)) {
        let kin: Vec<String> = genre
            .nearest
            .iter()
            .filter(|kin| is_shown(&kin.genre))
            .take(KIN)
            .map(|kin| format!("{} {:.2}", kin.genre, kin.distance))
            .collect();
        let cells = [
            genre.genre.to_string(),
            genre.tracks.to_string(),
            genre
                .cohesion
                .map_or_else(|| "–".to_owned(), |cohesion| format!("{cohesion:.2}")),
            kin.join(", "),
        ];
        table.row(cells);
    }
    table.print()?;
    if few.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = few.iter().map(|small| small.genre.name()).collect();
    super::print_line(&super::one_line(&format!(
        "and {} of fewer than {LEAST} tracks: {}",
        super::count(names.len() as u64, "genre"),
        names.join(", ")
    )))
}

/// Genres with too few tracks to be compared; none if hardly any genre has more.
fn few(kinship: &Kinship) -> Vec<&GenreKinship> {
    let (few, enough): (Vec<_>, Vec<_>) = kinship
        .genres
        .iter()
        .partition(|genre| genre.tracks < LEAST);
    // With fewer than two others the table would be empty.
    if enough.len() < 2 { Vec::new() } else { few }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_genre::Taxonomy;

    #[test]
    fn genres_of_a_track_or_two_stand_apart() {
        let kinship = |sizes: &[usize]| Kinship {
            genres: ["Rock", "Jazz", "Country", "Folk"]
                .iter()
                .zip(sizes)
                .map(|(name, &tracks)| GenreKinship {
                    genre: Taxonomy::default().genre(name).unwrap(),
                    tracks,
                    cohesion: None,
                    nearest: Vec::new(),
                    typical: Vec::new(),
                })
                .collect(),
            distance: Vec::new(),
        };
        let names = |sizes: &[usize]| -> Vec<String> {
            let kinship = kinship(sizes);
            let few = few(&kinship).into_iter();
            few.map(|genre| genre.genre.to_string()).collect()
        };
        assert_eq!(names(&[78, 3, 1, 2]), ["Country", "Folk"]);
        assert!(names(&[78, 1, 1, 2]).is_empty(), "nothing to compare with");
    }
}
