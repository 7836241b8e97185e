include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

#[derive(QueryableByName)]
struct Order {
    #[diesel(sql_type = diesel::sql_types::Text)]
    #[allow(dead_code)]
    item: String,
}

async fn case(db: Db) -> QueryResult<Vec<Order>> {
    let mut conn = db.strict().read().await?;
    diesel::sql_query("select item from orders").load(&mut conn).await
}
