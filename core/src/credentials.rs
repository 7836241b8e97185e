//! Passwords that change: a function that is asked for them when a connection is opened.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::causes::Causes;
use crate::url;
use crate::work::BoxFuture;

/// What a connection logs in with: a password and, if it changes as well, a user's name.
///
/// ```
/// use dbrouter::Login;
///
/// let login = Login::new("hunter2").with_user("app_b");
/// assert!(!format!("{login:?}").contains("hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    password: Arc<str>,
    user: Option<Arc<str>>,
}

impl Login {
    /// A password, for the user that the node's URL or options name.
    pub fn new(password: impl Into<Arc<str>>) -> Self {
        let password = password.into();
        Self {
            password,
            user: None,
        }
    }

    /// The user to log in as, where the servers know two of the same rights whose passwords are changed in turn.
    /// Defaults to the one that the node's URL or options name.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<Arc<str>>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The password, for the driver.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The user, for the driver, if it is not the one that the node's options name.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// A URL with this login in the place of its own. `None` if it cannot have one.
    #[must_use]
    pub fn within(&self, url: &str) -> Option<String> {
        url::with_login(url, self.user(), &self.password)
    }
}

/// Shows neither.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// The node that a login is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginTarget {
    name: Arc<str>,
    host: Option<Arc<str>>,
    port: Option<u16>,
}

impl LoginTarget {
    /// A node of that name whose address is not known.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            host: None,
            port: None,
        }
    }

    /// The same node at an address.
    #[must_use]
    pub fn at(mut self, host: &str, port: u16) -> Self {
        (self.host, self.port) = (Some(host.into()), Some(port));
        self
    }

    /// The same node at the address in a URL, if there is one.
    #[must_use]
    pub fn at_url(self, url: &str) -> Self {
        match url::server(url) {
            Some((host, Some(port))) => self.at(&host, port),
            Some((_, None)) | None => self,
        }
    }

    /// The node's name, as in decisions and status. A node that has not been added yet and has no name of its own is
    /// called as in errors about it, such as `replica` or `nodes-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its host, unless it is reached in another way.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Its port, where its host is known.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

type Failure = Box<dyn Error + Send + Sync>;
type Function = dyn Fn(LoginTarget) -> BoxFuture<'static, Result<Login, Failure>> + Send + Sync;

/// A function that is asked what to log in with whenever a connection is opened: for tokens that expire, and for passwords
/// that something else changes while the application runs.
///
/// Every connection that the router opens asks it: those of pools, those of pools that are opened anew after a promotion,
/// the monitor's own, and those of nodes that are added or discovered later. Connections that want an answer at the same
/// time share it. A pool that the application has opened itself keeps what it was opened with.
///
/// * A server that refuses a login has the function asked once more. If it gives another one, that is tried at once.
/// * A function that fails, or takes longer than 10 s, leaves the last answer in use. If there is none, or the server
///   refuses it, no connection is opened, and the error says what the function said.
/// * Connections that are open stay open: no server asks for the password again.
///
/// Nothing fails while a password is changed if the function gives the new one from the moment on at which the servers
/// take it. Where that cannot be had, change the passwords of two [users](Login::with_user) in turn.
///
/// # Tokens of a cloud's IAM
///
/// A token is for one host, port and user, and is signed without asking anybody:
///
/// ```
/// use std::io;
/// use dbrouter::{Credentials, Login, LoginTarget};
///
/// # async fn sign(host: &str, port: u16, user: &str) -> io::Result<String> { Ok(format!("{host}{port}{user}")) }
/// // With AWS: `aws_sdk_rds::auth_token::AuthTokenGenerator`. Such connections must use TLS.
/// let credentials = Credentials::new(|node: LoginTarget| async move {
///     let host = node.host().ok_or(io::ErrorKind::AddrNotAvailable)?;
///     let token = sign(host, node.port().unwrap_or(5432), "app").await?;
///     io::Result::Ok(Login::new(token))
/// });
/// # let _ = credentials;
/// ```
///
/// # Files that a sidecar writes
///
/// ```
/// use dbrouter::{Credentials, Login};
///
/// let credentials = Credentials::new(|_| async {
///     let password = std::fs::read_to_string("/var/run/secrets/database/password")?;
///     std::io::Result::Ok(Login::new(password.trim_end()))
/// });
/// # let _ = credentials;
/// ```
#[derive(Clone)]
pub struct Credentials {
    function: Arc<Function>,
    refresh: Duration,
}

