//! Stores on disk: killed processes, flipped bits, audits.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::testing::Network;
use dt_dht::{
    MemoryStore, OwnedRecords, RecordStore, RedbStore, Resilience, RowDamage, StoreDamage, StoreError,
    StoreReport, verify_store,
};
use dt_model::Signer;
use dt_model::testing::identity;

use crate::support::*;

fn with_stores(stores: Vec<Arc<dyn RecordStore>>) -> Network {
    let parties = [identity(WRITER).party(), identity(READER).party()];
    let resilience = Resilience::tolerating(1).unwrap();
    Network::with_stores(resilience, stores, parties, &[Arc::new(OwnedRecords)])
}

/// Writes two versions, a second name, evidence and a blob to four nodes with these stores.
async fn fill(stores: Vec<Arc<dyn RecordStore>>) {
    let network = with_stores(stores);
    let (writer, now) = (client(&network, WRITER), network.now());
    for record in [owned("a", 1, "old"), owned("a", 2, "a-rather-recognisable-body"), owned("b", 1, "x")] {
        writer.put(&record, now).await.unwrap();
    }
    writer.put(&owned("b", 1, "y"), now).await.unwrap_err();
    writer.put_blob(&[0xa7; 5000], now).await.unwrap();
}

async fn filled_memory() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let mut stores: Vec<Arc<dyn RecordStore>> = vec![store.clone()];
    stores.extend((0..3).map(|_| Arc::new(MemoryStore::new()) as _));
    fill(stores).await;
    store
}

fn copy(rows: &[(Bytes, Bytes)]) -> MemoryStore {
    let store = MemoryStore::new();
    store.put(rows).unwrap();
    store
}

#[tokio::test]
async fn an_intact_store_is_counted() {
    let store = filled_memory().await;
    let report = verify_store(&*store).unwrap();
    assert_eq!((report.records, report.evidence, report.shards), (2, 1, 1));
    assert_eq!(verify_store(&MemoryStore::new()).unwrap(), StoreReport::default());
}

/// Records, leases, evidence, shards and their proof, totals: whatever is altered is found, and named.
#[tokio::test]
async fn every_altered_byte_of_every_row_is_found() {
    let rows = filled_memory().await.scan(&[], None, usize::MAX).unwrap();
    assert_eq!(rows.len(), 10);
    for (at, (key, value)) in rows.iter().enumerate() {
        for byte in 0..value.len() {
            let mut altered = value.to_vec();
            altered[byte] ^= 1 << (byte % 8);
            let mut rows = rows.clone();
            rows[at].1 = altered.into();
            match verify_store(&copy(&rows)) {
                Err(StoreDamage::Row { row, damage: RowDamage::Altered }) => assert_eq!(row.0, key),
                other => panic!("byte {byte} of row {at}: {other:?}"),
            }
        }
        for byte in 0..key.len() {
            let mut altered = key.to_vec();
            altered[byte] ^= 1 << (byte % 8);
            let mut rows = rows.clone();
            rows[at].0 = altered.into();
            let damage = verify_store(&copy(&rows));
            let named = matches!(damage, Err(StoreDamage::Row { .. }));
            assert!(named, "byte {byte} of the key of row {at}: {damage:?}");
        }
        for length in [0, 1, 31, 32, value.len() - 1] {
            let mut rows = rows.clone();
            rows[at].1.truncate(length);
            assert!(verify_store(&copy(&rows)).is_err());
        }
    }
}

#[tokio::test]
async fn vanished_and_foreign_rows_are_found() {
    let rows = filled_memory().await.scan(&[], None, usize::MAX).unwrap();
    for missing in 0..rows.len() {
        let mut rows = rows.clone();
        rows.remove(missing);
        let damage = verify_store(&copy(&rows));
        assert!(matches!(damage, Err(StoreDamage::Totals { .. })), "{damage:?}");
    }
    for foreign in [&b"x"[..], b"", b"r", b"tt"] {
        let mut rows = rows.clone();
        rows.push((Bytes::copy_from_slice(foreign), Bytes::from_static(b"what is this")));
        let damage = verify_store(&copy(&rows));
        assert!(matches!(&damage, Err(StoreDamage::Row { row, .. }) if row.0 == foreign), "{damage:?}");
    }
}

/// A replica on a damaged row refuses, and repairs nothing by guessing.
#[tokio::test]
async fn a_damaged_row_is_not_served() {
    let store = Arc::new(MemoryStore::new());
    let mut stores: Vec<Arc<dyn RecordStore>> = vec![store.clone()];
    stores.extend((0..3).map(|_| Arc::new(MemoryStore::new()) as _));
    let network = with_stores(stores);
    let record = owned("a", 1, "x");
    client(&network, WRITER).put(&record, network.now()).await.unwrap();
    let (key, value) = store.scan(b"r", None, 1).unwrap().remove(0);
    let mut altered = value.to_vec();
    altered[150] ^= 1;
    store.put(&[(key, altered.into())]).unwrap();
    let node = &network.nodes()[0];
    let body = dt_dht::RequestBody::Get { key: record.key };
    assert_eq!(ask(&network, READER, node, body), refused(dt_dht::Refusal::Unavailable));
    assert_eq!(ask(&network, WRITER, node, put(&record)), refused(dt_dht::Refusal::Unavailable));
    // The others serve on.
    let found = client(&network, READER).get(record.key, OwnedRecords::check(), network.now()).await;
    assert_eq!(found.unwrap(), Some(record));
}

