//! Request limits: who is refused, who pays, and what claiming another's name gains.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use dt_dht::{Parcel, Rate, Refusal, RequestLimits};
use proptest::prelude::*;

use super::*;

const LIMITS: RequestLimits = RequestLimits {
    requests: Rate { per_second: 10, burst: 5 },
    bytes: Rate { per_second: 100_000, burst: 100_000 },
    forgeries: Rate { per_second: 2, burst: 3 },
    concurrent: 8,
    concurrent_per_party: 4,
};

fn limited() -> Single {
    Single::new(Policy { limits: Some(LIMITS), ..Policy::open() })
}

fn get() -> RequestBody {
    RequestBody::Get { key: owned("a", 1, "x").key }
}

fn busy(body: &ReplyBody) -> Option<u64> {
    match body {
        ReplyBody::Refused { refusal: Refusal::Busy { retry_after_millis } } => Some(*retry_after_millis),
        _ => None,
    }
}

#[test]
fn a_party_that_asks_too_often_is_told_when_to_come_again() {
    let mut single = limited();
    for _ in 0..5 {
        assert_eq!(busy(&single.ask(WRITER, get())), None);
    }
    assert_eq!(busy(&single.ask(WRITER, get())), Some(100));
    assert_eq!(busy(&single.ask(READER, get())), None, "others are served");
    single.now = single.now.saturating_add(Duration::from_millis(99));
    assert_eq!(busy(&single.ask(WRITER, get())), Some(1));
    single.now = single.now.saturating_add(Duration::from_millis(1));
    assert_eq!(busy(&single.ask(WRITER, get())), None);
    assert_eq!(busy(&single.ask(WRITER, get())), Some(100));
    // A clock that goes back gives nothing, and takes nothing.
    single.now = Timestamp::from_millis(single.now.as_millis() - 60);
    assert_eq!(busy(&single.ask(WRITER, get())), Some(100));
}

#[test]
fn bytes_count_too_and_large_requests_are_paid_off() {
    let mut single = limited();
    single.put(&sized(WRITER, "a", 1, 300_000)).unwrap();
    let wait = busy(&single.ask(WRITER, get())).unwrap();
    assert!((2_000..2_100).contains(&wait), "{wait}");
    single.now = single.now.saturating_add(Duration::from_millis(wait));
    assert_eq!(busy(&single.ask(WRITER, get())), None);
}

/// The bytes of a request in the name of `seed` that somebody else made.
fn forged(single: &mut Single, seed: u64) -> Vec<u8> {
    let call = single.request(seed, get());
    let mut bytes = call.bytes().to_vec();
    // The last byte of the signature; the length of an attachment, of which there is none, follows.
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    bytes
}

fn answer(single: &Single, bytes: &[u8]) -> ReplyBody {
    let reply = Parcel::<dt_dht::Reply>::decode(&single.replica.handle(bytes, single.now)).unwrap();
    reply.open().unwrap().body
}

#[test]
fn forged_requests_do_not_use_up_what_the_party_may_ask() {
    let mut single = limited();
    for _ in 0..3 {
        let bytes = forged(&mut single, WRITER);
        assert_eq!(answer(&single, &bytes), refused(Refusal::NotPermitted));
    }
    // The name's forgeries are used up: unchecked for half a second. Nobody else notices.
    let bytes = forged(&mut single, WRITER);
    assert_eq!(busy(&answer(&single, &bytes)), Some(500));
    assert_eq!(busy(&single.ask(WRITER, get())), Some(500));
    assert_eq!(busy(&single.ask(READER, get())), None);
    single.now = single.now.saturating_add(Duration::from_millis(500));
    // All five requests are still there.
    for _ in 0..5 {
        assert_eq!(busy(&single.ask(WRITER, get())), None);
    }
}

#[test]
fn strangers_are_refused_first_and_remembered_nowhere() {
    let mut single = limited();
    for seed in 1000..1100 {
        assert_eq!(single.ask(seed, get()), refused(Refusal::UnknownParty));
    }
}

