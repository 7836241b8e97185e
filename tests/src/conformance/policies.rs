//! Which candidate serves: every policy, labels and weights, and a policy of one's own (contract: `Policy`).

use std::collections::BTreeSet;

use dbrouter::policy::{
    LeastInFlight, Policy, Random, Rendezvous, RoundRobin, Sticky, WeightedRandom,
    WeightedRoundRobin,
};
use dbrouter::{Candidates, Reason, Request, Router};

use super::site::ACQUIRE_LIMIT;
use super::{Handle, Mount, READ, READS, Site, Subject, check, error, expect, last, next};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    mount
        .case("random", &[], random)
        .case("weighted_random", &[], weighted_random)
        .case("round_robin", &[], round_robin)
        .case("weighted_round_robin", &[], weighted_round_robin)
        .case("least_in_flight", &[], least_in_flight)
        .case("rendezvous", &[], rendezvous)
        .case("sticky", &[], sticky)
        .case("ones_own", &[], ones_own)
        .case("a_closure_may_decline", &[], may_decline)
        .case("a_wrong_index_does_no_harm", &[], wrong_index)
        .case("labels_are_demanded", &[], labels_are_demanded)
        .case("all_labels_must_match", &[], all_labels_must_match)
        .case(
            "a_label_that_nobody_has_leaves_the_primary",
            &[],
            label_that_nobody_has,
        )
        .case("a_weight_of_zero_is_never_read", &[], weight_of_zero)
        .case("weights_change_at_run_time", &[], weights_change);
}

/// The reads on the two replicas after so many by a policy.
async fn shares<S: Subject>(
    site: &Site<S>,
    policy: impl Policy,
    weights: [u32; 2],
    reads: i64,
) -> Result<[i64; 2]> {
    let mut builder = S::builder().primary(site.node(0)).policy(policy);
    builder = builder.acquire_limit(ACQUIRE_LIMIT);
    for (replica, weight) in (1..).zip(weights) {
        builder = builder.replica(site.node(replica).weight(weight));
    }
    let db = S::root(builder.connect().await?);
    for _ in 0..reads {
        db.query(READS, READ).await?;
    }
    let shares = [site.reads(&db, 1).await?, site.reads(&db, 2).await?];
    expect("reads on the replicas", shares[0] + shares[1], reads)?;
    Ok(shares)
}

async fn random<S: Subject>(site: &Site<S>) -> Result<()> {
    let [one, two] = shares(site, Random::seeded(7), [1, 1], 100).await?;
    check(one > 25 && two > 25, format!("{one} and {two} of 100"))
}

async fn weighted_random<S: Subject>(site: &Site<S>) -> Result<()> {
    let [one, two] = shares(site, WeightedRandom::seeded(7), [1, 4], 100).await?;
    check(
        one > 5 && two > 60,
        format!("{one} and {two} of 100, at weights 1 and 4"),
    )
}

async fn round_robin<S: Subject>(site: &Site<S>) -> Result<()> {
    let shares = shares(site, RoundRobin::new(), [1, 4], 40).await?;
    expect("shares", shares, [20, 20])
}

async fn weighted_round_robin<S: Subject>(site: &Site<S>) -> Result<()> {
    let shares = shares(site, WeightedRoundRobin::new(), [1, 3], 40).await?;
    expect("shares", shares, [10, 30])
}

async fn least_in_flight<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(
        site.builder()
            .policy(LeastInFlight::new())
            .connect()
            .await?,
    );
    // A stream that is held open keeps its replica busier than the other one.
    let busy = db.session();
    let mut rows = busy.stream(READS, "select version from kv");
    next(&mut rows).await.ok_or("no row")??;
    let (taken, _) = last(&busy)?;
    for _ in 0..10 {
        let session = db.session();
        session.query(READS, READ).await?;
        check(
            last(&session)?.0 != taken,
            format!("read on {taken}, which is busy"),
        )?;
    }
    drop(rows);
    Ok(())
}

async fn rendezvous<S: Subject>(site: &Site<S>) -> Result<()> {
    let connect = async || -> Result<S::Handle> {
        Ok(S::root(
            site.builder().policy(Rendezvous::new()).connect().await?,
        ))
    };
    // Two routers, as in two processes: the same key goes to the same replica.
    let (one, two) = (connect().await?, connect().await?);
    let mut used = BTreeSet::new();
    for key in 0..16 {
        let mut nodes = BTreeSet::new();
        for db in [&one, &two, &one] {
            let session = db.session().key(&format!("customer-{key}"));
            session.query(READS, READ).await?;
            nodes.insert(last(&session)?.0);
        }
        expect("nodes of one key", nodes.len(), 1)?;
        used.append(&mut nodes);
    }
    expect("nodes of all keys", used.len(), 2)
}

