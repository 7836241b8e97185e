//! A PgBouncer before each node, which lends connections for a session or for one transaction at a time (contracts: `Backend`,
//! `Adapter`).

use dbrouter::NodeOptions;

use super::{
    Handle, Mount, Need, READ, READS, Site, Subject, body, check, error, expect, last, until, write,
};
use crate::pgbouncer::{Lends, PgBouncer};
use crate::{Result, harness, wait};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    for (lends, mode) in [
        (Lends::Sessions, "session"),
        (Lends::Transactions, "transaction"),
    ] {
        for (ignored, options) in [
            ("extra_float_digits, options", "takes"),
            ("extra_float_digits", "refuses"),
        ] {
            let name = format!("in_{mode}_mode_that_{options}_options_is_seen_through");
            let needs = [Need::Postgres, Need::ReadOnlyTransactions, Need::Poolers];
            let body = async move |site: &Site<S>| seen_through(site, lends, ignored).await;
            let case = mount.make(&name, &needs, body);
            mount.cases.push(case.needs(harness::Need::PgBouncer));
        }
    }
}

/// The node behind a pooler, which lets in clients that give the startup parameters it is to ignore, and heeds none.
async fn behind_a_pooler<S: Subject>(
    site: &Site<S>,
    number: usize,
    lends: Lends,
    ignored: &str,
) -> Result<(NodeOptions<S::Adapter>, PgBouncer)> {
    let pooler = PgBouncer::builder(lends).setting("ignore_startup_parameters", ignored);
    let (pooler, parameter) = match (lends, S::without_statement_cache()) {
        (Lends::Sessions, _) => (pooler, ""),
        // What one client has prepared on a connection the next one must not find there: they use the same names.
        (Lends::Transactions, Some(parameter)) => {
            (pooler.setting("server_reset_query_always", "1"), parameter)
        }
        // A client that uses a statement again must be lent the connection on which it has prepared that.
        (Lends::Transactions, None) => (pooler.setting("default_pool_size", "1"), ""),
    };
    let pooler = pooler.start(site.port(number)?).await?;
    let url = format!("{}{parameter}", pooler.url());
    Ok((NodeOptions::new(url).name(site.name(number)), pooler))
}

/// Changes the version. A connection that is lent for a transaction does not know what was prepared before that.
async fn set<S: Subject>(session: &S::Handle, version: i64, lends: Lends) -> Result<()> {
    match lends {
        Lends::Sessions => session.set(1, version).await,
        Lends::Transactions => {
            let write = body(move |tx| Box::pin(async move { tx.execute(&write(version)).await }));
            session.transact(write).await
        }
    }
}

/// Reads that version.
async fn reads<S: Subject>(session: &S::Handle, version: i64, lends: Lends) -> Result<()> {
    match lends {
        Lends::Sessions => expect("the version", session.get(1).await?, Some(version)),
        Lends::Transactions => {
            let read = body(move |tx| {
                Box::pin(async move { expect("the version", tx.query(READ).await?, version) })
            });
            session.read_only(read).await
        }
    }
}

async fn seen_through<S: Subject>(site: &Site<S>, lends: Lends, ignored: &str) -> Result<()> {
    let (primary, _before) = behind_a_pooler(site, 0, lends, ignored).await?;
    let (replica, _behind) = behind_a_pooler(site, 1, lends, ignored).await?;
    let builder = S::builder().primary(primary).replica(replica);
    let db = S::root(builder.wait_for_primary(wait::PATIENCE).connect().await?);

    // A session reads its own writes, and on the replica.
    let session = db.session();
    let patient = session.wait_for_fresh(wait::PATIENCE);
    for version in 1..=20 {
        set::<S>(&session, version, lends).await?;
        reads::<S>(&patient, version, lends).await?;
        expect("the node", &*last(&patient)?.0, site.name(1))?;
    }
    let refused = match lends {
        Lends::Sessions => patient.execute(READS, &write(-1)).await,
        Lends::Transactions => {
            let write = body(|tx| Box::pin(async move { tx.execute(&write(-1)).await }));
            patient.read_only(write).await
        }
    };
    let refused = error(refused, "a replica took a write")?.to_string();
    check(refused.contains("read-only transaction"), refused)?;

    // The pooler's connections to the node that is promoted have been a replica's.
    site.catch_up(1).await?;
    site.stop(0).await?;
    site.promote(1).await?;
    until(&db, "promoted", |_| {
        **db.cluster().primary().name() == *site.name(1)
    })
    .await?;
    for version in 21..=70 {
        set::<S>(&session, version, lends).await?;
    }
    let read = body(|tx| Box::pin(async move { expect("at last", tx.query(READ).await?, 70) }));
    session.transact(read).await
}
