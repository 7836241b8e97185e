//! Reads that wait for a replica, how many may fall back to the primary at once, and how old what they show may
//! be (contracts: `Request`, `FallbackLimit`, `Router`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dbrouter::policy::RoundRobin;
use dbrouter::{
    ConfigErrorKind, FallbackLimit, Intent, MonitorSettings, Preference, Reason, Router, WhyNot,
    with_session,
};

use super::{
    Handle, Mount, Need, PATIENCE, READ, READS, Site, Subject, body, check, error, expect, last,
    next, refusal, until,
};
use crate::{Result, wait};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Holds, ReadOnlyTransactions, Servers, Waits};
    mount
        .case("for_a_replica_that_comes_in_time", &[Servers], comes)
        .case("for_one_that_does_not_come", &[Servers], does_not_come)
        .case(
            "is_what_the_replica_does_if_it_can",
            &[Servers, Waits],
            told_to_wait,
        )
        .case("streams_as_well", &[Servers], streams)
        .case(
            "read_only_transactions_as_well",
            &[Servers, ReadOnlyTransactions],
            transactions,
        )
        .case(
            "connections_to_keep_as_well",
            &[Servers, Holds],
            connections,
        )
        .case(
            "the_root_and_the_ambient_session_as_well",
            &[Servers],
            ambient,
        )
        .case("rather_than_be_refused", &[Servers], rather_than_be_refused)
        .case("dropped_leaves_nothing_behind", &[Servers], dropped)
        .case(
            "not_for_what_no_time_brings",
            &[Servers, Holds],
            not_for_ever,
        )
        .case("limited_reads_fall_back_and_no_more", &[], limited)
        .case("limited_when_replicas_lag", &[Servers], limited_by_lag)
        .case(
            "limited_when_replicas_are_lost",
            &[Servers],
            limited_by_loss,
        )
        .case(
            "limited_transactions_count_to_their_end",
            &[ReadOnlyTransactions],
            limited_transactions,
        )
        .case(
            "limited_connections_count_until_they_are_back",
            &[Holds],
            limited_connections,
        )
        .case("limited_reads_may_wait_for_a_place", &[], limited_waits)
        .case("a_limit_that_is_none", &[], limit_that_is_none)
        .case(
            "bounded_reads_leave_a_replica_that_stands_still",
            &[Servers],
            bounded,
        )
        .case("bounded_reads_are_never_older", &[Servers], never_older)
        .case(
            "bounded_reads_may_wait_for_a_replica",
            &[Servers],
            bounded_waits,
        )
        .case("a_bound_that_nobody_can_know", &[], bound_too_short);
}

const ALL: &str = "select version from kv order by id";

/// A router whose replicas stand still, and a session that has written since.
async fn lagging<S: Subject>(site: &Site<S>) -> Result<(S::Handle, S::Handle)> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    session.set(1, 7).await?;
    Ok((db, session))
}

/// Both reads and lets a replica go on. The read is polled first, and so waits already.
async fn meanwhile<S: Subject, T>(
    site: &Site<S>,
    read: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (read, resumed) = tokio::join!(read, site.resume(1));
    resumed?;
    read
}

/// One replica has served the read, by the servers' own account, and none fell back.
async fn served_by_the_replica<S: Subject>(site: &Site<S>, db: &S::Handle) -> Result<()> {
    expect("on the primary", site.reads(db, 0).await?, 0)?;
    expect("on the replica", site.reads(db, 1).await?, 1)?;
    let fallbacks = db.cluster().status().fallbacks(Reason::NotFresh);
    expect("fallbacks", fallbacks, 0)
}

async fn comes<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = session.wait_for_fresh(PATIENCE);
    let read = meanwhile(site, patient.get(1)).await?;
    expect("version", read, Some(7))?;
    expect("node", last(&session)?.0, site.name(1).to_owned())?;
    served_by_the_replica(site, &db).await
}

async fn does_not_come<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = session.wait_for_fresh(Duration::from_millis(60));
    expect("version", patient.get(1).await?, Some(7))?;
    let fell_back = ("primary".to_owned(), Reason::NotFresh);
    expect("decision", last(&session)?, fell_back)?;
    expect("on the primary", site.reads(&db, 0).await?, 1)?;
    let fallbacks = db.cluster().status().fallbacks(Reason::NotFresh);
    expect("fallbacks", fallbacks, 1)
}

