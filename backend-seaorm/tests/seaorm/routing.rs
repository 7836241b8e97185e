//! What goes where.

use std::error::Error;

use futures_util::TryStreamExt;
use sea_orm::prelude::*;
use sea_orm::sea_query::{LockType, Query};
use sea_orm::{
    AccessMode, DbBackend, EntityTrait, IsolationLevel, QuerySelect, QueryTrait, Statement,
    TransactionTrait,
};

use crate::entities::{named, user};
use crate::{Result, counts, shop};
use dbrouter_seaorm::dbrouter::{
    Classification, Classifier, Intent, Preference, Reason, RouteError, Router, WhyNot,
};
use dbrouter_seaorm::{RoutedConnection, refusal, with_session};

#[tokio::test]
async fn a_session_reads_what_it_wrote() -> Result {
    let (db, _folder) = shop().await?;
    let session = db.session();
    named("ada").insert(&session).await?;
    assert_eq!(session.last_decision().unwrap().reason, Reason::Write);
    assert_eq!(user::Entity::find().count(&session).await?, 1);
    let read = session.last_decision().unwrap();
    assert_eq!((&*read.node, read.intent), ("readers", Intent::Read));
    let tx = session.begin().await?;
    named("grace").insert(&tx).await?;
    assert_eq!(&*tx.decision().unwrap().node, "writer");
    assert!(tx.begin().await?.decision().is_none());
    tx.commit().await?;
    assert_eq!(user::Entity::find().count(&session).await?, 2);
    with_session(&session, async { named("joan").insert(&db).await }).await?;
    assert_eq!(session.last_decision().unwrap().intent, Intent::Write);
    assert!(session.state().needs() > db.session().state().needs());
    assert!(db.last_decision().is_none());
    Ok(())
}

#[tokio::test]
async fn a_read_only_transaction_is_on_a_replica() -> Result {
    let (db, _folder) = shop().await?;
    let session = db.session();
    let tx = session
        .begin_with_config(
            Some(IsolationLevel::Serializable),
            Some(AccessMode::ReadOnly),
        )
        .await?;
    assert_eq!(&*tx.decision().unwrap().node, "readers");
    assert!(named("ada").insert(&tx).await.is_err());
    tx.rollback().await?;
    assert_eq!(
        &*db.begin_read_only().await?.decision().unwrap().node,
        "readers"
    );
    let tx = db
        .begin_with_config(None, Some(AccessMode::ReadWrite))
        .await?;
    assert_eq!(&*tx.decision().unwrap().node, "writer");
    Ok(())
}

/// A classifier that is always wrong about writes.
#[derive(Debug)]
struct Reads;

impl Classifier for Reads {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

/// The type of a statement tells that it writes, even to a classifier that says otherwise; but a caller's word
/// is a caller's word.
#[tokio::test]
async fn typed_writes_are_writes() -> Result {
    let folder = tempfile::tempdir()?;
    let db = RoutedConnection::embedded(folder.path().join("test.db"))
        .classifier(Reads)
        .connect()
        .await?;
    let schema = db.get_schema_registry("seaorm::entities");
    schema.sync(&db.write()).await?;
    named("ada").insert(&db).await?;
    let deleted = user::Entity::delete_many().exec(&db).await?;
    assert_eq!(deleted.rows_affected, 1);
    assert_eq!(db.status().misjudged, 0);
    let refused = named("grace").insert(&db.read()).await.unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
    // The net is under what only the classifier says.
    db.execute_unprepared("delete from user").await?;
    assert_eq!(db.status().misjudged, 1);
    Ok(())
}

#[tokio::test]
async fn queries_that_write_or_lock_are_writes() -> Result {
    let (db, _folder) = shop().await?;
    let locking = user::Entity::find().lock(LockType::Update);
    let sql = locking.build(DbBackend::Postgres).sql;
    let decision = db.explain(&sql)?;
    assert_eq!(decision.intent, Intent::Write, "{sql}");
    let (reads, _) = counts(&db, "readers");
    let function = Query::select()
        .expr(sea_orm::sea_query::Func::cust("last_insert_rowid"))
        .to_owned();
    db.query_one(&function).await?;
    let raw = Statement::from_string(DbBackend::Sqlite, "select changes()");
    db.query_all_raw(raw).await?;
    assert_eq!(counts(&db, "readers").0, reads);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_the_source() -> Result {
    let (db, _folder) = shop().await?;
    db.cluster().disable("writer")?;
    let error = named("ada").insert(&db).await.unwrap_err();
    let refused = refusal(&error).ok_or("it is a refusal")?;
    assert_eq!(refused.intent(), Intent::Write);
    assert!(matches!(refused.refusals()[0].why, WhyNot::Admission(_)));
    assert!(
        error
            .to_string()
            .contains("no node for this write: writer: it is disabled")
    );

    let mut source: Option<&dyn Error> = Some(&error);
    while let Some(error) = source.filter(|error| !error.is::<RouteError>()) {
        source = error.source();
    }
    assert!(source.is_some(), "source() leads to the RouteError");

    assert!(
        db.begin()
            .await
            .is_err_and(|error| refusal(&error).is_some())
    );
    let nowhere = db.preference(Preference::Replica).tag("zone", "moon");
    let error = user::Entity::find().all(&nowhere).await.unwrap_err();
    assert!(refusal(&error).is_some());
    let mut rows = user::Entity::find().stream(&nowhere).await?;
    let error = rows.try_next().await.unwrap_err();
    assert!(refusal(&error).is_some());
    // Nothing is amiss with the readers.
    assert!(user::Entity::find().all(&db).await?.is_empty());
    assert_eq!(Router::status(&db).nodes.len(), 2);
    Ok(())
}
