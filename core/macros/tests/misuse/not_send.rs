use std::rc::Rc;

#[dbrouter::on_replica]
async fn count() -> i64 {
    let here = Rc::new(7);
    std::future::ready(()).await;
    *here
}

fn spawned<F: Future + Send>(_: F) {}

fn main() {
    spawned(count());
}
