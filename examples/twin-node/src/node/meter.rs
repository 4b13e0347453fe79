//! What a node measures, for Prometheus. The library crates know nothing of it: what they do is seen from outside.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dt_dht::{Answer, Parcel, RecordStore, Reply, ReplyBody, Row, StoreError, UpkeepReport};
use dt_ledger::{Consensus as _, Outcome};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;
use tracing::warn;

use super::Node;
use crate::clock;
use crate::failure::{Failure, Kind};

/// The metrics of this process.
#[derive(Clone)]
pub(super) struct Meter(PrometheusHandle);

/// Bounds of the histograms' buckets, in seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Meter {
    /// Makes this process measure.
    pub(super) fn install() -> Result<Self, Failure> {
        let internal = |error: &(dyn std::error::Error + 'static)| Failure::internal(error);
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .map_err(|error| internal(&error))?;
        let handle = builder.install_recorder().map_err(|error| internal(&error))?;
        describe();
        Ok(Self(handle))
    }

    /// All of it, in Prometheus' text format, with what is looked up now.
    pub(super) async fn render(&self, node: &Node) -> String {
        gauge!("twin_ledger_pending").set(node.consensus.status().pending as f64);
        if let Some(storage) = node.storage.get()
            && let Some(status) = storage.transport.status().await
        {
            gauge!("twin_storage_connected").set(status.connected.len() as f64);
            gauge!("twin_storage_banned").set(status.banned.len() as f64);
            counter!("twin_storage_not_let_in_total").absolute(status.refused);
        }
        if let Ok(file) = std::fs::metadata(node.folder.storage()) {
            gauge!("twin_storage_file_bytes").set(file.len() as f64);
        }
        if node.device.is_some() {
            counter!("twin_device_readings_total").absolute(node.board.status().readings);
        }
        self.0.run_upkeep();
        self.0.render()
    }

    /// A request of this machine's users was dealt with.
    pub(super) fn note_request(&self, verb: &'static str, outcome: Option<Kind>, begun: Instant) {
        let outcome = outcome.map_or("done", Kind::name);
        counter!("twin_requests_total", "verb" => verb, "outcome" => outcome).increment(1);
        histogram!("twin_request_seconds", "verb" => verb).record(begun.elapsed().as_secs_f64());
    }

    /// What the DHT node's upkeep has done so far.
    pub(super) fn note_upkeep(&self, report: &UpkeepReport) {
        counter!("twin_storage_repaired_total").absolute(report.repaired);
        counter!("twin_storage_garbage_total").absolute(report.garbage);
    }

    /// `answer`, whose outcomes are counted.
    pub(super) fn answering(&self, answer: Answer) -> Answer {
        Arc::new(move |request| {
            let begun = Instant::now();
            let reply = answer(request);
            let outcome = reply.as_ref().map_or("silence", |reply| outcome(reply));
            counter!("twin_storage_answers_total", "outcome" => outcome).increment(1);
            histogram!("twin_storage_answer_seconds").record(begun.elapsed().as_secs_f64());
            reply
        })
    }

    /// `store`, whose writes are counted.
    pub(super) fn counted<S: RecordStore>(&self, store: S) -> impl RecordStore + use<S> {
        Counted(store)
    }
}

/// A refusal with its signature is shorter.
const MAX_REFUSAL_BYTES: usize = 512;

/// Whether a reply of our own node grants what was asked. What is too long to be a refusal is not opened for it.
fn outcome(reply: &[u8]) -> &'static str {
    if reply.len() > MAX_REFUSAL_BYTES {
        return "done";
    }
    match Parcel::<Reply>::decode(reply).ok().and_then(|reply| reply.open().ok()).map(|reply| reply.body) {
        Some(ReplyBody::Refused { .. }) => "refused",
        Some(_) => "done",
        None => "unread",
    }
}

/// A store whose writes are counted.
struct Counted<S>(S);

impl<S: RecordStore> RecordStore for Counted<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.0.put(rows)?;
        let bytes = rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        counter!("twin_storage_rows_written_total").increment(rows.len() as u64);
        counter!("twin_storage_bytes_written_total").increment(bytes);
        Ok(())
    }

    fn remove(&self, keys: &[Bytes]) -> Result<(), StoreError> {
        self.0.remove(keys)?;
        counter!("twin_storage_rows_removed_total").increment(keys.len() as u64);
        Ok(())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.scan(prefix, after, limit)
    }
}

/// Follows the chain for the ledger's figures.
pub(super) async fn watch_blocks(node: Arc<Node>) {
    let (mut height, mut last) = (node.replica().tip().height, node.replica().tip().time);
    let mut stop = node.stop.subscribe();
    loop {
        gauge!("twin_ledger_height").set(height as f64);
        let next = tokio::select! {
            next = node.consensus.committed(height + 1) => next,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let block = match next {
            Ok(block) => block,
            Err(error) => {
                // Whatever it is, the node's own end is told elsewhere.
                warn!(%error, "the chain is not followed");
                if !node.pause(Duration::from_secs(1)).await {
                    return;
                }
                continue;
            }
        };
        let header = &block.block.header;
        histogram!("twin_ledger_block_seconds").record(header.time.since(last).as_secs_f64());
        if !block.events.is_empty() {
            // By the block's time and this machine's clock.
            histogram!("twin_event_delay_seconds").record(clock::now().since(header.time).as_secs_f64());
        }
        let refused = block.receipts.iter().filter(|receipt| receipt.outcome != Outcome::Applied).count();
        let applied = block.receipts.len() - refused;
        counter!("twin_ledger_transactions_total", "outcome" => "applied").increment(applied as u64);
        counter!("twin_ledger_transactions_total", "outcome" => "refused").increment(refused as u64);
        (height, last) = (header.height, header.time);
    }
}

fn describe() {
    describe_gauge!("twin_ledger_height", "The last committed block.");
    describe_gauge!("twin_ledger_pending", "Transactions that wait here for a block.");
    describe_counter!("twin_ledger_transactions_total", "Transactions in blocks, by outcome.");
    describe_histogram!("twin_ledger_block_seconds", Unit::Seconds, "From one block's time to the next.");
    describe_histogram!("twin_event_delay_seconds", Unit::Seconds, "From a block's time to its events here.");
    describe_gauge!("twin_storage_connected", "Parties that are connected.");
    describe_gauge!("twin_storage_banned", "Parties that are banned for a while.");
    describe_counter!("twin_storage_not_let_in_total", "How often a stranger was not let in.");
    describe_counter!("twin_storage_answers_total", "Requests that the DHT node answered, by outcome.");
    describe_histogram!(
        "twin_storage_answer_seconds",
        Unit::Seconds,
        "The DHT node's own time for a request."
    );
    describe_counter!("twin_storage_rows_written_total", "Rows that the DHT node has written.");
    describe_counter!("twin_storage_rows_removed_total", "Rows that the DHT node has removed.");
    describe_counter!("twin_storage_bytes_written_total", Unit::Bytes, "Bytes of these rows.");
    describe_gauge!("twin_storage_file_bytes", Unit::Bytes, "The DHT node's store on disk.");
    describe_counter!("twin_storage_repaired_total", "What the upkeep has fetched or made anew.");
    describe_counter!("twin_storage_garbage_total", "Replies that no honest node gives.");
    describe_counter!("twin_device_readings_total", "Readings that the agent has taken.");
    describe_counter!("twin_requests_total", "Requests of this machine's users, by verb and outcome.");
    describe_histogram!("twin_request_seconds", Unit::Seconds, "How long they took, by verb.");
}
