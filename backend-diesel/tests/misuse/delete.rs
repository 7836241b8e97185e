include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.strict().read().await?;
    diesel::delete(orders::table.find(1)).execute(&mut conn).await?;
    Ok(())
}
