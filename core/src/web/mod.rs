//! A session for each HTTP request: a `tower` layer, for axum and whatever else is made of services.
//!
//! A user who posts an order and is redirected must see it, although the next request lands in another process and
//! on another replica. With [`SessionLayer`] around the application's handlers that is so, and they need not know of it:
//!
//! * Each request gets a session of its own. It is *ambient*: whatever runs on the root handle is part of it, in the
//!   handler, in what the handler calls, and in the response's body while that is streamed. It ends when the body has
//!   ended or is dropped.
//! * The session begins where an earlier request left off: a [`Token`](crate::Token) comes in a cookie, or in a
//!   header. What cannot be read (forged, cut off, written by another release) costs this request the freshness of now,
//!   and is never an error.
//! * If the request wrote, its response carries a new token. Otherwise nothing is set.
//!
//! ```
//! use dbrouter::web::{SessionLayer, TokenCookie};
//! # use dbrouter::{Backend, ConfigError, Terms};
//! use std::time::Duration;
//!
//! # fn example<B: Backend>(root: &Terms<B>) -> Result<SessionLayer<B>, ConfigError> {
//! // An adapter's handle gives it: `db.session_layer()`.
//! let layer = SessionLayer::new(root)
//!     .cookie(TokenCookie::new().name("shop-seen").max_age(Duration::from_secs(30)))?
//!     .header("x-dbrouter-token")?;
//! # Ok(layer)
//! # }
//! ```
//!
//! # Which reads go where
//!
//! Handlers of methods that are not safe (POST, PUT, PATCH, DELETE, …) usually check before they write, and what they
//! check must not be old. So by default their reads go to the primary until the request has written something, and from
//! then on to a replica as soon as one is proven to show it: see [`UnsafeMethods`]. The reads of safe methods
//! (GET, HEAD, OPTIONS, TRACE) go to replicas, as far as these are fresh enough for the session.
//!
//! [`on_primary`] and [`on_replica`] say otherwise for a route. A handle, a scope or a request that states a preference, or
//! that it accepts any state (`eventual`), is believed in all cases.
//!
//! # What a response says
//!
//! | the request | the response |
//! | --- | --- |
//! | wrote nothing | is not touched |
//! | wrote | `Set-Cookie: dbrouter=…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=62` (or [another](TokenCookie::max_age)) |
//! | | `Cache-Control: private`, unless it says `private` or `no-store` already |
//!
//! The cookie is no secret and no identity; what it says is a position in the database's log. Who takes it, forges it, or
//! deletes it changes what his own reads cost, and how fresh they must be, and nothing else. (To sign it anyway, there is
//! `keys`, with the feature `signed`.)
//!
//! A shared cache (a CDN) that kept such a response would give one user's token to others, and overwrite newer ones.
//! Therefore `private`. It is added to what the application says of caching, which stays; to the response that carries
//! a token only; and nothing is said of caching or `Vary` otherwise: whether a page differs from user to user is the
//! application's knowledge.
//!
//! # What it cannot do
//!
//! * A token is set with the response's head. What a handler writes later, while its body is streamed, is seen by the
//!   session to its end and is in no token. The same holds for tasks that go on after the response.
//! * A task of its own (`tokio::spawn`) is outside of the session; move an extracted one into it.
//! * A handler that panics, and a service that fails, hand over no token: a layer that turns panics or errors into
//!   responses belongs *inside* this one.
//! * Two routers' layers need two cookies, by names of their own.

mod body;
mod carrier;
mod cookie;
mod extension;
mod layer;
mod methods;

pub use body::SessionBody;
pub use cookie::TokenCookie;
pub use extension::{NoSession, session_of};
pub use layer::{SessionLayer, SessionService};
pub use methods::{ReadsLayer, ReadsService, UnsafeMethods, on_primary, on_replica};
