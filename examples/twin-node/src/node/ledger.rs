//! The ledger's part: the replica and its consensus with the others.

use std::sync::Arc;
use std::time::Duration;

use dt_ledger::{LedgerStore, MempoolLimits, RedbStore, Replica};
use dt_ledger_malachite::{Config, Malachite, Multiaddr, Pace, Peer, Start, StartError};
use dt_model::Signer as _;

use crate::card::{Address, Card};
use crate::clock;
use crate::failure::{Failure, Kind, at};
use crate::folder::{Folder, Key, keypair};
use crate::founding::Founding;
use crate::settings::Settings;

/// A chain whose last block is older than this and the time between empty blocks has stopped, or this replica is behind it.
pub(super) const OLD: Duration = Duration::from_secs(10);

/// The replica, as it was left.
pub(super) fn open(folder: &Folder, founding: &Founding) -> Result<Arc<Replica>, Failure> {
    let path = folder.ledger().join("blocks.redb");
    let store: Arc<dyn LedgerStore> = Arc::new(RedbStore::open(&path).map_err(|error| at(&path, error))?);
    let replica = Replica::open(store, &founding.genesis()).map_err(|error| at(&path, error))?;
    Ok(Arc::new(replica))
}

/// Joins the consensus.
pub(super) async fn start(
    folder: &Folder,
    settings: &Settings,
    founding: &Founding,
    replica: Arc<Replica>,
) -> Result<Malachite, Failure> {
    let authority = folder.key(Key::Authority)?.party();
    let (_, own) = founding.member(&authority).ok_or_else(|| {
        at(&folder.founding(), "this folder's organisation is not among those that found the chain")
    })?;
    let peers = founding.cards().filter(|card| card.authority != authority).map(peer);
    let times = &settings.ledger;
    let pace = Pace {
        block: Duration::from_millis(times.block_ms),
        idle: Duration::from_millis(times.idle_ms),
        propose: Duration::from_millis(times.propose_ms),
        ..Pace::default()
    };
    let config = Config {
        name: own.name.to_string(),
        folder: folder.ledger(),
        node_key: keypair(&*folder.key(Key::Node)?)?,
        consensus: address(&times.consensus)?,
        exchange: address(&times.exchange)?,
        peers: peers.collect::<Result<_, _>>()?,
        start: start_of(folder, settings, &replica),
        mempool: MempoolLimits::default(),
        pace,
    };
    let keys = folder.key(Key::Validator)?;
    Malachite::start(replica, keys, clock::clock(), config).await.map_err(|error| match error {
        // As bad as a halt: it must not vote again before somebody has looked into it.
        StartError::JournalLost(_) => Failure::new(Kind::Halted, error),
        error => Failure::internal(&error),
    })
}

/// A key is new only where nothing has ever been committed. Else its journal must be there, or it might vote twice.
fn start_of(folder: &Folder, settings: &Settings, replica: &Replica) -> Start {
    let has_journal = folder.ledger().join("journal").join("wal").exists();
    match (settings.ledger.vote, has_journal || replica.tip().height > 0) {
        (false, _) => Start::Watch,
        (true, true) => Start::Resume,
        (true, false) => Start::First,
    }
}

fn peer(card: &Card) -> Result<Peer, Failure> {
    let named = |at: &Address| format!("{at}/p2p/{}", card.node);
    let parsed = |text: String| {
        text.parse::<Multiaddr>()
            .map_err(|error| Failure::bad_input(format_args!("the card of {}: {text}: {error}", card.name)))
    };
    Ok(Peer { consensus: parsed(named(&card.consensus))?, exchange: parsed(named(&card.exchange))? })
}

fn address(text: &Address) -> Result<Multiaddr, Failure> {
    text.as_str().parse().map_err(|error| Failure::bad_input(format_args!("{text}: {error}")))
}
