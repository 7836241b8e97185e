//! Whatever SeaORM does on its own connection it does on each of the handles, and on a transaction.

use futures_util::TryStreamExt;
use sea_orm::prelude::*;
use sea_orm::sea_query::{Alias, Query};
use sea_orm::{
    AccessMode, DatabaseTransaction, DbBackend, EntityLoaderTrait, IntoActiveModel, IsolationLevel,
    LoaderTrait, MockDatabase, MockExecResult, QueryOrder, Set, SqlErr, SqliteTransactionMode,
    Statement, StreamTrait, TransactionError, TransactionOptions, TransactionSession,
    TransactionTrait,
};

use crate::entities::{named, post, post_tag, profile, tag, user};
use crate::{Result, counts, shop};
use dbrouter_seaorm::{RoutedConnection, Transaction};

/// What generic application code demands of its connection, all at once.
trait Any: ConnectionTrait + StreamTrait + TransactionTrait {}
impl<C: ConnectionTrait + StreamTrait + TransactionTrait> Any for C {}

/// Uses a connection in all of SeaORM's ways.
async fn all_of_it<C: Any>(db: &C, name: &str) -> Result {
    // Active models.
    let inserted = named(name).insert(db).await?;
    let found = user::Entity::find_by_id(inserted.id).one(db).await?;
    assert_eq!(found.as_ref(), Some(&inserted));
    let mut changed = inserted.clone().into_active_model();
    changed.name = Set(format!("{name}!"));
    let changed = changed.update(db).await?;
    assert_eq!(changed.name, format!("{name}!"));
    let saved = named(&format!("{name}-saved")).save(db).await?;
    assert_eq!(saved.delete(db).await?.rows_affected, 1);

    // The ways to insert, update and delete many.
    let many = (0..5).map(|index| named(&format!("{name}-{index}")));
    let last = user::Entity::insert_many(many).exec(db).await?;
    assert!(last.last_insert_id.is_some());
    let returned = user::Entity::insert(named(&format!("{name}-returned")))
        .exec_with_returning(db)
        .await?;
    let updated = user::Entity::update_many()
        .col_expr(user::Column::Name, Expr::value("same"))
        .filter(user::Column::Email.starts_with(format!("{name}-")))
        .exec_with_returning(db)
        .await?;
    assert_eq!(updated.len(), 6);
    assert!(updated.iter().any(|user| user.id == returned.id));
    assert_eq!(returned.delete(db).await?.rows_affected, 1);
    let duplicate = named(name).insert(db).await.err();
    assert!(matches!(
        duplicate.and_then(|error| error.sql_err()),
        Some(SqlErr::UniqueConstraintViolation(_))
    ));

    // Paginator, count, order, stream.
    let mine = || {
        user::Entity::find()
            .filter(user::Column::Email.starts_with(name))
            .order_by_asc(user::Column::Id)
    };
    assert_eq!(mine().count(db).await?, 6);
    let pages = mine().paginate(db, 4);
    assert_eq!(pages.num_pages().await?, 2);
    assert_eq!(pages.fetch_page(1).await?.len(), 2);
    let streamed: Vec<_> = mine().stream(db).await?.try_collect().await?;
    assert_eq!(streamed, mine().all(db).await?);

    // Nested active models, their loader, and loaders of relations.
    let graph = user::ActiveModel::builder()
        .set_name(format!("{name} of posts"))
        .set_email(format!("posts-of-{name}"))
        .set_profile(profile::ActiveModel::builder().set_picture("image.jpg"))
        .add_post(
            post::ActiveModel::builder()
                .set_title("Nice weather")
                .add_tag(tag::ActiveModel::builder().set_name("sunny")),
        )
        .save(db)
        .await?;
    let id = graph.id.unwrap();
    let loaded = user::Entity::load()
        .filter_by_id(id)
        .with(profile::Entity)
        .with((post::Entity, tag::Entity))
        .one(db)
        .await?
        .ok_or("it was saved")?;
    assert_eq!(loaded.posts[0].tags[0].name, "sunny");
    assert_eq!(
        loaded.profile.as_ref().map(|it| it.picture.as_str()),
        Some("image.jpg")
    );
    let author = user::Entity::find_by_id(id).all(db).await?;
    let posts = author.load_many(post::Entity, db).await?;
    let tags = posts[0]
        .load_many_to_many(tag::Entity, post_tag::Entity, db)
        .await?;
    assert_eq!(tags[0][0].name, "sunny");
    let related = author[0].find_related(post::Entity).all(db).await?;
    assert_eq!(related, posts[0]);
    let joined = user::Entity::find_by_id(id)
        .find_with_related(post::Entity)
        .all(db)
        .await?;
    assert_eq!(joined[0].1, related);

    // Raw statements.
    let backend = ConnectionTrait::get_database_backend(db);
    let raw = |sql: &str| Statement::from_sql_and_values(backend, sql, [name.into()]);
    let count = "select count(*) as n from user where email like $1 || '%'";
    let row = db.query_one_raw(raw(count)).await?.ok_or("a count")?;
    assert_eq!(row.try_get::<i64>("", "n")?, 6);
    let rows = db.query_all_raw(raw(count)).await?;
    assert_eq!(rows.len(), 1);
    let none = raw("select 1 from user where email = $1 || 'nobody'");
    assert!(db.query_one_raw(none).await?.is_none());
    let rows: Vec<_> = db.stream_raw(raw(count)).await?.try_collect().await?;
    assert_eq!(rows.len(), 1);
    let executed = db
        .execute_raw(raw(
            "update user set name = 'raw' where email = $1 || '@example.com'",
        ))
        .await?;
    assert_eq!(executed.rows_affected(), 1);
    db.execute_unprepared("update user set name = name; update user set name = name")
        .await?;
    let select = Query::select().expr(Expr::val(1)).to_owned();
    assert!(db.query_one(&select).await?.is_some());

    // Transactions, as closures and by hand, with savepoints.
    let inserted = db
        .transaction(|tx| Box::pin(async move { named("in a closure").insert(tx).await }))
        .await?;
    let failed = db
        .transaction::<_, (), DbErr>(|tx| {
            Box::pin(async move {
                named("rolled back").insert(tx).await?;
                Err(DbErr::Custom("on purpose".to_owned()))
            })
        })
        .await;
    assert!(matches!(failed, Err(TransactionError::Transaction(_))));
    let tx = db.begin().await?;
    named("outer").insert(&tx).await?;
    let savepoint = tx.begin().await?;
    named("inner").insert(&savepoint).await?;
    savepoint.rollback().await?;
    let savepoint = tx.begin().await?;
    inserted.delete(&savepoint).await?;
    savepoint.commit().await?;
    tx.commit().await?;
    let of = |name: &str| user::Entity::find().filter(user::Column::Name.eq(name));
    assert_eq!(of("in a closure").count(db).await?, 0);
    assert_eq!(of("rolled back").count(db).await?, 0);
    assert_eq!(of("inner").count(db).await?, 0);
    let outer = of("outer").one(db).await?.ok_or("it was committed")?;
    outer.delete(db).await?;
    Ok(())
}

