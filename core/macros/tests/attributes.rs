//! Functions that are scopes as a whole: what they do, and that they stay what they are otherwise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Display;
use std::sync::Arc;

use dbrouter::policy::RoundRobin;
use dbrouter::{
    Answer, Backend, Cluster, Dialect, Fault, NodeSpec, Pressure, Question, RouteError, Settings,
    Terms, on_primary, on_replica, without_writes,
};

/// A server that shares its storage with all others, and so is always fresh.
#[derive(Clone)]
struct File;

impl Backend for File {
    type Error = RouteError;
    type Connection = ();
    type Probe = ();

    fn refused(refusal: RouteError) -> RouteError {
        refusal
    }

    async fn acquire(&self) -> Result<(), RouteError> {
        Ok(())
    }

    fn pressure(&self) -> Pressure {
        Pressure::default()
    }

    fn fault(_: &RouteError) -> Fault {
        Fault::Other
    }

    async fn open_probe(&self) -> Result<(), RouteError> {
        Ok(())
    }

    async fn ask(_: &mut (), _: &Question) -> Result<Answer, RouteError> {
        Ok([Some("/a/file".to_owned())].into_iter().collect())
    }
}

/// The root handle of a router that reads from its three replicas one after the other.
#[derive(Clone)]
struct Db(Terms<File>);

impl Db {
    async fn connect() -> Self {
        let settings = Settings::new().policy(RoundRobin::new());
        let mut builder =
            Cluster::builder(Dialect::Sqlite, settings).primary(NodeSpec::new(), File);
        for _ in 0..3 {
            builder = builder.replica(NodeSpec::new(), File);
        }
        Self(Terms::new(&builder.connect().await.unwrap()))
    }

    /// The node that serves a read.
    async fn read(&self) -> Result<String, RouteError> {
        let (_, route) = self.0.read().work().acquire().await?;
        Ok(route.node().name().to_string())
    }

    async fn write(&self) -> Result<(), RouteError> {
        self.0.write().work().acquire().await.map(drop)
    }

    #[on_replica]
    async fn two_reads(&self) -> Result<[String; 2], RouteError> {
        Ok([self.read().await?, self.read().await?])
    }

    #[on_primary]
    async fn into_read(mut self, again: bool) -> Result<String, RouteError> {
        self = self.clone();
        if again {
            return self.read().await;
        }
        self.read().await
    }
}

#[tokio::test]
async fn they_are_scopes() {
    let db = Db::connect().await;
    assert_ne!(db.read().await.unwrap(), db.read().await.unwrap());
    for _ in 0..3 {
        let [one, other] = db.two_reads().await.unwrap();
        assert_eq!(one, other);
        assert_ne!(one, "primary");
    }
    for again in [false, true] {
        assert_eq!(db.clone().into_read(again).await.unwrap(), "primary");
    }
    assert_ne!(db.read().await.unwrap(), "primary");
}

#[without_writes]
async fn writes(db: &Db) -> Result<(), RouteError> {
    db.write().await?;
    unreachable!("it is refused")
}

#[tokio::test]
async fn they_forbid_writes() {
    let db = Db::connect().await;
    let refusal = writes(&db).await.unwrap_err();
    assert!(refusal.to_string().contains("writes are forbidden"));
    assert!(db.write().await.is_ok());
}

/// The compiler expands the uppermost first, so that is the innermost scope, which is heard.
#[on_replica]
#[on_primary]
#[without_writes]
async fn all_three(db: &Db) -> (String, bool) {
    (db.read().await.unwrap(), db.write().await.is_err())
}

#[tokio::test]
async fn they_can_be_combined() {
    let (node, refused) = all_three(&Db::connect().await).await;
    assert!(node != "primary" && refused);
}

/// Lifetimes, generics, patterns and `where`, in a function whose caller sees what it returns.
#[on_replica]
async fn longest<'a, T>(db: &Db, (one, other): (&'a T, &'a T), mut count: usize) -> &'a T
where
    T: AsRef<str> + Sync + ?Sized,
{
    db.read().await.unwrap();
    count += 1;
    match one.as_ref().len() + count > other.as_ref().len() {
        true => one,
        false => other,
    }
}

/// An error that is made by `?` from another, and a box made of what is in it.
#[on_replica]
async fn boxed(
    db: &Db,
    number: &str,
) -> Result<Box<dyn Display + Send>, Box<dyn std::error::Error>> {
    db.read().await?;
    if number.is_empty() {
        return Err("no number".into());
    }
    let number: i64 = number.parse()?;
    Ok(Box::new(number))
}

/// A type that has no name.
#[on_primary]
async fn nameless(db: &Db) -> Result<impl Display + use<>, RouteError> {
    if false {
        return Err(db.write().await.unwrap_err());
    }
    db.read().await
}

/// Nothing at all is returned.
#[on_replica]
async fn nothing(db: &Db, stop: bool) {
    if stop {
        return;
    }
    db.read().await.unwrap();
}

#[on_replica(crate = dbrouter)]
async fn named() -> u8 {
    7
}

mod ours {
    pub(crate) mod renamed {
        pub(crate) use dbrouter::scope;
    }
}

#[on_replica(crate = crate::ours::renamed)]
pub(crate) async fn renamed() -> u8 {
    7
}

#[tokio::test]
async fn functions_stay_what_they_are() {
    let db = Db::connect().await;
    assert_eq!(longest(&db, ("a", "bcd"), 0).await, "bcd");
    assert_eq!(boxed(&db, "7").await.unwrap().to_string(), "7");
    assert_eq!(boxed(&db, "").await.err().unwrap().to_string(), "no number");
    assert!(boxed(&db, "x").await.is_err());
    assert_eq!(nameless(&db).await.unwrap().to_string(), "primary");
    nothing(&db, true).await;
    nothing(&db, false).await;
    assert_eq!(named().await + renamed().await, 14);
}

trait Report {
    async fn total(&self) -> String;

    #[on_primary]
    async fn checked(&self) -> String
    where
        Self: Sync,
    {
        self.total().await
    }
}

impl Report for Db {
    #[on_replica]
    async fn total(&self) -> String {
        self.read().await.unwrap()
    }
}

#[tokio::test]
async fn methods_of_traits_may_have_them() {
    let db = Db::connect().await;
    assert_ne!(db.total().await, "primary");
    assert_ne!(db.checked().await, "primary");
}

/// What web frameworks ask of a handler: a function whose future can be sent to another thread and outlives
/// whatever called it.
async fn handle<F, Fut, A, B, R>(handler: F, one: A, other: B) -> R
where
    F: FnOnce(A, B) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    tokio::spawn(handler(one, other)).await.unwrap()
}

#[on_primary]
async fn handler(db: Arc<Db>, id: i64) -> Result<String, RouteError> {
    Ok(format!("{id} on {}", db.read().await?))
}

#[tokio::test]
async fn handlers_may_have_them() {
    let db = Arc::new(Db::connect().await);
    assert_eq!(handle(handler, db, 7).await.unwrap(), "7 on primary");
}
