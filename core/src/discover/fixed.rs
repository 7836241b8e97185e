//! A list that stays as it is.

use std::future::pending;

use super::{Discover, DiscoverError, Endpoint, Servers};

/// A list that stays as it is, for nodes whose roles nobody has written down.
///
/// ```
/// use dbrouter::discover::{Endpoint, Static};
///
/// let hosts = ["pg-1.internal", "pg-2.internal"];
/// let source = Static::new(hosts.map(|host| Endpoint::host(host, None)));
/// # let _ = source;
/// ```
#[derive(Debug)]
pub struct Static {
    endpoints: Vec<Endpoint>,
    told: bool,
}

impl Static {
    /// These nodes, and never others.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            told: false,
        }
    }
}

impl Discover for Static {
    async fn next(&mut self, _: &Servers) -> Result<Vec<Endpoint>, DiscoverError> {
        if self.told && !self.endpoints.is_empty() {
            return pending().await;
        }
        self.told = true;
        Ok(self.endpoints.clone())
    }
}
