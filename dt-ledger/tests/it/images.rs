//! Images: another replica goes on from one, and nothing in it is believed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use borsh::BorshSerialize;
use dt_ledger::store::{Batch, Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AuditError, Call, Checkpoint, Commit, CommitCertificate, CreateTwin, ExportError, Genesis, Header, Image,
    ImportError, LedgerStore, MemoryStore, OpenReplicaError, Policy, RedbStore, Replica, Resource,
    State as _, StateKey, StoreError, StoreView, Tip, TraceEntry, audit, validators_digest,
};
use dt_model::testing::identity;
use dt_model::{Digest, Domain, Identity, PartyId, Signed, Signer as _, TwinId, codec};

use crate::determinism::blocks;
use crate::support::*;

/// Bytes before the first frame.
const PREFIX: &[u8] = b"\x12dt/ledger/image/v1";

pub(crate) fn export(replica: &Replica) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(replica.export(&mut bytes).unwrap(), replica.tip());
    bytes
}

/// What somebody trusts who trusts `tip` itself.
pub(crate) fn trusted(chain: Digest, tip: &Tip) -> Checkpoint {
    let Tip { height, block, state_root, receipts_root, log, .. } = *tip;
    Checkpoint { chain, log, height, block, state_root, receipts_root }
}

/// What `header` says of the block before it.
fn after(header: &Header) -> Checkpoint {
    let Header { chain, log, height, previous, state_root, receipts_root, .. } = *header;
    Checkpoint { chain, log, height: height - 1, block: previous, state_root, receipts_root }
}

pub(crate) fn import(bytes: &[u8], trusted: &Checkpoint) -> Result<MemoryStore, ImportError> {
    let store = MemoryStore::default();
    Image::open(bytes)?.import(&store, trusted)?;
    Ok(store)
}

/// A replica that came from an image of `replica`.
pub(crate) fn copy(replica: &Replica) -> Replica {
    let store = import(&export(replica), &trusted(replica.chain(), &replica.tip())).unwrap();
    Replica::load(Arc::new(store)).unwrap()
}

/// A chain with a twin of a few bytes, an edit and a document, for what is done to each bit of its image; and its image.
fn small() -> (Fixture, Vec<u8>, Checkpoint) {
    let chain = Fixture::new(Arc::new(MemoryStore::default()), 1, 2);
    let owner = chain.enrol(1);
    let create = CreateTwin {
        device_name: name("p"),
        device_id: name("d"),
        aml: r#"<CAEXFile SchemaVersion="2.15"><InstanceHierarchy Name="P"><InternalElement Name="T" ID="tank"/></InstanceHierarchy></CAEXFile>"#.into(),
        policy: Policy::paper_default(),
        roles: BTreeMap::new(),
        agent: None,
    };
    let twin = dt_ledger::twin_id(&chain.replica().chain(), &owner.party(), &create.device_id);
    chain.apply(&owner, vec![Call::CreateTwin(create)]).unwrap();
    chain.call(&owner, twin, edit([insert("pump", "tank")])).unwrap();
    chain.call(&owner, twin, add_document(Some("pump"))).unwrap();
    let image = export(chain.replica());
    let next = chain.commit(&[]);
    let trusted = after(&next.block.header);
    (chain, image, trusted)
}

/// The frames of an image, each with its length.
fn frames(image: &[u8]) -> Vec<&[u8]> {
    let mut rest = image.strip_prefix(PREFIX).expect("begins with its version");
    let mut frames = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let (frame, more) = rest.split_at(4 + u32::from_le_bytes(*length) as usize);
        frames.push(frame);
        rest = more;
    }
    frames
}

fn image_of(frames: &[&[u8]]) -> Vec<u8> {
    [PREFIX, &frames.concat()].concat()
}