#[tokio::test]
async fn the_root_handle() -> Result {
    let (db, _folder) = shop().await?;
    all_of_it(&db, "root").await?;
    let (reads, _) = counts(&db, "readers");
    assert!(reads >= 15, "only {reads} reads went to the readers");
    assert_eq!(db.status().misjudged, 0);
    Ok(())
}

#[tokio::test]
async fn a_session_and_what_it_says() -> Result {
    let (db, _folder) = shop().await?;
    all_of_it(&db.session(), "session").await?;
    let (reads, _) = counts(&db, "readers");
    assert!(reads >= 15, "only {reads} reads went to the readers");
    all_of_it(&db.session().write(), "write").await?;
    assert_eq!(counts(&db, "readers").0, reads);
    all_of_it(&*db, "routed").await?;
    Ok(())
}

#[tokio::test]
async fn a_transaction() -> Result {
    let (db, _folder) = shop().await?;
    let tx = db.begin().await?;
    all_of_it(&tx, "transaction").await?;
    fn of_seaorm(_: &DatabaseTransaction) {}
    of_seaorm(&tx);
    tx.commit().await?;
    assert_eq!(user::Entity::find().count(&db).await?, 7);
    Ok(())
}

/// Tests of applications run on mocks.
#[tokio::test]
async fn a_mock() -> Result {
    let bob = user::Model {
        id: 1,
        name: "bob".to_owned(),
        email: "bob".to_owned(),
    };
    let mock = MockDatabase::new(DbBackend::Postgres)
        .append_query_results([[bob.clone()]])
        .append_exec_results([MockExecResult {
            last_insert_id: 0,
            rows_affected: 1,
        }]);
    let db = RoutedConnection::single(mock.into_connection())?;
    assert!(db.is_mock_connection());
    assert_eq!(user::Entity::find().one(&db).await?, Some(bob.clone()));
    assert_eq!(bob.delete(&db).await?.rows_affected, 1);
    assert_eq!(db.primary().into_transaction_log().len(), 2);
    Ok(())
}

