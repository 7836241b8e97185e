//! Labels on nodes, and the labels a read asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A set of `key=value` labels: what a node is, or what a read demands of its node.
///
/// ```
/// use dbrouter::Tags;
///
/// let node = Tags::new().with("zone", "a").with("for", "reports");
/// assert!(node.satisfy(&Tags::new().with("for", "reports")));
/// assert!(!node.satisfy(&Tags::new().with("zone", "b")));
/// assert!(node.satisfy(&Tags::new()));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags(Option<Arc<BTreeMap<String, String>>>);

impl Tags {
    /// No labels: a node that is nothing in particular, a read that demands nothing in particular.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same labels and one more. A key that is there already gets the new value.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let map = Arc::make_mut(self.0.get_or_insert_default());
        map.insert(key.into(), value.into());
        self
    }

    /// The value of a label, if it is there.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether every demanded label is among these, with the same value.
    #[must_use]
    #[inline]
    pub fn satisfy(&self, demanded: &Self) -> bool {
        match &demanded.0 {
            None => true,
            Some(demanded) => demanded
                .iter()
                .all(|(key, value)| self.value(key) == Some(value)),
        }
    }

    /// All labels, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|map| map.iter())
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Display for Tags {
    /// `for=reports,zone=a`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Tags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