#[test]
fn a_replica_goes_on_from_an_image_of_any_height() {
    let plant = short_story(Arc::new(MemoryStore::default()));
    let genesis = plant.chain.replica().genesis();
    let blocks = blocks(plant.chain.replica());
    let follower = Replica::open(Arc::new(MemoryStore::default()), genesis).unwrap();
    assert!(matches!(follower.export(Vec::new()), Err(ExportError::NoBlock)));
    for (at, block) in (0..).zip(&blocks) {
        follower.commit(block.block.clone(), block.certificate.clone()).unwrap();
        let (image, tip) = (export(&follower), follower.tip());
        let known = match blocks.get(at + 1) {
            Some(next) => after(&next.block.header),
            None => trusted(follower.chain(), &tip),
        };
        let store = import(&image, &known).unwrap();
        let copy = Replica::open(Arc::new(store), genesis).expect("it is the same chain");
        assert_eq!((copy.tip(), copy.first_block().unwrap()), (tip.clone(), tip.height + 1));
        assert!(export(&copy) == image, "an image of what came from an image");
        assert_eq!(copy.header(tip.height).unwrap(), follower.header(tip.height).unwrap());
        for height in tip.height..tip.height + 2 {
            assert_eq!(copy.validators(height).unwrap(), follower.validators(height).unwrap());
        }
        let ahead = Replica::open(Arc::new(MemoryStore::default()), genesis).unwrap();
        for block in &blocks[..=at] {
            ahead.commit(block.block.clone(), block.certificate.clone()).unwrap();
        }
        for block in &blocks[at + 1..] {
            copy.verify(&block.block, dt_model::Timestamp::MAX).unwrap();
            let done = copy.commit(block.block.clone(), block.certificate.clone()).unwrap();
            ahead.commit(block.block.clone(), block.certificate.clone()).unwrap();
            assert_eq!((&*done, copy.tip()), (block, ahead.tip()), "the same roots as everybody");
        }
        assert_eq!(copy.block(tip.height).unwrap(), None, "what was before the image is not there");
        assert!(export(&copy) == export(&ahead), "wherever specifications have their base");
        let tank = Resource::Element(plant.twin, component("tank"));
        assert_eq!(copy.trace(&tank).unwrap(), ahead.trace(&tank).unwrap());
    }
}

#[test]
fn an_image_goes_to_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let (chain, image, trusted) = small();
    let store = RedbStore::open(&path).unwrap();
    Image::open(&image[..]).unwrap().import(&store, &trusted).unwrap();
    drop(store);
    let replica = Replica::load(Arc::new(RedbStore::open(&path).unwrap())).unwrap();
    let next = chain.replica().block(replica.tip().height + 1).unwrap().unwrap();
    replica.commit(next.block, next.certificate).unwrap();
    assert_eq!(replica.tip(), chain.replica().tip());
}

/// What stands in an image's first frame, after its tag.
type Head = (Genesis, Option<Header>, Header, (CommitCertificate, Vec<PartyId>, Vec<PartyId>));

fn head(image: &[u8]) -> Head {
    codec::decode(&frames(image)[0][5..], 1 << 20).unwrap()
}

/// What is done to a head, and its name.
type Forgery<'a> = (&'a str, &'a dyn Fn(&mut Head));

/// `image` with this frame instead of number `at`.
fn with_frame(image: &[u8], at: usize, tag: u8, body: &impl BorshSerialize) -> Vec<u8> {
    let body = [&[tag][..], &codec::encode(body)].concat();
    let frame = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
    let mut frames = frames(image);
    frames[at] = &frame;
    image_of(&frames)
}

#[test]
fn an_image_has_the_form_that_is_written_down() {
    let (chain, image, _) = small();
    let frames = self::frames(&image);
    let body = |at: usize| &frames[at][4..];
    assert_eq!(body(0)[0], 0);
    let (genesis, previous, header, (certificate, validators, next)) = head(&image);
    let replica = chain.replica();
    assert_eq!(&genesis, replica.genesis());
    assert_eq!(previous, replica.header(3).unwrap().map(|(header, _)| header));
    assert_eq!(Some((header, certificate)), replica.header(4).unwrap());
    assert_eq!(
        (Some(validators), Some(next)),
        (replica.validators(4).unwrap(), replica.validators(5).unwrap())
    );

    let tags: Vec<u8> = (0..frames.len()).map(|at| body(at)[0]).collect();
    assert!(tags.is_sorted(), "sections in order: {tags:?}");
    let view = replica.store().view().unwrap();
    let of = |tag: u8| {
        (0..frames.len()).filter(|at| tags[*at] == tag).map(|at| &frames[at][5..]).collect::<Vec<_>>()
    };
    let state: Vec<(Vec<u8>, Vec<u8>)> =
        of(1).into_iter().map(|row| codec::decode(row, 1 << 20).unwrap()).collect();
    // The block after the image was empty: the state is the same.
    assert_eq!(state, scan_prefix(&*view, Table::State, &[], usize::MAX).unwrap());
    let twin = chain.state().twins().next().unwrap();
    let document = chain.state().specification(&twin).unwrap().to_bytes();
    let specifications: Vec<(TwinId, Vec<u8>)> =
        of(2).into_iter().map(|frame| codec::decode(frame, 1 << 20).unwrap()).collect();
    assert_eq!(specifications, [(twin, document)], "a specification is the document's own bytes");
    let traces: Vec<TraceEntry> =
        of(3).into_iter().map(|frame| codec::decode(frame, 1 << 20).unwrap()).collect();
    assert_eq!(traces.len(), scan_prefix(&*view, Table::Index, b"r", usize::MAX).unwrap().len());
    let tiles: Vec<Vec<u8>> = of(4).into_iter().map(|tile| codec::decode(tile, 1 << 20).unwrap()).collect();
    assert_eq!(tiles, [view.get(Table::Log, &[0; 9]).unwrap().unwrap()]);
    assert_eq!(of(5), [b""]);
}

