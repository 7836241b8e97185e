include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn writes(_: &mut AsyncPgConnection) -> QueryResult<()> {
    Ok(())
}

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.strict().read().await?;
    writes(&mut conn).await
}
