//! A queue of files for workers on several machines. Each takes files on leases that expire, so
//! that the files of a machine that was lost go to another. There is no broker: PostgreSQL's row
//! locks are enough for some thousand leases a second.

use std::path::PathBuf;

use super::server::{Connection, Transaction};
use super::{PostgresAddress, Result};
use voisin_library::{FileRecord, path_from_bytes, path_to_bytes};

/// Attempts at a file that crashes its worker or cannot be read at the moment.
// A worker may end for other reasons, so one attempt is not enough; each further one at a file that
// crashes the decoder costs another worker.
const ATTEMPTS: i32 = 3;

/// Paths in one statement.
const ROWS: usize = 10_000;

/// The table of jobs. Paths are bytes; the unique index is on their digest, since an index takes no long values.
const TABLE: &str = "create table if not exists voisin_job (
  id bigint generated always as identity primary key,
  path bytea not null,
  attempts integer not null default 0,
  worker text,
  leased_until timestamptz,
  done_at timestamptz,
  failure text,
  size bigint,
  mtime_ns bigint
);
create unique index if not exists voisin_job_path on voisin_job (md5(path));
create index if not exists voisin_job_open on voisin_job (attempts, id) where done_at is null;";

/// Columns that older tables lack: size and modification time of a file when it was analysed.
const COLUMNS: &str = "alter table voisin_job add column if not exists size bigint, add column if not exists mtime_ns bigint";
/// Whether the table exists, and has these columns.
const STATE: &str = "select to_regclass('voisin_job') is not null, exists (select from pg_attribute
    where attrelid = to_regclass('voisin_job') and attname = 'mtime_ns' and not attisdropped)";

/// Failures in a status report.
const MOST_FAILURES: i64 = 100;
/// Seconds before now from which the rate is computed.
const RECENT: f64 = 600.0;

/// A leased file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its row.
    pub id: i64,
    /// The file.
    pub path: PathBuf,
    /// Leases of it so far, this one included.
    pub attempts: i32,
}

/// The outcome of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It was analysed.
    Done,
    /// It cannot be analysed.
    Failed(String),
    /// It cannot be analysed now; another attempt may succeed.
    Later(String),
}

/// Counts of the jobs by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCounts {
    /// All files.
    pub jobs: u64,
    /// Files that were analysed.
    pub done: u64,
    /// Files that failed for good.
    pub failed: u64,
    /// Files that a worker has leased.
    pub leased: u64,
}

/// Counts of the files put into the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobsAdded {
    /// Files that were not in the queue.
    pub added: u64,
    /// Files that have changed since they were analysed, and are queued again.
    pub changed: u64,
}

/// The leases of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    /// The worker: its address, process and a random number.
    pub worker: String,
    /// Files that it has leased.
    pub files: u64,
    /// When they expire unless renewed: UTC, as `2026-11-26T05:00:00Z`.
    pub until: String,
}

/// A file that failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// The file.
    pub path: PathBuf,
    /// Leases of it.
    pub attempts: i32,
    /// Why.
    pub reason: String,
}

/// The state of the queue and its workers.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    /// Counts of the jobs by state.
    pub counts: JobCounts,
    /// Files an hour over the last ten minutes; 0 if none was finished.
    pub per_hour: f64,
    /// Workers that hold leases.
    pub leases: Vec<JobLease>,
    /// The newest failures, at most a hundred.
    pub failures: Vec<JobFailure>,
}

/// A worker's access to the queue.
pub struct Jobs {
    connection: Connection,
    worker: String,
    /// Seconds that a lease lasts.
    lease: f64,
}

impl Jobs {
    /// Opens the queue; its table is created if it is missing.
    ///
    /// - `lease`: seconds after which an unfinished file may go to another worker
    pub fn open(place: &PostgresAddress, lease: f64) -> Result<Self> {
        let mut connection = Connection::open(place)?;
        let process = std::process::id().to_string();
        let worker = connection.run(|tx| {
            // "if not exists" does not help two processes that start at once: neither sees a table, and one fails.
            tx.batch_execute("select pg_advisory_xact_lock(1987013492)")?;
            let state = tx.query_one(STATE, &[])?;
            match (state.get(0), state.get(1)) {
                (false, _) => tx.batch_execute(TABLE)?,
                (true, false) => tx.batch_execute(COLUMNS)?,
                (true, true) => {}
            }
            let sql = "select coalesce(host(inet_client_addr()), 'local') || ' ' || $1::text || ' '
                || gen_random_uuid()";
            Ok(tx.query_one(sql, &[&process])?.get(0))
        })?;
        Ok(Self {
            connection,
            worker,
            lease,
        })
    }

