//! What must not compile, and what the compiler says of it.
//!
//! `TRYBUILD=overwrite cargo test -p dbrouter-macros --test misuse` writes the expected messages anew.

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}
