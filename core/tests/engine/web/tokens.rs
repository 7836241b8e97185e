//! Tokens: where they come from, and what responses say.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_wrote_nothing_is_told_nothing() {
    let site = Site::open().await;
    let written = site.written().await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
        let mut request = request(method);
        let none = visit(&site.other, layer(&site.other), request.clone(), "r").await;
        assert_eq!(none.headers, HeaderMap::new());
        let cookie = HeaderValue::try_from(format!("dbrouter={written}")).unwrap();
        request.headers_mut().insert(COOKIE, cookie);
        let one = visit(&site.other, layer(&site.other), request, "r").await;
        assert_eq!(one.headers, HeaderMap::new());
    }
}

#[tokio::test(start_paused = true)]
async fn who_wrote_is_given_a_cookie_as_documented() {
    let world = Arc::new(World::of(1).await);
    for method in [Method::GET, Method::POST] {
        let visit = visit(&world, layer(&world), request(method), "w").await;
        let text = token(&visit.headers);
        let token: Token = text.parse().unwrap();
        assert!(token.issued().is_some());
        let cookie = visit.headers[SET_COOKIE].to_str().unwrap();
        assert_eq!(
            cookie,
            format!("dbrouter={text}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=62")
        );
        assert_eq!(visit.headers[CACHE_CONTROL], "private");
        assert_eq!(visit.headers.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_request_sees_the_write_in_another_process() {
    let site = Site::open().await;
    let written = site.written().await;
    let cookie = || with(COOKIE, format!("dbrouter={written}"));
    // Without it, it would not: this is what the rest of these tests rest upon.
    let stale = site.reads(layer(&site.other), request(Method::GET)).await;
    assert_eq!(stale, ("replica-1".to_owned(), Reason::Policy));
    let fresh = site.reads(layer(&site.other), cookie()).await;
    assert_eq!(fresh, ("primary".to_owned(), Reason::NotFresh));
    let visit = visit(&site.other, layer(&site.other), cookie(), "rcr").await;
    assert_eq!(visit.nodes(), ["primary", "replica-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_keeps_nobody_from_a_replica() {
    let site = Site::open().await;
    let replayed = site.replayed().await;
    let cookie = with(COOKIE, format!("dbrouter={replayed}"));
    let read = site.reads(layer(&site.other), cookie).await;
    assert_eq!(read, ("replica-1".to_owned(), Reason::Policy));
}

#[tokio::test(start_paused = true)]
async fn of_many_tokens_each_counts() {
    let site = Site::open().await;
    let replayed = site.replayed().await;
    let written = site.written().await;
    let all = |tokens: &[&str]| {
        let cookies = tokens.iter().map(|token| format!("dbrouter={token}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        site.reads(layer(&site.other), with(COOKIE, cookies))
    };
    let [old, new] = [replayed.as_str(), written.as_str()];
    assert_eq!(all(&[old; 3]).await.1, Reason::Policy);
    assert_eq!(all(&[old, old, new]).await.1, Reason::NotFresh);
    assert_eq!(all(&[new, old, old]).await.1, Reason::NotFresh);
    // More than a few are not looked at.
    assert_eq!(all(&[old; 4]).await.1, Reason::NotFresh);
    assert_eq!(all(&[old; 100]).await.1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn reads_are_carried_when_that_is_asked_for() {
    let site = Site::open().await;
    let layer = || layer(&site.world).carry_reads();
    let get = || request(Method::GET);
    assert_eq!(
        visit(&site.world, layer(), get(), "").await.headers,
        HeaderMap::new()
    );
    let read = visit(&site.world, layer(), get(), "r").await.headers;
    let first = token(&read).to_owned();
    // Nothing has happened since, so there is nothing new to say.
    let cookie = || with(COOKIE, format!("dbrouter={first}"));
    let again = visit(&site.world, layer(), cookie(), "r").await.headers;
    assert_eq!(again, HeaderMap::new());
    site.world.primary.commit();
    pass(250).await;
    let again = visit(&site.world, layer(), cookie(), "r").await.headers;
    assert_ne!(token(&again), first);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_needs_the_freshness_of_now() {
    let site = Site::open().await;
    let written = site.written().await;
    let long = "A".repeat(10_000);
    let cut = &written[..written.len() - 1];
    for text in [
        b"".as_slice(),
        b"hello",
        b"\xFF\xFE",
        long.as_bytes(),
        cut.as_bytes(),
    ] {
        let cookie = [b"dbrouter=", text].concat();
        let read = site.reads(layer(&site.other), with(COOKIE, cookie)).await;
        assert_eq!(read.1, Reason::NotFresh, "{}", text.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn the_cookie_is_found_among_others() {
    let site = Site::open().await;
    let written = site.written().await;
    let found = |header: String, also: &'static [u8]| {
        let header = [header.as_bytes(), also].concat();
        site.reads(layer(&site.other), with(COOKIE, header))
    };
    let token = format!("a=1;  dbrouter={written} ;b;;=;dbrouterer=1;c=\"2\"");
    assert_eq!(found(token, b"").await.1, Reason::NotFresh);
    // Some proxies quote; other cookies may hold anything.
    let quoted = format!("dbrouter=\"{written}\"; name=");
    assert_eq!(found(quoted, b"\xC3\x9F\xFF").await.1, Reason::NotFresh);
    let others = "Dbrouter=x; xdbrouter=y; a=dbrouter=z".to_owned();
    assert_eq!(found(others, b"").await.1, Reason::Policy);
    // All of one name count, however many they are.
    let before = Token::UNPLACED;
    let many = vec![format!("dbrouter={before}"); 100].join("; ");
    assert_eq!(found(many, b"").await.1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn a_header_carries_tokens_when_that_is_asked_for() {
    let site = Site::open().await;
    let written = site.written().await;
    let header = || with(HEADER, format!(" {written} "));
    let read = site.reads(layer(&site.other), header()).await;
    assert_eq!(read.1, Reason::Policy);
    let both = || layer(&site.other).header(HEADER).unwrap();
    assert_eq!(site.reads(both(), header()).await.1, Reason::NotFresh);
    let cookie = || with(COOKIE, format!("dbrouter={written}"));
    assert_eq!(site.reads(both(), cookie()).await.1, Reason::NotFresh);
    let alone = || both().without_cookie();
    assert_eq!(site.reads(alone(), header()).await.1, Reason::NotFresh);
    assert_eq!(site.reads(alone(), cookie()).await.1, Reason::Policy);

    let post = || request(Method::POST);
    let set = visit(&site.other, both(), post(), "w").await.headers;
    assert_eq!(set[HEADER], token(&set));
    let set = visit(&site.other, alone(), post(), "w").await.headers;
    assert!(set.contains_key(HEADER) && !set.contains_key(SET_COOKIE));
    assert_eq!(set[CACHE_CONTROL], "private");
    let neither = layer(&site.other).without_cookie();
    let set = visit(&site.other, neither, post(), "w").await.headers;
    assert_eq!(set, HeaderMap::new());
}

#[cfg(feature = "signed")]
#[tokio::test(start_paused = true)]
async fn with_keys_only_signed_tokens_are_believed() {
    use dbrouter::TokenKeys;
    let site = Site::open().await;
    let keys = TokenKeys::new("a key that nobody guesses").unwrap();
    let signing = |world| layer(world).keys(keys.clone());
    let post = request(Method::POST);
    let set = visit(&site.world, signing(&site.world), post, "w").await;
    let signed = token(&set.headers).to_owned();
    assert!(signed.parse::<Token>().is_err());
    assert!(set.headers[SET_COOKIE].len() < 160);
    let unsigned = site.replayed().await;
    for (text, expected) in [(signed, Reason::Policy), (unsigned, Reason::NotFresh)] {
        let cookie = with(COOKIE, format!("dbrouter={text}"));
        let read = site.reads(signing(&site.other), cookie).await;
        assert_eq!(read.1, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_caching_stays_and_is_made_private() {
    let world = Arc::new(World::of(1).await);
    for (said, expected) in [
        (&[][..], &["private"][..]),
        (&["public, max-age=60"], &["public, max-age=60", "private"]),
        (
            &["no-cache", "max-age=0"],
            &["no-cache", "max-age=0", "private"],
        ),
        (&["max-age=5,Private"], &["max-age=5,Private"]),
        (
            &["no-cache", "no-transform, NO-STORE"],
            &["no-cache", "no-transform, NO-STORE"],
        ),
        (
            &["private=\"set-cookie\""],
            &["private=\"set-cookie\"", "private"],
        ),
    ] {
        let db = world.db.clone();
        let service = layer(&world).layer(service_fn(move |request: Request<bool>| {
            let db = db.clone();
            async move {
                if *request.body() {
                    drop(db.route(&Work::write(), &db.current_session()).unwrap());
                }
                let mut response = Response::new(Empty::<&[u8]>::new());
                for said in said {
                    let said = HeaderValue::from_static(said);
                    response.headers_mut().append(CACHE_CONTROL, said);
                }
                Ok::<_, Infallible>(response)
            }
        }));
        for (writes, expected) in [(true, expected), (false, said)] {
            let response = service.clone().oneshot(Request::new(writes)).await.unwrap();
            let values: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(values, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_routers_have_two_cookies() {
    let (one, other) = (World::of(1).await, World::of(1).await);
    let cookie = TokenCookie::new().name("other");
    let layers = ServiceBuilder::new()
        .layer(layer(&one))
        .layer(layer(&other).cookie(cookie).unwrap());
    let (one, other) = (Arc::new(one), Arc::new(other));
    let service = {
        let worlds = [Arc::clone(&one), Arc::clone(&other)];
        layers.service_fn(move |_: Request<()>| {
            for world in &worlds {
                world.write(&world.db.current_session());
            }
            async { Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new())) }
        })
    };
    let response = service.oneshot(Request::new(())).await.unwrap();
    let names: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    let names = names
        .iter()
        .map(|value| value.to_str().unwrap().split('=').next());
    assert_eq!(names.collect::<Vec<_>>(), [Some("other"), Some("dbrouter")]);
    // The root was left in peace.
    assert_eq!(one.read(&one.db.current_session()).1, Reason::Policy);
}
