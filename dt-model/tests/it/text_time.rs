//! What people read: texts, times and hex.

use core::time::Duration;

use dt_model::{
    ComponentId, Digest, EncryptionKey, FixedParseError, InvalidKey, Name, PartyId, Signature, Text,
    TextError, Timestamp, TwinId,
};
use proptest::prelude::*;

use crate::sample::PARTY;

type Short = Text<8>;

/// 9999-12-31T23:59:59.999Z
const LAST_IN_RFC3339: u64 = 253_402_300_799_999;

#[test]
fn texts_that_are_names() {
    for text in ["a", "12345678", "äöüß", "[A01] p", " ", "a\u{a0}b", "\u{1f527}\u{1f527}"] {
        let name = Short::new(text).unwrap();
        assert_eq!(name.as_str(), text);
        assert_eq!((name.to_string(), String::from(name.clone())), (text.to_owned(), text.to_owned()));
        assert_eq!(format!("{name:?}"), format!("{text:?}"), "Debug quotes");
        assert_eq!(serde_json::from_str::<Short>(&serde_json::to_string(&name).unwrap()).unwrap(), name);
    }
    assert_eq!(format!("{:>4}|", Short::new("ab").unwrap()), "  ab|", "Display pads");
}

#[test]
fn texts_that_are_not() {
    let too_long = |size| TextError::TooLong { size, limit: 8 };
    let cases = [
        ("", TextError::Empty),
        ("123456789", too_long(9)),
        ("ßßßßß", too_long(10)),
        ("\n", TextError::Control { at: 0 }),
        ("a\tb", TextError::Control { at: 1 }),
        ("ß\0", TextError::Control { at: 2 }),
        ("abc\u{7f}", TextError::Control { at: 3 }),
        ("abc\u{85}", TextError::Control { at: 3 }),
        ("a\u{2028}b", TextError::Control { at: 1 }),
        ("\u{2029}", TextError::Control { at: 0 }),
        ("a\u{1b}[31m", TextError::Control { at: 1 }),
        ("a\nb\rc", TextError::Control { at: 1 }),
        ("\n23456789", too_long(9)),
    ];
    for (text, error) in cases {
        assert_eq!(Short::new(text), Err(error), "new: {text:?}");
        assert_eq!(text.parse::<Short>(), Err(error), "parse: {text:?}");
        assert_eq!(Short::try_from(text.to_owned()), Err(error), "try_from: {text:?}");
        let json = serde_json::from_str::<Short>(&serde_json::to_string(text).unwrap()).unwrap_err();
        assert!(json.to_string().contains(&error.to_string()), "JSON: {json}");
    }
}

#[test]
fn limits_of_the_named_texts() {
    assert!(Name::new("x".repeat(128)).is_ok());
    assert_eq!(Name::new("x".repeat(129)), Err(TextError::TooLong { size: 129, limit: 128 }));
    assert!(ComponentId::new("x".repeat(512)).is_ok());
    assert_eq!(ComponentId::new("x".repeat(513)), Err(TextError::TooLong { size: 513, limit: 512 }));
}

/// A map by name is asked with a plain `&str`, which [`Borrow`](core::borrow::Borrow) allows only if the orders agree.
#[test]
fn texts_are_looked_up_as_str() {
    let map: std::collections::BTreeMap<Name, u8> =
        [("valve", 1), ("Valve", 2), ("välve", 3)].map(|(name, value)| (name.parse().unwrap(), value)).into();
    for (name, value) in [("valve", 1), ("Valve", 2), ("välve", 3)] {
        assert_eq!(map.get(name), Some(&value));
    }
    assert_eq!(map.get("VALVE"), None);
}