/// What is left after a refusal is no replica, and takes the true image.
fn refused(store: &MemoryStore, image: &[u8], trusted: &Checkpoint, what: &str) {
    let outcome = Image::open(image).and_then(|image| image.import(store, trusted));
    assert!(outcome.is_err(), "{what}");
    let loaded = Replica::load(Arc::new(store.clone())).map(drop);
    assert!(
        matches!(loaded, Err(OpenReplicaError::NoChain | OpenReplicaError::Unfinished)),
        "{what}: {loaded:?}"
    );
}

#[test]
fn no_flipped_bit_or_cut_passes() {
    let (_, image, trusted) = small();
    let store = MemoryStore::default();
    for at in 0..image.len() {
        let mut flipped = image.clone();
        for bit in [at % 8, (at + 3) % 8] {
            flipped[at] ^= 1 << bit;
            refused(&store, &flipped, &trusted, &format!("bit {bit} of byte {at}"));
            flipped[at] ^= 1 << bit;
        }
        refused(&store, &image[..at], &trusted, &format!("cut at {at}"));
    }
    Image::open(&image[..]).unwrap().import(&store, &trusted).expect("the store takes the true image still");
}

#[test]
fn a_forged_head_does_not_hold_together() {
    let (chain, image, _) = small();
    let strangers = vec![identity(8).party(), identity(9).party()];
    let (_, _, header, _) = head(&image);
    let vote = Commit { chain: header.chain, height: header.height, round: 0, block: header.digest() };
    let by = |who: Identity| Signed::new(vote.clone(), &who).unwrap().into_envelope();
    let forgeries: [Forgery<'_>; 9] = [
        ("other validators next", &|head| head.3.2 = strangers.clone()),
        ("other validators", &|head| head.3.1 = strangers.clone()),
        ("other validators and their votes", &|head| {
            head.3.1 = strangers.clone();
            head.3.0.votes = vec![by(identity(8)), by(identity(9))];
        }),
        ("another header before, which names them", &|head| {
            head.3.1 = strangers.clone();
            head.3.0.votes = vec![by(identity(8)), by(identity(9))];
            head.1.as_mut().unwrap().next_validators = validators_digest(&strangers);
        }),
        ("a header before of another height", &|head| head.1.as_mut().unwrap().height -= 1),
        ("no header before", &|head| head.1 = None),
        ("too few votes", &|head| drop(head.3.0.votes.pop())),
        ("another round", &|head| head.3.0.round += 1),
        ("another genesis", &|head| head.0 = Fixture::genesis(1, 3)),
    ];
    for (what, forge) in forgeries {
        let mut forged = head(&image);
        forge(&mut forged);
        let found = Image::open(&with_frame(&image, 0, 0, &forged)[..]).map(drop);
        assert!(matches!(found, Err(ImportError::Head)), "{what}: {found:?}");
    }
    assert_eq!(chain.replica().header(4).unwrap().unwrap().0, header);
}

