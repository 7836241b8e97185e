//! The service itself: errors, panics, readiness.

use super::*;

#[tokio::test(start_paused = true)]
async fn errors_and_panics_pass_through() {
    let world = World::of(1).await;
    let fail = service_fn(async |_: Request<()>| Err::<Response<Empty<&[u8]>>, _>("no"));
    let service = layer(&world).layer(fail);
    assert_eq!(service.oneshot(Request::new(())).await.unwrap_err(), "no");

    async fn oops(_: Request<()>) -> Result<Response<Empty<&'static [u8]>>, Infallible> {
        panic!("oops")
    }
    let mut panicking = Box::pin(
        layer(&world)
            .layer(service_fn(oops))
            .oneshot(Request::new(())),
    );
    let poll = |cx: &mut Context<'_>| {
        let poll = AssertUnwindSafe(|| panicking.as_mut().poll(cx).map(drop));
        Poll::Ready(std::panic::catch_unwind(poll))
    };
    let panic = std::future::poll_fn(poll).await.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"oops"));
    assert!(world.db.current_session().is_root());
}

/// A service of which only the one that was asked is ready.
#[derive(Debug, Default)]
struct Exact {
    ready: bool,
}

impl Clone for Exact {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<()>> for Exact {
    type Response = Response<Empty<&'static [u8]>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "it was not ready");
        std::future::ready(Ok(Response::new(Empty::new())))
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_that_is_called_is_the_one_that_is_ready() {
    let world = World::of(1).await;
    let mut service = ServiceBuilder::new()
        .layer(layer(&world))
        .layer(on_primary())
        .service(Exact::default());
    for _ in 0..3 {
        let ready = service.ready().await.unwrap();
        ready.call(Request::new(())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_goes_wherever_services_go() {
    fn goes_anywhere<T: Clone + Send + Sync + 'static>(thing: T) -> T {
        thing
    }
    let world = World::of(1).await;
    let layer = goes_anywhere(layer(&world));
    goes_anywhere(layer.layer(Exact::default()));
    goes_anywhere(on_replica());
}
