//! How much memory a long blob takes: measured in a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::seal::{Opener, Sealer, sealed_bytes};
use dt_dht::testing::Network;
use dt_dht::{RecordStore, Resilience, Row, STRIPE_BYTES, StoreError};
use dt_model::testing::identity;
use dt_model::{Secret, Signer};

use crate::support::*;

const CONTENT_BYTES: u64 = 64 << 20;
/// What writer and reader may take together, beside what the process has before: a quarter of the content.
const LIMIT_BYTES: u64 = 16 << 20;
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
    let (client, now, key) = (client(&network, WRITER), network.now(), Secret::from_bytes([7; 32]));
    let mut source = blake3::Hasher::new().finalize_xof();
    let (mut piece, mut sealed, mut hash) = (vec![0; 256 * 1024], Vec::new(), blake3::Hasher::new());
    let before = status("VmRSS");

    let (mut writer, mut sealer) = (client.write_blob().unwrap(), Sealer::new(&key, b"log"));
    for _ in 0..CONTENT_BYTES / piece.len() as u64 {
        source.fill(&mut piece);
        hash.update(&piece);
        sealer.push(&piece, &mut sealed).unwrap();
        writer.write(&sealed, now).await.unwrap();
        sealed.clear();
    }
    sealer.finish(&mut sealed).unwrap();
    writer.write(&sealed, now).await.unwrap();
    let blob = writer.finish(now).await.unwrap();
    drop(writer);
    assert_eq!(blob.length(), sealed_bytes(CONTENT_BYTES));
    assert_eq!(blob.stripes(), blob.length().div_ceil(STRIPE_BYTES as u64));
    println!("writing: {} KiB more than before", (status("VmHWM") - before) / 1024);

    let mut reader = client.read_blob(&blob, 0..blob.length()).unwrap();
    let mut opener = Opener::new(&key, b"log", blob.length()).unwrap();
    let (mut found, mut opened) = (blake3::Hasher::new(), Vec::new());
    while let Some(piece) = reader.next(now).await.unwrap() {
        opener.push(&piece, &mut opened).unwrap();
        found.update(&opened);
        opened.clear();
    }
    opener.finish().unwrap();
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
