//! `pg_stat_replication`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::discover::{Endpoint, Standbys};
use dbrouter_sqlx::dbrouter::{Admission, ConfigErrorKind};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use dbrouter_tests::{Result, wait};
use sqlx::Postgres;
use tokio::task::JoinHandle;

use super::{address, names, until_nodes};
use crate::support::{check, cluster, on_postgres, until};

pub(super) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "discovery::standbys_come_and_go_under_load_and_no_read_fails",
            come_and_go,
        ),
        on_postgres(
            "discovery::standbys_say_where_they_are_in_their_names",
            by_name,
        ),
        on_postgres(
            "discovery::standbys_are_not_seen_without_the_privilege",
            without_privilege,
        ),
        on_postgres(
            "discovery::a_primary_without_standbys_is_an_error",
            without_standbys,
        ),
    ]
}

/// A cluster whose standbys the application may see.
async fn visible() -> Result<Cluster> {
    let cluster = cluster().await?;
    let mut admin = cluster.primary().admin().await?;
    sqlx::query("grant pg_read_all_stats to app")
        .execute(&mut admin)
        .await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

/// The standbys of a cluster all of whose servers have one address, under their own names.
fn source(cluster: &Cluster) -> Standbys {
    let ports: HashMap<_, _> = cluster
        .nodes()
        .iter()
        .map(|node| (node.name().to_owned(), node.port()))
        .collect();
    Standbys::new()
        .every(Duration::from_millis(100))
        .linger(Duration::ZERO)
        .endpoints(move |standby| {
            let name = &standby.application_name;
            let port = *ports.get(name)?;
            let host = standby.client_addr.as_deref()?;
            Some(Endpoint::host(host, Some(port)).name(name))
        })
}

/// The primary no longer sends it anything. Otherwise it is as well as before.
async fn cut_off(standby: &Node) -> Result<()> {
    standby.set("primary_conninfo", "").await
}

/// How often this server has read the table for the application.
async fn reads(node: &Node) -> Result<i64> {
    Ok(node.served("kv").await?.reads)
}

async fn come_and_go() -> Result<()> {
    const READ: &str = "select version from kv where id = 1";
    let cluster = visible().await?;
    let [leaves, comes] = cluster.standbys() else {
        return check(false, "not two standbys");
    };
    comes.stop().await?;
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(source(&cluster))
        .connect()
        .await?;
    check(
        names(&db) == ["primary", leaves.name()],
        format!("{:?}", names(&db)),
    )?;

    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..16)
        .map(|reader| {
            let (db, stop, done) = (db.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let session = db.session();
                    for _ in 0..10 {
                        match reader % 2 {
                            0 => sqlx::query(READ).fetch_one(&session).await?,
                            _ => sqlx::query(READ).fetch_one(&db).await?,
                        };
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok::<_, sqlx::Error>(())
            })
        })
        .collect();
    let more = async |wanted: u64| {
        let goal = done.load(Ordering::Relaxed) + wanted;
        let enough = async || {
            done.load(Ordering::Relaxed) >= goal || readers.iter().any(JoinHandle::is_finished)
        };
        check(wait::until(enough).await, "the readers came to a halt")
    };
    more(500).await?;

    // One comes.
    comes.start().await?;
    until_nodes(&db, &["primary", leaves.name(), comes.name()]).await?;
    let came = async || reads(comes).await.is_ok_and(|reads| reads >= 100);
    check(wait::until(came).await, "nobody reads from who has come")?;

    // The other goes, in the middle of somebody's work.
    let mut kept = loop {
        let session = db.session();
        let mut kept = session.begin_read_only().await?;
        let row = sqlx::query_scalar::<_, i32>("select inet_server_port()");
        if row.fetch_one(&mut *kept).await? == i32::from(leaves.port()) {
            break kept;
        }
    };
    cut_off(leaves).await?;
    until(&db, "draining", |status| {
        let node = status.node(leaves.name());
        node.is_some_and(|node| node.admission == Admission::Draining && node.in_flight == 1)
    })
    .await?;
    let before = reads(leaves).await?;
    more(500).await?;
    sqlx::query(READ).fetch_one(&mut *kept).await?;
    kept.commit().await?;
    until_nodes(&db, &["primary", comes.name()]).await?;
    check(
        reads(leaves).await? == before + 1,
        "a replica that was leaving took new work",
    )?;
    leaves.stop().await?;
    more(500).await?;

    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    Ok(())
}

async fn by_name() -> Result<()> {
    let cluster = visible().await?;
    for standby in cluster.standbys() {
        let (port, name) = (cluster.primary().port(), address(standby));
        let conninfo = format!("host=127.0.0.1 port={port} user=postgres application_name={name}");
        standby.set("primary_conninfo", &conninfo).await?;
    }
    let mut admin = cluster.primary().admin().await?;
    let renamed = "select count(*) = 2 from pg_stat_replication \
                   where state = 'streaming' and application_name like '127.0.0.1:%'";
    let all = wait::until(async || {
        let row = sqlx::query_scalar::<_, bool>(renamed);
        row.fetch_one(&mut admin).await.unwrap_or(false)
    });
    check(
        all.await,
        "the standbys do not stream under their new names",
    )?;
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(Standbys::by_application_name())
        .connect()
        .await?;
    let mut wanted = [
        "primary".to_owned(),
        address(cluster.node(1)),
        address(cluster.node(2)),
    ];
    wanted[1..].sort();
    check(names(&db) == wanted, format!("{:?}", names(&db)))
}

async fn without_privilege() -> Result<()> {
    let cluster = cluster().await?;
    let builder = RoutedPool::<Postgres>::builder().primary(cluster.primary().url());
    let connected = builder.discover(source(&cluster)).connect().await;
    let error = connected.map(drop).err().ok_or("it connected")?;
    let text = error.to_string();
    check(error.kind() == ConfigErrorKind::Discovery, &*text)?;
    check(error.field() == "discover", &*text)?;
    check(text.contains("grant it pg_read_all_stats"), text)
}

async fn without_standbys() -> Result<()> {
    let cluster = visible().await?;
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(source(&cluster))
        .connect()
        .await?;
    for standby in cluster.standbys() {
        cut_off(standby).await?;
    }
    until(&db, "told that nobody streams", |status| {
        let discovery = status.discovery.as_ref();
        let error = discovery.and_then(|discovery| discovery.last_error.as_deref());
        error == Some("no standby is connected to the primary")
    })
    .await?;
    // Of the two, one was cut off first, and may have been let go of for that. The last one stays.
    let left = cluster.standbys().iter().any(|standby| {
        let status = db.status();
        let node = status.node(standby.name());
        node.is_some_and(|node| node.admission == Admission::Enabled)
    });
    check(left, format!("{}", db.status()))
}
