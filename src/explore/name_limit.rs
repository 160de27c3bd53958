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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_room_for_so_many() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let mut limit = NameLimit::new(Some(2));
        assert!(limit.admit(names(&["a", "b"])) && limit.admit(names(&["a"])));
        // Refused names are not counted: there is one "b".
        assert!(!limit.admit(names(&["b", "a"])) && limit.admit(names(&["b"])));
        assert!(!limit.admit(names(&["b"])) && limit.admit(Vec::new()));
    }
}
