//! One ciphertext that opens under two keys. ChaCha20-Poly1305 does not commit to its key, so whoever knows both keys can make one
//! (Grubbs, Lu and Ristenpart 2017): the tag is a polynomial over GF(2^130 − 5), and two free blocks solve two equations.

use dt_acl::testing::write;
use dt_acl::{Corrupt, Data, Keyring};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Domain, Secret, Signer as _, codec};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::common::{at, first};
use crate::forge::RawData;

/// An element of GF(2^130 − 5) in five limbs of 26 bits, not fully reduced.
#[derive(Clone, Copy)]
struct Element([u64; 5]);

const LIMB: u64 = (1 << 26) - 1;

impl Element {
    /// `low` + 2^128 × `high`.
    fn new(low: u128, high: u64) -> Self {
        let limb = |at: u32| (low >> (26 * at)) as u64 & LIMB;
        Self([limb(0), limb(1), limb(2), limb(3), limb(4) | (high << 24)])
    }

    fn carried(mut limbs: [u64; 5]) -> Self {
        for _ in 0..3 {
            for at in 0..5 {
                let carry = limbs[at] >> 26;
                limbs[at] &= LIMB;
                if at == 4 { limbs[0] += 5 * carry } else { limbs[at + 1] += carry }
            }
        }
        Self(limbs)
    }

    fn minus(self, other: Self) -> Self {
        // Plus four times the modulus, so that no limb goes below zero.
        let four = |at| if at == 0 { 4 * (LIMB - 4) } else { 4 * LIMB };
        Self::carried(core::array::from_fn(|at| self.0[at] + four(at) - other.0[at]))
    }

    fn times(self, other: Self) -> Self {
        let mut product = [0u64; 5];
        for (at, left) in self.0.iter().enumerate() {
            for (by, right) in other.0.iter().enumerate() {
                let wraps = if at + by >= 5 { 5 } else { 1 };
                product[(at + by) % 5] += left * right * wraps;
            }
        }
        Self::carried(product)
    }

    /// To the power of the modulus − 2 (Fermat).
    fn inverse(self) -> Self {
        // 2^130 − 7 in binary: 127 ones, then 001.
        let mut power = Self::new(1, 0);
        for bit in (0..130).rev() {
            power = power.times(power);
            if bit >= 3 || bit == 0 {
                power = power.times(self);
            }
        }
        power
    }

    /// The block that this is, with the bit that Poly1305 sets above every full block.
    fn block(self) -> Option<[u8; 16]> {
        let limbs = Self::carried(self.0).0;
        let low = (0..5).fold(0u128, |low, at| low | (u128::from(limbs[at]) << (26 * at)));
        (limbs[4] >> 24 == 1).then_some(low.to_le_bytes())
    }
}

/// The tag's key under `secret` (RFC 8439, section 2.6): the point and the mask.
fn tag_key(secret: &Secret) -> (Element, u128) {
    let mut bytes = [0; 32];
    ChaCha20Rng::from_seed(*secret.expose()).fill_bytes(&mut bytes);
    let half = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap());
    (Element::new(half(0) & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff, 0), half(16))
}

/// 32 bytes and a tag that open under both secrets.
fn polyglot(secrets: [&Secret; 2]) -> [u8; 48] {
    let keys = secrets.map(tag_key);
    // No context, 32 bytes: the last block.
    let lengths = Element::new(32 << 64, 1);
    for tag in 0u128.. {
        // With blocks x and y: ((x r + y) r + lengths) r is to be tag − mask.
        let [one, two] = keys.map(|(point, mask)| {
            let wanted = Element::new(tag.wrapping_sub(mask), 0);
            let inverse = point.inverse();
            wanted.times(inverse).minus(lengths).times(inverse)
        });
        let x = one.minus(two).times(keys[0].0.minus(keys[1].0).inverse());
        let y = one.minus(x.times(keys[0].0));
        if let (Some(x), Some(y)) = (x.block(), y.block()) {
            return [&x[..], &y[..], &tag.to_le_bytes()[..]].concat().try_into().unwrap();
        }
    }
    unreachable!("one tag in sixteen will do")
}

#[test]
fn a_ciphertext_that_opens_under_two_keys_is_believed_under_none_but_one() {
    let (owner, mut rng) = (identity(0), SeedRng::new(1));
    let acl = first(&[], &mut rng);
    let key = Keyring::open(&acl, &owner).unwrap().key(1).unwrap();
    let (signed, _) = write(&acl, &owner, None, b"content", at(0), &mut rng);
    let honest = Data::open(&signed).unwrap();
    let mut raw = RawData::of(&honest);
    let content_key = |epoch_key: &Secret| {
        let context = codec::encode(&(raw.item, raw.epoch, raw.counter, owner.party(), raw.salt));
        epoch_key.derive(Domain::new("dt/acl/content/v1"), &context)
    };
    let other = Secret::generate(&mut rng);
    let contents = [content_key(&key), content_key(&other)];
    let sealing = contents.each_ref().map(|key| key.derive(Domain::new("dt/acl/content-hash/v1"), &[]));
    let forged = polyglot([&sealing[0], &sealing[1]]);
    let opened = sealing.each_ref().map(|secret| secret.open_once(&[], &forged).unwrap());
    assert!(opened[0] != opened[1], "the cipher itself is deceived");
    // The record commits to one content under one key: whatever it commits to, under the other key it is corrupt.
    raw.content_hash = forged.into();
    for (believed, hash) in [None, Some(0), Some(1)].into_iter().zip([&opened[0], &opened[0], &opened[1]]) {
        if let Some(believed) = believed {
            let blinding = contents[believed].derive(Domain::new("dt/acl/blinding/v1"), &[]);
            let parts: [&[u8]; 3] = [blinding.expose(), hash, &raw.length.to_le_bytes()];
            raw.commitment = Domain::new("dt/acl/content-commitment/v1").blake3(&parts);
        }
        for (number, key) in [&key, &other].into_iter().enumerate() {
            let known = raw.record().content_hash(owner.party(), key);
            assert_eq!(known.is_ok(), believed == Some(number), "{believed:?} {number}");
            assert!(matches!(known, Ok(_) | Err(Corrupt)));
        }
    }
    assert!(honest.content_hash(owner.party(), &key).is_ok());
}
