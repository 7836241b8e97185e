include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.strict().read().await?;
    let update = diesel::update(orders::table).set(orders::item.eq("tea"));
    let rows = update.returning(orders::id).load_stream::<i32>(&mut conn).await?;
    drop(rows);
    Ok(())
}