proptest! {
    /// The rules once more, as a list of what each character may not be.
    #[test]
    fn text_model(text in "[a-c\u{0}-\u{1f}\u{7e}-\u{a1}\u{200a}-\u{2010}\u{2027}-\u{202f}\u{205f}-\u{206a}\u{61b}-\u{61d}\u{feff}]{0,9}") {
        let bad = |c: char| matches!(
            c as u32,
            0..0x20 | 0x7f..0xa0 | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff
        );
        let acceptable = (1..=8).contains(&text.len()) && !text.chars().any(bad);
        prop_assert_eq!(Short::new(text.as_str()).is_ok(), acceptable);
    }

    #[test]
    fn time_model(a in any::<u64>(), b in any::<u64>()) {
        let (time, other) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
        let sum = (u128::from(a) + u128::from(b)).min(u128::from(u64::MAX));
        prop_assert_eq!(u128::from(time.saturating_add(Duration::from_millis(b)).as_millis()), sum);
        prop_assert_eq!(time.since(other).as_millis(), u128::from(a.saturating_sub(b)));
        prop_assert_eq!(time.cmp(&other), a.cmp(&b));
        prop_assert!(!time.to_string().is_empty());
    }
}

#[test]
fn times_are_shown_in_rfc_3339() {
    let cases = [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (LAST_IN_RFC3339, "9999-12-31T23:59:59.999Z"),
        (LAST_IN_RFC3339 + 1, "253402300800000 ms"),
        (u64::MAX, "18446744073709551615 ms"),
    ];
    for (millis, shown) in cases {
        assert_eq!(Timestamp::from_millis(millis).to_string(), shown);
    }
}

#[test]
fn times_saturate() {
    let time = Timestamp::from_millis(5);
    assert_eq!(time.saturating_add(Duration::ZERO), time);
    assert_eq!(
        time.saturating_add(Duration::from_micros(1999)),
        Timestamp::from_millis(6),
        "whole milliseconds"
    );
    assert_eq!(time.saturating_add(Duration::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::MAX.saturating_add(Duration::from_millis(1)), Timestamp::MAX);
    assert_eq!(time.since(Timestamp::MAX), Duration::ZERO);
    assert_eq!(Timestamp::MAX.since(Timestamp::default()), Duration::from_millis(u64::MAX));
}

#[test]
fn hex_is_exact() {
    let proper = "ab".repeat(32);
    assert_eq!(proper.parse(), Ok(Digest::from([0xab; 32])));
    let wrong = [
        String::new(),
        "ab".repeat(31),
        "ab".repeat(33),
        proper[..63].to_owned(),
        proper.to_uppercase(),
        format!("0x{}", &proper[..62]),
        format!(" {}", &proper[..63]),
        format!("{}\n", &proper[..63]),
        format!("g{}", &proper[..63]),
        "é".repeat(32),
        "ab".repeat(1 << 16),
    ];
    for text in &wrong {
        let error = FixedParseError { expected: 64 };
        assert_eq!(text.parse::<Digest>(), Err(error), "{text:?}");
        assert_eq!(text.parse::<TwinId>(), Err(error), "{text:?}");
        assert_eq!(text.parse::<EncryptionKey>(), Err(error), "{text:?}");
        assert_eq!(text.parse::<PartyId>(), Err(InvalidKey), "{text:?}");
        let json = serde_json::to_string(text).unwrap();
        let error = serde_json::from_str::<Digest>(&json).unwrap_err().to_string();
        assert!(error.starts_with("expected 64 lowercase hex digits"), "{error}");
        assert!(serde_json::from_str::<PartyId>(&json).is_err(), "{text:?}");
    }
    assert_eq!(PARTY.to_uppercase().parse::<PartyId>(), Err(InvalidKey));
    assert_eq!(proper.parse::<Signature>(), Err(FixedParseError { expected: 128 }));
    for not_text in ["7", "null", "[171]", "{}"] {
        assert!(serde_json::from_str::<Digest>(not_text).is_err(), "{not_text}");
        assert!(serde_json::from_str::<PartyId>(not_text).is_err(), "{not_text}");
    }
}

#[test]
fn what_is_shown_of_fixed_values() {
    let digest = Digest::from([0x0a; 32]);
    assert_eq!(digest.to_string(), "0a".repeat(32));
    assert_eq!(format!("{digest:?}"), format!("Digest({digest})"));
    assert_eq!(digest.short(), "0a0a0a0a");
    let party: PartyId = PARTY.parse().unwrap();
    assert_eq!((party.to_string(), party.short()), (PARTY.to_owned(), PARTY[..8].to_owned()));
    assert_eq!(format!("{party:?}"), format!("PartyId({PARTY})"));
}
