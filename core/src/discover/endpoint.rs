//! One node as a source knows it.

use std::fmt;

use crate::tags::Tags;
use crate::url;
use crate::vocabulary::Role;

/// One node as a source knows it: where it is, and whatever else is known of it.
///
/// ```
/// use dbrouter::discover::Endpoint;
///
/// let by_address = Endpoint::host("10.0.0.7", Some(5433)).weight(2).tag("zone", "a");
/// let by_url = Endpoint::url("postgres://app:secret@replica-eu/shop").name("replica-eu");
/// assert!(!format!("{by_url:?}").contains("secret"));
/// # let _ = by_address;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) place: Place,
    pub(super) name: Option<String>,
    pub(super) weight: Option<u32>,
    pub(super) tags: Tags,
    pub(super) role: Role,
}

/// Where a node is to be found.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Url(String),
    Host { host: String, port: Option<u16> },
}

impl Endpoint {
    /// A node on a host, by its name or address. Who it is asked for as, with which password and options, and the
    /// port if there is none here, is in the [template](crate::Builder::discover_template).
    #[must_use]
    pub fn host(host: impl Into<String>, port: Option<u16>) -> Self {
        let host = host.into();
        Self::at(Place::Host { host, port })
    }

    /// A node at a URL of its own.
    #[must_use]
    pub fn url(url: impl Into<String>) -> Self {
        Self::at(Place::Url(url.into()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            name: None,
            weight: None,
            tags: Tags::new(),
            role: Role::Unknown,
        }
    }

    /// The node's name, by which it is known from one set to the next. Defaults to host and port, such as
    /// `10.0.0.7:5432`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The node's share of reads relative to the others'; zero means never. Defaults to the template's, which
    /// defaults to 1. Another weight in a later set is the node's from then on.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Adds a label. Defaults to the template's. A node that gets other labels, or another place, in a later set is
    /// drained and opened anew.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags = self.tags.with(key, value);
        self
    }

    /// What it is, if the source knows. Defaults to [`Role::Unknown`]. It is asked itself in any case, but one that is
    /// known to be the primary need not be.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Whether the node is where `other` is, under the same labels.
    pub(super) fn is_still(&self, other: &Self) -> bool {
        self.place == other.place && self.tags == other.tags
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Url(url) => url::masked(url),
            Place::Host { host, port: None } => host.clone(),
            Place::Host {
                host,
                port: Some(port),
            } => url::joined(host, *port),
        };
        f.debug_struct("Endpoint")
            .field("place", &place)
            .field("name", &self.name)
            .field("weight", &self.weight)
            .field("tags", &self.tags)
            .field("role", &self.role)
            .finish()
    }
}