impl Credentials {
    /// How long the function may take.
    const LIMIT: Duration = Duration::from_secs(10);

    /// How often pools that open connections without the router's doing are told what to log in with, unless it is said.
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Logins that a function gives.
    pub fn new<F, R, E>(function: F) -> Self
    where
        F: Fn(LoginTarget) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Login, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let boxed = move |node| -> BoxFuture<'static, Result<Login, Failure>> {
            let asked = function(node);
            Box::pin(async move { asked.await.map_err(Into::into) })
        };
        Self {
            function: Arc::new(boxed),
            refresh: Duration::ZERO,
        }
    }

    /// For how long an answer is used before the function is asked again, for each node by itself; for functions that
    /// are slow or paid for. Defaults to zero: it is asked for each connection.
    ///
    /// sqlx's pools also open connections of which the router does not know: to keep `min_connections`, and for
    /// statements on the pool itself, as `primary()` hands it out. They are told what to log in with this often, or once a
    /// minute by default.
    #[must_use]
    pub fn refresh(mut self, interval: Duration) -> Self {
        self.refresh = interval;
        self
    }

    /// The logins of one node's pool, for adapters.
    #[must_use]
    pub fn of(&self, node: LoginTarget) -> NodeCredentials {
        NodeCredentials(Arc::new(Asked {
            credentials: self.clone(),
            node,
            last: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

/// The logins of one node's pool: what adapters ask of [`Credentials`]. Clones are the same.
///
/// # Contract
///
/// * A connection is opened with the login [of now](Self::now).
/// * If the server refuses that login, the connection is opened once more with [another](Self::after_refusal), if there is
///   one.
#[derive(Clone)]
pub struct NodeCredentials(Arc<Asked>);

struct Asked {
    credentials: Credentials,
    node: LoginTarget,
    last: Mutex<Option<Given>>,
    /// Held while the function is asked.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Given {
    login: Login,
    /// When the function was asked.
    at: Instant,
}

impl NodeCredentials {
    /// What to log in with now.
    ///
    /// # Errors
    ///
    /// If the function fails, and has never given anything.
    pub async fn now(&self) -> Result<Login, CredentialsError> {
        let wanted = Instant::now();
        if let Some(login) = self.kept(wanted) {
            return Ok(login);
        }
        let _turn = self.0.turn.lock().await;
        if let Some(login) = self.kept(wanted) {
            return Ok(login);
        }
        match (self.ask().await, self.last()) {
            (Err(_), Some(last)) => Ok(last),
            (asked, _) => asked,
        }
    }

    /// What to log in with after the server has refused a login: `None` if there is nothing else.
    ///
    /// # Errors
    ///
    /// If the function fails.
    pub async fn after_refusal(
        &self,
        refused: Option<&Login>,
    ) -> Result<Option<Login>, CredentialsError> {
        let _turn = self.0.turn.lock().await;
        let last = self.last();
        if last.as_ref() != refused {
            // Somebody else has asked meanwhile.
            return Ok(last);
        }
        let login = self.ask().await?;
        Ok((Some(&login) != refused).then_some(login))
    }

    /// What the function gave last.
    #[must_use]
    pub fn last(&self) -> Option<Login> {
        let last = self.lock();
        last.as_ref().map(|given| given.login.clone())
    }

    /// How often a pool that opens connections by itself is to be told what to log in with.
    #[must_use]
    pub fn interval(&self) -> Duration {
        match self.0.credentials.refresh {
            Duration::ZERO => Credentials::INTERVAL,
            refresh => refresh,
        }
    }

    /// The last answer, if it will do for a connection that is wanted since `wanted`.
    fn kept(&self, wanted: Instant) -> Option<Login> {
        let last = self.lock();
        let given = last.as_ref()?;
        let good = given.at >= wanted || given.at.elapsed() < self.0.credentials.refresh;
        good.then(|| given.login.clone())
    }

    /// Asks the function.
    async fn ask(&self) -> Result<Login, CredentialsError> {
        let Asked {
            credentials, node, ..
        } = &*self.0;
        let at = Instant::now();
        let asked = timeout(Credentials::LIMIT, (credentials.function)(node.clone())).await;
        let failed = |why| CredentialsError {
            node: Arc::clone(&node.name),
            why,
        };
        let login = match asked {
            Ok(Ok(login)) => login,
            Ok(Err(error)) => return Err(failed(Causes(&*error).to_string())),
            Err(_) => return Err(failed(format!("no answer within {:?}", Credentials::LIMIT))),
        };
        *self.lock() = Some(Given {
            login: login.clone(),
            at,
        });
        Ok(login)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Given>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCredentials")
            .field("node", &self.0.node)
            .finish_non_exhaustive()
    }
}

/// The function that gives logins has given none. Its text says why: not every ORM's errors have a source.
#[derive(Debug)]
pub struct CredentialsError {
    node: Arc<str>,
    why: String,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, why } = self;
        write!(f, "the credentials of {node:?} could not be had: {why}")
    }
}

impl Error for CredentialsError {}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Gives `1`, `2`, …, and takes a second for each.
    fn counting() -> Credentials {
        let count = AtomicU32::new(0);
        Credentials::new(move |_| {
            let count = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, Failure>(Login::new(count.to_string()))
            }
        })
    }

    fn password(login: &Login) -> &str {
        login.password()
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_asks_and_those_of_one_moment_share_the_answer() {
        let node = counting().of(LoginTarget::new("eu"));
        let (one, other) = tokio::join!(node.now(), node.now());
        assert_eq!(
            (password(&one.unwrap()), password(&other.unwrap())),
            ("1", "1")
        );
        assert_eq!(password(&node.now().await.unwrap()), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_for_as_long_as_was_said() {
        let minute = Duration::from_secs(60);
        let node = counting().refresh(minute).of(LoginTarget::new("eu"));
        assert_eq!(password(&node.now().await.unwrap()), "1");
        assert_eq!(password(&node.now().await.unwrap()), "1");
        tokio::time::advance(minute).await;
        assert_eq!(password(&node.now().await.unwrap()), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_asks_at_once_and_only_once_for_all_who_were_refused() {
        let node = counting()
            .refresh(Duration::from_secs(60))
            .of(LoginTarget::new("eu"));
        let first = node.now().await.unwrap();
        let (one, other) = tokio::join!(
            node.after_refusal(Some(&first)),
            node.after_refusal(Some(&first))
        );
        let second = one.unwrap().unwrap();
        assert_eq!(password(&second), "2");
        assert_eq!(other.unwrap(), Some(second));

        let same = Credentials::new(|_| async { Ok::<_, Failure>(Login::new("x")) });
        let same = same.of(LoginTarget::new("eu"));
        let only = same.now().await.unwrap();
        assert_eq!(same.after_refusal(Some(&only)).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_fails_leaves_the_last_answer_until_that_is_refused() {
        let first = AtomicU32::new(0);
        let credentials = Credentials::new(move |_| {
            let first = first.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                match first {
                    true => Ok(Login::new("good")),
                    false => Err("the vault is sealed"),
                }
            }
        });
        let node = credentials.of(LoginTarget::new("eu"));
        let good = node.now().await.unwrap();
        assert_eq!(node.now().await.unwrap(), good);
        let error = node.after_refusal(Some(&good)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the credentials of \"eu\" could not be had: the vault is sealed"
        );

        let silent = Credentials::new(|_| std::future::pending::<Result<Login, Failure>>());
        let error = silent.of(LoginTarget::new("eu")).now().await.unwrap_err();
        assert!(error.to_string().contains("within 10s"), "{error}");
    }

    #[test]
    fn a_target_is_where_its_url_leads() {
        let node = LoginTarget::new("eu");
        let at = node.clone().at_url("postgres://app@h/shop");
        assert_eq!((at.host(), at.port()), (Some("h"), Some(5432)));
        assert_eq!(
            node.clone()
                .at_url("postgres://app@h/shop?host=/run")
                .host(),
            None
        );
        assert_eq!(node.at_url("host=h").host(), None);
    }

    #[test]
    fn nothing_shows_a_password() {
        let credentials = Credentials::new(|_| async { Ok::<_, Failure>(Login::new("sup3r")) });
        let node = credentials.of(LoginTarget::new("eu"));
        let shown = format!("{credentials:?} {node:?} {:?}", Login::new("sup3r"));
        assert!(!shown.contains("sup3r"), "{shown}");
    }
}
