//! The layer that gives each request a session.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::SessionBody;
use super::carrier::{Carrier, Form};
use super::cookie::TokenCookie;
use super::extension::Sessions;
use super::methods::{Said, UnsafeMethods};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::hold::Hold;
use crate::router::Backend;
use crate::terms::Terms;
use crate::token::Token;
#[cfg(feature = "signed")]
use crate::token::TokenKeys;
use crate::with_session;
use crate::work::BoxFuture;

/// A layer that gives each HTTP request a session: see the [module](super). Adapters' root handles make it
/// (`db.session_layer()`).
///
/// The service inside must be `Clone`, as axum's and hyper's are; its errors and panics pass through.
pub struct SessionLayer<B: Backend> {
    root: Terms<B>,
    rules: Rules,
}

/// What holds for all requests.
#[derive(Clone, Debug)]
struct Rules {
    carrier: Carrier,
    carried: Carried,
    unsafe_methods: UnsafeMethods,
    hold: Option<Hold>,
}

/// What of a session goes into its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    Writes,
    WritesAndReads,
}

impl<B: Backend> SessionLayer<B> {
    /// A layer whose sessions are those of the root handle's router, with the defaults.
    #[must_use]
    pub fn new(root: &Terms<B>) -> Self {
        Self {
            root: root.clone(),
            rules: Rules {
                carrier: Carrier {
                    cookie: Some(TokenCookie::new().with_longest_lag(longest_lag(root))),
                    header: None,
                    form: Form::Unsigned,
                },
                carried: Carried::Writes,
                unsafe_methods: UnsafeMethods::default(),
                hold: None,
            },
        }
    }

    /// The cookie that tokens travel in. Defaults to [`TokenCookie::new`].
    ///
    /// # Errors
    ///
    /// If browsers would refuse it (its name, its domain) or delete it at once (its age).
    pub fn cookie(mut self, cookie: TokenCookie) -> Result<Self, ConfigError> {
        cookie.check()?;
        let cookie = cookie.with_longest_lag(longest_lag(&self.root));
        self.rules.carrier.cookie = Some(cookie);
        Ok(self)
    }

    /// No cookie is read or set. Defaults to [one](Self::cookie).
    #[must_use]
    pub fn without_cookie(mut self) -> Self {
        self.rules.carrier.cookie = None;
        self
    }

    /// A header that tokens travel in as well, such as `x-dbrouter-token`, from service to service: a caller sends on what
    /// it was sent. Defaults to none, since scripts could read it, and a cookie they cannot. A request that has both is
    /// part of both histories.
    ///
    /// # Errors
    ///
    /// If it is no header's name.
    pub fn header(mut self, name: &str) -> Result<Self, ConfigError> {
        let name = HeaderName::try_from(name).map_err(|error| {
            let problem =
                format!("is {name:?}; it must be a header's name, such as x-dbrouter-token");
            ConfigError::new(ConfigErrorKind::Name, "header", problem).with_source(error)
        })?;
        self.rules.carrier.header = Some(name);
        Ok(self)
    }

    /// Tokens are signed, and only signed ones are believed. Defaults to neither: see [`Token`] for the little that a
    /// forged one can do.
    #[cfg(feature = "signed")]
    #[must_use]
    pub fn keys(mut self, keys: TokenKeys) -> Self {
        self.rules.carrier.form = Form::Signed(keys);
        self
    }

    /// A token also carries what the session has *read*, so that reads do not go back in time from one request to the next
    /// either. Defaults to what it wrote: with this, nearly every response sets a cookie (and so is private), and may cost
    /// the router a question.
    #[must_use]
    pub fn carry_reads(mut self) -> Self {
        self.rules.carried = Carried::WritesAndReads;
        self
    }

    /// Where the reads of methods go that are not safe. Defaults to [`UnsafeMethods::PrimaryUntilFresh`].
    #[must_use]
    pub fn unsafe_methods(mut self, rule: UnsafeMethods) -> Self {
        self.rules.unsafe_methods = rule;
        self
    }

    /// For how long a request keeps the replica connection that it reads from, between its statements. Defaults to
    /// what the router's settings say. (Where an ORM's own connections are handed out, as diesel's are, it is about nothing.)
    #[must_use]
    pub fn hold_connection(mut self, hold: Hold) -> Self {
        self.rules.hold = Some(hold);
        self
    }
}

