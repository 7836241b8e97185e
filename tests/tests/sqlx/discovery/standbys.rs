//! `pg_stat_replication`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::discover::{Endpoint, Standbys};
use dbrouter_sqlx::dbrouter::{Admission, ConfigErrorKind};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use dbrouter_tests::{Result, wait};
use sqlx::{AssertSqlSafe, Postgres};
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
            "discovery::after_a_failover_the_promoted_one_is_asked",
            after_failover,
        ),
        on_postgres("discovery::a_subscriber_is_no_standby", subscriber),
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
        let count = || done.load(Ordering::Relaxed);
        let has_failed = || readers.iter().any(JoinHandle::is_finished);
        let reached = wait::until_count(goal, count, has_failed).await;
        check(reached || has_failed(), "the readers came to a halt")
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

/// The old primary comes back as a standby, under a name and at an address that the configuration does not have.
async fn after_failover() -> Result<()> {
    let cluster = visible().await?;
    let [promoted, follower] = cluster.standbys() else {
        return check(false, "not two standbys");
    };
    let ports = [promoted, follower].map(|node| (node.name().to_owned(), node.port()));
    let old_port = cluster.primary().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&seen);
    let source = Standbys::new()
        .every(Duration::from_millis(100))
        .linger(Duration::ZERO)
        .endpoints(move |standby| {
            let name = standby.application_name.as_str();
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(name.to_owned());
            if name == "primary" {
                return Some(Endpoint::host("localhost", Some(old_port)).name("old"));
            }
            let (name, port) = ports.iter().find(|(known, _)| known == name)?;
            Some(Endpoint::host("127.0.0.1", Some(*port)).name(name))
        });
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(source)
        .connect()
        .await?;
    cluster.primary().stop().await?;
    promoted.promote().await?;
    follower.follow(promoted).await?;
    let wrote = async || {
        let update = sqlx::query("update kv set version = 1");
        update.execute(&db).await.is_ok()
    };
    check(wait::until(wrote).await, "the promoted one takes no writes")?;
    cluster.primary().rejoin(promoted).await?;
    let shown = async || {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice: by then the first answer has had its effect.
        seen.iter().filter(|name| *name == "primary").count() >= 2
    };
    check(wait::until(shown).await, "the old primary is not seen")?;
    until_nodes(&db, &["primary", promoted.name(), follower.name()]).await?;
    let status = db.status();
    check(!status.contested, format!("{status}"))?;
    sqlx::query("update kv set version = 2")
        .execute(&db)
        .await?;
    // Who has been promoted is no standby any more, and stays.
    check(
        db.cluster().primary().name().as_ref() == promoted.name(),
        format!("{status}"),
    )
}

/// Logical replication is in the same view.
async fn subscriber() -> Result<()> {
    let builder = Cluster::builder().standbys(1);
    let cluster = builder.setting("wal_level", "logical").start().await?;
    let mut admin = cluster.primary().admin().await?;
    let port = cluster.primary().port();
    for statement in [
        "grant pg_read_all_stats to app",
        "create publication news",
        "select pg_create_logical_replication_slot('reader', 'pgoutput')",
        &format!(
            "create subscription reader connection 'host=127.0.0.1 port={port} user=postgres dbname=app' \
             publication news with (create_slot = false)"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut admin)
            .await?;
    }
    let streams = "select exists (select from pg_stat_replication \
                   where application_name = 'reader' and state = 'streaming')";
    let there = wait::until(async || {
        let row = sqlx::query_scalar::<_, bool>(streams);
        row.fetch_one(&mut admin).await.unwrap_or(false)
    });
    check(there.await, "the subscriber does not stream")?;
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let port = cluster.node(1).port();
    let source = Standbys::new().endpoints(move |standby| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(standby.application_name.clone());
        Some(Endpoint::host("127.0.0.1", Some(port)))
    });
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(source)
        .connect()
        .await?;
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    check(shown == ["standby-1"], format!("{shown:?}"))?;
    drop(db);
    Ok(())
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
