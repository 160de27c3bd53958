//! How close the genres are to one another, as a table.

use super::{Align, Table};
use voisin_learn::genre::{Genre, GenreKinship, Kinship};

/// Kin named per genre in the overview.
const KIN: usize = 3;

/// Says of a genre what it lies within.
pub(crate) fn within(genre: &GenreKinship, said: String) -> String {
    let wholes: Vec<&str> = genre.within.iter().map(Genre::name).collect();
    if wholes.is_empty() {
        said
    } else {
        format!("{said} (within {})", wholes.join(", "))
    }
}

/// Prints the overview of all genres.
pub(crate) fn print_kinship(kinship: &Kinship) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("genre", Align::Left),
        ("tracks", Align::Right),
        ("cohesion", Align::Right),
        ("nearest genres (distance, 0 to 1)", Align::Left),
    ]);
    for genre in &kinship.genres {
        let kin: Vec<String> = genre
            .nearest
            .iter()
            .take(KIN)
            .map(|kin| format!("{} {:.2}", kin.genre, kin.distance))
            .collect();
        let cells = [
            within(genre, genre.genre.to_string()),
            genre.tracks.to_string(),
            genre
                .cohesion
                .map_or_else(|| "–".to_owned(), |cohesion| format!("{cohesion:.2}")),
            kin.join(", "),
        ];
        table.row(cells);
    }
    table.print()
}
