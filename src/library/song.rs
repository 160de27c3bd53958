//! Which tracks stand once in a list: those of one artist with one title.

use super::artists::artists;
use voisin_base::text::fold;

/// The main artist and the title of a track, folded; `None` if one is missing.
pub fn song(artist: Option<&str>, title: Option<&str>) -> Option<[String; 2]> {
    let artist = artists(artist?).first().map(|artist| fold(artist))?;
    let title = fold(title?);
    (!artist.is_empty() && !title.is_empty()).then_some([artist, title])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_case_and_accents_do_not_count() {
        let known = song(Some("Björk"), Some("Jóga"));
        assert!(known.is_some());
        assert_eq!(song(Some("bjork feat. Beta"), Some("JOGA")), known);
        for (artist, title) in [
            (Some("Beta"), Some("Jóga")),
            (Some("Björk"), Some("Jóga (Live)")),
            (None, Some("Jóga")),
            (Some("Björk"), Some(" ")),
        ] {
            assert_ne!(song(artist, title), known);
        }
        assert_eq!(song(None, None), None);
    }
}
