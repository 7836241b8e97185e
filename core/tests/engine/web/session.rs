//! The session of a request, to the end of the response.

use dbrouter::Hold;

use super::*;

/// Whether two handles are one session: what one needs, the other needs.
fn same(world: &World, one: &SessionState, other: &SessionState) -> bool {
    world.write(one);
    one.needs() == other.needs()
}

#[tokio::test(start_paused = true)]
async fn the_extension_is_the_ambient_session() {
    let world = Arc::new(World::of(1).await);
    let inner = {
        let world = Arc::clone(&world);
        service_fn(move |request: Request<()>| {
            // Already while the service is called, and when its future is polled.
            let ambient = world.db.current_session();
            let extracted = session_of::<Server>(request.extensions());
            let world = Arc::clone(&world);
            async move {
                let session = extracted.unwrap().state();
                assert!(same(&world, &session, &ambient) && !session.is_root());
                assert!(same(&world, &session, &world.db.current_session()));
                Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
            }
        })
    };
    let response = layer(&world).layer(inner).oneshot(Request::new(())).await;
    assert!(response.unwrap().headers().contains_key(SET_COOKIE));
}

#[test]
fn a_missing_layer_is_named() {
    let missing = session_of::<Server>(Request::new(()).extensions()).unwrap_err();
    let message = missing.to_string();
    assert!(message.contains("Server"), "{message}");
    assert!(message.contains(".layer(db.session_layer())"), "{message}");
}

#[cfg(feature = "axum")]
#[test]
fn a_missing_layer_is_the_servers_mistake() {
    use axum_core::response::IntoResponse;
    let missing = session_of::<Server>(Request::new(()).extensions()).unwrap_err();
    assert_eq!(missing.into_response().status(), 500);
}

/// A body that notes at each of its frames whose session it is in.
#[derive(Debug)]
struct Asking {
    db: Cluster<Server>,
    asked: Arc<Mutex<Vec<SessionState>>>,
    frames: usize,
}

impl Body for Asking {
    type Data = &'static [u8];
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Infallible>>> {
        let session = self.db.current_session();
        self.asked.lock().unwrap().push(session);
        let left = self.frames.checked_sub(1);
        Poll::Ready(left.map(|left| {
            self.frames = left;
            Ok(Frame::data(b"frame".as_slice()))
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_lives_until_the_body_ends() {
    let world = Arc::new(World::of(1).await);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (world, asked) = (Arc::clone(&world), Arc::clone(&asked));
        service_fn(move |_: Request<()>| {
            world.write(&world.db.current_session());
            let (db, asked) = (world.db.clone(), Arc::clone(&asked));
            let body = Asking {
                db,
                asked,
                frames: 2,
            };
            async { Ok::<_, Infallible>(Response::new(body)) }
        })
    };
    world.replicas[0].pause();
    let response = layer(&world).layer(handler).oneshot(Request::new(())).await;
    let mut body = response.unwrap().into_body();
    while let Some(frame) = body.frame().await {
        assert_eq!(frame.unwrap().into_data().unwrap(), b"frame");
        assert!(!format!("{body:?}").contains("session: None"));
    }
    assert!(format!("{body:?}").contains("session: None"));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    for session in &*asked {
        // It is the handler's: it needs what that wrote.
        assert_eq!(world.read(session).1, Reason::NotFresh);
        assert!(same(&world, session, &asked[0]) && !session.is_root());
    }
    assert!(world.db.current_session().is_root());
}

#[tokio::test(start_paused = true)]
async fn a_body_is_what_it_was() {
    let world = World::of(1).await;
    let respond = service_fn(async |request: Request<&'static [u8]>| {
        Ok::<_, Infallible>(Response::new(Full::new(request.into_body())))
    });
    for text in [b"".as_slice(), b"hello"] {
        let response = layer(&world).layer(respond).oneshot(Request::new(text));
        let body = response.await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        assert_eq!(body.is_end_stream(), text.is_empty());
        assert_eq!(
            format!("{body:?}").contains("session: None"),
            text.is_empty()
        );
        assert_eq!(body.collect().await.unwrap().to_bytes(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_says_how_long_connections_are_kept() {
    let world = Arc::new(World::of(1).await);
    for (hold, kept) in [(Hold::Never, 0), (Hold::ForLife, 1)] {
        let layer = layer(&world).hold_connection(hold);
        let handler = {
            let world = Arc::clone(&world);
            service_fn(move |_: Request<()>| {
                let world = Arc::clone(&world);
                async move {
                    let work = Terms::new(&world.db).read().work();
                    let read = work.run("select", |_, _| Box::pin(async { Ok(()) }));
                    drop(read.await.unwrap());
                    pass(60_000).await;
                    assert_eq!(world.replicas[0].lent(), kept, "{hold:?}");
                    Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
                }
            })
        };
        let response = layer.layer(handler).oneshot(request(Method::GET)).await;
        drop(response.unwrap());
        assert_eq!(world.replicas[0].lent(), 0);
    }
}
