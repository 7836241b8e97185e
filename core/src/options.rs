//! Where a node is, and what the router should know of it.

use std::fmt;

use tokio::runtime::Handle;

use crate::builder::Adapter;
use crate::config::{ConfigError, ConfigErrorKind};
use crate::node::{Access, NodeSpec};
use crate::server_check::ServerCheck;
use crate::url;
use crate::vocabulary::Role;

/// One node's options: where it is, and what the router should know of it.
#[must_use]
pub struct NodeOptions<A: Adapter> {
    place: Place<A>,
    spec: NodeSpec,
    pool_options: Option<A::PoolOptions>,
}

/// Where a node is to be found.
enum Place<A: Adapter> {
    Url(String),
    Options(A::ConnectOptions),
    Pool(A::Pool),
}

/// How a pool that exists already is taken.
type Adopt<A> = fn(&A, <A as Adapter>::Pool, &str) -> Result<<A as Adapter>::Backend, ConfigError>;

impl<A: Adapter> NodeOptions<A> {
    /// The node at a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Place::Url(url.into()))
    }

    /// The node that the driver's connect options lead to.
    pub fn with_options(options: A::ConnectOptions) -> Self {
        Self::at(Place::Options(options))
    }

    /// The node of a pool that exists already.
    pub fn with_pool(pool: A::Pool) -> Self {
        Self::at(Place::Pool(pool))
    }

    fn at(place: Place<A>) -> Self {
        Self {
            place,
            spec: NodeSpec::new(),
            pool_options: None,
        }
    }

    /// The node's name in decisions, status and errors. Defaults to `primary`, `replica-1`, …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec = self.spec.name(name);
        self
    }

    /// The node's share of reads relative to the others'; zero means never. Defaults to 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.spec = self.spec.weight(weight);
        self
    }

    /// Adds a label. Defaults to none.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec = self.spec.tag(key, value);
        self
    }

    /// The options of this node's pool. Defaults to those of the builder. A pool that exists already keeps
    /// its own.
    pub fn pool_options(mut self, options: A::PoolOptions) -> Self {
        self.pool_options = Some(options);
        self
    }

    /// Its URL, if that is where it was said to be.
    pub(crate) fn url(&self) -> Option<&str> {
        match &self.place {
            Place::Url(url) => Some(url),
            Place::Options(_) | Place::Pool(_) => None,
        }
    }

    /// The same options at another URL.
    pub(crate) fn moved_to(mut self, url: String) -> Self {
        self.place = Place::Url(url);
        self
    }

    /// The same place and pool, and nothing of what this node alone is.
    pub(crate) fn into_template(mut self) -> Self {
        self.spec = NodeSpec::new();
        self
    }

    /// With its host and port for a name, if it has none and they are known.
    pub(crate) fn named_after_its_place(self) -> Self {
        let address = self.url().and_then(url::address);
        match (self.spec.stated_name(), address) {
            (None, Some(address)) => self.name(address),
            _ => self,
        }
    }

    pub(crate) fn stated_name(&self) -> Option<&str> {
        self.spec.stated_name()
    }

    pub(crate) fn stated_weight(&self) -> u32 {
        self.spec.weight
    }

    /// Opens the node's pool, without connecting yet. `position` is what errors call a node that has no
    /// name of its own. A pool that exists already stays whatever the server's role becomes.
    pub(crate) fn open(
        self,
        adapter: &A,
        role: Role,
        position: &str,
    ) -> Result<(NodeSpec, Access<A::Backend>), ConfigError> {
        self.open_with(ServerCheck::new(), adapter, role, position, A::adopt)
    }

    /// As [`open`](Self::open), the primary, which nobody watches: its pool's connections are not asked which server they
    /// lead to.
    pub(crate) fn open_alone(
        self,
        adapter: &A,
        position: &str,
    ) -> Result<(NodeSpec, Access<A::Backend>), ConfigError> {
        let check = ServerCheck::none();
        self.open_with(check, adapter, Role::Primary, position, A::adopt_alone)
    }

    fn open_with(
        self,
        check: ServerCheck,
        adapter: &A,
        role: Role,
        position: &str,
        adopt: Adopt<A>,
    ) -> Result<(NodeSpec, Access<A::Backend>), ConfigError> {
        let name = self.spec.stated_name().unwrap_or(position).to_owned();
        let mut spec = self.spec;
        let options = match self.place {
            Place::Pool(pool) => return Ok((spec, adopt(adapter, pool, &name)?.into())),
            Place::Options(options) => options,
            Place::Url(url) => {
                let server = url::server(&url);
                spec.address = server.map(|(host, port)| (host.into(), port));
                url::parse(&format!("{name}.url"), &url, A::dialects(), A::parse)?
            }
        };
        if Handle::try_current().is_err() {
            let problem = "pools can only be opened inside a Tokio runtime";
            return Err(ConfigError::new(ConfigErrorKind::Runtime, &name, problem));
        }
        let (adapter, pool_options) = (adapter.clone(), self.pool_options);
        let open = move |role, check: &ServerCheck| {
            adapter.open(options.clone(), pool_options.as_ref(), role, check, &name)
        };
        let backend = open(role, &check)?;
        // What could be opened once can be again.
        let access = Access::checked(backend, check, move |role, check| open(role, check).ok());
        Ok((spec, access))
    }
}

impl<A: Adapter> Clone for NodeOptions<A> {
    fn clone(&self) -> Self {
        let place = match &self.place {
            Place::Url(url) => Place::Url(url.clone()),
            Place::Options(options) => Place::Options(options.clone()),
            Place::Pool(pool) => Place::Pool(pool.clone()),
        };
        Self {
            place,
            spec: self.spec.clone(),
            pool_options: self.pool_options.clone(),
        }
    }
}

impl<A: Adapter> fmt::Debug for NodeOptions<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Url(url) => url::masked(url),
            Place::Options(_) => "connect options".to_owned(),
            Place::Pool(_) => "a pool".to_owned(),
        };
        f.debug_struct("NodeOptions")
            .field("place", &place)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// What a node may be given as: a URL, the driver's connect options, a pool, or [`NodeOptions`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say where a node is",
    note = "give a URL, the driver's connect options, a pool, or `NodeOptions`"
)]
pub trait IntoNode<A: Adapter> {
    /// The node's options.
    fn into_node(self) -> NodeOptions<A>;
}

impl<A: Adapter> IntoNode<A> for NodeOptions<A> {
    fn into_node(self) -> Self {
        self
    }
}

impl<A: Adapter> IntoNode<A> for &str {
    fn into_node(self) -> NodeOptions<A> {
        NodeOptions::new(self)
    }
}

impl<A: Adapter> IntoNode<A> for String {
    fn into_node(self) -> NodeOptions<A> {
        NodeOptions::new(self)
    }
}
