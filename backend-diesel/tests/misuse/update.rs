include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.strict().read().await?;
    let update = diesel::update(orders::table.find(1)).set(orders::item.eq("tea"));
    update.execute(&mut conn).await?;
    Ok(())
}
