//! Sealed content: what was cut, moved or added does not open.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use dt_dht::STRIPE_BYTES;
use dt_dht::seal::{CHUNK_BYTES, Opener, Sealer, TAG_BYTES, open, seal, sealed_bytes, sealed_range};
use dt_model::{Secret, SecretError};
use proptest::prelude::*;

const SEALED: usize = CHUNK_BYTES + TAG_BYTES;

fn key() -> Secret {
    Secret::from_bytes([7; 32])
}

fn content(length: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(length).collect()
}

fn opens(sealed: &[u8]) -> Result<Vec<u8>, SecretError> {
    open(&key(), b"context", sealed).map(|plaintext| plaintext.to_vec())
}

/// A chunk of the content in `b"context"`, sealed by the primitives alone.
fn chunk(nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
    let key = blake3::derive_key("dt/dht/seal/v1", &[&[7; 32][..], b"context"].concat());
    ChaCha20Poly1305::new(&key.into()).encrypt(&Nonce::from(nonce), content).unwrap()
}

#[test]
fn every_length_opens_again() {
    for length in [0, 1, 15, 16, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 200_000] {
        let sealed = seal(&key(), b"context", &content(length));
        assert_eq!(sealed.len() as u64, sealed_bytes(length as u64));
        assert_eq!(opens(&sealed).unwrap(), content(length));
    }
}

#[test]
fn it_is_the_construction_that_it_says() {
    let sealed = seal(&key(), b"context", &content(CHUNK_BYTES + 5));
    let whole = content(CHUNK_BYTES + 5);
    let first = chunk([0; 12], &whole[..CHUNK_BYTES]);
    let last = chunk([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &whole[CHUNK_BYTES..]);
    assert_eq!(sealed, [first, last].concat());
}

#[test]
fn cutting_is_noticed() {
    for length in [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 9] {
        let sealed = seal(&key(), b"context", &content(length));
        for cut in [0, 1, 15, 16, 17, SEALED - 1, SEALED, SEALED + 1, 2 * SEALED, 3 * SEALED] {
            if cut < sealed.len() {
                assert_eq!(opens(&sealed[..cut]), Err(SecretError), "{length} cut to {cut}");
                assert_eq!(
                    opens(&sealed[sealed.len() - cut..]),
                    Err(SecretError),
                    "{length}: the last {cut}"
                );
            }
        }
    }
}

#[test]
fn moving_and_adding_are_noticed() {
    let sealed = seal(&key(), b"context", &content(3 * CHUNK_BYTES));
    let chunks: Vec<&[u8]> = sealed.chunks(SEALED).collect();
    for order in [&[1, 0, 2][..], &[0, 2, 1], &[0, 0, 2], &[0, 1, 2, 2], &[0, 1], &[2], &[0, 2]] {
        let moved: Vec<u8> = order.iter().flat_map(|chunk| chunks[*chunk]).copied().collect();
        assert_eq!(opens(&moved), Err(SecretError), "{order:?}");
    }
    for extension in [1, TAG_BYTES, SEALED] {
        assert_eq!(opens(&[&sealed[..], &vec![0; extension]].concat()), Err(SecretError));
    }
    let empty = seal(&key(), b"context", b"");
    assert_eq!(opens(&[&sealed[..], &empty].concat()), Err(SecretError));
    assert_eq!(opens(b""), Err(SecretError));
}

/// A last chunk that is empty after a full one would be a second form of the same content.
#[test]
fn there_is_one_sealed_form() {
    let other = [chunk([0; 12], &content(CHUNK_BYTES)), chunk([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], b"")];
    assert_eq!(opens(&other.concat()), Err(SecretError));
}

#[test]
fn every_flipped_bit_and_wrong_argument_is_noticed() {
    let sealed = seal(&key(), b"context", b"pressure");
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opens(&flipped), Err(SecretError));
    }
    assert!(open(&key(), b"contexu", &sealed).is_err());
    assert!(open(&key(), b"", &sealed).is_err());
    assert!(open(&Secret::from_bytes([8; 32]), b"context", &sealed).is_err());
}

#[test]
fn a_stripe_holds_whole_chunks() {
    assert_eq!(STRIPE_BYTES % SEALED, 0);
    let chunks = (STRIPE_BYTES / SEALED) as u64;
    let stripe = sealed_range(0..chunks * CHUNK_BYTES as u64);
    assert_eq!(stripe, 0..STRIPE_BYTES as u64);
}

/// A sealer that goes on at a chunk gives what one that never stopped gives.
#[test]
fn sealing_resumes_at_any_chunk() {
    let whole = content(3 * CHUNK_BYTES + 9);
    let sealed = seal(&key(), b"context", &whole);
    for chunks in 0..=3 {
        let (mut sealer, mut rest) = (Sealer::resume(&key(), b"context", chunks as u64), Vec::new());
        sealer.push(&whole[chunks * CHUNK_BYTES..], &mut rest).unwrap();
        sealer.finish(&mut rest).unwrap();
        assert_eq!(rest, sealed[chunks * SEALED..]);
    }
    let mut sealer = Sealer::resume(&key(), b"context", u64::from(u32::MAX));
    assert_eq!(sealer.push(&whole[..CHUNK_BYTES + 1], &mut Vec::new()), Ok(()));
    assert_eq!(sealer.push(&whole, &mut Vec::new()), Err(SecretError));
}

