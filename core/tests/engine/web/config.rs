//! Cookies and headers as configured, and what is refused.

use dbrouter::NodeSpec;

use super::*;

#[tokio::test(start_paused = true)]
async fn cookies_are_as_configured() {
    let world = Arc::new(World::of(1).await);
    let set = async |cookie: TokenCookie| {
        let layer = layer(&world).cookie(cookie).unwrap();
        let visit = visit(&world, layer, request(Method::POST), "w").await;
        let cookie = visit.headers[SET_COOKIE].to_str().unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        (
            pair.split('=').next().unwrap().to_owned(),
            attributes.to_owned(),
        )
    };
    let (name, attributes) = set(TokenCookie::new().insecure()).await;
    assert_eq!(name, "dbrouter");
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=62");
    let cookie = TokenCookie::new()
        .name("__Secure-seen")
        .domain("shop.example")
        .max_age(Duration::from_millis(2500));
    let (name, attributes) = set(cookie).await;
    assert_eq!(name, "__Secure-seen");
    assert_eq!(
        attributes,
        "HttpOnly; SameSite=Lax; Secure; Path=/; Domain=shop.example; Max-Age=2"
    );
}

/// Longer than a replica that serves reads may lag, nobody needs a token.
#[tokio::test(start_paused = true)]
async fn cookies_are_kept_as_long_as_they_are_needed() {
    let millis = Duration::from_millis;
    for (bound, age) in [
        (millis(100), 2),
        (millis(900), 2),
        (millis(901), 3),
        (millis(3_600_000), 3602),
        (Duration::MAX, 60),
    ] {
        let settings = settings().max_staleness(bound);
        let world = Arc::new(World::with(settings, vec![NodeSpec::new()]).await);
        let layers = [
            layer(&world),
            layer(&world).cookie(TokenCookie::new()).unwrap(),
        ];
        for layer in layers {
            let visit = visit(&world, layer, request(Method::POST), "w").await;
            let cookie = visit.headers[SET_COOKIE].to_str().unwrap();
            assert!(cookie.ends_with(&format!("; Max-Age={age}")), "{cookie}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_browsers_would_refuse_is_refused() {
    let world = World::of(1).await;
    let cookie = TokenCookie::new;
    let seconds = Duration::from_secs;
    let name = "a cookie's name consists of letters, digits and !#$%&'*+-.^_`|~";
    let age = "it must be a second at least, and 34560000s at most";
    for (cookie, expected) in [
        (cookie().name(""), format!("cookie.name: is \"\"; {name}")),
        (
            cookie().name("a;b"),
            format!("cookie.name: is \"a;b\"; {name}"),
        ),
        (
            cookie().name("__Host-a").insecure(),
            "cookie.name: is \"__Host-a\", which browsers only accept with `Secure`".to_owned(),
        ),
        (
            cookie().name("__Host-a").domain("a.b"),
            "cookie.name: is \"__Host-a\", which browsers only accept without a domain".to_owned(),
        ),
        (
            cookie().domain("a; Path=/b"),
            "cookie.domain: is \"a; Path=/b\"; it must be a domain, such as shop.example"
                .to_owned(),
        ),
        (
            cookie().max_age(seconds(0)),
            format!("cookie.max_age: is 0ns; {age}"),
        ),
        (
            cookie().max_age(Duration::from_millis(999)),
            format!("cookie.max_age: is 999ms; {age}"),
        ),
        (
            cookie().max_age(Duration::MAX),
            format!("cookie.max_age: is {:?}; {age}", Duration::MAX),
        ),
    ] {
        let error = layer(&world).cookie(cookie).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for cookie in [cookie().name("__Host-a"), cookie().max_age(seconds(1))] {
        assert!(layer(&world).cookie(cookie).is_ok());
    }
    let error = layer(&world).header("two words").unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Name);
    assert_eq!(
        error.to_string(),
        "header: is \"two words\"; it must be a header's name, such as x-dbrouter-token (cause: invalid HTTP header name)"
    );
}
