//! Files that several machines listen to, dealt from a table: leases that end, so that what a lost machine had in hand goes
//! to another. There is no broker: PostgreSQL's row locks are enough for some thousand leases a second.

use std::path::PathBuf;

use super::server::{Connection, Transaction};
use super::{PostgresAddress, Result};
use voisin_library::{FileRecord, path_from_bytes, path_to_bytes};

/// How often a file is tried that ends those who listen to it, or cannot be read at the moment.
// A worker may end for reasons of its own, so one try is not enough; each further one of a file
// that crashes costs another worker.
const ATTEMPTS: i32 = 3;

/// Paths that are sent at once.
const ROWS: usize = 10_000;

/// The table. A path is bytes; its digest is what is unique, since an index takes no long ones.
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

/// Of the same files, what older tables lack: size and time as they were when a file was listened to.
const COLUMNS: &str = "alter table voisin_job add column if not exists size bigint, add column if not exists mtime_ns bigint";
/// Whether the table is there, and has these columns.
const STATE: &str = "select to_regclass('voisin_job') is not null, exists (select from pg_attribute
    where attrelid = to_regclass('voisin_job') and attname = 'mtime_ns' and not attisdropped)";

/// Failures that a report has.
const MOST_FAILURES: i64 = 100;
/// Seconds of the past that tell how fast workers are.
const RECENT: f64 = 600.0;

/// A file in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// The file.
    pub path: PathBuf,
    /// How many workers had it in hand, this one among them.
    pub attempts: i32,
}

/// The outcome of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It was listened to.
    Done,
    /// It cannot be.
    Failed(String),
    /// It cannot be now; another try may help.
    Later(String),
}

/// How far all workers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCounts {
    /// All files.
    pub jobs: u64,
    /// Those that were listened to.
    pub done: u64,
    /// Those that failed for good.
    pub failed: u64,
    /// Those that some worker has in hand.
    pub leased: u64,
}

/// Counts of the files put into the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobsAdded {
    /// Files that were not there.
    pub added: u64,
    /// Files that have changed since they were listened to, and will be again.
    pub changed: u64,
}

/// A file that a worker has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    /// The worker: its address, process and a random number.
    pub worker: String,
    /// Files that it has in hand.
    pub files: u64,
    /// Until when, if it gives no sign of life: UTC, as `2026-11-26T05:00:00Z`.
    pub until: String,
}

/// A file that failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// The file.
    pub path: PathBuf,
    /// How many workers had it in hand.
    pub attempts: i32,
    /// Why.
    pub reason: String,
}

/// How far all workers are, and who they are.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    /// How many files there are, and what became of them.
    pub counts: JobCounts,
    /// Files an hour, by the last ten minutes; 0 where none was done in them.
    pub per_hour: f64,
    /// Those at work.
    pub leases: Vec<JobLease>,
    /// The newest failures, at most a hundred.
    pub failures: Vec<JobFailure>,
}

/// The table of files in a database, and this worker among those who take from it.
pub struct Jobs {
    connection: Connection,
    worker: String,
    /// Seconds that a lease lasts.
    lease: f64,
}

impl Jobs {
    /// Opens the table, which is made where there is none.
    ///
    /// - `lease`: seconds after which a file that nobody finished goes to another worker
    pub fn open(place: &PostgresAddress, lease: f64) -> Result<Self> {
        let mut connection = Connection::open(place)?;
        let process = std::process::id().to_string();
        let worker = connection.run(|tx| {
            // "if not exists" is no help against two that come at once: both see nothing and one
            // fails.
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
    pub fn again(&self) -> Result<Self> {
        let connection = Connection::open(self.connection.place())?;
        Ok(Self {
            connection,
            worker: self.worker.clone(),
            lease: self.lease,
        })
    }

    /// Puts files in. Those that were listened to when they had another size or time, or could not be looked at, are to be
    /// listened to again.
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

    /// Takes files in hand that nobody has: some that nobody tried yet, else a single one that somebody did not finish, so
    /// that a file which ends its readers takes no others along.
    pub fn lease(&mut self, most: u32) -> Result<Vec<Job>> {
        let worker = self.worker.clone();
        let lease = self.lease;
        self.connection.run(|tx| {
            // Files whose last worker ended without a word have failed; this is where they are
            // noticed.
            tx.execute(
                "update voisin_job set done_at = now(), leased_until = null,
                 failure = coalesce(failure, attempts || ' workers ended while they had it in hand')
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

    /// Makes this worker's leases last from now on.
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

    /// Notes what became of files in hand, each with its size and time, if it could be looked at. Those that went to another
    /// worker meanwhile are that one's.
    pub fn finish(&mut self, jobs: &[(i64, Option<FileRecord>, JobOutcome)]) -> Result<()> {
        let worker = self.worker.clone();
        let ids: Vec<i64> = jobs.iter().map(|(id, ..)| *id).collect();
        let files = || jobs.iter().map(|(_, file, _)| file.as_ref());
        let sizes: Vec<Option<i64>> = files().map(|file| Some(file?.size as i64)).collect();
        let times: Vec<Option<i64>> = files().map(|file| Some(file?.mtime_ns)).collect();
        let reason = |judged: &JobOutcome| match judged {
            JobOutcome::Done => None,
            JobOutcome::Failed(reason) | JobOutcome::Later(reason) => {
                Some(reason.replace('\0', "\u{fffd}"))
            }
        };
        let reasons: Vec<Option<String>> = jobs.iter().map(|(.., judged)| reason(judged)).collect();
        let later: Vec<bool> = jobs
            .iter()
            .map(|(.., judged)| matches!(judged, JobOutcome::Later(_)))
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

    /// Gives back what this worker has in hand, as if it had never had it.
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

    /// How far all workers are.
    pub fn counts(&mut self) -> Result<JobCounts> {
        self.connection.run(counts)
    }
}

/// How far the workers of a database are; `None` where it has no table of jobs. Changes nothing.
pub fn job_status(place: &PostgresAddress) -> Result<Option<JobStatus>> {
    Connection::open(place)?.run(|tx| {
        if !tx.query_one(STATE, &[])?.get::<_, bool>(0) {
            return Ok(None);
        }
        let counts = counts(tx)?;
        // From one end of some files to the ends of others: how long the first ones took is not known.
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
