//! Journeys of one write and nine reads: none stale, and nearly all reads on the standbys.

use std::time::Duration;

use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, journeys: Journeys| {
        on_postgres(name, async move || journeys.run().await).alone()
    };
    vec![
        case(
            "journeys::at_up_to_ten_milliseconds",
            Journeys {
                think_millis: 10,
                paused: 0,
                least_share: 95.0,
            },
        ),
        case(
            "journeys::at_up_to_two_milliseconds",
            Journeys {
                think_millis: 2,
                paused: 0,
                least_share: 85.0,
            },
        ),
        case(
            "journeys::with_one_standby_paused",
            Journeys {
                think_millis: 10,
                paused: 1,
                least_share: 95.0,
            },
        ),
    ]
}

struct Journeys {
    /// The longest pause between two statements of a user.
    think_millis: u64,
    /// How many standbys replay nothing.
    paused: usize,
    /// The least share of reads that standbys must serve, in percent.
    least_share: f64,
}

const CLIENTS: u64 = 8;
const JOURNEYS: i64 = 60;
const READS: u64 = 9;

impl Journeys {
    async fn run(self) -> Result<()> {
        let Self {
            think_millis,
            paused,
            least_share,
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
                    let mut stale = 0;
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
                            let read: i64 =
                                sqlx::query_scalar("select version from kv where id = $1")
                                    .bind(key)
                                    .fetch_one(&session)
                                    .await?;
                            stale += u64::from(read < version);
                        }
                    }
                    Result::<u64>::Ok(stale)
                })
            })
            .collect();
        let mut stale = 0;
        for client in clients {
            stale += client.await??;
        }
        let mut on_standbys = 0;
        for standby in cluster.standbys() {
            on_standbys += standby.served("kv").await?.reads;
        }
        let reads = CLIENTS * JOURNEYS.unsigned_abs() * READS;
        let share = on_standbys as f64 * 100.0 / reads as f64;
        let rounds = db.status().monitor_rounds;
        println!(
            "up to {think_millis} ms between reads, {paused} paused: {stale} of {reads} stale, {share:.1} % on standbys, \
             {rounds} questions to the primary"
        );
        check(stale == 0, format!("{stale} stale reads of {reads}"))?;
        check(
            share >= least_share,
            format!("{share:.1} % of the reads on standbys\n{}", db.status()),
        )
    }
}
