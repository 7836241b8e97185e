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

/// A node that may be added.
pub(crate) struct Opened<A: Adapter> {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) spec: NodeSpec,
    pub(crate) access: Access<A::Backend>,
}

/// What came of opening several.
pub(crate) struct Openings<A: Adapter> {
    pub(crate) opened: Vec<Opened<A>>,
    pub(crate) failed: Vec<ConfigError>,
    /// The names of those that have not said who they are.
    pub(crate) silent: Vec<String>,
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

    /// Opens nodes as replicas and asks them who they are, and those that are `present` which servers they are.
    ///
    /// A node is not opened that its source or it itself says is the primary, or that is a server which is there
    /// already, or that says nothing: it could be either. A router that knew one server as two nodes would see two
    /// primaries when it is promoted, and write to none.
    pub(crate) async fn open(
        &self,
        wanted: Vec<Wanted<A>>,
        present: Vec<A::Backend>,
        dialect: Dialect,
    ) -> Openings<A> {
        let mut openings = Openings {
            opened: Vec::new(),
            failed: Vec::new(),
            silent: Vec::new(),
        };
        let mut candidates = Vec::new();
        for wanted in wanted {
            if wanted.endpoint.role == Role::Primary {
                continue;
            }
            match self.open_one(wanted, dialect) {
                Ok(opened) => candidates.push(opened),
                Err(error) => openings.failed.push(error),
            }
        }
        if candidates.is_empty() {
            return openings;
        }
        let count = present.len();
        let new = candidates
            .iter()
            .map(|opened| opened.access.backend().clone());
        let all = present.into_iter().chain(new);
        let asked = all.map(|backend| (dialect, backend)).collect();
        let mut said =
            roles::ask_all(asked, self.limit, self.limit.saturating_mul(3), |_| false).await;
        let new = said.split_off(count);
        let mut met = Vec::new();
        for said in said {
            said.is_one_of(&mut met);
        }
        for (opened, said) in candidates.into_iter().zip(new) {
            match said.role() {
                None => openings.silent.push(opened.name),
                Some(Role::Primary) => {}
                Some(_) if said.is_one_of(&mut met) => {}
                Some(_) => openings.opened.push(opened),
            }
        }
        openings
    }

    fn open_one(&self, wanted: Wanted<A>, dialect: Dialect) -> Result<Opened<A>, ConfigError> {
        let Wanted {
            name,
            endpoint,
            options,
        } = wanted;
        let (spec, access) = options.open(&self.adapter, Role::Replica, &name)?;
        same_kind::<A>(access.backend(), dialect, &name)?;
        Ok(Opened {
            name,
            endpoint,
            spec,
            access,
        })
    }
}
