//! Sealed content: what was cut, moved or added does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use dt_dht::seal::{CHUNK_BYTES, TAG_BYTES, open, seal, sealed_bytes};
use dt_model::{Secret, SecretError};

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
    let cipher = ChaCha20Poly1305::new(&[7; 32].into());
    let chunk = |nonce: [u8; 12], msg: &[u8]| {
        cipher.encrypt(&Nonce::from(nonce), Payload { msg, aad: b"context" }).unwrap()
    };
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
    let cipher = ChaCha20Poly1305::new(&[7; 32].into());
    let chunk = |nonce: [u8; 12], msg: &[u8]| {
        cipher.encrypt(&Nonce::from(nonce), Payload { msg, aad: b"context" }).unwrap()
    };
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
