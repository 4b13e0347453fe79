//! Two parties at one item at once, one of them held up, or dead, at every single message.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_acl::{AclError, History, ItemId, Items, Opened, Revocation, Rights};
use dt_dht::testing::Network;
use dt_dht::{Client, Transport, TransportError};
use dt_model::PartyId;
use dt_model::testing::{SeedRng, identity};

use crate::common::{grantee, items, network};

type Deed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Carries messages, and before one of them something happens: to others, or to the sender.
struct Fateful {
    inner: Arc<dyn Transport>,
    sent: AtomicUsize,
    at: usize,
    fate: Mutex<Option<Fate>>,
}

enum Fate {
    /// Something is done, while the sender waits.
    Waits(Deed),
    /// The sender is no more.
    Dies,
}

#[async_trait]
impl Transport for Fateful {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let sent = self.sent.fetch_add(1, Ordering::SeqCst);
        if sent >= self.at {
            let fate = self.fate.lock().unwrap().take();
            match fate {
                Some(Fate::Waits(deed)) => deed.await,
                Some(Fate::Dies) => {
                    *self.fate.lock().unwrap() = Some(Fate::Dies);
                    core::future::pending::<()>().await;
                }
                None => {}
            }
        }
        self.inner.request(node, request).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}

/// The items of the party with number `seed`, whose message number `at` meets `fate`.
fn fateful(net: &Network, seed: u64, at: usize, fate: Fate) -> Items {
    let (inner, sent) = (net.faulty().clone() as Arc<dyn Transport>, AtomicUsize::new(0));
    let transport = Arc::new(Fateful { inner, sent, at, fate: Mutex::new(Some(fate)) });
    let (signer, rng) = (Arc::new(identity(seed)), SeedRng::new(1_000 + seed));
    Items::new(Arc::new(Client::new(signer, transport, net.membership().clone(), rng)))
}

/// What somebody does to the item.
#[derive(Debug, Clone, Copy)]
enum Act {
    Write { by: u64 },
    Admit { by: u64, whom: u64 },
    Remove { by: u64, whom: u64 },
}

impl Act {
    const fn by(self) -> u64 {
        match self {
            Self::Write { by } | Self::Admit { by, .. } | Self::Remove { by, .. } => by,
        }
    }

    async fn done(self, items: &Items, item: ItemId, net: &Network) -> Result<(), AclError> {
        let (now, mut rng) = (net.now(), SeedRng::new(self.by()));
        match self {
            Self::Write { by } => items.write(item, &[by as u8], now, &mut rng).await.map(drop),
            Self::Admit { whom, .. } => {
                let grantees = [grantee(whom, Rights::READ)];
                items.grant(item, &grantees, History::Full, now, &mut rng).await.map(drop)
            }
            Self::Remove { whom, .. } => {
                let party = dt_model::Signer::party(&identity(whom));
                items.revoke(item, party, Revocation::Lazy, now, &mut rng).await.map(drop)
            }
        }
    }

    /// Whether it is to be seen in what the owner reads.
    async fn is_seen(self, net: &Network, item: ItemId) -> bool {
        let acl = items(net, 0).acl(item, None, net.now()).await.unwrap();
        let has = |whom| acl.entry(&dt_model::Signer::party(&identity(whom))).is_some();
        match self {
            Self::Write { by } => read(net, item).await.plaintext.as_slice() == [by as u8],
            Self::Admit { whom, .. } => has(whom),
            Self::Remove { whom, .. } => !has(whom),
        }
    }
}

/// What the owner reads.
async fn read(net: &Network, item: ItemId) -> Opened {
    items(net, 0).read(item, None, net.now()).await.unwrap()
}

/// An item with two managers (1, 2), two writers (3, 4) and a reader (5), to which something is written. One of the nodes may be down.
async fn created(down: Option<usize>) -> (Arc<Network>, ItemId) {
    let (net, mut rng) = (Arc::new(network(1, 4)), SeedRng::new(1));
    let owner = items(&net, 0);
    let grantees = [
        grantee(1, Rights::ALL),
        grantee(2, Rights::MANAGE),
        grantee(3, Rights::WRITE),
        grantee(4, Rights::WRITE),
        grantee(5, Rights::READ),
    ];
    let item = owner.create("race", &grantees, net.now(), &mut rng).await.unwrap().acl.item();
    owner.write(item, b"old", net.now(), &mut rng).await.unwrap();
    if let Some(down) = down {
        net.in_process().stop(&dt_model::Signer::party(&*net.replicas(&item.address())[down]));
    }
    (net, item)
}

