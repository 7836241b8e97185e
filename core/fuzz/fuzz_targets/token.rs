//! Tokens: any text, and any bytes with the right checksum, which chance alone would not find. What is read must have
//! exactly the text that it was read from.

#![no_main]

use std::hash::Hasher;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dbrouter::{Token, TokenKeys};
use libfuzzer_sys::fuzz_target;
use siphasher::sip::SipHasher13;

static KEYS: LazyLock<TokenKeys> =
    LazyLock::new(|| TokenKeys::new([7; 16]).expect("the key is long enough"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        check(text);
    }
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&hasher.finish().to_le_bytes()[..4]);
    check(&URL_SAFE_NO_PAD.encode(sealed));
});

fn check(text: &str) {
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string(), text);
        assert_eq!(KEYS.verify(&KEYS.sign(&token)), Ok(token));
    }
    assert!(KEYS.verify(text).is_err(), "nobody has signed {text:?}");
}