#[test]
fn what_lies_beside_the_state_is_bound_by_it() {
    let (chain, image, trusted) = small();
    let twin = chain.state().twins().next().unwrap();
    let tags: Vec<u8> = frames(&image).iter().map(|frame| frame[4]).collect();
    let at = tags.iter().position(|tag| *tag == 2).unwrap();
    let document = chain.state().specification(&twin).unwrap().to_bytes();
    let others =
        [document.to_ascii_uppercase(), [&document[..], b" "].concat(), b"<CAEXFile/>".to_vec(), Vec::new()];
    for aml in others {
        let found = import(&with_frame(&image, at, 2, &(twin, aml)), &trusted).map(drop);
        assert!(matches!(found, Err(ImportError::Specification(of)) if of == twin), "{found:?}");
    }
    for at in (0..tags.len()).filter(|at| tags[*at] == 3) {
        let entry: TraceEntry = codec::decode(&frames(&image)[at][5..], 1 << 20).unwrap();
        let resource = entry.resource.digest();
        for other in [
            TraceEntry { author: identity(9).party(), ..entry.clone() },
            TraceEntry { number: entry.number + 1, ..entry.clone() },
            TraceEntry { previous: digest(9), ..entry.clone() },
        ] {
            let found = import(&with_frame(&image, at, 3, &other), &trusted).map(drop);
            assert!(matches!(found, Err(ImportError::Trace(of)) if of == resource), "{found:?}");
        }
        let of_another = TraceEntry { resource: Resource::Nodes, ..entry };
        assert!(import(&with_frame(&image, at, 3, &of_another), &trusted).is_err());
    }
}

/// More transactions than one tile of the log holds: the image has the last, partial tile of each level alone.
#[test]
fn the_log_goes_on_from_its_edge() {
    let plant = Plant::over(Fixture::new(Arc::new(MemoryStore::default()), 1, 1));
    let Plant { chain, owner, .. } = &plant;
    let sign = |ahead| chain.sign_ahead(owner, vec![plant.on(add_document(None))], ahead);
    chain.commit(&(0..300).map(sign).collect::<Vec<_>>());
    let (image, known) = (export(chain.replica()), chain.replica().checkpoint());
    assert_eq!(known.log.size, 306);
    let at: Vec<usize> = (0..frames(&image).len()).filter(|at| frames(&image)[*at][4] == 4).collect();
    let tiles: Vec<Vec<u8>> =
        at.iter().map(|at| codec::decode(&frames(&image)[*at][5..], 1 << 20).unwrap()).collect();
    assert_eq!(tiles.iter().map(Vec::len).collect::<Vec<_>>(), [50 * 32, 32]);
    for (at, tile) in at.iter().zip(&tiles) {
        for mut other in [tile.clone(), [&tile[..], &[0; 32]].concat(), tile[32..].to_vec()] {
            if let Some(last) = other.last_mut() {
                *last ^= 1;
            }
            let found = import(&with_frame(&image, *at, 4, &other), &known).map(drop);
            assert!(matches!(found, Err(ImportError::Log)), "{found:?}");
        }
    }
    let store = import(&image, &known).unwrap();
    let replica = Replica::load(Arc::new(store.clone())).unwrap();
    chain.commit(&(0..300).map(sign).collect::<Vec<_>>());
    let next = chain.replica().block(replica.tip().height + 1).unwrap().unwrap();
    replica.commit(next.block, next.certificate).unwrap();
    assert_eq!(replica.checkpoint(), chain.replica().checkpoint());
    let auditor = Replica::load(Arc::new(import(&image, &known).unwrap())).unwrap();
    auditor.audit(&store, u64::MAX, &mut |_| {}).expect("what came from an image");
    let auditor = Replica::load(Arc::new(import(&image, &known).unwrap())).unwrap();
    auditor.audit(&**chain.replica().store(), u64::MAX, &mut |_| {}).expect("what did not");
}

