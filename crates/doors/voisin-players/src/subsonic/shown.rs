//! A cache of songs that a Subsonic server has shown to its users.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a song is cached, and how many for all users.
pub(super) const SHOWN_FOR: Duration = Duration::from_mins(10);
pub(super) const MOST_SHOWN: usize = 50_000;

/// Songs that the server has shown to users, cached to save a request for each song of an answer.
#[derive(Default)]
pub(super) struct ShownSongs(HashMap<blake3::Hash, OfUser>);

pub(super) struct OfUser {
    since: Instant,
    /// Whether all songs of this user are being fetched, or were.
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
        // Evicts one user at a time: it is called for each song, so it need not free all the room at
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
