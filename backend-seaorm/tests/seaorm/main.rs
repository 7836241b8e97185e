//! What the SeaORM adapter promises, on SQLite: no server is needed.

mod configuration;
mod drop_in;
mod entities;
mod migrations;
mod routing;

use dbrouter_seaorm::RoutedConnection;
use tempfile::TempDir;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A router over one file, and the folder that it is in.
async fn embedded() -> Result<(RoutedConnection, TempDir)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("test.db");
    let db = RoutedConnection::embedded(file).connect().await?;
    Ok((db, folder))
}

/// The same with the tables of the entities.
async fn shop() -> Result<(RoutedConnection, TempDir)> {
    let (db, folder) = embedded().await?;
    db.get_schema_registry("seaorm::entities").sync(&db).await?;
    Ok((db, folder))
}

/// How many reads and writes a node has had.
fn counts(db: &RoutedConnection, node: &str) -> (u64, u64) {
    let status = db.status();
    let node = status.nodes.iter().find(|status| status.name == node);
    node.map_or((0, 0), |node| (node.reads, node.writes))
}