    /// Another connection of the same worker.
    pub fn second_connection(&self) -> Result<Self> {
        let connection = Connection::open(self.connection.place())?;
        Ok(Self {
            connection,
            worker: self.worker.clone(),
            lease: self.lease,
        })
    }

    /// Adds files to the queue. Those that were analysed with another size or time, or failed without one, are queued again.
    pub fn add(&mut self, files: &[FileRecord]) -> Result<JobsAdded> {
        let mut added = JobsAdded::default();
        for some in files.chunks(ROWS) {
            let paths = some
                .iter()
                .map(|file| path_to_bytes(&file.path))
                .collect::<Result<Vec<_>, _>>()?;
            let sizes: Vec<i64> = some.iter().map(|file| file.size as i64).collect();
            let times: Vec<i64> = some.iter().map(|file| file.mtime_ns).collect();
            let (new, changed) = self.connection.run(|tx| {
                let changed = tx.execute(
                    "update voisin_job j set attempts = 0, worker = null, done_at = null, failure = null
                     from unnest($1::bytea[], $2::bigint[], $3::bigint[]) as f (path, size, mtime_ns)
                     where md5(j.path) = md5(f.path) and j.done_at is not null
                     and (j.size is not null or j.failure is not null)
                     and (j.size, j.mtime_ns) is distinct from (f.size, f.mtime_ns)",
                    &[&paths, &sizes, &times],
                )?;
                let new = tx.execute(
                    "insert into voisin_job (path) select * from unnest($1::bytea[])
                     on conflict (md5(path)) do nothing",
                    &[&paths],
                )?;
                Ok((new, changed))
            })?;
            added.added += new;
            added.changed += changed;
        }
        Ok(added)
    }

    /// Leases files that are not leased: several that were never tried, else a single one that
    /// another worker did not finish, so that a file that crashes the decoder takes no others
    /// along.
    pub fn lease(&mut self, most: u32) -> Result<Vec<Job>> {
        let worker = self.worker.clone();
        let lease = self.lease;
        self.connection.run(|tx| {
            // A file whose last lease expired without a result has failed, which is noticed only here.
            tx.execute(
                "update voisin_job set done_at = now(), leased_until = null,
                 failure = coalesce(failure, attempts || ' workers ended while they were analysing it')
                 where done_at is null and attempts >= $1 and (leased_until is null or leased_until < now())",
                &[&ATTEMPTS],
            )?;
            // `skip locked` lets workers take different rows at the same time without waiting for
            // each other.
            for (condition, most) in [("attempts = 0", i64::from(most)), ("attempts > 0", 1)] {
                let rows = tx.query(
                    &format!(
                        "update voisin_job set worker = $1, attempts = attempts + 1,
                         leased_until = now() + $2 * interval '1 second'
                         where id in (select id from voisin_job where done_at is null and {condition}
                            and (leased_until is null or leased_until < now())
                            order by id limit $3 for update skip locked)
                         returning id, path, attempts"
                    ),
                    &[&worker, &lease, &most],
                )?;
                if !rows.is_empty() {
                    return Ok(rows
                        .iter()
                        .map(|row| Job {
                            id: row.get(0),
                            path: path_from_bytes(row.get(1)),
                            attempts: row.get(2),
                        })
                        .collect());
                }
            }
            Ok(Vec::new())
        })
    }

    /// Restarts this worker's leases from now.
    pub fn renew(&mut self) -> Result<()> {
        let worker = self.worker.clone();
        let lease = self.lease;
        self.connection.run(|tx| {
            tx.execute(
                "update voisin_job set leased_until = now() + $2 * interval '1 second'
                 where worker = $1 and done_at is null and leased_until is not null",
                &[&worker, &lease],
            )
        })?;
        Ok(())
    }

