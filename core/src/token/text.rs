//! A token's text: base64url, without padding, of
//!
//! ```text
//! head  issued  [cluster  timeline  position]  seal
//! ```
//!
//! The head is one byte: the version, and which of the forms follow. The cluster is 8 bytes; all other numbers have
//! seven bits a byte, the lowest first, in as few bytes as will do, so that every token has one text. A position is a
//! number, or how many domains there are and then each one's number and sequence. The seal of an unsigned token is a
//! checksum of 4 bytes; of a signed one, its key's id and signature (`keys.rs`).
//!
//! What comes from outside is hostile: a text of more than [`LONGEST`] bytes is not looked at, the others are decoded
//! into a buffer of fixed size, and all that is allocated are domains that were really there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{Problem, TokenError};
use super::{Place, Token};
use crate::dialect::{Position, Timeline};
use crate::request::stable_hash;

/// More than any token needs: one of sixteen domains with the highest numbers takes 384.
const LONGEST: usize = 512;

/// How many bytes that many characters stand for.
const CAPACITY: usize = LONGEST / 4 * 3;

/// A position in more domains has no room in a text: with the other cookies of an application it might outgrow
/// what servers accept as one header.
const MOST_DOMAINS: usize = 16;

const VERSION: u8 = 1;

/// The bits of the head below the version: whether there is a place, the forms of its timeline and its position, and
/// of the seal.
const PLACED: u8 = 1;
const WRITER: u8 = 2;
const DOMAINS: u8 = 4;
pub(super) const SIGNED: u8 = 8;

const CHECKSUM: usize = 4;

/// The text of an unsigned token.
pub(super) fn write(token: &Token) -> String {
    let mut bytes = body(token, 0);
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    encode(&bytes)
}

/// The token of an unsigned text.
pub(super) fn read(text: &str) -> Result<Token, TokenError> {
    let mut buffer = buffer();
    let bytes = decode(text, &mut buffer)?;
    if is_signed(bytes)? {
        return Err(Problem::Signed.into());
    }
    let (body, found) = bytes.split_last_chunk().ok_or(Problem::Short)?;
    if *found != checksum(body) {
        return Err(Problem::Checksum.into());
    }
    parse(body)
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..] = stable_hash(body).to_le_bytes();
    [a, b, c, d]
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A buffer that holds whatever a text of permitted length stands for.
pub(super) const fn buffer() -> [u8; CAPACITY] {
    [0; CAPACITY]
}

pub(super) fn decode<'b>(
    text: &str,
    buffer: &'b mut [u8; CAPACITY],
) -> Result<&'b [u8], TokenError> {
    if text.len() > LONGEST {
        return Err(Problem::TooLong {
            found: text.len(),
            most: LONGEST,
        }
        .into());
    }
    match URL_SAFE_NO_PAD.decode_slice(text, buffer) {
        Ok(length) => Ok(&buffer[..length]),
        Err(_) => Err(text
            .char_indices()
            .find(|(_, found)| !matches!(found, 'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_'))
            .map_or(Problem::Encoding, |(at, found)| Problem::Character {
                found,
                at,
            })
            .into()),
    }
}

/// Whether the head says that the token is signed.
pub(super) fn is_signed(bytes: &[u8]) -> Result<bool, TokenError> {
    let head = bytes.first().ok_or(Problem::Short)?;
    let found = head >> 4;
    match found == VERSION {
        true => Ok(head & SIGNED != 0),
        false => Err(Problem::Version {
            found,
            known: VERSION,
        }
        .into()),
    }
}

/// All of a token but its seal, of which `seal` is the form.
pub(super) fn body(token: &Token, seal: u8) -> Vec<u8> {
    let place = token.place.as_ref().filter(|place| has_room(place));
    let mut bytes = vec![VERSION << 4 | seal | place.map_or(0, form)];
    number(&mut bytes, token.issued);
    let Some(place) = place else { return bytes };
    bytes.extend_from_slice(&place.cluster.to_le_bytes());
    let (Timeline::Numbered(timeline) | Timeline::Writer(timeline)) = place.timeline;
    number(&mut bytes, timeline);
    match &place.position {
        Position::Log(position) => number(&mut bytes, *position),
        Position::Domains(domains) => {
            number(&mut bytes, domains.len() as u64);
            for (domain, sequence) in domains {
                number(&mut bytes, u64::from(*domain));
                number(&mut bytes, *sequence);
            }
        }
    }
    bytes
}

fn has_room(place: &Place) -> bool {
    match &place.position {
        Position::Log(_) => true,
        Position::Domains(domains) => domains.len() <= MOST_DOMAINS,
    }
}

fn form(place: &Place) -> u8 {
    let timeline = match place.timeline {
        Timeline::Numbered(_) => 0,
        Timeline::Writer(_) => WRITER,
    };
    let position = match place.position {
        Position::Log(_) => 0,
        Position::Domains(_) => DOMAINS,
    };
    PLACED | timeline | position
}

fn number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// A token from all of it but its seal, which was found in order.
pub(super) fn parse(body: &[u8]) -> Result<Token, TokenError> {
    let mut rest = Rest(body);
    let [head] = rest.take()?;
    let issued = rest.number()?;
    let place = match head & (PLACED | WRITER | DOMAINS) {
        0 => None,
        form if form & PLACED == 0 => return Err(Problem::Layout.into()),
        form => Some(rest.place(form)?),
    };
    match rest.0.len() {
        0 => Ok(Token { place, issued }),
        trailing => Err(Problem::Trailing(trailing).into()),
    }
}

/// What has not been read yet.
struct Rest<'b>(&'b [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Problem::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, TokenError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let low = u64::from(byte & 0x7F);
            if low << shift >> shift != low {
                break;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                // The highest part of a number in its shortest form is not zero.
                match low == 0 && shift > 0 {
                    true => break,
                    false => return Ok(number),
                }
            }
        }
        Err(Problem::Number.into())
    }

    fn place(&mut self, form: u8) -> Result<Place, TokenError> {
        let cluster = u64::from_le_bytes(self.take()?);
        let timeline = self.number()?;
        let timeline = match form & WRITER {
            0 => Timeline::Numbered(timeline),
            _ => Timeline::Writer(timeline),
        };
        let position = match form & DOMAINS {
            0 => Position::Log(self.number()?),
            _ => Position::Domains(self.domains()?),
        };
        Ok(Place {
            cluster,
            timeline,
            position,
        })
    }

    fn domains(&mut self) -> Result<Vec<(u32, u64)>, TokenError> {
        let found = self.number()?;
        if found > MOST_DOMAINS as u64 {
            return Err(Problem::Domains {
                found,
                most: MOST_DOMAINS,
            }
            .into());
        }
        let mut domains = Vec::new();
        for _ in 0..found {
            let domain = u32::try_from(self.number()?).map_err(|_| Problem::Number)?;
            domains.push((domain, self.number()?));
        }
        Ok(domains)
    }
}
