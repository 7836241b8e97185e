//! Routers that meet their nodes with their first statement (contract: `Builder::connect_lazy`).

use std::error::Error;
use std::thread;

use dbrouter::{Builder, ConfigErrorKind, Health, Role, Router};

use super::runtimes::{run, works};
use super::{Handle, Mount, Need, Site, Subject, check, error, expect, refusal};
use crate::{Failure, Result};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{OpensEarly, Servers};
    mount
        .case(
            "a_router_is_made_before_there_is_a_runtime",
            &[],
            before_there_is_a_runtime,
        )
        .case("many_tasks_begin_at_once", &[], many_at_once)
        .case(
            "a_server_that_comes_later_is_used_then",
            &[Servers],
            server_comes_later,
        )
        .case(
            "a_server_that_is_never_there_is_named",
            &[OpensEarly],
            server_is_never_there,
        );
}

async fn before_there_is_a_runtime<S: Subject>(site: &Site<S>) -> Result<()> {
    let replicas = format!("{}, {}", site.url(1), site.url(2));
    let variables = |name: &str| match name {
        "DATABASE_URL" => Some(site.url(0).into()),
        "DATABASE_REPLICA_URLS" => Some(replicas.clone().into()),
        _ => None,
    };
    let work = async |db: &S::Handle, version: i64| -> Result<()> {
        let session = works::<S>(db, version).await?;
        expect("afterwards", session.get(1).await?, Some(version + 1))
    };
    let all = || -> Result<()> {
        check(
            tokio::runtime::Handle::try_current().is_err(),
            "there is a runtime",
        )?;
        let builder = Site::<S>::with_time(Builder::from_variables(S::adapter(), variables));
        let db = S::root(builder.connect_lazy()?);
        let status = db.cluster().status();
        let is_known =
            |node: &dbrouter::NodeStatus| node.role != Role::Unknown || node.health != Health::New;
        check(
            status.unwatched && !status.nodes.iter().any(is_known),
            format!("something is known:\n{status}"),
        )?;
        for version in [10, 20, 30] {
            run::<S, _>(async {
                work(&db, version).await?;
                let status = db.cluster().status();
                check(!status.unwatched, status.to_string())
            })?;
        }
        let status = db.cluster().status();
        let are_well = status.nodes.iter().all(|node| node.failures == 0);
        check(are_well, status.to_string())
    };
    // This one is a runtime's.
    let done = thread::scope(|scope| scope.spawn(all).join());
    done.unwrap_or_else(|_| Err(Failure::new("the thread panicked").into()))
}

async fn many_at_once<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(site.builder().connect_lazy()?);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.session().get(1).await })
        })
        .collect();
    for task in tasks {
        expect("version", task.await??, Some(0))?;
    }
    db.set(1, 1).await?;
    expect("version", db.get(1).await?, Some(1))
}

async fn server_comes_later<S: Subject>(site: &Site<S>) -> Result<()> {
    site.stop(0).await?;
    let db = S::root(site.builder().connect_lazy()?);
    not_connected(db.set(1, 1).await, site.name(0))?;
    site.start(0).await?;
    db.set(1, 1).await?;
    expect("version", db.session().get(1).await?.is_some(), true)?;
    check(!db.cluster().status().unwatched, "nobody watches")
}

async fn server_is_never_there<S: Subject>(_: &Site<S>) -> Result<()> {
    let db = S::root(S::builder().primary(Site::<S>::nowhere()).connect_lazy()?);
    for _ in 0..2 {
        not_connected(db.set(1, 1).await, "primary")?;
        not_connected(db.get(1).await, "primary")?;
    }
    Ok(())
}

/// The statement has failed as `connect` would have, and says so with all causes, and without a password.
fn not_connected<T>(result: Result<T>, name: &str) -> Result<()> {
    let failure = error(result, "a statement without a server")?;
    let refused = refusal(&*failure)?;
    let connect = refused.connect_error().ok_or("it is another refusal")?;
    expect("kind", connect.kind(), ConfigErrorKind::Unreachable)?;
    expect("field", connect.field(), &*format!("{name}.url"))?;
    check(connect.source().is_some(), "the cause is missing")?;
    let mut shown = format!("{failure:?}");
    let mut next: Option<&(dyn Error + 'static)> = Some(&*failure);
    while let Some(error) = next {
        shown = format!("{shown}: {error}");
        next = error.source();
    }
    check(
        shown.contains(&format!("{name}.url")) && !shown.contains("sup3r-secret"),
        shown,
    )
}
