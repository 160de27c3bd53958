//! Queries to all shards at the same time, each over a direct connection: the first server would
//! query them in turn, with several round trips each. If a shard cannot be reached from here, the
//! first server queries them.

use std::time::{Duration, Instant};

use super::{Connection, Postgres};
use crate::Result;
use crate::ddl::IndexCodes;

/// Pause before unreachable shards are tried again.
const PAUSE: Duration = Duration::from_mins(1);

/// Connections to the servers that hold the parts of the table of tracks.
#[derive(Default)]
pub(super) enum Shards {
    /// Not tried yet.
    #[default]
    Untried,
    /// A shard was unreachable at this time.
    Unreached(Instant),
    /// All are connected.
    Open(Vec<Postgres>),
}

/// A part of the table of tracks: host, port, database, user, table.
type ShardAddress = (String, u16, String, Option<String>, String);

impl Postgres {
    /// Runs `work` on every shard at the same time; `None` if there are none or one fails.
    pub(super) fn on_shards<T: Send>(
        &mut self,
        work: impl Fn(&mut Self) -> Result<T> + Sync,
    ) -> Option<Vec<T>> {
        if self.parts.is_empty() {
            return None;
        }
        let mut shards = match std::mem::take(&mut self.direct) {
            Shards::Open(shards) => shards,
            Shards::Unreached(since) if since.elapsed() < PAUSE => {
                self.direct = Shards::Unreached(since);
                return None;
            }
            _ => self.reach_shards().unwrap_or_default(),
        };
        // Results of only some shards are useless; the first server, which reaches all, answers instead.
        let answers = at_once(shards.iter_mut(), work);
        self.direct = match &answers {
            Some(answers) if answers.len() == self.parts.len() => Shards::Open(shards),
            _ => Shards::Unreached(Instant::now()),
        };
        answers.filter(|answers| answers.len() == self.parts.len())
    }

    /// Connects to the shards by the options of the foreign servers and this role's user mappings;
    /// `None` if one is unreachable.
    fn reach_shards(&mut self) -> Option<Vec<Self>> {
        let sql = "select coalesce(s.options ->> 'host', 'localhost'), coalesce(s.options ->> 'port', '5432'),
                coalesce(s.options ->> 'dbname', current_database()), u.options ->> 'user',
                format('%I.%I', coalesce(t.options ->> 'schema_name', t.nspname), coalesce(t.options ->> 'table_name', t.relname))
            from (select ftserver, relname, nspname, (select jsonb_object_agg(option_name, option_value)
                    from pg_options_to_table(ftoptions)) as options
                from pg_inherits join pg_foreign_table on ftrelid = inhrelid join pg_class c on c.oid = inhrelid
                    join pg_namespace n on n.oid = relnamespace
                where inhparent = 'voisin_track'::regclass) t
            join (select oid, (select jsonb_object_agg(option_name, option_value)
                    from pg_options_to_table(srvoptions)) as options from pg_foreign_server) s on s.oid = t.ftserver
            left join (select srvid, (select jsonb_object_agg(option_name, option_value)
                    from pg_options_to_table(umoptions)) as options from pg_user_mappings
                where usename = current_user) u on u.srvid = s.oid
            where (select count(*) from pg_inherits where inhparent = 'voisin_track'::regclass)
                = (select count(*) from pg_inherits join pg_foreign_table on ftrelid = inhrelid
                    where inhparent = 'voisin_track'::regclass)";
        let parts: Vec<ShardAddress> = self
            .run(|tx| {
                let rows = tx.query(sql, &[])?;
                let part = |row: &postgres::Row| {
                    // Port 0 is unreachable, so the first server answers then.
                    let port = row.get::<_, &str>(1).parse().unwrap_or_default();
                    (row.get(0), port, row.get(2), row.get(3), row.get(4))
                };
                Ok(rows.iter().map(part).collect())
            })
            .ok()?;
        let place = self.place().clone();
        let width = self.width;
        let model = &self.model;
        let taxonomy = &self.taxonomy;
        let mean = &self.mean;
        at_once(parts.into_iter(), |(host, port, database, user, table)| {
            let place = place.sibling(&host, port, &database, user.as_deref());
            let mut shard = Self {
                connection: Connection::open(&place)?,
                lock: None,
                table,
                model: model.clone(),
                width,
                codes: IndexCodes::default(),
                shards: Vec::new(),
                parts: Vec::new(),
                direct: Shards::Untried,
                shard_width: None,
                taxonomy: taxonomy.clone(),
                mean: mean.clone(),
            };
            shard.read_codes()?;
            Ok(shard)
        })
    }
}

/// Runs `work` on all items at the same time; `None` if one fails.
fn at_once<A: Send, T: Send>(
    each: impl Iterator<Item = A>,
    work: impl Fn(A) -> Result<T> + Sync,
) -> Option<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let tasks: Vec<_> = each.map(|one| scope.spawn(move || work(one))).collect();
        tasks
            .into_iter()
            // A panic counts as a failure; its message has been printed.
            .map(|task| task.join().ok()?.ok())
            .collect()
    })
}
