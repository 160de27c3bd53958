//! Albums whose discs are in folders of any name.
//!
//! For: tracks without an album artist, whose albums are identified by folders. Not for: folders with names of discs, which
//! [`TrackMeta::album_key`] recognises from a single track.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::TrackMeta;
use super::meta::without_disc;
use voisin_base::text::fold;

/// Tracks of one album in one folder.
#[derive(Clone)]
struct DiscSet<'a> {
    key: String,
    title: String,
    folder: &'a str,
    discs: BTreeSet<u32>,
    artists: BTreeSet<String>,
}

impl DiscSet<'_> {
    /// Whether the other has further discs: a common artist and no common disc number. Two editions of an album have the same
    /// numbers, and two artists' "Greatest Hits" have no common artist.
    fn lacks(&self, other: &Self) -> bool {
        let have_numbers = !self.discs.is_empty() && !other.discs.is_empty();
        have_numbers
            && self.discs.is_disjoint(&other.discs)
            && !self.artists.is_disjoint(&other.artists)
    }
}

/// The album key of each track: [`TrackMeta::album_key`], with the same key for discs in sibling or nested folders, whatever
/// their names.
pub(crate) fn album_keys(meta: &[TrackMeta]) -> Vec<Option<String>> {
    let mut keys: Vec<Option<String>> = meta.iter().map(TrackMeta::album_key).collect();
    let mut sets: BTreeMap<&str, DiscSet<'_>> = BTreeMap::new();
    for (track, key) in meta.iter().zip(&keys) {
        let owner = track.album_artist.as_deref().map(fold).unwrap_or_default();
        // With an album artist the key has no folder and is the same for all discs.
        let Some(key) = key.as_deref().filter(|_| owner.is_empty()) else {
            continue;
        };
        let set = sets.entry(key).or_insert_with(|| DiscSet {
            key: key.to_owned(),
            title: track.album.as_deref().map(fold).unwrap_or_default(),
            folder: without_disc(track.folder()),
            discs: BTreeSet::new(),
            artists: BTreeSet::new(),
        });
        set.discs.extend(track.disc);
        set.artists.extend(track.artist_keys());
    }
    let mut albums: Vec<DiscSet<'_>> = Vec::new();
    // Albums by title and by the folders in which their further discs may be.
    let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    let mut albums_of: HashMap<String, usize> = HashMap::new();
    // In the order of the keys a folder comes before those in it.
    for set in sets.values() {
        let above = &set.folder[..set.folder.rfind(['/', '\\']).unwrap_or(0)];
        let near = places.get(&(&*set.title, above)).into_iter().flatten();
        let found = near.copied().find(|&at| albums[at].lacks(set));
        let at = found.unwrap_or(albums.len());
        if let Some(album) = albums.get_mut(at) {
            album.discs.extend(&set.discs);
            album.artists.extend(set.artists.iter().cloned());
            albums_of.insert(set.key.clone(), at);
        } else {
            albums.push(set.clone());
        }
        for folder in [above, set.folder] {
            let known = places.entry((&*set.title, folder)).or_default();
            if !known.contains(&at) {
                known.push(at);
            }
        }
    }
    for key in keys.iter_mut().flatten() {
        if let Some(&at) = albums_of.get(key) {
            key.clone_from(&albums[at].key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::track::TrackId;

    /// Number of albums in these folders, each with an artist and a disc number.
    fn count(folders: &[(&str, &str, u32)]) -> usize {
        let track = |&(folder, artist, disc): &(&str, &str, u32)| TrackMeta {
            album: Some("Box".to_owned()),
            artist: Some(artist.to_owned()),
            disc: (disc > 0).then_some(disc),
            ..TrackMeta::new(TrackId(1), format!("m/{folder}/1.mp3"))
        };
        let meta: Vec<TrackMeta> = folders.iter().map(track).collect();
        let keys: BTreeSet<_> = album_keys(&meta).into_iter().collect();
        keys.len()
    }

    #[test]
    fn discs_in_folders_of_any_name_are_one_album() {
        for [one, other] in [
            ["Box/Scheibe 1", "Box/Scheibe 2"],
            ["Box/Том 1", "Box/Том 2"],
            ["Box/disc1of2", "Box/disc2of2"],
            ["Box/1 - Studio", "Box/2 - Live"],
            ["Box/First", "Box/Second"],
            ["Box", "Box/Extras"],
            ["Box/CD1", "Box/Rarities"],
        ] {
            assert_eq!(count(&[(one, "Ann", 1), (other, "Ann", 2)]), 1, "{one}");
            // Without numbers, with equal ones, and by another artist.
            assert_eq!(count(&[(one, "Ann", 0), (other, "Ann", 2)]), 2, "{one}");
            assert_eq!(count(&[(one, "Ann", 1), (other, "Ann", 1)]), 2, "{one}");
            assert_eq!(count(&[(one, "Ann", 1), (other, "Bo", 2)]), 2, "{one}");
        }
        let three = [("A", "Ann", 1), ("B", "Ann; Bo", 2), ("C", "Bo", 3)];
        assert_eq!(count(&three), 1);
        let apart = [("Ann/Box", "Ann", 1), ("Cy/Box", "Ann", 2)];
        assert_eq!(count(&apart), 2);
    }
}