/// For how long after a write a replica that has not replayed it may be in service, while the primary answers, if that
/// is limited.
fn longest_lag<B: Backend>(root: &Terms<B>) -> Option<Duration> {
    let settings = &root.cluster().shared().settings;
    // A lag is measured at the primary's last answer, which may be so old.
    let monitor = &settings.monitor;
    let answer = monitor.interval.saturating_add(monitor.timeout);
    Some(settings.max_lag()?.saturating_add(answer))
}

// Not derived: that would ask for `B: Clone` twice over.
impl<B: Backend> Clone for SessionLayer<B> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl<B: Backend, S> Layer<S> for SessionLayer<B> {
    type Service = SessionService<B, S>;

    fn layer(&self, inner: S) -> SessionService<B, S> {
        SessionService {
            layer: Arc::new(self.clone()),
            inner,
        }
    }
}

impl<B: Backend> fmt::Debug for SessionLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("root", &self.root)
            .field("rules", &self.rules)
            .finish()
    }
}

/// A service within a [`SessionLayer`].
pub struct SessionService<B: Backend, S> {
    layer: Arc<SessionLayer<B>>,
    inner: S,
}

// Not derived: that would ask for `B: Clone`.
impl<B: Backend, S: Clone> Clone for SessionService<B, S> {
    fn clone(&self) -> Self {
        Self {
            layer: Arc::clone(&self.layer),
            inner: self.inner.clone(),
        }
    }
}

impl<B, S, I, O> Service<Request<I>> for SessionService<B, S>
where
    B: Backend,
    S: Service<Request<I>, Response = Response<O>, Future: Send> + Clone + Send + 'static,
    I: Send + 'static,
    O: Body + Send,
{
    type Response = Response<SessionBody<O>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<I>) -> Self::Future {
        // It is this service that is ready; a clone of it need not be.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = Arc::clone(&self.layer);
        let visit = layer.begin(&mut request);
        Box::pin(async move {
            let session = visit.session.state();
            let inside = with_session(session.clone(), async { inner.call(request).await });
            let (mut head, body) = inside.await?.into_parts();
            layer.end(visit, &mut head.headers).await;
            Ok(Response::from_parts(head, SessionBody::new(body, session)))
        })
    }
}

/// A request's session, and the token that it came with.
struct Visit<B: Backend> {
    session: Terms<B>,
    token: Option<Token>,
}

impl<B: Backend> SessionLayer<B> {
    fn begin<I>(&self, request: &mut Request<I>) -> Visit<B> {
        let mut visit: Option<Visit<B>> = None;
        self.rules.carrier.receive(request.headers(), |token| {
            let session = match &visit {
                None => self.root.session_from(&token),
                Some(visit) => {
                    visit.session.observe(&token);
                    visit.session.clone()
                }
            };
            let token = Some(token);
            visit = Some(Visit { session, token });
        });
        let visit = visit.unwrap_or_else(|| Visit {
            session: self.root.session(),
            token: None,
        });
        let state = visit.session.state();
        let by_method = self.rules.unsafe_methods.lean(request.method());
        let extensions = request.extensions_mut();
        let said = extensions.get::<Said>();
        state.lean(said.map_or(by_method, |said| said.0));
        if let Some(hold) = self.rules.hold {
            state.hold_connection(hold);
        }
        extensions.insert(visit.session.clone());
        extensions.get_or_insert_default::<Sessions>().add(state);
        visit
    }

    async fn end(&self, visit: Visit<B>, headers: &mut HeaderMap) {
        let Visit { session, token } = visit;
        let new = match self.rules.carried {
            Carried::Writes => session.token().await,
            Carried::WritesAndReads => session.token_with_reads().await,
        };
        if let Some(new) = new
            && !token.is_some_and(|old| old.says_the_same(&new))
        {
            self.rules.carrier.send(&new, headers);
        }
    }
}

impl<B: Backend, S: fmt::Debug> fmt::Debug for SessionService<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("layer", &self.layer)
            .field("inner", &self.inner)
            .finish()
    }
}