/// A replica that can be told to wait is not asked again and again.
async fn told_to_wait<S: Subject>(site: &Site<S>) -> Result<()> {
    let (_db, session) = lagging(site).await?;
    let (waits_before, questions_before) = site.questions(1).await?;
    let read = tokio::spawn({
        let patient = session.wait_for_fresh(PATIENCE);
        async move { patient.get(1).await.map_err(|error| error.to_string()) }
    });
    // They are counted when they end: it waits for an interval, and is told again.
    let told = async || {
        let questions = site.questions(1).await;
        questions.is_ok_and(|(waits, _)| waits >= waits_before + 3)
    };
    check(wait::until(told).await, "it is not told to wait")?;
    let (waits, questions) = site.questions(1).await?;
    let (waits, questions) = (waits - waits_before, questions - questions_before);
    check(
        questions <= waits + 3,
        format!("told to wait {waits} times, asked {questions} times"),
    )?;
    site.resume(1).await?;
    expect("version", read.await??, Some(7))?;
    expect("node", last(&session)?.0, site.name(1).to_owned())
}

async fn streams<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let mut rows = session.wait_for_fresh(PATIENCE).stream(READS, ALL);
    let first = async { next(&mut rows).await.ok_or("no row")? };
    expect("the first row", meanwhile(site, first).await?, 7)?;
    served_by_the_replica(site, &db).await
}

async fn transactions<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = session.wait_for_fresh(PATIENCE);
    let read = body(|tx| Box::pin(async move { expect("version", tx.query(READ).await?, 7) }));
    meanwhile(site, patient.read_only(read)).await?;
    served_by_the_replica(site, &db).await
}

async fn connections<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = session.wait_for_fresh(PATIENCE);
    let mut held = meanwhile(site, patient.hold(Intent::Read)).await?;
    expect("version", held.query(READ).await?, 7)?;
    served_by_the_replica(site, &db).await
}

async fn ambient<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = db.wait_for_fresh(PATIENCE);
    let read = meanwhile(site, with_session(session.state(), patient.get(1))).await?;
    expect("in a session", read, Some(7))?;
    served_by_the_replica(site, &db).await?;
    site.pause_all().await?;
    db.set(1, 8).await?;
    expect(
        "on the root",
        meanwhile(site, patient.get(1)).await?,
        Some(8),
    )?;
    expect("on the primary", site.reads(&db, 0).await?, 0)
}

async fn rather_than_be_refused<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let only = session.preference(Preference::Replica);
    let impatient = only.wait_for_fresh(Duration::from_millis(60));
    let refused = error(impatient.get(1).await, "no replica is fresh")?;
    let refusal = refusal(&*refused)?;
    let stale = |why| matches!(why, WhyNot::NotFresh(Some(_)));
    let stale = refusal
        .refusals()
        .iter()
        .filter(|refusal| stale(refusal.why));
    expect("stale replicas", stale.count(), 2)?;
    let patient = only.wait_for_fresh(PATIENCE);
    expect("version", meanwhile(site, patient.get(1)).await?, Some(7))?;
    served_by_the_replica(site, &db).await
}

async fn dropped<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = session.wait_for_fresh(PATIENCE);
    super::polled_once(patient.get(1)).await;
    super::polled_once(patient.query(READS, READ)).await;
    let mut rows = patient.stream(READS, ALL);
    super::polled_once(next(&mut rows)).await;
    drop(rows);
    let status = db.cluster().status();
    check(
        status
            .nodes
            .iter()
            .all(|node| node.in_flight == 0 && node.reads == 0),
        status.to_string(),
    )?;
    expect("fallbacks", status.fallbacks(Reason::NotFresh), 0)?;
    expect("version", meanwhile(site, patient.get(1)).await?, Some(7))?;
    served_by_the_replica(site, &db).await
}

