//! `bottling-plant audit`: verifies a run from disk. Nothing in the folder is trusted but what proves itself.

use std::path::Path;
use std::sync::Arc;

use dt_dht::{InProcess, RecordStore, verify_store};
use dt_ledger::{AuditError, LedgerStore, OpenReplicaError, Replica, Solo};
use dt_model::{Digest, Identity, Protection, Signer, Timestamp};
use dt_sync::{Client, Ledger};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::Failure;
use crate::narrator::Narrator;
use crate::seal;
use crate::world::{Who, node_file, read_settings, steps_done, validators};

/// The DHT's nodes.
const NODES: usize = 4;

/// Audits the run in `folder`; whether everything is in order. An error means that there is no run to audit.
pub(crate) async fn audit(
    folder: &Path,
    chain: Option<Digest>,
    narrator: &mut Narrator,
) -> Result<bool, Failure> {
    let mut sound = true;
    narrator.step("seal", "The seal: every file as it was when the story ended");
    let sealed = seal::check(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    match &sealed {
        None => {
            read_settings(folder)?;
            let done = steps_done(folder)?.join(", ");
            narrator.says(&format!("not sealed: the run did not end; done so far: {done}"));
        }
        Some(checked) if checked.wrong.is_empty() => {
            let by = checked.by.map_or_else(String::new, |by| by.short());
            narrator.proven(&format!("{} files, unchanged since {by} signed", checked.files));
        }
        Some(checked) => {
            sound = false;
            checked.wrong.iter().for_each(|file| narrator.wrong(&format!("{file}: not as it was sealed")));
        }
    }
    // A file that is known to have changed is still looked into: what is wrong in it is worth knowing.
    narrator.step("ledger", "The ledger: every block re-executed, every stored row compared");
    let writable = sealed.is_none();
    let ledger = match ledger(folder, chain, writable, narrator) {
        Ok(ledger) => ledger,
        // A run that was cut off may not have begun its chain yet; a sealed one has.
        Err(LedgerError::NoChain) if writable => {
            narrator.says("the run was cut off before its chain began: there is nothing to audit yet");
            None
        }
        Err(error) => {
            sound = false;
            narrator.wrong(&format!("ledger.redb: {error}"));
            None
        }
    };
    narrator.step("nodes", "The DHT's nodes: every record's signature, every shard's digest");
    let mut stores = Vec::new();
    for number in 1..=NODES {
        match node(folder, number, writable, narrator) {
            Ok(Some(store)) => stores.push(store),
            Ok(None) => narrator.says(&format!("node {number} has not stored anything yet")),
            Err(error) => {
                sound = false;
                narrator.wrong(&format!("node-{number}.redb: {error}"));
            }
        }
    }
    narrator.step("twin", "The twin: every document and every reading, as the ledger registered them");
    match ledger {
        Some(replica) if stores.len() == NODES => match twin(folder, replica, stores, narrator).await {
            Ok(()) => {}
            Err(error) => {
                sound = false;
                narrator.wrong(&error.to_string());
            }
        },
        _ => narrator.says("not read: that takes a ledger and all nodes"),
    }
    narrator.step("verdict", if sound { "Everything is in order" } else { "NOT in order" });
    narrator.fact("sound", sound);
    narrator.end();
    Ok(sound)
}

/// Why a ledger is not in order.
#[derive(Debug, thiserror::Error)]
enum LedgerError {
    /// There is none.
    #[error("there is no chain")]
    NoChain,
    /// It is another one.
    #[error("it is of the chain {0}")]
    OtherChain(Digest),
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenReplicaError),
    /// It is not what its blocks make it.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

fn ledger(
    folder: &Path,
    chain: Option<Digest>,
    writable: bool,
    narrator: &mut Narrator,
) -> Result<Option<Arc<Replica>>, LedgerError> {
    let path = folder.join("ledger.redb");
    if !path.exists() {
        return Err(LedgerError::NoChain);
    }
    // What was not closed properly must be recovered first, which writes; what was sealed is not touched.
    let open = if writable { dt_ledger::RedbStore::open } else { dt_ledger::RedbStore::open_read_only };
    let store: Arc<dyn LedgerStore> = Arc::new(open(&path).map_err(OpenReplicaError::from)?);
    let replica = match Replica::load(Arc::clone(&store)) {
        Err(OpenReplicaError::NoChain) => return Err(LedgerError::NoChain),
        replica => replica?,
    };
    let found = replica.chain();
    if chain.is_some_and(|expected| expected != found) {
        return Err(LedgerError::OtherChain(found));
    }
    let bar = narrator.progress(replica.tip().height, "blocks");
    let report = dt_ledger::audit(&*store, replica.genesis(), &mut |height| bar.set_position(height))?;
    bar.finish_and_clear();
    narrator.proven(&format!(
        "chain {found}: {} blocks, {} transactions applied and {} refused, {} rows; state {}",
        report.tip.height, report.applied, report.rejected, report.rows, report.tip.state_root,
    ));
    narrator.fact("chain", found.to_string());
    narrator.fact("height", report.tip.height);
    narrator.fact("state_root", report.tip.state_root.to_string());
    Ok(Some(Arc::new(replica)))
}

fn node(
    folder: &Path,
    number: usize,
    writable: bool,
    narrator: &mut Narrator,
) -> Result<Option<Arc<dyn RecordStore>>, Failure> {
    let path = node_file(folder, number);
    if !path.exists() {
        return Ok(None);
    }
    let store: Arc<dyn RecordStore> = Arc::new(if writable {
        dt_dht::RedbStore::open(&path)?
    } else {
        dt_dht::RedbStore::open_read_only(&path)?
    });
    let report = verify_store(&*store)?;
    narrator.proven(&format!(
        "node {number}: {} records and {} shards, {} bytes",
        report.records, report.shards, report.bytes
    ));
    Ok(Some(store))
}

/// Reads all that the auditor may read, over nodes that run on the stored data.
async fn twin(
    folder: &Path,
    replica: Arc<Replica>,
    stores: Vec<Arc<dyn RecordStore>>,
    narrator: &mut Narrator,
) -> Result<(), Failure> {
    let load =
        |name: &str| Identity::load(&folder.join("keys").join(format!("{name}.key")), Protection::OwnerOnly);
    let auditor: Arc<dyn Signer> = Arc::new(load(Who::Auditor.name())?);
    let clock = std::fs::read_to_string(folder.join("clock"))?;
    let now = Timestamp::from_millis(clock.trim().parse()?);
    let state = replica.snapshot()?;
    let membership = dt_sync::membership(&state, replica.chain(), now)?;
    let mut nodes = Vec::new();
    for (number, store) in (1..).zip(stores) {
        let signer: Arc<dyn Signer> = Arc::new(load(&format!("node-{number}"))?);
        nodes.push(Arc::new(dt_dht::Replica::new(signer, store, membership.clone(), validators())));
    }
    let network = Arc::new(InProcess::new(nodes, Arc::new(move || now)));
    // Only nonces are drawn here, and nobody else is there to guess them.
    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    let dht = dt_dht::Client::new(Arc::clone(&auditor), network, membership, ChaCha20Rng::from_seed([1; 32]));
    let solo = Solo::new(Arc::clone(&replica), Arc::clone(&auditor), Arc::new(move || now));
    let ledger = Ledger::new(Arc::new(solo), Arc::clone(&replica), auditor);
    let client = Client::new(ledger, Arc::new(dht), &mut rng);
    for twin in state.twins() {
        let documents = state.documents(&twin)?;
        let mut versions = 0u64;
        for (document, record) in &documents {
            for number in 1..=record.versions {
                client.read_document(twin, *document, Some(number), now).await?;
                versions += 1;
            }
        }
        narrator.proven(&format!(
            "twin {}: {} documents, {versions} versions, each with the hash on the ledger",
            twin.short(),
            documents.len()
        ));
        let mut total = 0;
        let feeds = state.feeds(&twin)?;
        for (component, feed) in &feeds {
            let mut readings = client.readings(&twin, component, &feed.reference, now).await?;
            total += readings.history(Timestamp::from_millis(0)..Timestamp::MAX, now).await?.len();
        }
        narrator
            .proven(&format!("{} feeds, {total} readings, each led to its feed's signed root", feeds.len()));
    }
    Ok(())
}
