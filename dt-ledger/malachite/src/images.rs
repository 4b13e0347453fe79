//! Catching up by an image: where the blocks that are missing were pruned everywhere, or are too many.
//!
//! ```text
//! joiner                                  any peer
//! genesis ─▶ Verifier ◀── headers that name other validators, each under the votes of those before
//!               │     ◀── the image at height h, in pieces
//!               │     ◀── header h + 1 and its votes
//!               └─ certifies what the image must hold ─▶ Image::import ─▶ Replica::open, and blocks from there on
//! ```
//!
//! # Invariant
//! A peer can waste time, and nothing else: what is taken follows from the genesis and the votes of validators.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dt_ledger::{
    CommitCertificate, ExportError, Genesis, Header, Image, ImportError, LedgerStore, Replica, StoreError,
    Verifier, VerifyError,
};
use libp2p::futures::StreamExt as _;
use libp2p::request_response::{Event, Message};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::time::{Duration, sleep, timeout};
use tracing::{info, warn};

use crate::config::Config;
use crate::exchange::{Answer, Ask, Behaviour, peers, swarm};

/// Bytes of an image in one answer.
const PIECE_BYTES: usize = 1024 * 1024;
/// Headers in one answer: with 256 votes each has some 50 KB.
const MAX_CHANGES: usize = 32;
/// An image serves until the chain is so many blocks ahead of it.
const MAX_AGE: u64 = 256;
/// How long a peer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the votes for the block after an image are waited for.
const PAUSE: Duration = Duration::from_millis(500);
/// How often they are asked for.
const TRIES: u32 = 120;

/// Why an image was not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The images that a node gives: the newest, in a file.
pub(crate) struct Images {
    folder: PathBuf,
    replica: Arc<Replica>,
    newest: Mutex<Option<(u64, PathBuf)>>,
}

impl Images {
    pub(crate) fn new(folder: PathBuf, replica: Arc<Replica>) -> Self {
        Self { folder, replica, newest: Mutex::default() }
    }

    /// What a node says to whoever catches up.
    pub(crate) fn answer(&self, ask: Ask) -> Result<Answer, GiveError> {
        let replica = &self.replica;
        Ok(match ask {
            Ask::Transactions(_) => Answer::Done,
            Ask::Standing => Answer::Standing { height: replica.tip().height, first: replica.first_block()? },
            Ask::Changes { from } => Answer::Changes(self.changes(from)?),
            Ask::Header { height } => {
                replica.header(height)?.map_or(Answer::Done, |header| Answer::Header(Box::new(header)))
            }
            Ask::Image { height, offset } => self.piece(height, offset)?,
        })
    }

    fn changes(
        &self,
        from: u64,
    ) -> Result<Vec<(Header, CommitCertificate, Vec<dt_model::PartyId>)>, StoreError> {
        let mut changes = Vec::new();
        for height in self.replica.validator_changes(from.saturating_add(1))?.into_iter().take(MAX_CHANGES) {
            let named = self.replica.validators(height)?;
            if let (Some((header, votes)), Some(named)) = (self.replica.header(height - 1)?, named) {
                changes.push((header, votes, named));
            }
        }
        Ok(changes)
    }

    fn piece(&self, wanted: Option<u64>, offset: u64) -> Result<Answer, GiveError> {
        let Some((height, path)) = self.image(wanted)? else { return Ok(Answer::Done) };
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(Answer::Image { height, length, bytes: bytes.into() })
    }

    /// The newest image, if it is the wanted one; a new one, if any is wanted and it is too old.
    fn image(&self, wanted: Option<u64>) -> Result<Option<(u64, PathBuf)>, GiveError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let tip = self.replica.tip().height;
        let serves = |height: u64| wanted.map_or(height + MAX_AGE >= tip, |wanted| wanted == height);
        if let Some(image) = newest.clone().filter(|(height, _)| serves(*height)) {
            return Ok(Some(image));
        }
        if wanted.is_some() || tip == 0 {
            return Ok(None);
        }
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join("image");
        let unfinished = self.folder.join("unfinished");
        let height = self.replica.export(File::create(&unfinished)?)?.height;
        fs::rename(unfinished, &path)?;
        *newest = Some((height, path.clone()));
        Ok(Some((height, path)))
    }
}

/// Why no image was taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The network could not be used.
    #[error("the network could not be used: {0}")]
    Network(String),
    /// No peer answered.
    #[error("no peer answered")]
    NoPeer,
    /// A peer did not give what it was asked for, or something else.
    #[error("the peer did not answer as it should")]
    NoAnswer,
    /// What a peer said is not what the validators have certified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The image is not what was certified.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How a chain came to be in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// Not at all: peers have all blocks from the first one on, which the node will fetch when it starts.
    NotNeeded,
    /// By an image of the state after this block.
    FromImage {
        /// The block's height.
        height: u64,
    },
}

