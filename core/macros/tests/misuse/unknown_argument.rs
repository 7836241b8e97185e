#[dbrouter::on_replica(tag = "reports")]
async fn count() -> i64 {
    7
}

fn main() {
    drop(count());
}
