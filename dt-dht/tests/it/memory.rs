//! How much memory a long blob takes: measured in a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::{Faulty, Network};
use dt_dht::{Client, RecordStore, Resilience, Row, STRIPE_BYTES, StoreError, Transport, TransportError};
use dt_model::testing::{SeedRng, identity};
use dt_model::{PartyId, Signer};

use crate::support::*;

const CONTENT_BYTES: u64 = 64 << 20;
/// What writer and reader may take, beside what the process has before. It includes 8 MiB of tables of the erasure code, which a process
/// has once, and what the replicas take, which are in this one.
const LIMIT_BYTES: u64 = 24 << 20;
const DIRECTORY: &str = "DT_DHT_MEMORY_TEST";

/// Each row in a file, and nothing in memory.
struct Files(PathBuf);

impl Files {
    fn path(&self, key: &[u8]) -> PathBuf {
        self.0.join(blake3::hash(key).to_hex().as_str())
    }
}

impl RecordStore for Files {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(std::fs::read(self.path(key)).ok().map(Bytes::from))
    }

    fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        for (key, value) in rows {
            std::fs::write(self.path(key), value)?;
        }
        Ok(())
    }

    fn remove(&self, _: &[Bytes]) -> Result<(), StoreError> {
        Ok(())
    }

    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
}

/// Answers after a while, so that as much is under way as may be.
struct Lagging(Arc<Faulty>);

#[async_trait]
impl Transport for Lagging {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.0.request(node, request).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.0.update_membership(membership);
    }
}

/// A line of /proc/self/status, in bytes.
fn status(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
#[ignore = "run by another test"]
async fn child_that_streams() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let store = |number: usize| {
        let path = PathBuf::from(&directory).join(number.to_string());
        std::fs::create_dir(&path).unwrap();
        Arc::new(Files(path)) as Arc<dyn RecordStore>
    };
    let resilience = Resilience::tolerating(1).unwrap();
    let network =
        Network::with_stores(resilience, (0..4).map(store).collect(), [identity(WRITER).party()], &[]);
    let (transport, membership) = (Arc::new(Lagging(network.faulty().clone())), network.membership().clone());
    let client = Client::new(Arc::new(identity(WRITER)), transport, membership, SeedRng::new(1));
    let now = network.now();
    let mut source = blake3::Hasher::new().finalize_xof();
    let (mut piece, mut hash) = (vec![0; 256 * 1024], blake3::Hasher::new());
    let before = status("VmRSS");

    let mut writer = client.write_blob().unwrap();
    for _ in 0..CONTENT_BYTES / piece.len() as u64 {
        source.fill(&mut piece);
        hash.update(&piece);
        writer.write(&piece, now).await.unwrap();
    }
    let blob = writer.finish(now).await.unwrap();
    drop(writer);
    assert_eq!((blob.length(), blob.stripes()), (CONTENT_BYTES, CONTENT_BYTES.div_ceil(STRIPE_BYTES as u64)));
    println!("writing: {} KiB more than before", (status("VmHWM") - before) / 1024);

    let mut reader = client.read_blob(&blob, 0..blob.length()).unwrap();
    let mut found = blake3::Hasher::new();
    while let Some(piece) = reader.next(now).await.unwrap() {
        found.update(&piece);
    }
    assert_eq!(found.finalize(), hash.finalize());
    let more = status("VmHWM") - before;
    println!("both: {} KiB more than before", more / 1024);
    assert!(more <= LIMIT_BYTES, "{more} bytes");
}

#[test]
fn a_long_blob_takes_little_memory() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child_that_streams", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("both: "), "the child did not run");
}