/// To a client, who is busy has not answered: the others are enough, and if they are not, it is no refusal in the name of all.
#[tokio::test]
async fn clients_take_busy_for_silence() {
    use dt_dht::PutError;
    use dt_dht::testing::Fault;
    let network = network(1);
    let writer = client(&network, WRITER);
    let busy = Fault::Refuse(Refusal::Busy { retry_after_millis: 7 });
    network.corrupt(&network.nodes()[0], busy);
    let record = owned("a", 1, "x");
    writer.put(&record, network.now()).await.unwrap();
    for node in network.nodes() {
        network.corrupt(node, busy);
    }
    let failed = writer.put(&record, network.now()).await;
    assert!(matches!(&failed, Err(PutError::NoQuorum { receipts: 0, .. })), "{failed:?}");
}

proptest! {
    /// Never more than the burst and what came back with time, whatever the rhythm.
    #[test]
    fn no_rhythm_gets_more(waits in prop::collection::vec(0u64..400, 1..120)) {
        let mut single = limited();
        let start = single.now;
        let mut served = 0u64;
        for wait in waits {
            single.now = single.now.saturating_add(Duration::from_millis(wait));
            if busy(&single.ask(WRITER, get())).is_none() {
                served += 1;
            }
            let elapsed = u64::try_from(single.now.since(start).as_millis()).unwrap();
            prop_assert!(served <= 5 + elapsed / 100);
        }
        prop_assert!(served >= 1);
    }
}

/// A store whose reads wait until it is opened.
struct Closed {
    inner: MemoryStore,
    open: AtomicBool,
    waiting: AtomicUsize,
}

impl RecordStore for Closed {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, dt_dht::StoreError> {
        self.waiting.fetch_add(1, SeqCst);
        while !self.open.load(SeqCst) {
            std::thread::yield_now();
        }
        self.inner.get(key)
    }

    fn put(&self, rows: &[dt_dht::Row]) -> Result<(), dt_dht::StoreError> {
        self.inner.put(rows)
    }

    fn remove(&self, keys: &[bytes::Bytes]) -> Result<(), dt_dht::StoreError> {
        self.inner.remove(keys)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<dt_dht::Row>, dt_dht::StoreError> {
        self.inner.scan(prefix, after, limit)
    }
}

/// Slow work takes up a party's places, and then all places, and gives them back.
#[test]
fn work_at_the_same_time_is_limited() {
    let closed =
        Arc::new(Closed { inner: MemoryStore::new(), open: false.into(), waiting: AtomicUsize::new(0) });
    let limits = RequestLimits {
        requests: Rate { per_second: 1000, burst: 1000 },
        concurrent: 6,
        concurrent_per_party: 4,
        ..LIMITS
    };
    let mut single = Single::on(closed.clone(), Policy { limits: Some(limits), ..Policy::open() });
    // At different addresses, so that none waits for another's lock.
    let body = |at: u64| {
        let (blob, _) = dt_dht::encode_stripe(&at.to_le_bytes(), Resilience::tolerating(1).unwrap()).unwrap();
        RequestBody::GetShard { blob: blob.address(), index: 0 }
    };
    let calls: Vec<_> =
        (0..6).map(|at| single.request(if at < 4 { WRITER } else { READER }, body(at))).collect();
    let another: Vec<_> = [WRITER, READER].map(|seed| single.request(seed, body(9))).into();
    let single = &single;
    std::thread::scope(|scope| {
        let ask = |call: Call| move || call.read(&single.replica.handle(call.bytes(), single.now)).unwrap();
        let (writers, readers) = calls.split_at(4);
        let mut threads: Vec<_> = writers.iter().cloned().map(|call| scope.spawn(ask(call))).collect();
        while closed.waiting.load(SeqCst) < 4 {
            std::thread::yield_now();
        }
        assert_eq!(busy(&ask(another[0].clone())()), Some(50), "the party has its four places");
        threads.extend(readers.iter().cloned().map(|call| scope.spawn(ask(call))));
        while closed.waiting.load(SeqCst) < 6 {
            std::thread::yield_now();
        }
        assert_eq!(busy(&ask(another[1].clone())()), Some(50), "all places are taken");
        closed.open.store(true, SeqCst);
        for thread in threads {
            assert_eq!(busy(&thread.join().unwrap()), None);
        }
        assert_eq!(busy(&ask(another[0].clone())()), None);
    });
}
