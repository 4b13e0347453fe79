//! What four nodes cost that have nothing to do, and how long after one node's commit another one knows of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dt_ledger::Consensus as _;

use crate::cluster::{start, stop};
use crate::cost::{Cpu, load_average};
use crate::traffic::{enrol, filled, find_at, next_nonce};
use crate::{micros, millis};

/// Transactions that are followed, one after the other.
const FOLLOWED: u64 = 200;

pub(crate) async fn measure(folder: &Path, seconds: u64) {
    let nodes = start(folder).await;
    let parties = enrol(&nodes).await;
    let (begun, cpu, before) = (Instant::now(), Cpu::of_process(), nodes[0].status().height);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let per_minute = begun.elapsed().as_secs_f64() / 60.0 * nodes.len() as f64;
    let cpu = Cpu::of_process().since(cpu);
    println!(
        "an idle node: {:.0} ms of CPU time a minute ({:.0} of them the system's), {:.0} blocks a minute; load average {}",
        cpu.total().as_secs_f64() * 1e3 / per_minute,
        cpu.system.as_secs_f64() * 1e3 / per_minute,
        (nodes[0].status().height - before) as f64 * nodes.len() as f64 / per_minute,
        load_average()
    );

    let (mut committed, mut told) = (Vec::new(), Vec::new());
    for number in 0..FOLLOWED {
        let which = usize::try_from(number).unwrap() % nodes.len();
        let node = &nodes[which];
        let (party, twin) = &parties[which];
        let from = node.status().height + 1;
        let transaction = filled(node.replica(), party, *twin, next_nonce(node, party));
        let digest = transaction.digest();
        let begun = Instant::now();
        node.submit(transaction).await.expect("it is taken");
        let seen = nodes.iter().map(|node| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                find_at(&node, digest, from).await;
                Instant::now()
            })
        });
        let mut moments = Vec::new();
        for seen in seen.collect::<Vec<_>>() {
            moments.push(seen.await.unwrap());
        }
        committed.push(moments[which] - begun);
        let others = moments.iter().enumerate().filter(|(node, _)| *node != which);
        // One that is earlier knows at once.
        told.extend(others.map(|(_, moment)| moment.saturating_duration_since(moments[which])));
    }
    committed.sort_unstable();
    told.sort_unstable();
    println!(
        "one transaction at a time: committed where it was handed in after p50 {:.1} ms, p99 {:.1} ms",
        millis(&committed, 500),
        millis(&committed, 990)
    );
    println!(
        "its event on another node: p50 {:.0} µs, p99 {:.0} µs after that",
        micros(told[told.len() / 2]),
        micros(told[told.len() * 99 / 100])
    );
    stop(&nodes).await;
}
