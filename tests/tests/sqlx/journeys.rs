//! Journeys of one write and nine reads: none is stale, each comes back to a standby, and the primary serves those reads
//! only for which no standby was fresh enough. How many these are depends on the machine, so their share is printed and
//! not asserted.

use std::time::Duration;

use dbrouter_sqlx::Session;
use dbrouter_tests::harness::Case;
use dbrouter_tests::{Result, wait};
use sqlx::Postgres;
use tokio::time::timeout;

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    let case =
        |name: &str, journeys: Journeys| on_postgres(name, async move || journeys.run().await);
    vec![
        case(
            "journeys::at_up_to_ten_milliseconds",
            Journeys {
                think_millis: 10,
                paused: 0,
            },
        ),
        case(
            "journeys::at_up_to_two_milliseconds",
            Journeys {
                think_millis: 2,
                paused: 0,
            },
        ),
        case(
            "journeys::with_one_standby_paused",
            Journeys {
                think_millis: 10,
                paused: 1,
            },
        ),
    ]
}

struct Journeys {
    /// The longest pause between two statements of a user.
    think_millis: u64,
    /// How many standbys replay nothing.
    paused: usize,
}

const CLIENTS: u64 = 8;
const JOURNEYS: i64 = 60;
const READS: u64 = 9;

impl Journeys {
    async fn run(self) -> Result<()> {
        let Self {
            think_millis,
            paused,
        } = self;
        let cluster = cluster().await?;
        let db = router(&cluster).connect().await?;
        for standby in &cluster.standbys()[..paused] {
            standby.pause_replay().await?;
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let db = db.clone();
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(client);
                    let key = i32::try_from(client)? + 1;
                    let (mut stale, mut reads) = (0, 0);
                    for version in 1..=JOURNEYS {
                        let session = db.session();
                        sqlx::query("update kv set version = $2 where id = $1")
                            .bind(key)
                            .bind(version)
                            .execute(&session)
                            .await?;
                        for _ in 0..READS {
                            // The pause between two of a user's requests, not a wait for anything.
                            let pause = Duration::from_micros(random.u64(0..think_millis * 1000));
                            tokio::time::sleep(pause).await;
                            stale += u64::from(read(&session, key).await? < version);
                            reads += 1;
                        }
                        let think = Duration::from_millis(think_millis);
                        let back = comes_back(&session, key, version, think);
                        let (old, more) = timeout(wait::PATIENCE, back).await??;
                        stale += old;
                        reads += more;
                    }
                    Result::<(u64, u64)>::Ok((stale, reads))
                })
            })
            .collect();
        let (mut stale, mut reads) = (0, 0);
        for client in clients {
            let (of_client, read) = client.await??;
            stale += of_client;
            reads += read;
        }
        let on_primary = cluster.primary().served("kv").await?.reads;
        let mut on_standbys = 0;
        for standby in cluster.standbys() {
            on_standbys += standby.served("kv").await?.reads;
        }
        let status = db.status();
        let share = on_standbys as f64 * 100.0 / reads as f64;
        println!(
            "up to {think_millis} ms between reads, {paused} paused: {stale} of {reads} stale, {share:.1} % on standbys, \
             {} questions to the primary",
            status.monitor_rounds
        );
        check(stale == 0, format!("{stale} stale reads of {reads}"))?;
        let fell_back: u64 = status.fallbacks.iter().map(|reads| reads.count).sum();
        check(
            on_primary.unsigned_abs() <= fell_back,
            format!("{on_primary} reads on the primary\n{status}"),
        )?;
        check(
            on_primary.unsigned_abs() + on_standbys.unsigned_abs() >= reads,
            format!("{on_primary} and {on_standbys} reads, not {reads}\n{status}"),
        )
    }
}

async fn read(session: &Session<Postgres>, key: i32) -> sqlx::Result<i64> {
    sqlx::query_scalar("select version from kv where id = $1")
        .bind(key)
        .fetch_one(session)
        .await
}

/// Reads until a standby serves the session again. How many reads that took, and how many of them were stale.
async fn comes_back(
    session: &Session<Postgres>,
    key: i32,
    version: i64,
    think: Duration,
) -> Result<(u64, u64)> {
    let (mut stale, mut reads) = (0, 0);
    // What the primary has shown is on a standby, as far as can be known, only after a round of questions.
    let mut pause = think;
    loop {
        let last = session.last_decision().ok_or("it was decided where")?;
        if &*last.node != "primary" {
            return Ok((stale, reads));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        stale += u64::from(read(session, key).await? < version);
        reads += 1;
    }
}
