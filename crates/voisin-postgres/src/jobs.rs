//! Files that several machines listen to, dealt from a table: leases that end, so that what a lost machine had in hand goes
//! to another. There is no broker: PostgreSQL's row locks are enough for some thousand leases a second.

use std::path::{Path, PathBuf};

use super::server::Connection;
use super::{PostgresAddress, Result};
use voisin_library::{path_from_bytes, path_to_bytes};

/// How often a file is tried that ends those who listen to it, or cannot be read at the moment.
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
  failure text
);
create unique index if not exists voisin_job_path on voisin_job (md5(path));
create index if not exists voisin_job_open on voisin_job (attempts, id) where done_at is null;";

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

/// What became of a file.
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
            tx.batch_execute("select pg_advisory_xact_lock(1987013492)")?;
            let there: bool = tx.query_one("select to_regclass('voisin_job') is not null", &[])?.get(0);
            if !there {
                tx.batch_execute(TABLE)?;
            }
            let sql = "select coalesce(host(inet_client_addr()), 'local') || ' ' || $1::text || ' '
                || gen_random_uuid()";
            Ok(tx.query_one(sql, &[&process])?.get(0))
        })?;
        Ok(Self { connection, worker, lease })
    }

    /// Another connection of the same worker.
    pub fn again(&self) -> Result<Self> {
        let connection = Connection::open(self.connection.place())?;
        Ok(Self { connection, worker: self.worker.clone(), lease: self.lease })
    }

    /// Puts files in; returns how many were not there.
    pub fn add(&mut self, paths: &[&Path]) -> Result<u64> {
        let mut added = 0;
        for some in paths.chunks(ROWS) {
            let some = some.iter().map(|path| path_to_bytes(path)).collect::<Result<Vec<_>, _>>()?;
            added += self.connection.run(|tx| {
                tx.execute(
                    "insert into voisin_job (path) select * from unnest($1::bytea[])
                     on conflict (md5(path)) do nothing",
                    &[&some],
                )
            })?;
        }
        Ok(added)
    }

    /// Takes files in hand that nobody has: some that nobody tried yet, else a single one that somebody did not finish, so
    /// that a file which ends its readers takes no others along.
    pub fn lease(&mut self, most: u32) -> Result<Vec<Job>> {
        let (worker, lease) = (self.worker.clone(), self.lease);
        self.connection.run(|tx| {
            tx.execute(
                "update voisin_job set done_at = now(), leased_until = null,
                 failure = coalesce(failure, attempts || ' workers ended while they had it in hand')
                 where done_at is null and attempts >= $1 and (leased_until is null or leased_until < now())",
                &[&ATTEMPTS],
            )?;
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
        let (worker, lease) = (self.worker.clone(), self.lease);
        self.connection.run(|tx| {
            tx.execute(
                "update voisin_job set leased_until = now() + $2 * interval '1 second'
                 where worker = $1 and done_at is null and leased_until is not null",
                &[&worker, &lease],
            )
        })?;
        Ok(())
    }

    /// Notes what became of files in hand. Those that went to another worker meanwhile are that one's.
    pub fn finish(&mut self, jobs: &[(i64, JobOutcome)]) -> Result<()> {
        let worker = self.worker.clone();
        let ids: Vec<i64> = jobs.iter().map(|(id, _)| *id).collect();
        let reason = |judged: &JobOutcome| match judged {
            JobOutcome::Done => None,
            JobOutcome::Failed(reason) | JobOutcome::Later(reason) => Some(reason.replace('\0', "\u{fffd}")),
        };
        let reasons: Vec<Option<String>> = jobs.iter().map(|(_, judged)| reason(judged)).collect();
        let later: Vec<bool> =
            jobs.iter().map(|(_, judged)| matches!(judged, JobOutcome::Later(_))).collect();
        self.connection.run(|tx| {
            tx.execute(
                "update voisin_job j set leased_until = null, failure = f.reason,
                 done_at = case when f.later and j.attempts < $5 then null else now() end
                 from unnest($1::bigint[], $2::text[], $3::boolean[]) as f (id, reason, later)
                 where j.id = f.id and j.worker = $4 and j.done_at is null",
                &[&ids, &reasons, &later, &worker, &ATTEMPTS],
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
        self.connection.run(|tx| {
            let row = tx.query_one(
                "select count(*), count(*) filter (where done_at is not null and failure is null),
                 count(*) filter (where done_at is not null and failure is not null),
                 count(*) filter (where done_at is null and leased_until >= now()) from voisin_job",
                &[],
            )?;
            let number = |i| row.get::<_, i64>(i) as u64;
            Ok(JobCounts { jobs: number(0), done: number(1), failed: number(2), leased: number(3) })
        })
    }
}
