//! One router in several runtimes, one after the other, as in a binary whose tests have a runtime each (contract: `Work`).

use std::thread;

use dbrouter::{Dialect, Router};
use tokio::runtime::Builder;

use super::{Handle, Mount, READ, READS, Site, Subject, body, check, expect, last, write};
use crate::{Failure, Result, wait};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    mount.case(
        "a_router_is_used_in_the_next_one_as_in_the_first",
        &[],
        in_the_next_one,
    );
}

/// Runs a future in a runtime of its own, as `#[tokio::test]` does.
pub(super) fn run<S: Subject, T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = match S::DATABASE {
        // Some adapters wait for its work on the thread.
        Dialect::Sqlite => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    builder.enable_all().build()?.block_on(future)
}

/// Writes this version, reads it, and writes the next one in a transaction of the session that is returned.
pub(super) async fn works<S: Subject>(db: &S::Handle, version: i64) -> Result<S::Handle> {
    db.set(1, version).await?;
    expect("on the root handle", db.get(1).await?, Some(version))?;
    let session = db.session();
    let counts = body(move |tx| {
        Box::pin(async move {
            expect("in a transaction", tx.query(READ).await?, version)?;
            tx.execute(&write(version + 1)).await
        })
    });
    session.transact(counts).await?;
    Ok(session)
}

/// launchbadge/sqlx#2881, #531. Connections are dead when their runtime has ended, and so is what asks the servers how far
/// they have come.
async fn in_the_next_one<S: Subject>(site: &Site<S>) -> Result<()> {
    let work = async |db: &S::Handle, version: i64| -> Result<()> {
        let session = works::<S>(db, version).await?;
        // Many at once, so that the pools are left with several connections.
        let read = async || expect("at once", db.query(READS, READ).await?, version + 1);
        tokio::try_join!(read(), read(), read())?;
        let by_a_replica = wait::until(async || {
            let read = session.query(READS, READ).await;
            read.is_ok_and(|read| read == version + 1)
                && last(&session).is_ok_and(|(node, _)| node != "primary")
        });
        check(
            by_a_replica.await,
            format!("no replica serves:\n{}", db.cluster().status()),
        )
    };
    let all = || -> Result<()> {
        let db = run::<S, _>(async {
            let db = site.connect().await?;
            work(&db, 10).await?;
            Ok(db)
        })?;
        for version in [20, 30, 40] {
            let status = db.cluster().status();
            check(status.unwatched, format!("watched by nobody:\n{status}"))?;
            run::<S, _>(work(&db, version))?;
        }
        let status = db.cluster().status();
        let are_well = status.nodes.iter().all(|node| node.failures == 0);
        check(are_well, status.to_string())
    };
    // This one is a runtime's, and there is none within another.
    let done = thread::scope(|scope| scope.spawn(all).join());
    done.unwrap_or_else(|_| Err(Failure::new("the thread panicked").into()))
}