/// A wait would be an hour.
async fn not_for_ever<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, session) = lagging(site).await?;
    let patient = session.wait_for_fresh(Duration::from_secs(3600));
    let in_time = async |read: &S::Handle| {
        let read = async || read.get(1).await.is_ok_and(|version| version == Some(7));
        check(wait::until(read).await, "it waits")
    };
    let held = session.hold(Intent::Write).await?;
    in_time(&patient).await?;
    expect("while it may write", last(&session)?.1, Reason::OpenWriter)?;
    drop(held);
    for replica in 1..=2 {
        db.cluster().disable(site.name(replica))?;
    }
    in_time(&patient).await?;
    expect("without replicas", last(&session)?.1, Reason::NoReplica)
}

/// Of so many reads that fall back, no more.
async fn at_most<S: Subject>(site: &Site<S>, limit: FallbackLimit) -> Result<S::Handle> {
    // More connections than there may be such reads, on any kind of database.
    let builder = site.builder().pool_options(S::pool(8, PATIENCE));
    let limited = builder.fallback_limit(limit);
    Ok(S::root(limited.connect().await?))
}

/// A handle whose reads fall back, on whatever kind of database: no replica has that label.
fn falls_back<H: Handle>(db: &H) -> H {
    db.session().tag("zone", "nowhere")
}

/// The error is the router's, says that there are too many, and of the replicas what is the matter with them.
fn too_many<T>(result: Result<T>, replicas: impl Fn(WhyNot) -> bool) -> Result<()> {
    let refused = error(result, "one read too many")?;
    let refusal = refusal(&*refused)?;
    check(
        refusal.is_fallback_limit() && refusal.is_temporary(),
        refusal.to_string(),
    )?;
    let of_replicas = |why| match why {
        WhyNot::FallbackLimit => true,
        why => replicas(why),
    };
    check(
        refusal
            .refusals()
            .iter()
            .all(|refusal| of_replicas(refusal.why)),
        refusal.to_string(),
    )
}

fn lacks_the_label(why: WhyNot) -> bool {
    why == WhyNot::Tags
}

fn taken<H: Handle>(db: &H) -> Option<u32> {
    let places = db.cluster().status().fallback_places;
    places.map(|places| places.taken)
}

async fn limited<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = at_most(site, FallbackLimit::reads(2)).await?;
    let reader = falls_back(&db);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut rows = reader.stream(READS, ALL);
        next(&mut rows).await.ok_or("no row")??;
        held.push(rows);
    }
    expect("decision", last(&reader)?.1, Reason::NoReplica)?;
    expect("places", taken(&db), Some(2))?;
    too_many(reader.get(1).await, lacks_the_label)?;
    too_many(reader.query(READS, READ).await, lacks_the_label)?;
    let mut rows = reader.stream(READS, ALL);
    too_many(next(&mut rows).await.ok_or("no error")?, lacks_the_label)?;
    expect("on the primary", site.reads(&db, 0).await?, 2)?;
    // Others are not concerned.
    db.get(1).await?;
    db.preference(Preference::Primary).get(1).await?;
    db.set(1, 1).await?;
    held.pop();
    until(&db, "a place", |status| {
        status
            .fallback_places
            .is_some_and(|places| places.taken == 1)
    })
    .await?;
    expect("version", reader.get(1).await?, Some(1))?;
    drop(held);
    until(&db, "both places", |status| {
        status
            .fallback_places
            .is_some_and(|places| places.taken == 0)
    })
    .await
}

async fn limited_by_lag<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = at_most(site, FallbackLimit::reads(1)).await?;
    site.pause_all().await?;
    let session = db.session();
    session.set(1, 7).await?;
    let mut rows = session.stream(READS, ALL);
    expect("the first row", next(&mut rows).await.ok_or("no row")??, 7)?;
    let stale = |why| matches!(why, WhyNot::NotFresh(Some(_)));
    for handle in [&session, &session.preference(Preference::ReplicaPreferred)] {
        too_many(handle.get(1).await, stale)?;
    }
    // Who needs nothing that the replicas do not show reads from them.
    expect("elsewhere", db.session().get(1).await?, Some(0))?;
    drop(rows);
    let served = async || session.get(1).await.is_ok_and(|version| version == Some(7));
    check(wait::until(served).await, "the place is not given back")
}