fn redb_stores(folder: &Path) -> Vec<Arc<dyn RecordStore>> {
    (0..4).map(|at| Arc::new(RedbStore::open(folder.join(format!("{at}.redb"))).unwrap()) as _).collect()
}

#[tokio::test]
async fn a_stopped_nodes_store_is_audited_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    fill(redb_stores(folder.path())).await;
    let path = folder.path().join("0.redb");
    let before = std::fs::read(&path).unwrap();
    let store = RedbStore::open_read_only(&path).unwrap();
    let report = verify_store(&store).unwrap();
    assert_eq!((report.records, report.evidence, report.shards), (2, 1, 1));
    assert!(matches!(store.put(&[]), Err(StoreError::ReadOnly)));
    assert!(matches!(store.remove(&[]), Err(StoreError::ReadOnly)));
    assert!(matches!(RedbStore::open(&path), Err(StoreError::AlreadyOpen)));
    drop(store);
    assert_eq!(std::fs::read(&path).unwrap(), before, "an audit alters nothing");
    // And the nodes go on from where they were.
    let network = with_stores(redb_stores(folder.path()));
    let reader = client(&network, READER);
    let found = reader.get(owned("a", 1, "").key, OwnedRecords::check(), network.now()).await.unwrap();
    assert_eq!(found.unwrap().version, 2);
}

#[test]
fn files_that_are_no_stores_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.redb");
    assert!(matches!(RedbStore::open_read_only(&path), Err(StoreError::Io(_))));
    std::fs::write(&path, b"this is no store, and has never been one").unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Corrupt(_))));
    assert!(matches!(RedbStore::open_read_only(&path), Err(StoreError::Corrupt(_))));
    assert!(matches!(RedbStore::open(folder.path()), Err(StoreError::Io(_))));
}

/// Flipped bits all over the file: an error, or a bit that no row needed; never a panic, never other rows.
#[tokio::test]
async fn flipped_bits_in_the_file_are_found() {
    let folder = tempfile::tempdir().unwrap();
    fill(redb_stores(folder.path())).await;
    let path = folder.path().join("0.redb");
    let intact = std::fs::read(&path).unwrap();
    let report = verify_store(&RedbStore::open_read_only(&path).unwrap()).unwrap();
    let check = |at: usize| {
        let mut altered = intact.clone();
        altered[at] ^= 1 << (at % 8);
        let copy = folder.path().join("altered.redb");
        std::fs::write(&copy, altered).unwrap();
        let audit = RedbStore::open_read_only(&copy)
            .map_err(StoreDamage::from)
            .and_then(|store| verify_store(&store));
        if let Ok(found) = audit {
            assert_eq!(found, report, "the flipped bit at {at} changed what is there");
        }
    };
    let used = (0..intact.len()).filter(|at| intact[*at] != 0);
    used.step_by(29).for_each(check);

    let body = b"a-rather-recognisable-body";
    let rows: Vec<usize> =
        (0..intact.len() - body.len()).filter(|at| intact[*at..].starts_with(body)).collect();
    assert!(!rows.is_empty());
    // Former versions of a page may still lie in the file; one of the copies is the row.
    let found = rows.iter().filter(|at| {
        let mut altered = intact.clone();
        altered[**at + 3] ^= 4;
        std::fs::write(&path, altered).unwrap();
        verify_store(&RedbStore::open_read_only(&path).unwrap()).is_err()
    });
    assert_eq!(found.count(), 1);
}

const CHILD_STORE: &str = "DT_DHT_CHILD_STORE";

/// Not a test of its own: the process that [`nothing_acknowledged_is_lost_by_a_kill`] starts and kills.
#[test]
#[ignore = "run by another test"]
fn child_that_is_killed() {
    let Some(path) = std::env::var_os(CHILD_STORE) else { return };
    let store = RedbStore::open(path).unwrap();
    for number in 0u32.. {
        let value = Bytes::from(vec![number.to_le_bytes()[0]; 3000]);
        let row = |half: u8| (Bytes::from([&number.to_be_bytes()[..], &[half]].concat()), value.clone());
        store.put(&[row(0), row(1)]).unwrap();
        println!("stored {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.redb");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "disk::child_that_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_STORE, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged = lines
        .map_while(Result::ok)
        .filter_map(|line| line.rsplit("stored ").next()?.parse::<u32>().ok())
        .find(|number| *number >= 20)
        .expect("the child writes");
    child.kill().unwrap();
    child.wait().unwrap();

    let killed = RedbStore::open_read_only(&path);
    assert!(matches!(killed, Err(StoreError::NeedsRepair)), "an audit does not repair: {killed:?}");
    let store = RedbStore::open(&path).unwrap();
    let rows = store.scan(&[], None, usize::MAX).unwrap();
    assert!(rows.len() >= 2 * (acknowledged as usize + 1), "every acknowledged batch is there");
    assert!(rows.len().is_multiple_of(2), "batches are there whole");
    for (number, pair) in (0u32..).zip(rows.chunks(2)) {
        assert!(pair.iter().all(|(key, _)| key.starts_with(&number.to_be_bytes())));
        assert!(pair.iter().all(|(_, value)| value[..] == [number.to_le_bytes()[0]; 3000]));
    }
    drop(store);
    let repaired = RedbStore::open_read_only(&path).unwrap();
    assert_eq!(repaired.scan(&[], None, usize::MAX).unwrap(), rows);
}
