//! Migrations and schema sync go to the primary, and are read at once.

use sea_orm::prelude::*;
use sea_orm::{
    ActiveValue::Set, Database, DatabaseExecutor, EntityTrait, IntoActiveModel, TransactionTrait,
};
use sea_orm_migration::prelude::{
    DeriveMigrationName, MigrationName, MigrationTrait, MigratorTrait, SchemaManager,
};

use crate::entities::{named, user};
use crate::{Result, embedded, shop};
use dbrouter_seaorm::RoutedConnection;

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Users), Box::new(Rows)]
    }
}

#[derive(DeriveMigrationName)]
struct Users;

#[async_trait::async_trait]
impl MigrationTrait for Users {
    async fn up(&self, manager: &SchemaManager) -> std::result::Result<(), DbErr> {
        let schema = sea_orm::Schema::new(manager.get_database_backend());
        manager
            .create_table(schema.create_table_from_entity(user::Entity))
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> std::result::Result<(), DbErr> {
        let table = sea_orm_migration::prelude::Table::drop()
            .table(user::Entity)
            .to_owned();
        manager.drop_table(table).await
    }
}

struct Rows;

impl MigrationName for Rows {
    fn name(&self) -> &str {
        "rows"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Rows {
    async fn up(&self, manager: &SchemaManager) -> std::result::Result<(), DbErr> {
        let tx = manager.get_connection().begin().await?;
        named("ada").insert(&tx).await?;
        tx.commit().await
    }

    async fn down(&self, _: &SchemaManager) -> std::result::Result<(), DbErr> {
        Ok(())
    }
}

#[tokio::test]
async fn migrations_run_on_the_primary_and_are_read() -> Result {
    let (db, _folder) = embedded().await?;
    Migrator::up(&db, None).await?;
    assert_eq!(user::Entity::find().count(&db).await?, 1);
    assert!(Migrator::get_pending_migrations(&db).await?.is_empty());
    let session = db.session();
    Migrator::down(&session, None).await?;
    Migrator::up(&session.tag("any", "handle"), None).await?;
    assert_eq!(user::Entity::find().count(&session).await?, 1);
    let tx = db.begin().await?;
    assert!(DatabaseExecutor::from(&tx).is_transaction());
    assert_eq!(Migrator::get_applied_migrations(&tx).await?.len(), 2);
    Ok(())
}

/// What is in memory is in one place: no second pool leads there.
#[tokio::test]
async fn a_database_in_memory_can_be_migrated() -> Result {
    let db = RoutedConnection::single(Database::connect("sqlite::memory:").await?)?;
    Migrator::fresh(&db).await?;
    assert_eq!(user::Entity::find().count(&db).await?, 1);
    Ok(())
}

#[tokio::test]
async fn schema_sync_adds_what_is_missing() -> Result {
    let (db, _folder) = shop().await?;
    named("ada").insert(&db).await?;
    let session = db.session();
    session
        .get_schema_builder()
        .register(user::Entity)
        .sync(&session)
        .await?;
    let tx = session.begin().await?;
    let again = sea_orm::Schema::new(tx.get_database_backend()).builder();
    again.register(user::Entity).sync(&tx).await?;
    let ada = user::Entity::find().one(&tx).await?.ok_or("she is there")?;
    tx.commit().await?;
    let mut ada = ada.into_active_model();
    ada.name = Set("lovelace".to_owned());
    assert_eq!(ada.update(&db).await?.name, "lovelace");
    Ok(())
}
