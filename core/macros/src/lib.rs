//! The attributes of `dbrouter`. They are used through it, under its feature `macros`, or through an adapter, such as
//! `dbrouter-sqlx`; so this crate need not be named.
//!
//! Each makes a scope of a whole function, as the function of `dbrouter::scope` does of a future:
//!
//! ```
//! use dbrouter::{on_replica, scope::with_replica};
//! # struct Db;
//! # impl Db { async fn count(&self, _: &str) -> Result<i64, std::io::Error> { Ok(0) } }
//!
//! #[on_replica]
//! async fn orders(db: &Db) -> Result<i64, std::io::Error> {
//!     db.count("orders").await
//! }
//!
//! // is
//! async fn the_same(db: &Db) -> Result<i64, std::io::Error> {
//!     with_replica(async move { db.count("orders").await }).await
//! }
//! ```
//!
//! They go on functions and methods, with references, generics, `?` and `return` as they are. What they expand to
//! names the crate that they came from; where that bears another name, say so: `#[on_replica(crate = my::name)]`.
//! Where two on one function disagree the upper one holds, because it is expanded first and so is the inner scope.
//! Beneath `async_trait` and the like a function is no `async fn` any more: there, use the function instead.

mod attribute;

use proc_macro::TokenStream;

use attribute::{Attribute, Home};

/// Defines the attributes of one crate that re-exports them.
macro_rules! attributes {
    ($home:expr; $($(#[$meta:meta])* $name:ident: $attribute:expr;)*) => {
        $(
            $(#[$meta])*
            #[proc_macro_attribute]
            pub fn $name(arguments: TokenStream, item: TokenStream) -> TokenStream {
                $attribute.expand(&$home, arguments.into(), &item.into()).into()
            }
        )*
    };
}

attributes! {
    Home::Engine;

    /// All reads of an async function are on one replica, whatever the policy: the function is a scope of
    /// `scope::with_replica`.
    ///
    /// ```
    /// # struct Db;
    /// # impl Db { async fn count(&self, _: &str) -> Result<i64, std::io::Error> { Ok(0) } }
    /// #[dbrouter::on_replica]
    /// async fn unpaid(db: &Db) -> Result<i64, std::io::Error> {
    ///     let orders = db.count("orders").await?;
    ///     if orders == 0 {
    ///         return Ok(0);
    ///     }
    ///     Ok(orders - db.count("payments").await?)
    /// }
    /// ```
    on_replica: Attribute::ON_REPLICA;

    /// All reads of an async function are on the primary: the function is a scope of `scope::with_primary`.
    on_primary: Attribute::ON_PRIMARY;

    /// An async function writes nothing: it is a scope of `scope::without_writes`, in which a write is an error
    /// before any server sees it.
    without_writes: Attribute::WITHOUT_WRITES;
}

attributes! {
    Home::Adapter("dbrouter_sqlx");

    /// All reads of an async function are on one replica: the function is a scope of `with_replica`.
    #[doc(hidden)]
    sqlx_on_replica: Attribute::ON_REPLICA;
    /// All reads of an async function are on the primary: the function is a scope of `with_primary`.
    #[doc(hidden)]
    sqlx_on_primary: Attribute::ON_PRIMARY;
    /// An async function writes nothing: it is a scope of `without_writes`.
    #[doc(hidden)]
    sqlx_without_writes: Attribute::WITHOUT_WRITES;
}

attributes! {
    Home::Adapter("dbrouter_seaorm");

    /// All reads of an async function are on one replica: the function is a scope of `with_replica`.
    #[doc(hidden)]
    seaorm_on_replica: Attribute::ON_REPLICA;
    /// All reads of an async function are on the primary: the function is a scope of `with_primary`.
    #[doc(hidden)]
    seaorm_on_primary: Attribute::ON_PRIMARY;
    /// An async function writes nothing: it is a scope of `without_writes`.
    #[doc(hidden)]
    seaorm_without_writes: Attribute::WITHOUT_WRITES;
}

attributes! {
    Home::Adapter("dbrouter_diesel");

    /// All reads of an async function are on one replica: the function is a scope of `with_replica`.
    #[doc(hidden)]
    diesel_on_replica: Attribute::ON_REPLICA;
    /// All reads of an async function are on the primary: the function is a scope of `with_primary`.
    #[doc(hidden)]
    diesel_on_primary: Attribute::ON_PRIMARY;
    /// An async function writes nothing: it is a scope of `without_writes`.
    #[doc(hidden)]
    diesel_without_writes: Attribute::WITHOUT_WRITES;
}
