//! Limits items per name, such as tracks per artist.

use std::collections::HashMap;

pub struct NameLimit {
    most: usize,
    taken: HashMap<String, usize>,
}

impl NameLimit {
    /// - `most`: items per name; `None`: no limit
    pub fn new(most: Option<usize>) -> Self {
        Self {
            most: most.unwrap_or(usize::MAX),
            taken: HashMap::new(),
        }
    }

    /// Whether none of these names has reached the limit; true without names.
    pub fn has_room(&self, names: &[String]) -> bool {
        names
            .iter()
            .all(|name| self.taken.get(name).copied().unwrap_or(0) < self.most)
    }

    /// Counts these names, even beyond the limit.
    pub fn take(&mut self, names: Vec<String>) {
        names
            .into_iter()
            .for_each(|name| *self.taken.entry(name).or_default() += 1);
    }

    /// Counts these names if there is room; returns whether there was.
    pub fn admit(&mut self, names: Vec<String>) -> bool {
        let has_room = self.has_room(&names);
        if has_room {
            self.take(names);
        }
        has_room
    }
}