#[test]
fn no_frame_is_left_out_repeated_moved_or_added() {
    let (chain, image, trusted) = small();
    let _ = chain.enrol(2);
    let later = export(chain.replica());
    let (frames, later) = (self::frames(&image), self::frames(&later));
    let others: Vec<&[u8]> = later.iter().copied().filter(|frame| !frames.contains(frame)).collect();
    assert!(others.len() > 3, "another head, and rows");
    let store = MemoryStore::default();
    let refused = |frames: &[&[u8]], what: &str, at: usize| {
        refused(&store, &image_of(frames), &trusted, &format!("frame {at} {what}"));
    };
    for at in 0..frames.len() {
        let mut other = frames.clone();
        let frame = other.remove(at);
        refused(&other, "is left out", at);
        for to in 0..frames.len() {
            let mut moved = other.clone();
            moved.insert(to, frame);
            if moved != frames {
                refused(&moved, &format!("is moved to {to}"), at);
            }
        }
        let mut other = frames.clone();
        other.insert(at, frames[at]);
        refused(&other, "is repeated", at);
        other[at] = b"\0\0\0\0";
        refused(&other, "is empty", at);
        for new in &others {
            other[at] = new;
            refused(&other, "comes after another's", at);
        }
    }
    for more in [&b"\0"[..], frames[0], frames[1]] {
        self::refused(&store, &[&image, more].concat(), &trusted, "goes on after its end");
    }
    let mut long = frames.clone();
    long[1] = b"\xff\xff\xff\xff";
    let found = Image::open(&image_of(&long)[..]).unwrap().import(&store, &trusted);
    assert!(matches!(found, Err(ImportError::FrameTooLarge { .. })));
    Image::open(&image[..]).unwrap().import(&store, &trusted).unwrap();
}

#[test]
fn only_the_trusted_block_is_imported() {
    let (chain, image, trusted) = small();
    let later = chain.commit(&[]).block.header.clone();
    let empty = MemoryStore::default();
    for other in [
        Checkpoint { chain: digest(1), ..trusted },
        Checkpoint { height: trusted.height + 1, ..trusted },
        Checkpoint { block: digest(1), ..trusted },
        after(&later),
    ] {
        let found = Image::open(&image[..]).unwrap().import(&empty, &other);
        assert!(matches!(found, Err(ImportError::OtherBlock { height }) if height == trusted.height));
        assert!(count(&empty) == 0, "nothing was written");
    }
    let other = Checkpoint { state_root: digest(1), ..trusted };
    assert!(
        matches!(import(&image, &other), Err(ImportError::OtherState { found, .. }) if found == trusted.state_root)
    );

    // Other receipts than the image's block has: nothing in the image says so, but the next block does.
    let other = Checkpoint { receipts_root: digest(1), ..trusted };
    let replica = Replica::load(Arc::new(import(&image, &other).unwrap())).unwrap();
    let next = chain.replica().block(trusted.height + 1).unwrap().unwrap();
    assert!(replica.commit(next.block, next.certificate).is_err());
}

fn count(store: &dyn LedgerStore) -> usize {
    let view = store.view().unwrap();
    Table::ALL.iter().map(|table| scan_prefix(&*view, *table, &[], usize::MAX).unwrap().len()).sum()
}

#[test]
fn a_store_that_holds_something_is_left_alone() {
    let (chain, image, trusted) = small();
    let genesis = chain.replica().genesis();
    let holding = MemoryStore::default();
    let _ = Replica::open(Arc::new(holding.clone()), genesis).unwrap();
    let stray = MemoryStore::default();
    let mut batch = Batch::default();
    batch.put(Table::Log, b"stray", Vec::new());
    stray.commit(batch).unwrap();
    for store in [holding, stray, import(&image, &trusted).unwrap()] {
        let before = count(&store);
        let found = Image::open(&image[..]).unwrap().import(&store, &trusted);
        assert!(matches!(found, Err(ImportError::NotEmpty)));
        assert_eq!(count(&store), before);
    }
}

/// A store that fails after some commits.
pub(crate) struct Failing {
    pub(crate) store: MemoryStore,
    pub(crate) left: AtomicU64,
}

impl LedgerStore for Failing {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        self.store.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| StoreError::Engine("no more room".into()))?;
        self.store.commit(batch)
    }
}