/// Fills an empty `store` with an image of the chain of `genesis` from one of the peers, if they do not have its first blocks any more.
///
/// Do this before the replica is opened and the node started; it takes the node's place in the network. A node that falls behind what its
/// peers keep is started again with an empty store. The genesis is trusted, and that fewer than a third of each set of validators since
/// have given away their keys: for an old chain, compare what was restored with what others say.
///
/// # Errors
/// [`RestoreError`], if no peer had an image that holds; the store may be half filled, and must be emptied.
pub async fn restore(
    store: Arc<dyn LedgerStore>,
    genesis: &Genesis,
    config: &Config,
) -> Result<Restored, RestoreError> {
    let swarm = swarm(config).map_err(|error| RestoreError::Network(error.to_string()))?;
    let mut client = Client { swarm };
    let mut last = RestoreError::NoPeer;
    for (peer, address) in peers(config) {
        match client.restore_from(peer, address, &store, genesis, &config.folder).await {
            Ok(restored) => return Ok(restored),
            Err(error) => {
                warn!(%peer, %error, "no image from this peer");
                last = error;
            }
        }
    }
    Err(last)
}

/// One who asks peers, one after the other.
struct Client {
    swarm: Swarm<Behaviour>,
}

impl Client {
    async fn restore_from(
        &mut self,
        peer: PeerId,
        address: Multiaddr,
        store: &Arc<dyn LedgerStore>,
        genesis: &Genesis,
        folder: &Path,
    ) -> Result<Restored, RestoreError> {
        let dial = DialOpts::peer_id(peer).addresses(vec![address]).build();
        self.swarm.dial(dial).map_err(|error| RestoreError::Network(error.to_string()))?;
        let Answer::Standing { first, .. } = self.ask(peer, Ask::Standing).await? else {
            return Err(RestoreError::NoAnswer);
        };
        if first <= 1 {
            return Ok(Restored::NotNeeded);
        }
        fs::create_dir_all(folder)?;
        let path = folder.join("image-received");
        let height = self.fetch(peer, &path).await?;
        let (header, votes) = self.header(peer, height + 1).await?;
        let mut verifier = Verifier::new(genesis);
        self.follow(peer, &mut verifier, height + 1).await?;
        let certified = verifier.header(&header, &votes)?;
        let (store, file) = (Arc::clone(store), File::open(&path)?);
        let import = move || Image::open(BufReader::new(file))?.import(&*store, &certified);
        tokio::task::spawn_blocking(import).await.map_err(|_| RestoreError::NoAnswer)??;
        fs::remove_file(path)?;
        info!(height, %peer, "restored from an image");
        Ok(Restored::FromImage { height })
    }

    /// Writes the peer's newest image to `path`; its height, as the peer says.
    async fn fetch(&mut self, peer: PeerId, path: &Path) -> Result<u64, RestoreError> {
        let mut file = File::create(path)?;
        let (mut wanted, mut offset) = (None, 0);
        loop {
            let Answer::Image { height, length, bytes } =
                self.ask(peer, Ask::Image { height: wanted, offset }).await?
            else {
                return Err(RestoreError::NoAnswer);
            };
            if bytes.is_empty() || wanted.is_some_and(|wanted| wanted != height) {
                return Err(RestoreError::NoAnswer);
            }
            file.write_all(&bytes)?;
            offset += bytes.len() as u64;
            if offset >= length {
                file.sync_all()?;
                return Ok(height);
            }
            wanted = Some(height);
        }
    }

    /// The header at `height`, which may not be there yet.
    async fn header(
        &mut self,
        peer: PeerId,
        height: u64,
    ) -> Result<(Header, CommitCertificate), RestoreError> {
        for _ in 0..TRIES {
            match self.ask(peer, Ask::Header { height }).await? {
                Answer::Header(header) if header.0.height == height => return Ok(*header),
                Answer::Done => sleep(PAUSE).await,
                _ => return Err(RestoreError::NoAnswer),
            }
        }
        Err(RestoreError::NoAnswer)
    }

    /// Goes over to those who vote at `height`.
    async fn follow(
        &mut self,
        peer: PeerId,
        verifier: &mut Verifier,
        height: u64,
    ) -> Result<(), RestoreError> {
        let mut from = 1;
        while from < height {
            let Answer::Changes(changes) = self.ask(peer, Ask::Changes { from }).await? else {
                return Err(RestoreError::NoAnswer);
            };
            let Some(last) = changes.last().map(|(header, _, _)| header.height) else { break };
            if last < from {
                return Err(RestoreError::NoAnswer);
            }
            for (header, votes, named) in changes {
                if header.height < height {
                    verifier.advance(&header, &votes, named)?;
                }
            }
            from = last + 1;
        }
        Ok(())
    }

    async fn ask(&mut self, peer: PeerId, ask: Ask) -> Result<Answer, RestoreError> {
        let id = self.swarm.behaviour_mut().send_request(&peer, ask);
        let answer = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::Behaviour(Event::Message {
                        message: Message::Response { request_id, response },
                        ..
                    }) if request_id == id => return Ok(response),
                    SwarmEvent::Behaviour(Event::OutboundFailure { request_id, error, .. })
                        if request_id == id =>
                    {
                        return Err(RestoreError::Network(error.to_string()));
                    }
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, answer).await.map_err(|_| RestoreError::NoAnswer)?
    }
}
