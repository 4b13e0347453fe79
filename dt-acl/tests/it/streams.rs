//! Content that is sealed and opened piece by piece is the same content, and no less checked.

use dt_acl::testing::write;
use dt_acl::{Acl, AclError, ContentSealer, Corrupt, Data, DataRecord, Keyring, SealedContent};
use dt_dht::{BlobError, BlobRef, GetError, Resilience, STRIPE_BYTES, seal};
use dt_model::testing::{SeedRng, identity};
use dt_model::{ContentHash, Digest, Secret, Signer};
use proptest::prelude::*;

use crate::common::{at, first, items, network};
use crate::forge::RawData;

fn content(length: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(length).collect()
}

fn keyed() -> (Acl, Secret) {
    let acl = first(&[], &mut SeedRng::new(1));
    let key = Keyring::open(&acl, &identity(0)).unwrap().key(1).unwrap();
    (acl, key)
}

/// Sealed in pieces: the ciphertext, and the record.
fn sealed<'a>(acl: &Acl, key: &Secret, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, DataRecord) {
    let (writer, mut ciphertext) = (identity(0).party(), Vec::new());
    let mut sealer = ContentSealer::new(acl, key, writer, None, &mut SeedRng::new(2)).unwrap();
    pieces.for_each(|piece| sealer.push(piece, &mut ciphertext).unwrap());
    let draft = sealer.finish(&mut ciphertext).unwrap();
    let blob = BlobRef::of(&ciphertext, Resilience::tolerating(1).unwrap()).unwrap();
    (ciphertext, draft.record(blob, at(0)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pieces_are_the_whole(
        length in prop_oneof![0usize..100, seal::CHUNK_BYTES - 2..seal::CHUNK_BYTES + 2, 0usize..200_000],
        size in 1usize..100_000,
        range in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let ((acl, key), whole, writer) = (keyed(), content(length), identity(0).party());
        let (ciphertext, record) = sealed(&acl, &key, whole.chunks(size));
        let at_once = SealedContent::seal(&acl, &key, writer, None, &whole, &mut SeedRng::new(2)).unwrap();
        prop_assert!(at_once.ciphertext() == ciphertext);
        prop_assert_eq!(at_once.hash(), ContentHash::of(&whole));
        prop_assert_eq!(&at_once.record(record.blob().clone(), at(0)), &record);

        let (mut opener, mut opened) = (record.opener(writer, &key).unwrap(), Vec::new());
        for piece in ciphertext.chunks(size) {
            opener.push(piece, &mut opened).unwrap();
        }
        prop_assert_eq!(opener.finish(), Ok(ContentHash::of(&whole)));
        prop_assert!(opened == whole);

        let (a, b) = (range.0.index(length + 1), range.1.index(length + 1));
        let (start, end) = (a.min(b), a.max(b));
        let opener = record.opener(writer, &key).unwrap();
        let needed = opener.sealed_range(start as u64..end as u64);
        let needed = usize::try_from(needed.start).unwrap()..usize::try_from(needed.end).unwrap();
        let found = opener.open_range(start as u64..end as u64, &ciphertext[needed]).unwrap();
        prop_assert!(found[..] == whole[start..end]);
    }
}

#[test]
fn a_stream_is_checked_as_the_whole_is() {
    let (owner, (acl, key)) = (identity(0), keyed());
    let whole = content(2 * seal::CHUNK_BYTES + 9);
    let (signed, ciphertext) = write(&acl, &owner, None, &whole, at(0), &mut SeedRng::new(3));
    let data = Data::open(&signed).unwrap();
    let record = data.record();
    let open = |ciphertext: &[u8]| {
        let (mut opener, mut opened) = (record.opener(owner.party(), &key)?, Vec::new());
        let pushed = ciphertext.chunks(1000).try_for_each(|piece| opener.push(piece, &mut opened));
        assert!(whole.starts_with(&opened), "nothing else is ever given");
        pushed?;
        opener.finish()
    };
    assert_eq!(open(&ciphertext), Ok(ContentHash::of(&whole)));
    assert_eq!(open(&ciphertext[..ciphertext.len() - 1]), Err(Corrupt));
    assert_eq!(open(&[]), Err(Corrupt));
    assert_eq!(open(&[&ciphertext[..], &[0]].concat()), Err(Corrupt));
    for at in [0, 70_000, ciphertext.len() - 1] {
        let mut altered = ciphertext.clone();
        altered[at] ^= 1;
        assert_eq!(open(&altered), Err(Corrupt));
    }
    assert!(record.opener(identity(1).party(), &key).is_err(), "another writer");
    assert!(record.opener(owner.party(), &Secret::from_bytes([1; 32])).is_err(), "another key");
    let opener = record.opener(owner.party(), &key).unwrap();
    let (range, chunk) = (70_000..70_001, seal::CHUNK_BYTES + seal::TAG_BYTES);
    assert!(opener.open_range(range.clone(), &ciphertext[chunk..2 * chunk]).is_ok());
    assert!(opener.open_range(range, &ciphertext[..chunk]).is_err());
}

/// Any range of a content of several stripes, from a network; and what a writer committed to falsely.
#[tokio::test]
async fn a_range_of_an_item_is_read_from_its_chunks() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(4));
    let (owner, items) = (identity(0), items(&net, 0));
    let acl = keyed().0;
    let whole = content(STRIPE_BYTES + 200_000);
    let (signed, ciphertext) = write(&acl, &owner, None, &whole, at(0), &mut rng);
    let data = Data::open(&signed).unwrap();
    assert_eq!(items.client().put_blob(&ciphertext, net.now()).await.unwrap(), *data.blob());
    let chunk = seal::CHUNK_BYTES as u64;
    let length = whole.len() as u64;
    for (start, end) in [
        (0, length),
        (0, 0),
        (0, 1),
        (chunk - 1, chunk + 1),
        (chunk, 2 * chunk),
        (15 * chunk + 3, 17 * chunk - 3),
        (length - 1, length),
        (length, length),
        (3, length - 3),
    ] {
        let mut reader = items.open_range(&acl, &data, start..end).unwrap();
        let mut found = Vec::new();
        while let Some(piece) = reader.next(net.now()).await.unwrap() {
            found.extend_from_slice(&piece);
        }
        let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
        assert!(found == whole[range], "{start}..{end}");
        assert_eq!(reader.next(net.now()).await.unwrap().map(|piece| piece.len()), None);
    }
    let outside = items.open_range(&acl, &data, 0..length + 1).err();
    assert!(matches!(outside, Some(AclError::Get(GetError::Blob(BlobError::OutOfRange { .. })))));

    // Every chunk opens, but the record commits to other content: the end of the stream says so, and goes on saying so.
    let mut raw = RawData::of(&data);
    raw.ciphertext = Digest::ZERO;
    let lying = Data::open(&raw.sign(&owner)).unwrap();
    let mut reader = items.open_range(&acl, &lying, 0..length).unwrap();
    let end = loop {
        match reader.next(net.now()).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(AclError::Corrupt(Corrupt))));
    assert!(matches!(reader.next(net.now()).await, Err(AclError::Corrupt(Corrupt))));
}
