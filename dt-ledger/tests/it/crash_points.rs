//! A ledger on disk survives the end of its process at each single write and each single flush, and the loss of power at any of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dt_ledger::testing::Fixture;
use dt_ledger::{Call, LedgerStore, RedbStore, StorageBackend, audit};
use dt_model::testing::identity;
use dt_model::{Identity, TwinId};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::support::{add_document, edit, insert};

/// Blocks that are committed while something breaks.
const BLOCKS: u64 = 3;
/// A disk writes a sector entirely or not at all.
const SECTOR: usize = 512;

/// Begins a chain with a party and its twin, in a store that works.
fn begin(store: RedbStore) {
    let chain = Fixture::new(Arc::new(store), 1, 1);
    let _ = chain.twin(&chain.enrol(1), None, &[]);
}

/// The chain in `store`, with the party and the twin that [`begin`] made.
fn resume(store: Arc<dyn LedgerStore>) -> (Fixture, Identity, TwinId) {
    let chain = Fixture::new(store, 1, 1);
    let twin = chain.state().twins().next().expect("the chain was begun with a twin");
    (chain, identity(1), twin)
}

/// Commits one block of three transactions; its height, or nothing if the store failed.
fn commit_one((chain, party, twin): &(Fixture, Identity, TwinId)) -> Option<u64> {
    let height = chain.replica().tip().height;
    let id = format!("x{height}");
    let calls = [add_document(Some("tank")), edit([insert(&id, "tank")]), add_document(None)];
    let transactions: Vec<_> = (0..)
        .zip(calls)
        .map(|(ahead, call)| chain.sign_ahead(party, vec![Call::Twin { twin: *twin, call }], ahead))
        .collect();
    let block = chain.block(&transactions);
    let certificate = chain.certify(&block.header);
    chain.replica().commit(block, certificate).ok().map(|committed| committed.block.header.height)
}

/// What is left after a crash: the chain up to `announced` or one block further, whole, and able to go on.
fn assert_whole(store: RedbStore, announced: u64, when: &str) {
    let store = Arc::new(store);
    let resumed = resume(store.clone());
    let replica = resumed.0.replica();
    let tip = replica.tip();
    assert!(
        (announced..=announced + 1).contains(&tip.height),
        "{when}: {announced} said, {} there",
        tip.height
    );
    for height in 1..=tip.height {
        assert!(replica.block(height).unwrap().is_some(), "{when}: block {height} is missing");
    }
    let found =
        audit(&*store, replica.genesis(), &mut |_| {}).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(found.tip, tip, "{when}");
    assert_eq!(commit_one(&resumed), Some(tip.height + 1), "{when}: it goes on");
}

/// Where the process that is to end itself has its ledger, at which operation, and of which kind.
const LEDGER: &str = "DT_LEDGER_TO_ABORT";
const AT: &str = "DT_LEDGER_ABORTS_AT";
const KIND: &str = "DT_LEDGER_ABORTS_IN";

/// A file whose process aborts at a certain write, half of which is still done, or at a certain flush.
#[derive(Debug)]
struct Aborting {
    file: File,
    writes: AtomicU64,
    syncs: AtomicU64,
    /// Counted from 1.
    at_write: Option<u64>,
    at_sync: Option<u64>,
}

impl Aborting {
    fn is(now: &AtomicU64, at: Option<u64>) -> bool {
        Some(now.fetch_add(1, Ordering::SeqCst) + 1) == at
    }
}

impl StorageBackend for Aborting {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if Self::is(&self.writes, self.at_write) {
            std::process::abort();
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if Self::is(&self.syncs, self.at_sync) {
            std::process::abort();
        }
        // What a process has written stays when it ends; only a loss of power needs the flush.
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if Self::is(&self.writes, self.at_write) {
            self.file.write_all_at(&data[..data.len() / 2], offset)?;
            std::process::abort();
        }
        self.file.write_all_at(data, offset)
    }
}

/// The other process: leaves beside its ledger the last height that was committed. Without the variables there is nothing to do.
#[test]
fn writes_until_it_aborts() {
    let Some(path) = std::env::var_os(LEDGER).map(PathBuf::from) else { return };
    let at = std::env::var(AT).unwrap().parse().ok();
    let (at_write, at_sync) = if std::env::var(KIND).unwrap() == "write" { (at, None) } else { (None, at) };
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let backend = Aborting { file, writes: AtomicU64::new(0), syncs: AtomicU64::new(0), at_write, at_sync };
    let resumed = resume(Arc::new(RedbStore::with_backend(backend).unwrap()));
    for _ in 0..BLOCKS {
        let height = commit_one(&resumed).unwrap();
        std::fs::write(path.with_extension("announced"), height.to_string()).unwrap();
    }
}