async fn sticky<S: Subject>(site: &Site<S>) -> Result<()> {
    let policy = Sticky::new(RoundRobin::new());
    let db = S::root(site.builder().policy(policy).connect().await?);
    let mut homes = BTreeSet::new();
    for _ in 0..4 {
        let session = db.session();
        session.query(READS, READ).await?;
        let (home, reason) = last(&session)?;
        expect("first read", reason, Reason::Policy)?;
        for _ in 0..5 {
            session.query(READS, READ).await?;
            expect(
                "later reads",
                last(&session)?,
                (home.clone(), Reason::Sticky),
            )?;
        }
        homes.insert(home);
    }
    expect("homes of four sessions", homes.len(), 2)
}

async fn ones_own<S: Subject>(site: &Site<S>) -> Result<()> {
    let wanted = site.name(2).to_owned();
    let policy = move |candidates: Candidates<'_>, _: &Request| {
        candidates.iter().position(|node| node.name() == wanted)
    };
    let db = S::root(site.builder().policy(policy).connect().await?);
    for _ in 0..10 {
        db.query(READS, READ).await?;
    }
    expect("reads on the chosen one", site.reads(&db, 2).await?, 10)
}

async fn may_decline<S: Subject>(site: &Site<S>) -> Result<()> {
    let policy = |_: Candidates<'_>, _: &Request| None;
    let db = S::root(site.builder().policy(policy).connect().await?);
    let session = db.session();
    session.query(READS, READ).await?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::PolicyDeclined),
    )
}

async fn wrong_index<S: Subject>(site: &Site<S>) -> Result<()> {
    let policy = |_: Candidates<'_>, _: &Request| Some(1_000_000);
    let db = S::root(site.builder().policy(policy).connect().await?);
    expect("version", db.query(READS, READ).await?, 0)?;
    expect("reads on the first replica", site.reads(&db, 1).await?, 1)?;
    expect("counted", db.cluster().status().policy_out_of_range, 1)
}

async fn labelled<S: Subject>(site: &Site<S>) -> Result<S::Handle> {
    let builder = S::builder()
        .primary(site.node(0))
        .replica(site.node(1).tag("zone", "a").tag("for", "web"))
        .replica(site.node(2).tag("zone", "a").tag("for", "reports"))
        .policy(RoundRobin::new())
        .acquire_limit(ACQUIRE_LIMIT);
    Ok(S::root(builder.connect().await?))
}

async fn labels_are_demanded<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = labelled(site).await?;
    for _ in 0..10 {
        db.tag("for", "reports").query(READS, READ).await?;
    }
    expect("reads on the labelled one", site.reads(&db, 2).await?, 10)
}

async fn all_labels_must_match<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = labelled(site).await?;
    for _ in 0..10 {
        db.tag("zone", "a")
            .tag("for", "web")
            .query(READS, READ)
            .await?;
    }
    expect("reads on the one with both", site.reads(&db, 1).await?, 10)
}

async fn label_that_nobody_has<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = labelled(site).await?;
    let session = db.session().tag("zone", "b");
    session.query(READS, READ).await?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::NoReplica),
    )?;
    let only = session.preference(dbrouter::Preference::Replica);
    let refused = error(only.query(READS, READ).await, "no such label")?;
    let refused = super::refusal(&*refused)?.to_string();
    check(refused.contains("lacks a demanded label"), refused)
}

async fn weight_of_zero<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder()
        .primary(site.node(0))
        .replica(site.node(1).weight(0))
        .replica(site.node(2))
        .acquire_limit(ACQUIRE_LIMIT);
    let db = S::root(builder.policy(RoundRobin::new()).connect().await?);
    for _ in 0..10 {
        db.session().query(READS, READ).await?;
    }
    expect("reads at weight zero", site.reads(&db, 1).await?, 0)?;
    // Rather the primary than that one.
    db.cluster().disable(site.name(2))?;
    db.query(READS, READ).await?;
    expect("reads on the primary", site.reads(&db, 0).await?, 1)
}

async fn weights_change<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(
        site.builder()
            .policy(WeightedRoundRobin::new())
            .connect()
            .await?,
    );
    db.cluster().set_weight(site.name(1), 0)?;
    for _ in 0..10 {
        db.query(READS, READ).await?;
    }
    expect("reads on the other", site.reads(&db, 2).await?, 10)?;
    let wrong = db.cluster().set_weight(site.name(2), 0).map_err(Into::into);
    let wrong = error(wrong, "all weights are zero")?.to_string();
    check(wrong.contains("replicas.weight"), wrong)
}
