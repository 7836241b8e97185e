//! From an endpoint to a node's options: what the source did not say is in the template.

use std::time::Duration;

use super::endpoint::{Endpoint, Place};
use super::roles;
use crate::builder::{Adapter, same_kind};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::Dialect;
use crate::node::{Access, NodeSpec};
use crate::options::NodeOptions;
use crate::url;
use crate::vocabulary::Role;

/// Opens endpoints.
pub(crate) struct Opener<A: Adapter> {
    pub(crate) adapter: A,
    pub(crate) template: Option<NodeOptions<A>>,
    /// How long a node may take to say what it is.
    pub(crate) limit: Duration,
}

/// A node that a set wants.
pub(crate) struct Wanted<A: Adapter> {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) options: NodeOptions<A>,
}

impl<A: Adapter> Wanted<A> {
    /// Whether it is where one of these is.
    pub(super) fn is_at_one_of(&self, addresses: &[String]) -> bool {
        let address = self.options.url().and_then(url::address);
        address.is_some_and(|address| addresses.contains(&address))
    }
}

/// A node that is no primary, as far as is known, and what came of opening it.
pub(crate) struct Opening<A: Adapter> {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) opened: Result<Opened<A>, ConfigError>,
}

/// What came of opening several.
pub(crate) struct Openings<A: Adapter> {
    pub(crate) openings: Vec<Opening<A>>,
    /// Some have not said what they are.
    pub(crate) silent: bool,
}

/// A node that may be added.
pub(crate) struct Opened<A: Adapter> {
    pub(crate) spec: NodeSpec,
    pub(crate) access: Access<A::Backend>,
}

impl<A: Adapter> Opener<A> {
    /// What a node is called, and how it is opened.
    pub(crate) fn wanted(&self, endpoint: &Endpoint) -> Result<Wanted<A>, ConfigError> {
        let wrong = |kind, problem| {
            let field = endpoint.name.as_deref().unwrap_or("discover");
            ConfigError::new(kind, field, problem)
        };
        let template = self.template.as_ref();
        let url = match &endpoint.place {
            Place::Url(url) => url.clone(),
            Place::Host { host, port } => {
                let Some(url) = template.and_then(NodeOptions::url) else {
                    let problem = "a host must be put into a URL, and the primary is not given as one; give \
                                   `discover_template`";
                    return Err(wrong(ConfigErrorKind::Url, problem.to_owned()));
                };
                url::moved(url, host, *port).ok_or_else(|| {
                    let problem = format!(
                        "{host:?} cannot take the host's place in {}",
                        url::masked(url)
                    );
                    wrong(ConfigErrorKind::Url, problem)
                })?
            }
        };
        let name = endpoint.name.clone().or_else(|| url::address(&url));
        let Some(name) = name else {
            let problem = format!(
                "{} has no host to be named after; give it a name",
                url::masked(&url)
            );
            return Err(wrong(ConfigErrorKind::Name, problem));
        };
        let mut options = match template {
            Some(template) => template.clone().moved_to(url),
            None => NodeOptions::new(url),
        };
        options = options.name(&name);
        if let Some(weight) = endpoint.weight {
            options = options.weight(weight);
        }
        let tags = endpoint.tags.iter();
        options = tags.fold(options, |options, (key, value)| options.tag(key, value));
        let endpoint = endpoint.clone();
        Ok(Wanted {
            name,
            endpoint,
            options,
        })
    }

    /// The weight of the node that an endpoint is.
    pub(super) fn weight(&self, endpoint: &Endpoint) -> u32 {
        let template = || self.template.as_ref().map_or(1, NodeOptions::stated_weight);
        endpoint.weight.unwrap_or_else(template)
    }

    /// Opens nodes as replicas, unless their source says that they are the primary. Where it does not know, they are
    /// asked themselves, and one that does not answer is not opened either: it could be the primary under another
    /// name, and a router that knew one server as two nodes would see two primaries.
    pub(crate) async fn open(&self, wanted: Vec<Wanted<A>>, dialect: Dialect) -> Openings<A> {
        let mut openings = Vec::new();
        let mut asked = Vec::new();
        for wanted in wanted {
            let Wanted {
                name,
                endpoint,
                options,
            } = wanted;
            if endpoint.role == Role::Primary {
                continue;
            }
            let opened = self.open_one(options, &name, dialect);
            if let (Ok(opened), Role::Unknown) = (&opened, endpoint.role) {
                asked.push((openings.len(), opened.access.backend().clone()));
            }
            openings.push(Opening {
                name,
                endpoint,
                opened,
            });
        }
        let (indices, backends): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let roles = roles::roles(backends, dialect, self.limit).await;
        let mut silent = false;
        // From the end, so that indices stay what they are.
        for (index, role) in indices.into_iter().zip(roles).rev() {
            silent |= role.is_none();
            if role != Some(Role::Replica) {
                openings.remove(index);
            }
        }
        Openings { openings, silent }
    }

    fn open_one(
        &self,
        options: NodeOptions<A>,
        name: &str,
        dialect: Dialect,
    ) -> Result<Opened<A>, ConfigError> {
        let (spec, access) = options.open(&self.adapter, Role::Replica, name)?;
        same_kind::<A>(access.backend(), dialect, name)?;
        Ok(Opened { spec, access })
    }
}
