//! Passwords that change while a router is in use (contracts: `Adapter`, `NodeCredentials`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dbrouter::discover::{Endpoint, Static};
use dbrouter::{Builder, ConfigErrorKind, Credentials, Dialect, Login, LoginTarget, Router};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

use super::{
    Handle, Mount, Need, READ, READS, Site, Subject, Told, WRITES, body, check, error, expect,
    last, until,
};
use crate::server::APP_PASSWORD;
use crate::{Result, wait};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Credentials, Servers};
    mount
        .case(
            "a_password_that_changes_under_load_loses_nothing",
            &[Servers, Credentials],
            changes_under_load,
        )
        .case(
            "without_a_function_a_changed_password_loses_the_promoted_node",
            &[Servers],
            without_a_function,
        )
        .case(
            "a_function_that_fails_is_named",
            &[Servers, Credentials],
            function_fails,
        );
    if S::DATABASE == Dialect::Sqlite {
        mount.case("files_have_no_passwords", &[Credentials], no_passwords);
    }
}

/// The application's password, which the servers have as well but while it is being changed.
#[derive(Clone)]
struct Vault {
    password: Arc<RwLock<String>>,
    /// The nodes that it was asked about.
    asked: Arc<Mutex<BTreeSet<LoginTarget>>>,
}

impl Vault {
    fn new() -> Self {
        Self {
            password: Arc::new(RwLock::new(APP_PASSWORD.to_owned())),
            asked: Arc::default(),
        }
    }

    fn credentials(&self) -> Credentials {
        let vault = self.clone();
        Credentials::new(move |node| {
            let vault = vault.clone();
            let asked = &vault.asked;
            asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(node);
            async move {
                let password = vault.password.read().await;
                std::io::Result::Ok(Login::new(&**password))
            }
        })
    }

    /// Changes it on a primary. Who asks meanwhile waits.
    async fn change<S: Subject>(&self, site: &Site<S>, primary: usize, to: &str) -> Result<()> {
        let mut password = self.password.write().await;
        change(site, primary, to).await?;
        to.clone_into(&mut password);
        Ok(())
    }
}

async fn change<S: Subject>(site: &Site<S>, primary: usize, to: &str) -> Result<()> {
    let change = match S::DATABASE {
        Dialect::Postgres => format!("alter role app password '{to}'"),
        _ => format!("alter user app@'127.0.0.1' identified by '{to}'"),
    };
    site.administer(primary, &change).await
}

/// Over the primary and the first replica, whose URLs have the password of the beginning.
fn router<S: Subject>(site: &Site<S>) -> Builder<S::Adapter> {
    let builder = S::builder().primary(site.node(0)).replica(site.node(1));
    let builder = builder.acquire_limit(super::site::ACQUIRE_LIMIT);
    builder.wait_for_primary(wait::PATIENCE)
}

/// Readers and writers, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start<S: Subject>(site: &Site<S>, db: &S::Handle) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            done: Arc::default(),
            failures: Arc::default(),
            tasks: Vec::new(),
        };
        let writers = i32::try_from(site.writers()).unwrap_or(1);
        for task in 0..writers + 8 {
            let (stop, done) = (Arc::clone(&load.stop), Arc::clone(&load.done));
            let (failures, db) = (Arc::clone(&load.failures), db.clone());
            load.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let session = db.session();
                    let done_one = match task < writers {
                        true => session.set(task + 1, 1).await,
                        false => session.get(task + 1).await.map(drop),
                    };
                    match done_one {
                        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failures
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(in_full(&*error)),
                    }
                }
            }));
        }
        load
    }

    /// Waits until so many more statements have succeeded.
    async fn go_on(&self, more: u64) -> Result<()> {
        let count = || self.done.load(Ordering::Relaxed);
        let over = wait::until_count(count() + more, count, || false).await;
        check(
            over,
            format!("the load stands still: {:?}", self.failures()),
        )
    }

    fn failures(&self) -> Vec<String> {
        let failures = self.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await?;
        }
        Ok(())
    }
}

fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// Whether a server has refused the password.
fn is_of_a_login(text: &str) -> bool {
    text.contains("password") || text.contains("Access denied")
}

/// The first replica takes over, and the router has seen it.
async fn promote<S: Subject>(site: &Site<S>, db: &S::Handle) -> Result<()> {
    site.retire(0, 1).await?;
    site.promote(1).await?;
    until(db, "promoted", |_| {
        **db.cluster().primary().name() == *site.name(1)
    })
    .await
}