/// Runs the other process over a copy of `template`; what it announced, and whether it came to its end.
fn run_until(template: &Path, path: &Path, kind: &str, at: u64) -> (u64, bool) {
    std::fs::copy(template, path).unwrap();
    let announced = path.with_extension("announced");
    std::fs::write(&announced, "0").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_points::writes_until_it_aborts", "--test-threads=1"])
        .env(LEDGER, path)
        .env(AT, at.to_string())
        .env(KIND, kind)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    (std::fs::read_to_string(announced).unwrap().parse().unwrap(), status.success())
}

#[test]
fn a_process_may_end_at_every_write_and_every_flush() {
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("template");
    begin(RedbStore::open(&template).unwrap());
    let begun = resume(Arc::new(RedbStore::open(&template).unwrap())).0.replica().tip().height;
    for kind in ["write", "sync"] {
        let path = directory.path().join(kind);
        let last = (1..)
            .find(|at| {
                let (announced, survived) = run_until(&template, &path, kind, *at);
                let store = RedbStore::open(&path).unwrap();
                assert_whole(store, announced.max(begun), &format!("{kind} {at}"));
                survived
            })
            .unwrap();
        assert!(last > BLOCKS, "{last} is beyond the last {kind} of {BLOCKS} blocks");
    }
}

/// A disk in memory with a cache that is lost with the power.
#[derive(Debug, Clone)]
struct Disk(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// What survives in any case.
    flushed: Vec<u8>,
    /// What is read: with all that is in the cache.
    cached: Vec<u8>,
    /// Changes since the last flush.
    unflushed: Vec<Change>,
    /// Writes, changes of length and flushes so far.
    operations: u64,
    /// The operation at which the power fails.
    fails_at: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

fn place(offset: usize, length: usize) -> Range<usize> {
    offset..offset + length
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Bytes(offset, bytes) => {
                let range = place(*offset, bytes.len());
                to.resize(to.len().max(range.end), 0);
                to[range].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    fn new(contents: Vec<u8>, fails_at: Option<u64>) -> Self {
        let contents =
            Contents { flushed: contents.clone(), cached: contents, fails_at, ..Contents::default() };
        Self(Arc::new(Mutex::new(contents)))
    }

    /// Counts an operation, unless the power is off.
    fn operate(&self, change: Option<Change>) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.operations += 1;
        if contents.fails_at.is_some_and(|at| contents.operations >= at) {
            // The write that is under way may be done, as any before it.
            if contents.fails_at == Some(contents.operations) {
                contents.unflushed.extend(change);
            }
            return Err(io::Error::other("the power is off"));
        }
        match change {
            Some(change) => {
                change.apply(&mut contents.cached);
                contents.unflushed.push(change);
            }
            None => {
                contents.flushed = contents.cached.clone();
                contents.unflushed.clear();
            }
        }
        Ok(())
    }

    /// What is on the disk after the power was off: what was flushed, and of the rest whatever sectors happened to be written, in
    /// whatever order.
    fn after(&self, seed: u64) -> Vec<u8> {
        let contents = self.0.lock().unwrap();
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        // From none of them to all of them.
        let share = random.next_u32() % 5;
        let mut happens = || random.next_u32() % 4 < share;
        let mut left = contents.flushed.clone();
        for change in &contents.unflushed {
            match change {
                Change::Length(_) if happens() => change.apply(&mut left),
                Change::Length(_) => {}
                Change::Bytes(offset, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if happens() {
                            Change::Bytes(offset + number * SECTOR, sector.to_vec()).apply(&mut left);
                        }
                    }
                }
            }
        }
        left
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.0.lock().unwrap();
        let range = place(usize::try_from(offset).unwrap(), out.len());
        let found = contents.cached.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(Some(Change::Length(usize::try_from(len).unwrap())))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(None)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(Some(Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec())))
    }
}

#[test]
fn power_may_fail_at_every_operation() {
    let blank = Disk::new(Vec::new(), None);
    begin(RedbStore::with_backend(blank.clone()).unwrap());
    let begun = blank.0.lock().unwrap().flushed.clone();
    let height = resume(Arc::new(RedbStore::with_backend(Disk::new(begun.clone(), None)).unwrap()));
    let height = height.0.replica().tip().height;
    for at in 1.. {
        let disk = Disk::new(begun.clone(), Some(at));
        let mut announced = height;
        if let Ok(store) = RedbStore::with_backend(disk.clone()) {
            let resumed = resume(Arc::new(store));
            for _ in 0..BLOCKS {
                match commit_one(&resumed) {
                    Some(height) => announced = height,
                    None => break,
                }
            }
        }
        let left = Disk::new(disk.after(at), None);
        let store = RedbStore::with_backend(left).unwrap_or_else(|error| panic!("operation {at}: {error:?}"));
        assert_whole(store, announced, &format!("operation {at}"));
        if disk.0.lock().unwrap().operations < at {
            assert_eq!(announced, height + BLOCKS);
            break;
        }
    }
}
