use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn token(cluster: u64, timeline: Timeline, position: Position, issued: u64) -> Token {
    let place = Some(Place {
        cluster,
        timeline,
        position,
    });
    Token { place, issued }
}

fn positions() -> impl Strategy<Value = Position> {
    let domains = vec((any::<u32>(), any::<u64>()), 0..=16);
    prop_oneof![
        any::<u64>().prop_map(Position::Log),
        domains.prop_map(Position::Domains),
    ]
}

/// Numbers of all lengths.
fn numbers() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn tokens() -> impl Strategy<Value = Token> {
    let timelines = prop_oneof![
        numbers().prop_map(Timeline::Numbered),
        numbers().prop_map(Timeline::Writer),
    ];
    let place =
        (any::<u64>(), timelines, positions()).prop_map(|(cluster, timeline, position)| Place {
            cluster,
            timeline,
            position,
        });
    (proptest::option::of(place), numbers()).prop_map(|(place, issued)| Token { place, issued })
}

fn is_safe(text: &str) -> bool {
    let safe = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    text.chars().all(safe)
}

proptest! {
    #[test]
    fn texts_are_read_as_they_were_written(token in tokens()) {
        let text = token.to_string();
        prop_assert!(is_safe(&text) && text.len() < 512, "{}", text);
        prop_assert_eq!(text.parse(), Ok(token));
    }

    /// Whatever is read has exactly this text: there is no second one.
    #[test]
    fn any_text_is_a_tokens_only_text_or_none(text in "\\PC*|[A-Za-z0-9_-]{0,80}") {
        if let Ok(token) = text.parse::<Token>() {
            prop_assert_eq!(token.to_string(), text);
        }
    }

    /// Below the checksum, too.
    #[test]
    fn any_bytes_are_a_tokens_only_form_or_none(
        bytes in vec(any::<u8>(), 0..300),
        head in proptest::option::of(0x10..0x18_u8),
    ) {
        let bytes: Vec<u8> = head.into_iter().chain(bytes).collect();
        if let Ok(token) = text::parse(&bytes) {
            let written = text::body(&token, 0);
            prop_assert_eq!(written[0] & 7, bytes[0] & 7);
            prop_assert_eq!(&written[1..], &bytes[1..]);
        }
    }

    #[test]
    fn what_was_changed_is_no_token(token in tokens(), at in any::<prop::sample::Index>(), char in "\\PC") {
        let text = token.to_string();
        let mut changed: Vec<char> = text.chars().collect();
        let at = at.index(changed.len());
        changed[at] = char.chars().next().unwrap();
        let changed: String = changed.into_iter().collect();
        if changed != text {
            prop_assert!(changed.parse::<Token>().is_err(), "{}", changed);
        }
    }

    #[test]
    fn what_was_cut_off_or_lengthened_is_no_token(token in tokens(), more in "[A-Za-z0-9_-]{1,8}") {
        let text = token.to_string();
        for length in 0..text.len() {
            prop_assert!(text[..length].parse::<Token>().is_err(), "{}", length);
        }
        let longer = text + &more;
        prop_assert!(longer.parse::<Token>().is_err());
    }
}

#[test]
fn postgresqls_are_short() {
    let usual = token(
        u64::MAX,
        Timeline::Numbered(3),
        Position::Log(0x16_B374_D848),
        1_790_000_000,
    );
    assert_eq!(usual.to_string().len(), 34);
    let longest = token(
        u64::MAX,
        Timeline::Numbered(u64::from(u32::MAX)),
        Position::Log(u64::MAX),
        1 << 34,
    );
    assert_eq!(longest.to_string().len(), 44);
}

/// What is stored in cookies and queues must be read by the next release: this text was written by version 1.
#[test]
fn the_form_stays() {
    let token = token(
        7,
        Timeline::Writer(2),
        Position::Domains(std::vec![(0, 300), (9, 1)]),
        1_790_000_000,
    );
    assert_eq!(token.to_string(), "F4D3xNUGBwAAAAAAAAACAgCsAgkBGcXfBg");
    assert_eq!(Token::UNPLACED.to_string(), "EACQqZ16");
}