async fn changes_under_load<S: Subject>(site: &Site<S>) -> Result<()> {
    site.require_passwords().await?;
    site.show_timelines().await?;
    let (vault, told) = (Vault::new(), Told::default());
    let builder = router(site).credentials(vault.credentials());
    let db = S::root(builder.observer(told.clone()).connect().await?);
    let load = Load::start(site, &db);
    load.go_on(200).await?;
    vault.change(site, 0, "sup3r-secret-2").await?;
    load.go_on(200).await?;
    expect("failures", load.failures(), Vec::new())?;

    // No connection survives, so all are opened with the new password.
    let mut cut = 0;
    for number in 0..=1 {
        cut += site.cut_connections(number).await?;
    }
    load.go_on(400).await?;
    let failures = load.failures();
    check(
        failures.len() <= cut && !failures.iter().any(|text| is_of_a_login(text)),
        format!("{cut} connections were cut: {failures:?}"),
    )?;
    load.stop().await?;

    // Pools are opened anew, for other roles.
    vault.change(site, 0, "sup3r-secret-3").await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    promote(site, &db).await?;
    for version in 2..=6 {
        db.set(1, version).await?;
        expect("version", db.get(1).await?, Some(version))?;
    }
    let write = body(|tx| Box::pin(async { tx.execute(&super::write(7)).await }));
    db.transact(write).await?;

    // Nodes that come later.
    vault.change(site, 1, "sup3r-secret-4").await?;
    site.follow(2, 1).await?;
    site.catch_up_with(2, 1).await?;
    S::add_replica(&db, site.node(2))?;
    super::serves::<S>(&db, site.name(2), 7).await?;
    let source = Static::new([Endpoint::url(site.url(2)).name("found")]);
    let builder = S::builder().primary(site.node(1)).discover(source);
    let builder = builder.credentials(vault.credentials());
    let other = S::root(builder.connect().await?);
    super::serves::<S>(&other, "found", 7).await?;

    let asked = vault
        .asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let names: BTreeSet<_> = asked.iter().map(|node| node.name().to_owned()).collect();
    let named = [site.name(0), site.name(1), site.name(2), "found"];
    expect("nodes", names, named.map(str::to_owned).into())?;
    for node in asked {
        let number = site.number(node.name()).unwrap_or(2);
        let place = (node.host(), node.port());
        expect(
            "place",
            place,
            (Some("127.0.0.1"), Some(site.port(number)?)),
        )?;
    }
    let shown = format!(
        "{:?} {:?} {:?}",
        db.cluster(),
        db.cluster().status(),
        told.about(&[])
    );
    check(
        !shown.contains("sup3r-secret"),
        "something shows a password",
    )?;
    vault.change(site, 1, APP_PASSWORD).await?;
    site.catch_up_with(2, 1).await
}

/// What [`Credentials`] are for: the same as above, and the pool that is opened for the new primary knows the password of
/// the beginning only.
async fn without_a_function<S: Subject>(site: &Site<S>) -> Result<()> {
    site.require_passwords().await?;
    let builder = router(site).wait_for_primary(std::time::Duration::ZERO);
    let db = S::root(builder.connect().await?);
    db.set(1, 1).await?;
    change(site, 0, "sup3r-secret-2").await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    promote(site, &db).await?;
    until(&db, "refused", |status| {
        let shown = status
            .node(site.name(1))
            .and_then(|node| node.last_error.as_deref());
        shown.is_some_and(is_of_a_login)
    })
    .await?;
    error(db.set(1, 2).await, "the new primary takes the old password")?;
    change(site, 1, APP_PASSWORD).await
}

async fn function_fails<S: Subject>(site: &Site<S>) -> Result<()> {
    let failing = Credentials::new(|_| async { Err::<Login, _>("the vault is sealed") });
    let failed = router(site).credentials(failing).connect().await;
    let failed = failed.map(drop).err().ok_or("it connected")?;
    expect("kind", failed.kind(), ConfigErrorKind::Unreachable)?;
    let text = failed.to_string();
    check(text.contains("credentials of \"primary\""), &*text)?;
    check(text.contains("the vault is sealed"), &*text)?;

    // For one node only, that node is like one that cannot be reached.
    let of_the_replica = Credentials::new(|node: LoginTarget| async move {
        match node.name() {
            "primary" => Ok(Login::new(APP_PASSWORD)),
            _ => Err("the vault is sealed"),
        }
    });
    let db = S::root(router(site).credentials(of_the_replica).connect().await?);
    let session = db.session();
    session.query(READS, READ).await?;
    expect("node", last(&session)?.0, "primary".to_owned())?;
    let status = db.cluster().status();
    let shown = status
        .node(site.name(1))
        .and_then(|node| node.last_error.clone());
    check(
        shown.is_some_and(|text| text.contains("sealed")),
        "no error is shown",
    )?;
    db.execute(WRITES, &super::write(1)).await
}

async fn no_passwords<S: Subject>(site: &Site<S>) -> Result<()> {
    let connected = router(site)
        .credentials(Vault::new().credentials())
        .connect()
        .await;
    let failed = error(connected.map(drop).map_err(Into::into), "it has passwords")?;
    let failed = failed
        .downcast_ref::<dbrouter::ConfigError>()
        .ok_or("another error")?;
    expect("kind", failed.kind(), ConfigErrorKind::Credentials)?;
    expect("field", failed.field(), "credentials")
}