/// The pairs that race: managers for a version, writers for a counter, a manager and a writer, and who is removed with who removes him.
const PAIRS: [(Act, Act); 7] = [
    (Act::Admit { by: 1, whom: 6 }, Act::Admit { by: 2, whom: 7 }),
    (Act::Admit { by: 0, whom: 6 }, Act::Remove { by: 1, whom: 5 }),
    (Act::Write { by: 3 }, Act::Write { by: 4 }),
    (Act::Write { by: 3 }, Act::Admit { by: 2, whom: 6 }),
    (Act::Admit { by: 2, whom: 6 }, Act::Write { by: 3 }),
    (Act::Write { by: 3 }, Act::Remove { by: 1, whom: 3 }),
    (Act::Admit { by: 2, whom: 6 }, Act::Remove { by: 0, whom: 2 }),
];

/// The first is held up before each of its messages in turn, until the second has done what it wants. At least one of them has won; who
/// has not was told so, and wins when it tries again; unless it is not allowed to any more.
#[tokio::test(start_paused = true)]
async fn of_two_one_wins_and_the_other_succeeds_when_it_tries_again() {
    for (slow, fast) in PAIRS {
        for at in 0.. {
            let (net, item) = created((at % 5 < 4).then_some(at % 5)).await;
            let outcome = Arc::new(Mutex::new(None));
            let (told, with) = (outcome.clone(), net.clone());
            let deed = Box::pin(async move {
                let done = fast.done(&items(&with, fast.by()), item, &with).await;
                *told.lock().unwrap() = Some(done);
            });
            let own = fateful(&net, slow.by(), at, Fate::Waits(deed));
            let done = slow.done(&own, item, &net).await;
            let Some(other) = outcome.lock().unwrap().take() else {
                done.unwrap();
                assert!(at > 10, "an act takes more than {at} messages");
                break;
            };
            let case = format!("{slow:?} held up before message {at} by {fast:?}: {done:?}, {other:?}");
            assert!(done.is_ok() || other.is_ok(), "{case}");
            let removed = matches!(fast, Act::Remove { whom, .. } if whom == slow.by());
            for (act, done) in [(slow, done), (fast, other)] {
                let again = match done {
                    Ok(()) | Err(AclError::NotAReader(_) | AclError::NotPermitted) => done,
                    Err(AclError::Conflict) => act.done(&items(&net, act.by()), item, &net).await,
                    // Some served him before the removal, some refused him after it, and one is down.
                    Err(AclError::Get(_) | AclError::InDoubt { .. }) if removed => {
                        act.done(&items(&net, act.by()), item, &net).await
                    }
                    Err(other) => panic!("{case}: {other:?}"),
                };
                match again {
                    Ok(()) => {}
                    Err(AclError::NotAReader(_) | AclError::NotPermitted) => assert!(removed, "{case}"),
                    Err(other) => panic!("{case}: {other:?}"),
                }
            }
            // Of two who write, the last is seen; whatever else was done stays.
            for act in [slow, fast].iter().filter(|act| !matches!(act, Act::Write { .. })) {
                assert!(act.is_seen(&net, item).await || removed, "{case}");
            }
        }
    }
}

/// The first dies at each of its messages in turn. The other goes on as if nothing had been, or finishes what it finds.
#[tokio::test(start_paused = true)]
async fn who_dies_holds_nobody_up() {
    for (dead, alive) in PAIRS {
        for at in 0.. {
            let (net, item) = created((at % 5 < 4).then_some(at % 5)).await;
            let own = fateful(&net, dead.by(), at, Fate::Dies);
            let ended = tokio::time::timeout(Duration::from_secs(1), dead.done(&own, item, &net)).await;
            let case = format!("{dead:?} dead at message {at}, then {alive:?}");
            let survivor = items(&net, alive.by());
            let mut done = alive.done(&survivor, item, &net).await;
            if matches!(done, Err(AclError::Conflict)) {
                done = alive.done(&survivor, item, &net).await;
            }
            done.expect(&case);
            assert!(alive.is_seen(&net, item).await, "{case}");
            let again = dead.done(&items(&net, dead.by()), item, &net).await;
            let removed = matches!(alive, Act::Remove { whom, .. } if whom == dead.by());
            assert!(again.is_ok() || removed, "{case}: {again:?}");
            if ended.is_ok() {
                assert!(at > 10, "an act takes more than {at} messages");
                break;
            }
        }
    }
}

