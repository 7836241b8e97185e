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

/// The URLs of a list that is separated by commas. A comma may also stand in a password, or between a URL's hosts, so a
/// URL only ends at one that another URL follows.
#[cfg(feature = "builder")]
pub(crate) fn listed(list: &str) -> Vec<String> {
    let dialects = [Dialect::Postgres, Dialect::MariaDb, Dialect::Sqlite];
    let begins_a_url = |text: &str| {
        let mut schemes = dialects.iter().flat_map(|dialect| dialect.url_schemes());
        scheme(text).is_some_and(|scheme| schemes.any(|known| *known == scheme))
    };
    let mut urls: Vec<String> = Vec::new();
    for part in list.split(',') {
        match urls.last_mut() {
            Some(url) if !begins_a_url(part.trim_start()) => {
                url.push(',');
                url.push_str(part);
            }
            _ => urls.push(part.to_owned()),
        }
    }
    let trimmed = |url: String| url.trim().trim_matches(',').trim().to_owned();
    let mut urls: Vec<_> = urls.into_iter().map(trimmed).collect();
    urls.retain(|url| !url.is_empty());
    urls
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

/// Where a URL leads, as `host:port`, with the port that servers of the kind listen at if it names none. `None` if it
/// names no host, or parameters may say otherwise.
pub(crate) fn address(url: &str) -> Option<String> {
    let (host, port) = server(url)?;
    Some(match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

/// The same in two parts.
pub(crate) fn server(url: &str) -> Option<(String, Option<u16>)> {
    let parsed = Url::parse(url).ok()?;
    let query = parsed.query().unwrap_or_default();
    if query.split('&').any(places) {
        return None;
    }
    let host = parsed.host_str().filter(|host| !host.is_empty())?;
    let host = host.to_ascii_lowercase();
    let dialects = [Dialect::Postgres, Dialect::MariaDb];
    let mut known = dialects.iter();
    let of_scheme = known.find(|dialect| dialect.url_schemes().contains(&parsed.scheme()));
    let port = parsed.port().or_else(|| of_scheme?.port());
    Some((host, port))
}

/// The same URL with another host, and with another port if there is one. `None` if the URL has no host to replace, or
/// `host` cannot be one.
pub(crate) fn moved(url: &str, host: &str, port: Option<u16>) -> Option<String> {
    let mut parsed = Url::parse(url).ok()?;
    parsed.host_str()?;
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    if host.is_empty() {
        return None;
    }
    parsed.set_host(Some(&host)).ok()?;
    if port.is_some() {
        parsed.set_port(port).ok()?;
    }
    // As they are written: drivers do not agree on what is to be escaped.
    let kept = parsed.query().map(|query| {
        let kept = query.split('&').filter(|pair| !places(pair));
        kept.collect::<Vec<_>>().join("&")
    });
    parsed.set_query(kept.as_deref().filter(|query| !query.is_empty()));
    Some(parsed.into())
}

/// The same URL with another password, and with another user if there is one. `None` if the URL can have none.
pub(crate) fn with_login(url: &str, user: Option<&str>, password: &str) -> Option<String> {
    let mut parsed = Url::parse(url).ok()?;
    if let Some(user) = user {
        parsed.set_username(&escaped(user)).ok()?;
    }
    parsed.set_password(Some(&escaped(password))).ok()?;
    Some(parsed.into())
}

/// Percent-encodes all but letters and digits: the `url` crate takes a `%` for the beginning of an escape.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Whether a parameter takes the place of the URL's own host or port.
fn places(pair: &str) -> bool {
    let (key, _) = pair.split_once('=').unwrap_or((pair, ""));
    matches!(key, "host" | "hostaddr" | "port")
}

/// A host and a port as one text.
pub(crate) fn joined(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
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

    #[cfg(feature = "builder")]
    #[test]
    fn a_list_of_urls_is_split_where_a_url_begins() {
        for (list, urls) in [
            ("postgres://a/d", &["postgres://a/d"][..]),
            (
                " postgres://a/d , postgres://b/d,",
                &["postgres://a/d", "postgres://b/d"],
            ),
            (
                "postgres://u:pa,ss@a/d,postgres://u:p,x:y@b/d",
                &["postgres://u:pa,ss@a/d", "postgres://u:p,x:y@b/d"],
            ),
            (
                "mysql://a,b/d, mysql://c/d",
                &["mysql://a,b/d", "mysql://c/d"],
            ),
            (" , ,", &[]),
        ] {
            assert_eq!(listed(list), urls, "{list}");
        }
    }

    #[test]
    fn schemes_are_recognised() {
        assert_eq!(scheme("mysql://host/db"), Some("mysql"));
        assert_eq!(scheme("sqlite::memory:"), Some("sqlite"));
        assert_eq!(scheme("C:\\data\\app.db"), None);
        assert_eq!(scheme("data/app.db"), None);
    }

    #[test]
    fn a_url_is_moved_and_keeps_all_else() {
        let template = "postgres://app:p%40ss@old:5433/shop?host=/run&sslmode=require&options=-c%20x%3D1&port=1";
        for (host, port, wanted) in [
            (
                "new",
                None,
                "postgres://app:p%40ss@new:5433/shop?sslmode=require&options=-c%20x%3D1",
            ),
            (
                "10.0.0.7",
                Some(6000),
                "postgres://app:p%40ss@10.0.0.7:6000/shop?sslmode=require&options=-c%20x%3D1",
            ),
            (
                "fd00::7",
                Some(6000),
                "postgres://app:p%40ss@[fd00::7]:6000/shop?sslmode=require&options=-c%20x%3D1",
            ),
        ] {
            assert_eq!(moved(template, host, port).as_deref(), Some(wanted));
        }
        assert_eq!(
            moved("mysql://old/shop?hostaddr=1.2.3.4", "new", None).as_deref(),
            Some("mysql://new/shop")
        );
    }

    #[test]
    fn a_login_takes_the_place_of_the_urls_own() {
        let template = "postgres://app:old@h/shop?sslmode=require";
        assert_eq!(
            with_login(template, None, "a%41/:@?#ü").as_deref(),
            Some("postgres://app:a%2541%2F%3A%40%3F%23%C3%BC@h/shop?sslmode=require")
        );
        assert_eq!(
            with_login(template, Some("b@c"), "new").as_deref(),
            Some("postgres://b%40c:new@h/shop?sslmode=require")
        );
        assert_eq!(with_login("sqlite:data.db", None, "new"), None);
        assert_eq!(with_login("host=h user=app", None, "new"), None);
    }

    #[test]
    fn what_is_no_host_does_not_become_a_part_of_a_url() {
        for host in [
            "",
            "a b",
            "a/b",
            "x@evil",
            "evil/shop?sslmode=disable",
            "a:b",
            "a#b",
            "a?b",
        ] {
            assert_eq!(
                moved("postgres://app:pw@old/shop", host, None),
                None,
                "{host}"
            );
        }
        assert_eq!(moved("sqlite:data.db", "new", None), None);
        assert_eq!(moved("not a url", "new", None), None);
    }

    #[test]
    fn an_address_is_where_a_url_leads() {
        for (url, wanted) in [
            (
                "postgres://app:pw@Db.internal/shop",
                Some("db.internal:5432"),
            ),
            ("postgresql://10.0.0.7:5433/shop", Some("10.0.0.7:5433")),
            ("mysql://h/shop", Some("h:3306")),
            ("postgres://[fd00::7]/shop", Some("[fd00::7]:5432")),
            ("postgres://h/shop?host=/run/postgresql", None),
            ("postgres:///shop", None),
            ("sqlite:data.db", None),
            ("not a url", None),
        ] {
            assert_eq!(address(url).as_deref(), wanted, "{url}");
        }
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
