//! The mean that similarity in a database is relative to: set by the first push, recomputed on request.

use super::rows::next_generation;
use super::{Postgres, Shards};
use crate::row::{HalfVector, vector_of};
use crate::{BackendError, Result};
use voisin_engine::{LibrarySpace, MeanSum};

/// Rows whose vectors are in memory at once.
const ROWS: i64 = 1000;

impl Postgres {
    /// The space in which the database compares: that of raw vectors if nothing was sent yet.
    pub fn held_space(&self) -> LibrarySpace {
        let mean = self
            .mean
            .clone()
            .unwrap_or_else(|| vec![0.0; self.model.dimension]);
        LibrarySpace::new(mean, &self.model.manifest_json)
    }

    /// Reads the mean, which another process may have set or recomputed.
    pub(crate) fn read_mean(&mut self) -> Result<()> {
        let row = self.run(|tx| tx.query_opt("select mean from voisin_mean", &[]))?;
        let mean = row.map(|row| vector_of(row.get(0)));
        if let Some(mean) = &mean
            && (mean.len() != self.model.dimension || !mean.iter().all(|value| value.is_finite()))
        {
            let place = self.place().to_string();
            let expected = self.model.dimension;
            return Err(BackendError::Mean {
                place,
                found: mean.len(),
                expected,
            });
        }
        // Shards have a copy of the former mean.
        if self.mean != mean {
            self.mean = mean;
            self.direct = Shards::Untried;
        }
        Ok(())
    }

    /// Sets the mean unless there is one; returns the space in which the database compares.
    pub(crate) fn settle_space(
        &mut self,
        offered: impl FnOnce(&mut MeanSum) -> Result<Vec<f32>>,
    ) -> Result<LibrarySpace> {
        if self.mean.is_none() {
            let mean = bytes(&offered(&mut MeanSum::new(self.model.dimension))?);
            // The first library's mean is kept.
            let sql =
                "insert into voisin_mean (mean, generation) select $1, generation from voisin_state
                on conflict (one) do nothing";
            self.run(|tx| tx.execute(sql, &[&mean]))?;
            self.read_mean()?;
        }
        Ok(self.held_space())
    }

    /// The error that exact vectors are missing.
    pub(super) fn unloaded(&self, missing: u64, total: u64) -> BackendError {
        BackendError::Unloaded {
            place: self.place().to_string(),
            missing,
            total,
        }
    }

    /// Recomputes the mean over the tracks of all libraries, and their embeddings relative to it,
    /// in one transaction. Returns the number of tracks.
    pub(crate) fn recentre(&mut self) -> Result<u64> {
        let model = self.model.clone();
        let done = self.run(|tx| {
            let sql =
                "select count(*), count(v.id) from voisin_track t left join voisin_vector v on v.id = t.id";
            let row = tx.query_one(sql, &[])?;
            let tracks: i64 = row.get(0);
            let vectors: i64 = row.get(1);
            // A mean of only some tracks would shift these away from the others.
            if vectors < tracks {
                return Ok(Err((tracks - vectors, tracks)));
            }
            let mut after = -1_i64;
            let mut sum = MeanSum::new(model.dimension);
            let sql = "select id, vector from voisin_vector where id > $1 order by id limit $2";
            loop {
                let rows = tx.query(sql, &[&after, &ROWS])?;
                let Some(last) = rows.last() else { break };
                after = last.get(0);
                rows.iter().for_each(|row| sum.add(&vector_of(row.get(1))));
            }
            // Two passes over the vectors: the mean is known only after the first, and they do not fit into memory.
            let space = LibrarySpace::new(sum.mean(), &model.manifest_json);
            let update = "update voisin_track set embedding = $2::real[]::halfvec where id = $1";
            let mut done = 0;
            after = -1;
            loop {
                let rows = tx.query(sql, &[&after, &ROWS])?;
                let Some(last) = rows.last() else { break };
                after = last.get(0);
                for row in &rows {
                    let embedding = HalfVector::new(&space.centre(&vector_of(row.get(1))));
                    done += tx.execute(update, &[&row.get::<_, i64>(0), &embedding])?;
                }
            }
            // Copies and caches notice the new mean by the generation.
            let generation = next_generation(tx)?;
            tx.execute(
                "insert into voisin_mean (mean, generation) values ($1, $2)
                 on conflict (one) do update set mean = excluded.mean, generation = excluded.generation",
                &[&bytes(space.mean()), &generation],
            )?;
            Ok(Ok(done))
        })?;
        let done = done.map_err(|(missing, total)| self.unloaded(missing as u64, total as u64))?;
        self.read_mean()?;
        Ok(done)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