/// Whatever has the right checksum.
#[test]
fn there_is_one_form_of_everything() {
    let nines = |last: u8| [&[0x10][..], &[0xFF; 9], &[last]].concat();
    let highest = Token {
        place: None,
        issued: u64::MAX,
    };
    assert_eq!(text::parse(&nines(1)), Ok(highest));
    let place = |head: u8, rest: &[u8]| [&[head, 0], &[0; 8][..], rest].concat();
    assert!(text::parse(&place(0x17, &[1, 1, 5, 6])).is_ok());
    for wrong in [
        // A number that is too high, or in more bytes than it needs, or without end.
        nines(2),
        nines(0),
        [&[0x10][..], &[0x80; 10], &[1]].concat(),
        vec![0x10, 0x80, 0],
        // No place, but forms of its parts.
        vec![0x12, 0],
        vec![0x14, 0],
        // More domains than there may be, or than there are; one whose number is too high.
        place(0x17, &[[1, 17].as_slice(), &[1; 34]].concat()),
        place(0x17, &[1, 2, 5, 6]),
        place(0x17, &[1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F, 6]),
        // Something after the end, or nothing at all.
        vec![0x10, 0, 0],
        vec![],
    ] {
        assert!(text::parse(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_has_no_room_has_no_place() {
    let domains = |count| Position::Domains((0..count).map(|domain| (domain, u64::MAX)).collect());
    let fits = token(1, Timeline::Writer(1), domains(16), 5);
    assert_eq!(fits.to_string().parse(), Ok(fits));
    let token = token(1, Timeline::Writer(1), domains(17), 5);
    let text = Token {
        place: None,
        issued: 5,
    };
    assert_eq!(token.to_string().parse(), Ok(text));
}

#[test]
fn errors_say_what_was_found_and_show_none_of_it() {
    let problem = |text: &str| {
        let error = text.parse::<Token>().unwrap_err();
        (error.kind(), error.to_string())
    };
    let secret = "hunter2 ".repeat(100);
    let (kind, message) = problem(&secret);
    assert_eq!(kind, TokenErrorKind::TooLong);
    assert_eq!(message, "the token has 800 bytes; none has more than 512");
    let (kind, message) = problem(&secret[..20]);
    assert_eq!(kind, TokenErrorKind::Garbled);
    assert_eq!(
        message,
        "the token has ' ' at byte 7; it consists of letters, digits, '-' and '_'"
    );
    let (kind, message) = problem("");
    assert_eq!(kind, TokenErrorKind::Garbled);
    assert_eq!(message, "the token ends too early; all of it is needed");
    let (kind, message) = problem("IAAAAAAA");
    assert_eq!(kind, TokenErrorKind::Version);
    assert_eq!(
        message,
        "the token is of version 2; this release reads version 1"
    );
}

#[test]
fn people_can_read_when_it_was_issued() {
    assert_eq!(Token::UNPLACED.issued(), None);
    let mut token = Token {
        place: None,
        issued: 1,
    };
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    assert_eq!(token.issued(), Some(second));
    token.issued = u64::MAX;
    assert_eq!(token.issued(), None);
}

#[cfg(feature = "signed")]
mod signed {
    use super::*;
    use crate::config::{ConfigError, ConfigErrorKind};

    const OLD: &str = "an old key that nobody guesses";
    const NEW: &str = "a new key that nobody guesses";

    fn keys(signing: &str, accepted: &[&str]) -> TokenKeys {
        let keys = TokenKeys::new(signing);
        let accept = |keys: Result<TokenKeys, ConfigError>, key: &&str| keys?.accept(key);
        accepted.iter().fold(keys, accept).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_signed_is_verified(token in tokens()) {
            let text = keys(OLD, &[]).sign(&token);
            prop_assert!(is_safe(&text) && text.len() <= 512, "{}", text);
            prop_assert_eq!(keys(OLD, &[]).verify(&text), Ok(token.clone()));
            prop_assert_eq!(keys(NEW, &[OLD]).verify(&text), Ok(token));
            let unknown = keys(NEW, &[]).verify(&text).unwrap_err();
            prop_assert_eq!(unknown.kind(), TokenErrorKind::UnknownKey);
        }

        #[test]
        fn what_was_changed_or_cut_off_is_forged(token in tokens(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let keys = keys(OLD, &[]);
            let text = keys.sign(&token);
            for length in 0..text.len() {
                prop_assert!(keys.verify(&text[..length]).is_err());
            }
            let mut buffer = text::buffer();
            let mut bytes = text::decode(&text, &mut buffer).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(keys.verify(&text::encode(&bytes)).is_err());
        }

        #[test]
        fn any_text_is_refused(text in "\\PC*|[A-Za-z0-9_-]{0,80}") {
            prop_assert!(keys(OLD, &[]).verify(&text).is_err());
        }
    }

    #[test]
    fn postgresqls_are_short() {
        let longest = token(
            u64::MAX,
            Timeline::Numbered(u64::MAX),
            Position::Log(u64::MAX),
            u64::MAX,
        );
        assert_eq!(keys(OLD, &[]).sign(&longest).len(), 76);
    }

    #[test]
    fn the_two_kinds_are_not_mistaken_for_each_other() {
        let keys = keys(OLD, &[]);
        let signed = keys.sign(&Token::UNPLACED);
        let read = signed.parse::<Token>().unwrap_err();
        assert_eq!(read.kind(), TokenErrorKind::Signed);
        let unsigned = Token::UNPLACED.to_string();
        let verified = keys.verify(&unsigned).unwrap_err();
        assert_eq!(verified.kind(), TokenErrorKind::Unsigned);
    }

    /// An unsigned token whose head is changed to say that it is signed, by somebody who knows a key's id.
    #[test]
    fn an_id_is_no_signature() {
        let keys = keys(OLD, &[]);
        let text = keys.sign(&Token::UNPLACED);
        let mut buffer = text::buffer();
        let mut bytes = text::decode(&text, &mut buffer).unwrap().to_vec();
        let signature = bytes.len() - 16;
        bytes[signature..].fill(0);
        let error = keys.verify(&text::encode(&bytes)).unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Forged);
    }

    /// As documented: no token is refused on the way from one key to the next.
    #[test]
    fn keys_are_rotated_in_three_steps() {
        let steps = [
            keys(OLD, &[]),
            keys(OLD, &[NEW]),
            keys(NEW, &[OLD]),
            keys(NEW, &[]),
        ];
        for pair in steps.windows(2) {
            // Two processes, one of which is a step behind. The last step waits for old tokens to expire.
            for (signs, verifies) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                let text = signs.sign(&Token::UNPLACED);
                assert_eq!(verifies.verify(&text), Ok(Token::UNPLACED));
            }
        }
    }

    #[test]
    fn short_keys_are_named() {
        let short = TokenKeys::new("too short").unwrap_err();
        assert_eq!(short.kind(), ConfigErrorKind::Key);
        assert_eq!(
            short.to_string(),
            "token_keys.signing: has 9 bytes; a key needs 16 at least, random ones"
        );
        let short = keys(OLD, &[]).accept([0; 15]).unwrap_err();
        assert_eq!(short.field(), "token_keys.accepted");
        assert!(TokenKeys::new([0; 16]).is_ok());
    }

    #[test]
    fn no_key_is_shown() {
        let shown = format!("{:?}", keys(OLD, &[NEW]));
        assert_eq!(shown, "TokenKeys { accepted: 1, .. }");
    }
}