#[test]
fn an_import_that_breaks_off_is_no_replica_and_begins_anew() {
    let (chain, image, trusted) = small();
    let store = MemoryStore::default();
    for commits in 0.. {
        let failing = Failing { store: store.clone(), left: commits.into() };
        let outcome = Image::open(&image[..]).unwrap().import(&failing, &trusted);
        let loaded = Replica::load(Arc::new(store.clone())).map(|replica| replica.tip());
        if outcome.is_ok() {
            assert_eq!(loaded.unwrap().height, trusted.height);
            assert!(commits >= 3, "it takes several steps");
            break;
        }
        if commits == 0 {
            assert!(matches!(loaded, Err(OpenReplicaError::NoChain)), "nothing was written: {loaded:?}");
            continue;
        }
        assert!(matches!(loaded, Err(OpenReplicaError::Unfinished)), "{loaded:?}");
        let opened = Replica::open(Arc::new(store.clone()), chain.replica().genesis()).map(drop);
        assert!(
            matches!(opened, Err(OpenReplicaError::Unfinished)),
            "nor does a chain begin in it: {opened:?}"
        );
        let audited = audit(&store, chain.replica().genesis(), &mut |_| {}).map(drop);
        assert!(matches!(audited, Err(AuditError::Chain(OpenReplicaError::Unfinished))));
    }
}

/// Commits a block whenever something is written.
struct Meanwhile<'a>(&'a Fixture, Vec<u8>);

impl Write for Meanwhile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.enrol(100 + self.0.replica().tip().height);
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn blocks_that_are_committed_meanwhile_do_not_show() {
    let plant = short_story(Arc::new(MemoryStore::default()));
    let (before, tip) = (export(plant.chain.replica()), plant.chain.replica().tip());
    let mut meanwhile = Meanwhile(&plant.chain, Vec::new());
    assert_eq!(plant.chain.replica().export(&mut meanwhile).unwrap(), tip);
    assert!(plant.chain.replica().tip().height > tip.height + 1, "there were blocks");
    assert!(meanwhile.1 == before);
}

#[test]
fn a_writer_that_fails_is_reported() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (chain, _, _) = small();
    assert!(matches!(chain.replica().export(Full), Err(ExportError::Write(_))));
}

/// The state's root in so many words (see the crate's tree).
fn naive_root(entries: &[(Digest, Digest)], depth: usize) -> Digest {
    match entries {
        [] => Digest::ZERO,
        [(key, value)] => Domain::new("dt/ledger/state-leaf/v1").sha256(&[key.as_bytes(), value.as_bytes()]),
        _ => {
            let (right, left): (Vec<_>, Vec<_>) =
                entries.iter().partition(|(key, _)| key.as_bytes()[depth / 8] >> (7 - depth % 8) & 1 == 1);
            let halves = [naive_root(&left, depth + 1), naive_root(&right, depth + 1)];
            Domain::new("dt/ledger/state-inner/v1").sha256(&[halves[0].as_bytes(), halves[1].as_bytes()])
        }
    }
}

/// More rows than are written in one step.
#[test]
fn a_large_state_is_imported_in_steps() {
    let (chain, image, trusted) = small();
    let frames = self::frames(&image);
    let twin = chain.state().twins().next().unwrap();
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = frames
        .iter()
        .filter(|frame| frame[4] == 1)
        .map(|frame| codec::decode::<(Vec<u8>, Vec<u8>)>(&frame[5..], 1 << 20).unwrap())
        .collect();
    for number in 0..9000u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let key = StateKey::AclAnchor(twin, id.into(), identity(1).party());
        rows.insert(key.to_bytes(), vec![number as u8; 4000]);
    }
    let mut large = [PREFIX, frames[0]].concat();
    for row in &rows {
        let frame = [&[1][..], &codec::encode(&row)].concat();
        large.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        large.extend_from_slice(&frame);
    }
    large.extend(frames.iter().filter(|frame| frame[4] > 1).copied().flatten());
    let digest = |domain, bytes: &[u8]| Domain::new(domain).sha256(&[bytes]);
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        (digest("dt/ledger/state-key/v1", key), digest("dt/ledger/state-value/v1", value))
    };
    let state_root = naive_root(&rows.iter().map(entry).collect::<Vec<_>>(), 0);

    let store = Failing { store: MemoryStore::default(), left: u64::MAX.into() };
    Image::open(&large[..]).unwrap().import(&store, &Checkpoint { state_root, ..trusted }).unwrap();
    let steps = u64::MAX - store.left.into_inner();
    assert!(steps >= 5, "a mark, three steps of the state, and the end: {steps}");
    let replica = Replica::load(Arc::new(store.store)).unwrap();
    assert_eq!(replica.snapshot().unwrap().root().unwrap(), state_root);
    assert!(export(&replica) == large);
}