/// What it is for: the primary has its writes, and does not have all the reads.
async fn limited_by_loss<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = at_most(site, FallbackLimit::reads(1)).await?;
    for replica in 1..=2 {
        site.kill(replica).await?;
    }
    until(&db, "found lost", |status| {
        !status.nodes[1].healthy && !status.nodes[2].healthy
    })
    .await?;
    let mut rows = db.session().stream(READS, ALL);
    next(&mut rows).await.ok_or("no row")??;
    for version in 1..=10 {
        too_many(db.get(1).await, |why| why == WhyNot::Unhealthy)?;
        db.set(1, version).await?;
    }
    expect("on the primary", site.reads(&db, 0).await?, 1)?;
    expect("writes", site.writes(&db, 0).await?, 10)
}

async fn limited_transactions<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = at_most(site, FallbackLimit::reads(1)).await?;
    let reader = falls_back(&db);
    let other = falls_back(&db);
    let inside = body(move |tx| {
        Box::pin(async move {
            tx.query(READ).await?;
            too_many(other.get(1).await, lacks_the_label)?;
            let nested = body(|_| Box::pin(async { Ok(()) }));
            too_many(other.read_only(nested).await, lacks_the_label)
        })
    });
    reader.read_only(inside).await?;
    expect("places", taken(&db), Some(0))?;
    expect("version", reader.get(1).await?, Some(0))
}

async fn limited_connections<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = at_most(site, FallbackLimit::reads(1)).await?;
    let reader = falls_back(&db);
    let mut held = reader.hold(Intent::Read).await?;
    for _ in 0..3 {
        expect("version", held.query(READ).await?, 0)?;
        too_many(reader.hold(Intent::Read).await, lacks_the_label)?;
    }
    drop(held);
    expect("places", taken(&db), Some(0))?;
    expect("version", reader.get(1).await?, Some(0))
}

async fn limited_waits<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = at_most(site, FallbackLimit::reads(1).or_wait(PATIENCE)).await?;
    let reader = falls_back(&db);
    let mut rows = reader.stream(READS, ALL);
    next(&mut rows).await.ok_or("no row")??;
    // The reads are polled first, and so wait already.
    let (one, two, ()) = tokio::join!(reader.get(1), reader.get(1), async { drop(rows) });
    expect("versions", (one?, two?), (Some(0), Some(0)))?;
    expect("places", taken(&db), Some(0))?;

    let brief = FallbackLimit::reads(1).or_wait(Duration::from_millis(40));
    let db = at_most(site, brief).await?;
    let reader = falls_back(&db);
    let mut rows = reader.stream(READS, ALL);
    next(&mut rows).await.ok_or("no row")??;
    too_many(reader.get(1).await, lacks_the_label)?;
    drop(rows);
    expect("version", reader.get(1).await?, Some(0))
}

async fn limit_that_is_none<S: Subject>(site: &Site<S>) -> Result<()> {
    for limit in [
        FallbackLimit::reads(0),
        FallbackLimit::share(0.0),
        FallbackLimit::share(f64::NAN),
        FallbackLimit::share(1.5),
    ] {
        let connected = site.builder().fallback_limit(limit).connect().await;
        let error = connected.map(drop).err().ok_or("it connected")?;
        expect("kind", error.kind(), ConfigErrorKind::OutOfRange)?;
        expect("field", error.field(), "fallback_limit")?;
    }
    // A pool of four connections has two halves of two.
    let builder = site.builder().pool_options(S::pool(4, PATIENCE));
    let builder = builder.fallback_limit(FallbackLimit::share(0.5));
    let db = S::root(builder.connect().await?);
    let places = db.cluster().status().fallback_places.ok_or("no limit")?;
    expect("places", (places.taken, places.most), (0, 2))
}

const BOUND: Duration = Duration::from_millis(400);

/// Waits until both replicas are known to be too old, and what is written now is due: a read that is bounded may miss what was
/// acknowledged later than the bound.
async fn until_too_old<S: Subject>(db: &S::Handle) -> Result<()> {
    let acknowledged = Instant::now();
    until(db, "too old", |status| {
        let old = |staleness: Option<Duration>| staleness.is_some_and(|old| old > BOUND);
        let is_due = acknowledged.elapsed() > BOUND;
        is_due && status.nodes[1..].iter().all(|node| old(node.staleness))
    })
    .await
}

