include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<usize> {
    db.read_only_transaction(async |conn| {
        let delete = diesel::delete(orders::table);
        delete.execute(conn).await
    })
    .await
}
