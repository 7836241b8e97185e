//! The engine of `dbrouter`: reads go to replicas, writes to the primary, and no session ever sees
//! time go back.
//!
//! This crate names no ORM and opens no socket. An application uses an adapter, such as
//! `dbrouter-sqlx`, which re-exports it; this crate is for those who write a [`policy`], a
//! [`Classifier`] or an adapter of their own.
//!
//! # The one idea
//!
//! Every guarantee is a comparison of two instants of one monotonic clock. Each node has the instant
//! as of which it is *fresh*: every write acknowledged to anyone before then is visible on it. Each
//! session has the instant as of which a node must be fresh to serve it, which its own writes and reads
//! move. A replica is a candidate if and only if the first is not before the second: one atomic load,
//! one comparison, and no round trip on any request.
//!
//! # The parts
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Cluster`] | the engine: nodes, settings, sessions, and the monitor that watches the nodes |
//! | [`Router`], [`Backend`] | what an adapter offers, and what it writes |
//! | [`policy`] | which of the candidates serves a read |
//! | [`Terms`], [`Work`] | what an adapter's handles consist of, and how their work finds its nodes |
//! | [`SessionState`] | one unit of work: what it must see, and the replica it stays with |
//! | [`Token`] | what a session must see, in a form that travels |
//! | [`Request`], [`Route`] | what a piece of work asks for, and the place it is given |
//! | [`Decision`], [`RouteError`] | why it went there, and why it could not go anywhere |
//! | [`Status`] | a snapshot to print, serialise or alert on |
//!
//! # Features
//!
//! * `axum`: sessions are axum's extractors, in all adapters; and `tower`.
//! * `builder`: `Builder`, the configuration that all adapters share, and `discover`, where nodes come from that
//!   nobody lists.
//! * `macros`: `on_replica`, `on_primary` and `without_writes`, attributes for functions that are a
//!   [`scope`] as a whole.
//! * `metrics`: [`observer`]'s `Metrics`, through the facade of that name.
//! * `serde`: [`Status`] and [`Decision`] can be serialised.
//! * `signed`: `TokenKeys`, which sign tokens.
//! * `sql`: `Sql`, the classifier of SQL text. Without it, and without a classifier of your own, work
//!   whose intent is not stated goes to the primary.
//! * `tower`: `web`, a layer that gives each HTTP request a session, and takes tokens from request to request.
//! * `tracing`: rare events are reported, by [`observer`]'s `Tracing`: a node lost or found, a primary replaced, a
//!   statement misjudged.

mod affinity;
#[cfg(feature = "builder")]
mod builder;
mod candidates;
mod causality;
mod causes;
mod checkout;
mod classify;
mod clock;
mod cluster;
mod config;
mod context;
#[cfg(feature = "builder")]
mod credentials;
mod decision;
mod dialect;
#[cfg(feature = "builder")]
pub mod discover;
mod events;
mod fallback;
mod freshness;
mod handover;
mod health;
mod history;
mod hold;
mod holders;
mod keeper;
mod latency;
mod lean;
mod learning;
mod live;
mod misjudged;
mod monitor;
mod node;
pub mod observer;
mod offenders;
#[cfg(feature = "builder")]
mod options;
mod pipeline;
pub mod policy;
mod primary;
mod request;
mod route;
mod router;
mod run_to_end;
pub mod runtimes;
pub mod scope;
mod server_check;
mod session;
mod settings;
mod standstill;
mod status;
mod supply;
mod sync;
mod tags;
mod terms;
mod token;
mod topology;
#[cfg(feature = "builder")]
mod url;
mod vitals;
mod vocabulary;
mod waiting;
mod wake;
#[cfg(feature = "tower")]
pub mod web;
mod work;

#[cfg(feature = "builder")]
pub use builder::{Adapter, Builder, add_replica};
pub use candidates::{Candidate, Candidates};
pub use checkout::{Dead, Pings};
pub use classify::{Classification, Classifier};
#[cfg(feature = "sql")]
pub use classify::{Inspection, Sql};
pub use clock::{Clock, Instant, ManualClock, SystemClock};
pub use cluster::{Cluster, ClusterBuilder};
pub use config::{ConfigError, ConfigErrorKind};
#[cfg(feature = "builder")]
pub use credentials::{Credentials, CredentialsError, Login, LoginTarget, NodeCredentials};
/// The attributes, as adapters re-export them: one set for each, which finds this crate through the adapter.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub use dbrouter_macros as macros;
#[cfg(feature = "macros")]
pub use dbrouter_macros::{on_primary, on_replica, without_writes};
pub use decision::{Cause, Decision, Reason, Refusal, RouteError, WhyNot};
pub use dialect::{Answer, Dialect, Question};
pub use fallback::FallbackLimit;
pub use freshness::Commits;
pub use health::{Health, HealthSettings};
pub use hold::Hold;
pub use live::Admission;
pub use node::{Access, Node, NodeId, NodeSpec};
#[cfg(feature = "builder")]
pub use options::{IntoNode, NodeOptions};
pub use policy::Policy;
pub use request::Request;
pub use route::Route;
pub use router::{Backend, Router};
pub use run_to_end::{RunToEnd, run_to_end};
pub use scope::with_session;
pub use server_check::{OtherServer, ServerCheck};
pub use session::{OpenWriter, SessionState};
pub use settings::{MonitorSettings, Promotion, Settings, Start};
pub use status::{DiscoveryStatus, Fallback, FallbackPlaces, NodeStatus, Status};
pub use tags::Tags;
pub use terms::Terms;
#[cfg(feature = "signed")]
pub use token::TokenKeys;
pub use token::{Token, TokenError, TokenErrorKind};
pub use vocabulary::{Consistency, Fault, Intent, Preference, Pressure, Role};
pub use work::{BoxFuture, BoxStream, Work};
