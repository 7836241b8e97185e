use std::{error, fmt};

/// What fixtures and cases return: any error will do, because people are who read it.
pub type Result<T, E = Box<dyn error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Something about a fixture did not work, in a sentence.
#[derive(Debug, Clone)]
pub struct Failure(String);

impl Failure {
    /// A failure that reads as `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Failure {}
