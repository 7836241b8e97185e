//! Database URLs: which kind of database they name, and how to show them without their secrets.

use std::error::Error;

use url::Url;

use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::Dialect;

/// What `parse` makes of a URL of one of these databases.
pub(crate) fn parse<T>(
    field: &str,
    url: &str,
    dialects: &[Dialect],
    parse: impl FnOnce(&str) -> Result<T, Box<dyn Error + Send + Sync>>,
) -> Result<T, ConfigError> {
    let names = || list(dialects.iter().map(ToString::to_string));
    let schemes = || dialects.iter().flat_map(|dialect| dialect.url_schemes());
    if let Some(scheme) = scheme(url)
        && !schemes().any(|known| *known == scheme)
    {
        let problem = format!(
            "{} is a {scheme} URL, and this router's databases are {}: give a URL that begins with {}",
            masked(url),
            names(),
            list(schemes().map(|scheme| format!("{scheme}:"))),
        );
        let kind = ConfigErrorKind::WrongDatabase;
        return Err(ConfigError::new(kind, field, problem));
    }
    parse(url).map_err(|error| {
        let problem = format!("{} cannot be understood as a {} URL", masked(url), names());
        ConfigError::new(ConfigErrorKind::Url, field, problem).with_source(error)
    })
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" or ")
}

/// What stands before the first colon, if that can be a scheme. A single letter is a Windows drive.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char));
    is_scheme.then_some(scheme)
}

/// The URL without its password, and without its parameters, which may hold another. What is no URL
/// cannot be told apart from a secret, so nothing of it is shown but its scheme.
pub(crate) fn masked(url: &str) -> String {
    match Url::parse(url) {
        // What is no `scheme://…` may be anything, such as a user and a password.
        // And an unescaped `/` in a password leaves the rest of it in the path.
        Ok(mut parsed) if !parsed.cannot_be_a_base() && !parsed.path().contains('@') => {
            let has_password = parsed.password().is_some();
            if has_password && parsed.set_password(Some("***")).is_err() {
                return hidden(url);
            }
            parsed.set_query(None);
            parsed.set_fragment(None);
            format!("`{parsed}`")
        }
        Ok(_) | Err(_) => hidden(url),
    }
}

fn hidden(url: &str) -> String {
    match scheme(url) {
        Some(scheme) => format!("`{scheme}:…`"),
        None => format!("a text of {} characters", url.chars().count()),
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for url in [
            "postgres://app:sup3r-secret@host/shop",
            "postgres://app:sup3r-secret@host:port/shop",
            "postgres://host/shop?password=sup3r-secret",
            "app:sup3r-secret@host",
            "sup3r-secret",
            "postgres://app:sup3r-secret",
            "postgres://app:/sup3r-secret@host/db",
            "postgres://app:12/sup3r-secret@host/db",
            "postgres://app:12#sup3r-secret@host/db",
            "postgres://app:12?sup3r-secret@host/db",
        ] {
            let shown = masked(url);
            assert!(!shown.contains("sup3r"), "{url} is shown as {shown}");
        }
        assert_eq!(
            masked("postgres://app:x@host/shop"),
            "`postgres://app:***@host/shop`"
        );
    }

    #[test]
    fn schemes_are_recognised() {
        assert_eq!(scheme("mysql://host/db"), Some("mysql"));
        assert_eq!(scheme("sqlite::memory:"), Some("sqlite"));
        assert_eq!(scheme("C:\\data\\app.db"), None);
        assert_eq!(scheme("data/app.db"), None);
    }

    #[test]
    fn another_database_is_named() {
        let parse = |url| parse("replica-1.url", url, &[Dialect::Postgres], |_| Ok(()));
        let error = parse("mysql://app:pw@h/db").unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::WrongDatabase);
        assert_eq!(
            error.to_string(),
            "replica-1.url: `mysql://app:***@h/db` is a mysql URL, and this router's databases are \
             PostgreSQL: give a URL that begins with postgres: or postgresql:"
        );
        assert!(parse("postgresql://h/db").is_ok());
    }
}
