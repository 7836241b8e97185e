//! Two processes, really two, with a router each: what is written in this one is read in the other. All that
//! the other knows of it is a token's text.
//!
//! The other process is this binary, started again by a case; what it does is in `reader.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dbrouter_sqlx::RoutedPool;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use sqlx::Postgres;

use crate::reader::{Reader, Wish};
use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres("processes::what_one_writes_the_other_reads", with_tokens),
        on_postgres(
            "processes::without_tokens_it_reads_the_past",
            without_tokens,
        ),
    ]
}

/// Who does what, and how often.
#[derive(Clone, Copy)]
struct Journeys {
    users: i32,
    each: i64,
    tokens: bool,
}

/// How the reads of some journeys ended.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    reads: usize,
    stale: usize,
    on_standbys: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.stale += other.stale;
        self.on_standbys += other.on_standbys;
    }

    fn and(mut self, other: Self) -> Self {
        self.add(other);
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.on_standbys as f64 * 100.0 / self.reads as f64;
        write!(
            f,
            "{} reads, {} stale, {share:.1} % on standbys",
            self.reads, self.stale
        )
    }
}

/// The tallies of those who read at once, as a browser that is redirected does, and of those who first think for up
/// to 600 ms.
type Tallies = [Tally; 2];

impl Journeys {
    /// Writes here, and reads there, with one standby's replay paused and the other's 300 ms late.
    async fn run(self) -> Result<(Cluster, Tallies)> {
        let cluster = cluster().await?;
        let db = router(&cluster).connect().await?;
        let reader = Arc::new(Reader::start(&cluster)?);
        let [paused, late] = cluster.standbys() else {
            return Err("a cluster has two standbys".into());
        };
        paused.pause_replay().await?;
        late.set_apply_delay(Duration::from_millis(300)).await?;
        let users: Vec<_> = (1..=self.users)
            .map(|user| tokio::spawn(self.user(user, db.clone(), Arc::clone(&reader))))
            .collect();
        let mut tallies = Tallies::default();
        for user in users {
            let [at_once, later] = user.await??;
            tallies[0].add(at_once);
            tallies[1].add(later);
        }
        if self.tokens {
            tallies[1].add(on_a_standby(&db, &reader).await?);
        }
        println!(
            "tokens {}: at once {}; later {}",
            self.tokens, tallies[0], tallies[1]
        );
        Ok((cluster, tallies))
    }

    async fn user(
        self,
        user: i32,
        db: RoutedPool<Postgres>,
        reader: Arc<Reader>,
    ) -> Result<Tallies> {
        let mut random = fastrand::Rng::with_seed(u64::from(user.unsigned_abs()));
        let mut tallies = Tallies::default();
        for version in 1..=self.each {
            let session = db.session();
            sqlx::query("update kv set version = $2 where id = $1")
                .bind(user)
                .bind(version)
                .execute(&session)
                .await?;
            let token = session.token().await.ok_or("who wrote has a token")?;
            let thinks = version % 2 == 0;
            let think = if thinks { random.u64(0..600) } else { 0 };
            let wish = Wish {
                key: user,
                think: Duration::from_millis(think),
                token: self.tokens.then_some(token),
            };
            let read = reader.read(wish).await?;
            tallies[usize::from(thinks)].add(Tally {
                reads: 1,
                stale: usize::from(read.version < version),
                on_standbys: usize::from(read.node != "primary"),
            });
        }
        Ok(tallies)
    }
}

/// What one more user writes is read until a standby shows it.
async fn on_a_standby(db: &RoutedPool<Postgres>, reader: &Reader) -> Result<Tally> {
    let session = db.session();
    sqlx::query("update kv set version = 1 where id = 64")
        .execute(&session)
        .await?;
    let token = session.token().await;
    let mut tally = Tally::default();
    let served = wait::until(async || {
        let wish = Wish {
            key: 64,
            think: Duration::ZERO,
            token: token.clone(),
        };
        let Ok(read) = reader.read(wish).await else {
            return false;
        };
        let is_on_a_standby = read.node != "primary";
        tally.add(Tally {
            reads: 1,
            stale: usize::from(read.version < 1),
            on_standbys: usize::from(is_on_a_standby),
        });
        is_on_a_standby
    });
    check(served.await, "no standby serves who has a token")?;
    Ok(tally)
}

async fn with_tokens() -> Result<()> {
    let journeys = Journeys {
        users: 40,
        each: 50,
        tokens: true,
    };
    let (cluster, [at_once, later]) = journeys.run().await?;
    let all = at_once.and(later);
    check(all.reads > 2000, format!("{all}"))?;
    check(all.stale == 0, format!("{all}"))?;
    let mut served = 0;
    for standby in cluster.standbys() {
        served += usize::try_from(standby.served("kv").await?.reads)?;
    }
    // A read that a standby answers late may be run again elsewhere.
    check(
        served >= all.on_standbys,
        format!("the standbys say that they served {served}; {all}"),
    )
}

/// The same journeys, but for the tokens: this is what the other case rests upon.
async fn without_tokens() -> Result<()> {
    let journeys = Journeys {
        users: 40,
        each: 5,
        tokens: false,
    };
    let (_cluster, [at_once, later]) = journeys.run().await?;
    let all = at_once.and(later);
    check(all.stale > 0, format!("{all}"))
}
