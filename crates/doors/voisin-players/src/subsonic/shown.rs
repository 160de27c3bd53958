//! Songs as a Subsonic server has shown them to its users.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a song counts as the server showed it, and how many are kept of all users.
pub(super) const SHOWN_FOR: Duration = Duration::from_mins(10);
pub(super) const MOST_SHOWN: usize = 50_000;

/// Songs as the server has shown them to a user, for some minutes: an answer then costs no question for each of its songs.
#[derive(Default)]
pub(super) struct ShownSongs(HashMap<blake3::Hash, OfUser>);

pub(super) struct OfUser {
    since: Instant,
    /// Whether all that the server shows this user are asked for, or were.
    pub(super) is_filled: bool,
    /// As JSON.
    pub(super) songs: HashMap<String, Box<str>>,
}

impl ShownSongs {
    pub(super) fn of(&mut self, user: blake3::Hash) -> &mut OfUser {
        self.0.retain(|_, known| known.since.elapsed() < SHOWN_FOR);
        let held: usize = self.0.values().map(|known| known.songs.len()).sum();
        let oldest = self
            .0
            .iter()
            .filter(|(other, _)| **other != user)
            .min_by_key(|(_, known)| known.since);
        // One user at a time: this is called for each song, so it need not make all the room at
        // once.
        if held > MOST_SHOWN
            && let Some(oldest) = oldest.map(|(other, _)| *other)
        {
            self.0.remove(&oldest);
        }
        let new = || OfUser {
            since: Instant::now(),
            is_filled: false,
            songs: HashMap::new(),
        };
        self.0.entry(user).or_insert_with(new)
    }

    pub(super) fn get(&mut self, user: blake3::Hash, id: &str) -> Option<Value> {
        self.of(user)
            .songs
            .get(id)
            .and_then(|song| serde_json::from_str(song).ok())
    }

    pub(super) fn put(&mut self, user: blake3::Hash, id: &str, song: &Value) {
        let known = self.of(user);
        if known.songs.len() < MOST_SHOWN {
            known.songs.insert(id.to_owned(), song.to_string().into());
        }
    }
}