/// A writer is removed while he writes: what was not settled when the removal was, never is, whatever he sends afterwards.
#[tokio::test(start_paused = true)]
async fn a_removed_writer_wins_only_before_the_removal() {
    for at in 0.. {
        let (net, item) = created(None).await;
        let settled = Arc::new(Mutex::new(None));
        let (told, with) = (settled.clone(), net.clone());
        let deed = Box::pin(async move {
            let (owner, mut rng) = (items(&with, 0), SeedRng::new(2));
            let party = dt_model::Signer::party(&identity(3));
            let mut removed = owner.revoke(item, party, Revocation::Lazy, with.now(), &mut rng).await;
            if matches!(removed, Err(AclError::Conflict)) {
                removed = owner.revoke(item, party, Revocation::Lazy, with.now(), &mut rng).await;
            }
            *told.lock().unwrap() = Some(removed.unwrap().state);
        });
        let writer = fateful(&net, 3, at, Fate::Waits(deed));
        let written = writer.write(item, b"late", net.now(), &mut SeedRng::new(3)).await;
        let Some(state) = settled.lock().unwrap().take() else { break };
        let (counter, digest) =
            state.data.as_ref().map(|data| (data.counter(), data.reference().digest)).unwrap();
        let by = state.data.unwrap().writer();
        // Whoever is removed is told nothing, not even what became of his record.
        assert!(written.is_err() || by == writer.party(), "message {at}: {written:?}");
        // He tries everything that he has again.
        if let Err(AclError::InDoubt { record, .. }) = &written {
            assert!(writer.resubmit(record, net.now()).await.is_err());
        }
        assert!(writer.write(item, b"later", net.now(), &mut SeedRng::new(4)).await.is_err());
        let opened = read(&net, item).await;
        assert_eq!((opened.counter, opened.record), (counter, digest), "message {at}");
    }
}

/// Two devices of the owner's create the same item at once.
#[tokio::test(start_paused = true)]
async fn an_item_is_created_once() {
    for at in 0.. {
        let net = Arc::new(network(1, 4));
        let other = Arc::new(Mutex::new(None));
        let (told, with) = (other.clone(), net.clone());
        let deed = Box::pin(async move {
            let created = items(&with, 0).create("twice", &[], with.now(), &mut SeedRng::new(1)).await;
            *told.lock().unwrap() = Some(created);
        });
        let own = fateful(&net, 0, at, Fate::Waits(deed));
        let created = own.create("twice", &[], net.now(), &mut SeedRng::new(2)).await;
        let Some(other) = other.lock().unwrap().take() else { break };
        // Each may have half of the replicas, and finds that when it tries again.
        let (item, mut winners) = (ItemId::new(own.party(), "twice"), Vec::new());
        for outcome in [created, other] {
            let settled = match outcome {
                Err(AclError::InDoubt { record, .. }) => items(&net, 0).resubmit(&record, net.now()).await,
                decided => decided,
            };
            match settled {
                Ok(state) => winners.push(state.acl),
                Err(AclError::AlreadyExists(known)) => assert_eq!(known, item),
                Err(AclError::Conflict) => {}
                Err(other) => panic!("message {at}: {other:?}"),
            }
        }
        let acl = items(&net, 0).acl(item, None, net.now()).await.unwrap();
        assert_eq!(winners, [acl], "message {at}");
    }
}

/// Whoever dies while he creates an item goes on at once when he is back, though nobody has rights there yet.
#[tokio::test(start_paused = true)]
async fn a_creation_that_was_cut_off_is_repeated() {
    for at in 0.. {
        let net = network(1, 4);
        let own = fateful(&net, 0, at, Fate::Dies);
        let (now, rng) = (net.now(), &mut SeedRng::new(1));
        let ended = tokio::time::timeout(Duration::from_secs(1), own.create("item", &[], now, rng)).await;
        let back = items(&net, 0);
        let again = back.create("item", &[], now, &mut SeedRng::new(2)).await;
        assert!(matches!(again, Ok(_) | Err(AclError::AlreadyExists(_))), "message {at}: {again:?}");
        let item = ItemId::new(back.party(), "item");
        assert_eq!(back.acl(item, None, now).await.unwrap().version(), 1);
        back.write(item, b"content", now, &mut SeedRng::new(3)).await.unwrap();
        if ended.is_ok() {
            return assert!(at > 10, "to create takes more than {at} messages");
        }
    }
}

/// A reader that is held up sees list and data of one moment, or is told that it is no reader any more.
#[tokio::test(start_paused = true)]
async fn a_reader_that_is_overtaken_reads_one_moment() {
    for (whom, at) in [3u64, 5].into_iter().flat_map(|whom| (0..12).map(move |at| (whom, at))) {
        let (net, item) = created(None).await;
        let with = net.clone();
        let deed = Box::pin(async move {
            let (owner, mut rng) = (items(&with, 0), SeedRng::new(2));
            let party = dt_model::Signer::party(&identity(3));
            owner.revoke(item, party, Revocation::Lazy, with.now(), &mut rng).await.unwrap();
            owner.write(item, b"new", with.now(), &mut rng).await.unwrap();
        });
        let reader = fateful(&net, whom, at, Fate::Waits(deed));
        match reader.read(item, None, net.now()).await {
            Ok(opened) => {
                let seen = (opened.acl.version, opened.plaintext.as_slice());
                assert!(seen == (1, b"old") || (seen == (2, b"new") && whom == 5), "{at}: {seen:?}");
            }
            Err(AclError::NotAReader(_)) => assert_eq!(whom, 3),
            Err(other) => panic!("message {at}: {other:?}"),
        }
    }
}
