#[dbrouter::on_replica]
fn count() -> i64 {
    7
}

fn main() {
    count();
}
