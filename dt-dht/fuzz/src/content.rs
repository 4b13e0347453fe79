//! Shards that are no shards, and ciphertexts that are none.

use bytes::Bytes;
use dt_dht::seal::{self, Opener};
use dt_dht::{BlobError, BlobRef, Resilience, Shard, decode_stripe, encode_stripe};
use dt_model::testing::Choices;
use dt_model::{Digest, Secret, codec};

pub fn content(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(4) {
        0 => damaged_shards(&mut choices),
        1 => inconsistent_shards(&mut choices),
        2 => damaged_ciphertext(&mut choices),
        _ => any_ciphertext(&mut choices),
    }
}

fn resilience(choices: &mut Choices<'_>) -> Resilience {
    let faulty = [0, 1, 2, 3][choices.below(4)];
    Resilience::new(3 * faulty + 1 + [0, 1, 2, 5][choices.below(4)], faulty).expect("enough replicas")
}

/// Whatever comes instead of shards: with enough sound ones among it the content is restored, and else nothing.
fn damaged_shards(choices: &mut Choices<'_>) {
    let resilience = resilience(choices);
    let plain = choices.bytes();
    let (blob, shards) = encode_stripe(plain, resilience).expect("short content");
    let mut given: Vec<(u16, Vec<u8>)> = Vec::new();
    for (index, shard) in (0u16..).zip(&shards) {
        let mut shard = shard.to_vec();
        match choices.below(6) {
            0 | 1 => given.push((index, shard)),
            2 => given.push((index, choices.bytes().to_vec())),
            3 => given.push((u16::from(choices.byte()), shard)),
            4 => {
                let place = choices.below(shard.len());
                shard[place] ^= choices.byte();
                given.push((index, shard));
            }
            _ => {}
        }
    }
    let mut sound: Vec<u16> = Vec::new();
    for (index, shard) in &given {
        if shards.get(usize::from(*index)).is_some_and(|right| right == shard) && !sound.contains(index) {
            sound.push(*index);
        }
    }
    let restored = decode_stripe(&blob, given.iter().map(|(index, shard)| (*index, &shard[..])));
    match restored {
        Ok(restored) => assert_eq!((restored, sound.len() >= blob.data_shards()), (plain.to_vec(), true)),
        Err(error) => {
            let (found, needed) = (sound.len(), blob.data_shards());
            assert!(found < needed);
            assert_eq!(error, BlobError::TooFewShards { found, needed });
        }
    }
}

/// A writer who names any shards: whichever of them a reader gets, all readers come to one verdict.
fn inconsistent_shards(choices: &mut Choices<'_>) {
    let resilience = resilience(choices);
    let plain = choices.bytes();
    let (honest, shards) = encode_stripe(plain, resilience).expect("short content");
    let mut shards: Vec<Vec<u8>> = shards.iter().map(|shard| shard.to_vec()).collect();
    for _ in 0..choices.below(4) {
        let (which, place) = (choices.below(shards.len()), choices.below(honest.shard_bytes()));
        shards[which][place] ^= choices.byte();
    }
    let digests: Vec<Digest> =
        shards.iter().map(|shard| Shard::from(Bytes::copy_from_slice(shard)).digest()).collect();
    // The length may be another one, too, as long as the shards have room for it.
    let length = (plain.len() as u64).saturating_sub(choices.number() % 3);
    let data = u16::try_from(honest.data_shards()).expect("few shards");
    let Ok(blob) = codec::decode::<BlobRef>(&codec::encode(&(length, data, digests)), 1 << 16) else {
        return;
    };
    let numbered: Vec<(u16, &[u8])> = (0u16..).zip(shards.iter().map(Vec::as_slice)).collect();
    let verdict = decode_stripe(&blob, numbered.iter().copied());
    for first in 0..numbered.len() {
        let some = numbered.iter().cycle().skip(first).step_by(1 + choices.below(2)).take(blob.data_shards());
        let other = decode_stripe(&blob, some.copied());
        // One shard twice is too few.
        if !matches!(other, Err(BlobError::TooFewShards { .. })) {
            assert_eq!(other, verdict, "from shard {first} on");
        }
    }
    if let Ok(restored) = verdict {
        assert_eq!(encode_stripe(&restored, resilience).expect("short content").0, blob);
    }
}

/// Content of some chunks.
fn long(choices: &mut Choices<'_>) -> Vec<u8> {
    let length =
        [0, 1, 1000, seal::CHUNK_BYTES - 1, seal::CHUNK_BYTES, seal::CHUNK_BYTES + 1][choices.below(6)];
    let length = length + choices.below(3) * seal::CHUNK_BYTES;
    let seed = choices.byte();
    (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1] ^ seed).collect()
}

/// Altered, cut off, or extended, it does not open; in pieces and in ranges it opens to the same.
fn damaged_ciphertext(choices: &mut Choices<'_>) {
    let (key, plain) = (Secret::from_bytes([choices.byte(); 32]), long(choices));
    let context = choices.bytes();
    let sealed = seal::seal(&key, context, &plain);
    let mut damaged = sealed.clone();
    let place = choices.below(256) * 256 + choices.below(256);
    match choices.below(4) {
        0 => damaged.truncate(place),
        1 => damaged.extend_from_slice(choices.bytes()),
        2 => damaged.rotate_left(place % sealed.len()),
        _ => damaged[place % sealed.len()] ^= choices.byte(),
    }
    let opened = seal::open(&key, context, &damaged);
    assert_eq!(opened.is_ok(), damaged == sealed);
    let mut opener = Opener::new(&key, context, sealed.len() as u64).expect("a length that there is");
    let (mut rest, mut pieces) = (&sealed[..], Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + 400 * choices.below(256)).min(rest.len()));
        opener.push(piece, &mut pieces).expect("it is sound");
        rest = after;
    }
    opener.finish().expect("it is whole");
    assert_eq!(pieces, plain);
    let opener = Opener::new(&key, context, sealed.len() as u64).expect("a length that there is");
    let edge = |choices: &mut Choices<'_>| (choices.below(256) * 1024 + choices.below(256)) as u64;
    let (start, end) = (edge(choices), edge(choices));
    let needed = opener.sealed_range(start..end);
    let inside = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(sealed.len());
    let piece = &sealed[inside(needed.start)..inside(needed.end).max(inside(needed.start))];
    let opened = opener.open_range(start..end, piece);
    let expected = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let expected = expected.and_then(|(start, end)| plain.get(start..end));
    assert_eq!(opened.ok().as_ref().map(|opened| &opened[..]), expected, "{start} to {end}");
}

/// Bytes open only if somebody sealed them.
fn any_ciphertext(choices: &mut Choices<'_>) {
    let (key, context) = (Secret::from_bytes([choices.byte(); 32]), [choices.byte()]);
    let sealed = choices.bytes();
    if let Ok(plain) = seal::open(&key, &context, sealed) {
        assert_eq!(seal::seal(&key, &context, &plain), sealed);
    }
}
