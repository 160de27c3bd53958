//! Numbers as tags have them: years, decibels, and others within bounds; how many texts are read.

/// Texts that are read of one tag, which has dozens, and with its chapters some thousand. An empty one takes a few bytes of a
/// file and a hundred of memory, and lofty compares each with all before it.
pub(super) const MOST_TEXTS: usize = 1 << 12;

/// Stands for bytes that make no character.
pub(super) const REPLACEMENT: char = '\u{fffd}';

/// A number between two bounds. Programs that found no tempo write 0.
pub(super) fn within(text: &str, least: f64, most: f64) -> Option<f64> {
    // Some programs write numbers as the system's language does.
    let text = text.trim_matches(['\0', ' ']).replace(',', ".");
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
}

/// `-7.03 dB`.
pub(super) fn decibels(text: &str) -> Option<f64> {
    let text = text.trim_matches(['\0', ' ']).to_ascii_lowercase();
    within(text.strip_suffix("db").unwrap_or(&text).trim(), -60.0, 60.0)
}

/// A gain to -23 LUFS lowers by so many dB more than one to -18 LUFS does, as `ReplayGain` is.
pub(super) const R128_OFFSET: f64 = 5.0;

/// The first run of four digits, or of the eight of a day with the year before or behind: `1987`, `1987-06-01`,
/// `06/01/1987`, `©1987`, `1987年`, `19870601`, `01061987`.
pub(super) fn year(text: &str) -> Option<i32> {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    let mut years = runs.filter_map(|digits| match digits.len() {
        4 => Some(digits),
        8 => {
            let month = &digits[4..6];
            Some(if month <= "12" {
                &digits[..4]
            } else {
                &digits[4..]
            })
        }
        _ => None,
    });
    years.find_map(|digits| digits.parse().ok().filter(|&year| year > 0))
}