    /// Stores the outcomes of leased files, each with its size and time if they could be read.
    /// Files that another worker has leased meanwhile are ignored.
    pub fn finish(&mut self, jobs: &[(i64, Option<FileRecord>, JobOutcome)]) -> Result<()> {
        let worker = self.worker.clone();
        let ids: Vec<i64> = jobs.iter().map(|(id, ..)| *id).collect();
        let files = || jobs.iter().map(|(_, file, _)| file.as_ref());
        let sizes: Vec<Option<i64>> = files().map(|file| Some(file?.size as i64)).collect();
        let times: Vec<Option<i64>> = files().map(|file| Some(file?.mtime_ns)).collect();
        let reason = |outcome: &JobOutcome| match outcome {
            JobOutcome::Done => None,
            JobOutcome::Failed(reason) | JobOutcome::Later(reason) => {
                Some(reason.replace('\0', "\u{fffd}"))
            }
        };
        let reasons: Vec<Option<String>> =
            jobs.iter().map(|(.., outcome)| reason(outcome)).collect();
        let later: Vec<bool> = jobs
            .iter()
            .map(|(.., outcome)| matches!(outcome, JobOutcome::Later(_)))
            .collect();
        self.connection.run(|tx| {
            tx.execute(
                "update voisin_job j set leased_until = null, failure = f.reason, size = f.size, mtime_ns = f.mtime_ns,
                 done_at = case when f.later and j.attempts < $5 then null else now() end
                 from unnest($1::bigint[], $2::text[], $3::boolean[], $6::bigint[], $7::bigint[])
                    as f (id, reason, later, size, mtime_ns)
                 where j.id = f.id and j.worker = $4 and j.done_at is null",
                &[&ids, &reasons, &later, &worker, &ATTEMPTS, &sizes, &times],
            )
        })?;
        Ok(())
    }

    /// Ends this worker's leases without counting an attempt.
    pub fn give_back(&mut self) -> Result<()> {
        let worker = self.worker.clone();
        self.connection.run(|tx| {
            tx.execute(
                "update voisin_job set leased_until = null, attempts = attempts - 1
                 where worker = $1 and done_at is null and leased_until is not null",
                &[&worker],
            )
        })?;
        Ok(())
    }

    /// Counts of the jobs by state.
    pub fn counts(&mut self) -> Result<JobCounts> {
        self.connection.run(counts)
    }
}

/// The state of a database's queue; `None` if it has none. Changes nothing.
pub fn job_status(place: &PostgresAddress) -> Result<Option<JobStatus>> {
    Connection::open(place)?.run(|tx| {
        if !tx.query_one(STATE, &[])?.get::<_, bool>(0) {
            return Ok(None);
        }
        let counts = counts(tx)?;
        // The first files that finished in this time count as its start only: when their work began is not stored.
        let rate = tx.query_one(
            "select coalesce(3600 * count(*) filter (where done_at > first)
                / nullif(extract(epoch from now() - min(first))::float8, 0), 0)
             from (select done_at, min(done_at) over () as first from voisin_job
                where done_at > now() - $1 * interval '1 second') as recent",
            &[&RECENT],
        )?;
        let leases = tx.query(
            "select worker, count(*),
             to_char(max(leased_until) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             from voisin_job where done_at is null and leased_until >= now() group by worker order by worker",
            &[],
        )?;
        let failures = tx.query(
            "select path, attempts, failure from voisin_job where done_at is not null and failure is not null
             order by done_at desc, id limit $1",
            &[&MOST_FAILURES],
        )?;
        Ok(Some(JobStatus {
            counts,
            per_hour: rate.get(0),
            leases: leases
                .iter()
                .map(|row| JobLease {
                    worker: row.get::<_, Option<String>>(0).unwrap_or_default(),
                    files: row.get::<_, i64>(1) as u64,
                    until: row.get(2),
                })
                .collect(),
            failures: failures
                .iter()
                .map(|row| JobFailure {
                    path: path_from_bytes(row.get(0)),
                    attempts: row.get(1),
                    reason: row.get(2),
                })
                .collect(),
        }))
    })
}

fn counts(tx: &mut Transaction<'_>) -> std::result::Result<JobCounts, postgres::Error> {
    let row = tx.query_one(
        "select count(*), count(*) filter (where done_at is not null and failure is null),
         count(*) filter (where done_at is not null and failure is not null),
         count(*) filter (where done_at is null and leased_until >= now()) from voisin_job",
        &[],
    )?;
    let number = |i| row.get::<_, i64>(i) as u64;
    Ok(JobCounts {
        jobs: number(0),
        done: number(1),
        failed: number(2),
        leased: number(3),
    })
}
