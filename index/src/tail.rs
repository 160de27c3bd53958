//! Vectors inserted into an index since it was built.

use voisin_base::track::Id;

use super::codes::Codec;
use super::segment::Segment;

/// Most vectors of the last part, which is copied on a change if it is shared.
const FEW: usize = 64;

/// Vectors in parts, which copies of the tail share: only the last one grows. A full part is merged
/// with the one before if that is at most twice as large, so that there are few parts, and a vector
/// is copied about as often as there are parts.
#[derive(Clone, Default)]
pub(crate) struct IndexTail {
    parts: Vec<Segment>,
}

impl IndexTail {
    /// From encoded vectors.
    pub(crate) fn of(segment: Segment) -> Self {
        Self {
            parts: vec![segment],
        }
    }

    pub(crate) fn parts(&self) -> &[Segment] {
        &self.parts
    }

    /// Vectors that a search can return.
    pub(crate) fn live(&self) -> usize {
        self.parts.iter().map(|part| part.live.count).sum()
    }

    /// Vectors, including removed ones.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Segment::len).sum()
    }

    /// Segment and slot of a live vector.
    pub(crate) fn slot(&self, id: Id) -> Option<(&Segment, usize)> {
        self.parts
            .iter()
            .find_map(|part| Some((part, part.slot(id)?)))
    }

    pub(crate) fn remove(&mut self, id: Id) -> bool {
        self.parts.iter_mut().any(|part| part.remove(id))
    }

    pub(crate) fn push(&mut self, id: Id, codec: &Codec, vector: &[f32]) {
        // Copies of the index share full parts; only the last is copied when it grows.
        if self.parts.last().is_none_or(|part| part.len() >= FEW) {
            self.merge(codec);
            self.parts.push(Segment::empty(codec));
        }
        if let Some(part) = self.parts.last_mut() {
            part.push(id, codec, vector);
        }
    }

    fn merge(&mut self, codec: &Codec) {
        while let [.., before, last] = &self.parts[..]
            && before.live.count <= 2 * last.live.count
        {
            let at = self.parts.len() - 2;
            let merged = Segment::merged(&self.parts[at..], codec);
            self.parts.truncate(at);
            self.parts.push(merged);
        }
    }
}
