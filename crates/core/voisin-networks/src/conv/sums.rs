//! Sums over tasks that run at once, the same for any number of threads.

use voisin_kernels::buffer::SharedSlice;

/// Sums over tasks, kept apart so that they are added in a fixed order: `[task][2][c]`.
#[derive(Debug, Default)]
pub(super) struct TaskSums {
    values: Vec<f32>,
    used: usize,
    c: usize,
}

impl TaskSums {
    /// Clears all.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Makes room for `tasks` tasks in all.
    pub(super) fn room(&mut self, tasks: usize, c: usize) {
        if self.values.len() < tasks * 2 * c {
            self.values.resize(tasks * 2 * c, 0.0);
        }
    }

    /// Room for `tasks` more.
    pub(super) fn extend(&mut self, tasks: usize, c: usize) -> SharedSlice<'_> {
        let start = self.used;
        self.c = c;
        self.used += tasks * 2 * c;
        if self.values.len() < self.used {
            self.values.resize(self.used, 0.0);
        }
        SharedSlice::new(&mut self.values[start..])
    }

    /// The two totals of every channel.
    pub(super) fn totals(&self) -> (Vec<f64>, Vec<f64>) {
        let mut first = vec![0.0; self.c];
        let mut second = vec![0.0; self.c];
        for task in self.values[..self.used].chunks_exact(2 * self.c) {
            let (a, b) = task.split_at(self.c);
            for i in 0..self.c {
                first[i] += f64::from(a[i]);
                second[i] += f64::from(b[i]);
            }
        }
        (first, second)
    }
}