/// Code that was written for `&DatabaseConnection` finds its inherent methods, with all traits in scope.
#[tokio::test]
async fn inherent_methods() -> Result {
    let (db, _folder) = shop().await?;
    let session = db.session();
    assert_eq!(db.get_database_backend(), DbBackend::Sqlite);
    assert_eq!(session.get_database_backend(), DbBackend::Sqlite);
    db.ping().await?;
    let _ = session.get_schema_builder().register(user::Entity);
    let id = session
        .transaction_async(async |tx: &Transaction| {
            let user = named("async").insert(tx).await?;
            Ok::<_, DbErr>(user.id)
        })
        .await?;
    let found = db
        .transaction_with_config_async(
            async |tx: &Transaction| user::Entity::find_by_id(id).one(tx).await,
            Some(IsolationLevel::Serializable),
            Some(AccessMode::ReadOnly),
        )
        .await?;
    assert!(found.is_some());
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let tx = session.begin_with_options(options).await?;
    named("immediate").insert(&tx).await?;
    TransactionSession::rollback(tx).await?;
    let shown = format!("{db:?} {session:?}");
    assert!(shown.contains("RoutedConnection") && shown.contains("Session"));

    let spawned = tokio::spawn({
        let db = db.clone();
        async move { user::Entity::find().all(&db).await }
    });
    assert_eq!(spawned.await??.len(), 1);
    db.clone().close().await?;
    let closed = user::Entity::find().all(&db).await.unwrap_err();
    assert_eq!(
        closed,
        DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::ConnectionClosed)
    );
    Ok(())
}

/// A database without RETURNING: SeaORM inserts, and then selects on the same handle.
struct WithoutReturning<'a, C>(&'a C);

#[async_trait::async_trait]
impl<C: ConnectionTrait> ConnectionTrait for WithoutReturning<'_, C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }
    async fn execute_raw(
        &self,
        statement: Statement,
    ) -> std::result::Result<sea_orm::ExecResult, DbErr> {
        self.0.execute_raw(statement).await
    }
    async fn execute_unprepared(
        &self,
        sql: &str,
    ) -> std::result::Result<sea_orm::ExecResult, DbErr> {
        self.0.execute_unprepared(sql).await
    }
    async fn query_one_raw(
        &self,
        statement: Statement,
    ) -> std::result::Result<Option<sea_orm::QueryResult>, DbErr> {
        assert!(!statement.sql.to_lowercase().contains("returning"));
        self.0.query_one_raw(statement).await
    }
    async fn query_all_raw(
        &self,
        statement: Statement,
    ) -> std::result::Result<Vec<sea_orm::QueryResult>, DbErr> {
        self.0.query_all_raw(statement).await
    }
    fn support_returning(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn inserts_without_returning() -> Result {
    let (db, _folder) = shop().await?;
    let on_root = named("root").insert(&WithoutReturning(&db)).await?;
    let session = db.session();
    let on_session = named("session").insert(&WithoutReturning(&session)).await?;
    assert_eq!((on_root.id, on_session.id), (1, 2));
    assert_eq!(counts(&db, "readers").0, 2, "both were selected there");
    let changed = user::ActiveModel {
        name: Set("changed".to_owned()),
        ..on_root.into_active_model()
    };
    assert_eq!(
        changed.update(&WithoutReturning(&db)).await?.name,
        "changed"
    );
    Ok(())
}

#[tokio::test]
async fn access_control() -> Result {
    use sea_orm::rbac::{Action, RbacAddRoleHierarchy, RbacContext, RbacUserId, Table, schema};

    let (db, _folder) = shop().await?;
    assert!(db.restricted_for(RbacUserId(1)).is_err(), "no rules yet");
    schema::create_tables(&db, schema::RbacCreateTablesParams::default()).await?;
    let mut rules = RbacContext::load(&db).await?;
    rules.add_tables(&db, &["user", "*"]).await?;
    rules.add_crud_permissions(&db).await?;
    rules.add_roles(&db, &["reader", "writer"]).await?;
    rules
        .add_role_permissions(&db, "reader", &["select"], &["user"])
        .await?;
    rules
        .add_role_permissions(&db, "writer", &["insert"], &["user"])
        .await?;
    let above = RbacAddRoleHierarchy {
        super_role: "writer",
        role: "reader",
    };
    rules.add_role_hierarchy(&db, &[above]).await?;
    rules
        .assign_user_role(&db, &[(1, "reader"), (2, "writer")])
        .await?;
    db.load_rbac().await?;

    let session = db.session();
    let reader = session.restricted_for(RbacUserId(1))?;
    let writer = session.restricted_for(RbacUserId(2))?;
    named("ada").insert(&writer).await?;
    assert_eq!(user::Entity::find().count(&reader).await?, 1);
    let decision = session.last_decision().ok_or("it has read")?;
    assert_eq!(&*decision.node, "readers");
    let denied = named("grace").insert(&reader).await.unwrap_err();
    assert!(matches!(denied, DbErr::AccessDenied { .. }), "{denied}");
    let raw = reader.execute_unprepared("delete from user").await;
    assert!(matches!(raw, Err(DbErr::RbacError(_))));
    assert!(!reader.user_can(Action("insert"), Table("user"))?);
    let tx = writer.begin().await?;
    named("grace").insert(&tx).await?;
    let nested = tx.begin().await?;
    let all = Query::delete().from_table(Alias::new("user")).to_owned();
    assert!(matches!(
        nested.execute(&all).await,
        Err(DbErr::AccessDenied { .. })
    ));
    nested.rollback().await?;
    tx.commit().await?;
    assert_eq!(user::Entity::find().count(&reader).await?, 2);
    Ok(())
}