#[test]
fn only_lengths_that_sealing_gives_are_opened() {
    let lengths = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1];
    for length in lengths {
        let sealed = sealed_bytes(length as u64);
        assert_eq!(Opener::new(&key(), b"", sealed).unwrap().content_bytes(), length as u64);
    }
    let impossible = [0, 1, 15, SEALED + 1, SEALED + 15, SEALED + 16, 2 * SEALED + 16];
    for length in impossible {
        assert!(Opener::new(&key(), b"", length as u64).is_err(), "{length}");
    }
    assert!(Opener::new(&key(), b"", u64::MAX).is_err());
}

/// A stream that ends early, goes on too long, or is altered: what was given until then is sound, and the end is noticed.
#[test]
fn a_stream_notices_what_is_missing_or_too_much() {
    let whole = content(2 * CHUNK_BYTES + 100);
    let sealed = seal(&key(), b"context", &whole);
    let opener = |length: usize| Opener::new(&key(), b"context", length as u64).unwrap();
    for cut in [0, 1, SEALED - 1, SEALED, SEALED + 1, 2 * SEALED, sealed.len() - 1] {
        let (mut opener, mut opened) = (opener(sealed.len()), Vec::new());
        opener.push(&sealed[..cut], &mut opened).unwrap();
        assert!(whole.starts_with(&opened));
        assert_eq!(opener.finish(), Err(SecretError), "{cut}");
    }
    let (mut long, mut opened) = (opener(sealed.len()), Vec::new());
    assert_eq!(long.push(&[&sealed[..], &[0]].concat(), &mut opened), Err(SecretError));
    // Whoever believes a shorter length finds that its last chunk is none.
    for length in [SEALED, 2 * SEALED, SEALED + 50] {
        let mut opened = Vec::new();
        assert_eq!(opener(length).push(&sealed[..length], &mut opened), Err(SecretError));
        assert!(whole.starts_with(&opened));
    }
}

#[test]
fn a_range_opens_only_from_its_own_chunks() {
    let whole = content(3 * CHUNK_BYTES + 100);
    let sealed = seal(&key(), b"context", &whole);
    let opener = Opener::new(&key(), b"context", sealed.len() as u64).unwrap();
    let range = CHUNK_BYTES as u64 + 5..2 * CHUNK_BYTES as u64 + 7;
    assert_eq!(opener.sealed_range(range.clone()), SEALED as u64..3 * SEALED as u64);
    let chunks: Vec<&[u8]> = sealed.chunks(SEALED).collect();
    let given = |order: &[usize]| order.iter().flat_map(|chunk| chunks[*chunk]).copied().collect::<Vec<u8>>();
    let opened = opener.open_range(range.clone(), &given(&[1, 2])).unwrap();
    assert_eq!(opened[..], whole[CHUNK_BYTES + 5..2 * CHUNK_BYTES + 7]);
    for order in [&[2, 1][..], &[0, 1], &[1, 1], &[2, 3], &[1], &[1, 2, 3], &[]] {
        assert_eq!(opener.open_range(range.clone(), &given(order)), Err(SecretError), "{order:?}");
    }
    // The last chunk as one in the middle, and the other way round.
    let shorter = Opener::new(&key(), b"context", 3 * SEALED as u64).unwrap();
    assert_eq!(shorter.open_range(range.clone(), &given(&[1, 2])), Err(SecretError));
    assert!(shorter.open_range(5..9, &given(&[0])).is_ok(), "which says nothing of the end");
    let outside = whole.len() as u64..whole.len() as u64 + 1;
    assert_eq!(opener.open_range(outside, &given(&[3])), Err(SecretError));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Streams and ranges are the whole, in pieces, however it is cut.
    #[test]
    fn pieces_are_the_whole(
        chunks in 0usize..4,
        more in prop_oneof![Just(0), Just(1), Just(CHUNK_BYTES - 1), 0..CHUNK_BYTES],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        range in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let whole = content(chunks * CHUNK_BYTES + more);
        let expected = seal(&key(), b"context", &whole);
        let pieces = |bytes: &[u8]| {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec()).collect::<Vec<_>>()
        };
        let (mut sealer, mut sealed) = (Sealer::new(&key(), b"context"), Vec::new());
        for piece in pieces(&whole) {
            sealer.push(&piece, &mut sealed).unwrap();
        }
        sealer.finish(&mut sealed).unwrap();
        prop_assert!(sealed == expected);

        let mut opener = Opener::new(&key(), b"context", sealed.len() as u64).unwrap();
        let mut opened = Vec::new();
        for piece in pieces(&sealed) {
            opener.push(&piece, &mut opened).unwrap();
        }
        opener.finish().unwrap();
        prop_assert!(opened == whole);

        let (a, b) = (range.0.index(whole.len() + 1), range.1.index(whole.len() + 1));
        let range = a.min(b) as u64..a.max(b) as u64;
        let opener = Opener::new(&key(), b"context", sealed.len() as u64).unwrap();
        let needed = opener.sealed_range(range.clone());
        let given = &sealed[usize::try_from(needed.start).unwrap()..usize::try_from(needed.end).unwrap()];
        let found = opener.open_range(range, given).unwrap();
        prop_assert!(found[..] == whole[a.min(b)..a.max(b)]);
    }
}