async fn bounded<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    // Another router's write, of which this one's root handle knows nothing.
    let outside = site.connect().await?;
    site.pause_all().await?;
    outside.set(1, 7).await?;
    until_too_old::<S>(&db).await?;
    let session = db.session();
    let handles = [
        session.clone(),
        session.eventual(),
        db.clone(),
        db.eventual(),
    ];
    for handle in &handles {
        expect("unbounded", handle.get(1).await?, Some(0))?;
        let bounded = handle.max_staleness(BOUND)?;
        expect("bounded", bounded.get(1).await?, Some(7))?;
    }
    let bounded = session.eventual().max_staleness(BOUND)?;
    let only = bounded.preference(Preference::Replica);
    let refused = error(only.get(1).await, "all are too old")?;
    let refusal = refusal(&*refused)?;
    let stale = |why| matches!(why, WhyNot::NotFresh(Some(_)));
    let stale = refusal
        .refusals()
        .iter()
        .filter(|refusal| stale(refusal.why));
    expect("replicas that are too old", stale.count(), 2)?;
    site.resume_all().await?;
    let back = async || {
        bounded.get(1).await.is_ok_and(|version| version == Some(7))
            && last(&session).is_ok_and(|(node, _)| node != "primary")
    };
    check(wait::until(back).await, "it stays on the primary")
}

/// With one replica a second behind and writes going on, no read that is bounded misses what was acknowledged so
/// long before it began. Without a bound they do.
async fn never_older<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().policy(RoundRobin::new());
    let db = S::root(builder.connect().await?);
    site.delay(1, Duration::from_secs(1)).await?;
    let acknowledged = Arc::new(Mutex::new(vec![(Instant::now(), 0)]));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let writer = db.session();
        async move {
            let mut version = 0;
            while !stop.load(Ordering::Relaxed) {
                version += 1;
                let written = writer.set(1, version).await;
                written.map_err(|error| error.to_string())?;
                let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                acknowledged.push((Instant::now(), version));
            }
            Ok::<_, String>(())
        }
    });
    let due = |begun: Instant| {
        let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let before = acknowledged.iter().rev();
        let mut before = before.skip_while(|(at, _)| *at + BOUND > begun);
        before.next().map_or(0, |(_, version)| *version)
    };
    let unbounded = db.eventual();
    let bounded = unbounded.max_staleness(BOUND)?;
    let (mut reads, mut stale) = (0, 0);
    while reads < 300 || stale < 20 {
        let must = due(Instant::now());
        let shown = bounded.get(1).await?.ok_or("the key is gone")?;
        check(
            shown >= must,
            format!("{shown} is shown, and {must} is due"),
        )?;
        reads += 1;
        // Whose turn it is, both replicas have one.
        for _ in 0..2 {
            let must = due(Instant::now());
            let shown = unbounded.get(1).await?.ok_or("the key is gone")?;
            stale += i32::from(shown < must);
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await??;
    let served = site.reads(&db, 2).await?;
    check(served > 0, "no replica served any")
}

async fn bounded_waits<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    db.session().set(1, 7).await?;
    until_too_old::<S>(&db).await?;
    let bounded = db.session().eventual().max_staleness(BOUND)?;
    let patient = bounded.wait_for_fresh(PATIENCE);
    expect("version", meanwhile(site, patient.get(1)).await?, Some(7))?;
    served_by_the_replica(site, &db).await
}

async fn bound_too_short<S: Subject>(site: &Site<S>) -> Result<()> {
    let interval = Duration::from_millis(200);
    let too_short = Duration::from_millis(199);
    let builder = || {
        site.builder()
            .monitor(MonitorSettings::new().interval(interval))
    };
    let db = S::root(builder().max_staleness(interval).connect().await?);
    for handle in [db.session(), db] {
        check(handle.max_staleness(interval).is_ok(), "it can be known")?;
        let stated = handle.max_staleness(too_short).err();
        let configured = builder().max_staleness(too_short).connect().await.err();
        if Site::<S>::server().is_none() {
            // SQLite's readers are always fresh.
            check(stated.is_none() && configured.is_none(), "it can be known")?;
            continue;
        }
        for error in [stated, configured] {
            let error = error.ok_or("it was accepted")?;
            expect("kind", error.kind(), ConfigErrorKind::OutOfRange)?;
            expect("field", error.field(), "max_staleness")?;
            let text = error.to_string();
            check(text.contains("199ms") && text.contains("200ms"), text)?;
        }
    }
    Ok(())
}
