//! Database URLs: which kind of database they name, and how to show them without their secrets.

use dbrouter::{ConfigError, ConfigErrorKind};
use url::Url;

use crate::database::{Options, RoutedDatabase};

/// The connect options that a URL stands for.
pub(crate) fn parse<DB: RoutedDatabase>(
    field: &str,
    url: &str,
) -> Result<Options<DB>, ConfigError> {
    let schemes = DB::URL_SCHEMES;
    match scheme(url) {
        Some(scheme) if !schemes.contains(&scheme) => {
            let shown = masked(url);
            let problem = format!(
                "{shown} is a {scheme} URL, and this router's databases are {}: give a URL that \
                 begins with {}:",
                DB::DIALECT,
                schemes.join(": or ")
            );
            return Err(ConfigError::new(
                ConfigErrorKind::WrongDatabase,
                field,
                problem,
            ));
        }
        _ => {}
    }
    url.parse().map_err(|error: sqlx::Error| {
        let shown = masked(url);
        let problem = format!("{shown} cannot be understood as a {} URL", DB::DIALECT);
        ConfigError::new(ConfigErrorKind::Url, field, problem).with_source(error)
    })
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

#[cfg(test)]
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

    #[cfg(feature = "postgres")]
    #[test]
    fn another_database_is_named() {
        let error = parse::<sqlx::Postgres>("replica-1.url", "mysql://app:pw@h/db").unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::WrongDatabase);
        assert_eq!(
            error.to_string(),
            "replica-1.url: `mysql://app:***@h/db` is a mysql URL, and this router's databases are \
             PostgreSQL: give a URL that begins with postgres: or postgresql:"
        );
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn nonsense_is_an_error_that_hides_it() {
        for url in [
            "",
            "sup3r-secret",
            "postgres://app:sup3r-secret@host:port/shop",
            "postgres://[",
        ] {
            let error = parse::<sqlx::Postgres>("primary.url", url).unwrap_err();
            assert_eq!(error.kind(), ConfigErrorKind::Url, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sup3r"), "{shown}");
        }
    }
}
