//! Blobs: what is read is what was put, whole, and what was acknowledged can be read.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use dt_dht::testing::simulator::{Dice, Setup, Simulation, Tally, for_seeds};
use dt_dht::{BlobRef, OwnedRecords, Resilience};
use dt_model::Signer;
use dt_model::testing::identity;

use super::must;
use crate::support::{READER, WRITER};

fn setup(resilience: Resilience) -> Setup {
    let parties = [WRITER, READER].map(|seed| identity(seed).party());
    Setup::new(resilience, parties, vec![Arc::new(OwnedRecords)])
}

fn content(seed: u64, number: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed ^ (number << 32));
    let length = *dice.choose(&[0, 1, 31, 1000, 1000, 70_000, 70_000, 70_000, (1 << 20) + 1]);
    dice.bytes(length)
}

#[test]
fn blobs() {
    for_seeds("-p dt-dht --test it -- simulation::blobs", 8, |seed| {
        let setup = Setup::draw(&mut Dice::new(seed), setup);
        let mut simulation = Simulation::new(seed, setup);
        let stored: Arc<Mutex<Vec<(u64, BlobRef)>>> = Arc::default();
        let wrong: Arc<Mutex<Option<String>>> = Arc::default();
        let (client, host) = simulation.participant(Arc::new(identity(WRITER)));
        let acknowledged = stored.clone();
        simulation.spawn(async move {
            for number in 0..4 {
                host.sleep(Duration::from_millis(100)).await;
                if let Ok(blob) = client.put_blob(&content(seed, number), host.now()).await {
                    acknowledged.lock().unwrap().push((number, blob));
                }
            }
        });
        read(&mut simulation, seed, 12, &stored, &wrong, false);
        must("storm", simulation.run())?;
        simulation.calm();
        read(&mut simulation, seed, 4, &stored, &wrong, true);
        must("calm", simulation.run())?;
        must("stores", simulation.verify_stores())?;
        let answered = stored.lock().unwrap().len();
        wrong.lock().unwrap().take().map_or(Ok(Tally { called: 4, answered }), Err)
    });
}

/// A reader of whatever is acknowledged, so many times.
fn read(
    simulation: &mut Simulation,
    seed: u64,
    times: usize,
    stored: &Arc<Mutex<Vec<(u64, BlobRef)>>>,
    wrong: &Arc<Mutex<Option<String>>>,
    must_succeed: bool,
) {
    let (client, host) = simulation.participant(Arc::new(identity(READER)));
    // Half of the readers ask few nodes first, and more when they are late.
    let hedges = simulation.dice().permille(500);
    let client = if hedges { client.with_timer(Arc::new(host.clone())) } else { client };
    let (stored, wrong) = (stored.clone(), wrong.clone());
    simulation.spawn(async move {
        for at in 0..times {
            host.sleep(Duration::from_millis(50)).await;
            let known = stored.lock().unwrap().clone();
            let Some((number, blob)) = known.get(at % known.len().max(1)).cloned() else { continue };
            let said = match client.get_blob(&blob, host.now()).await {
                Ok(found) if found == content(seed, number) => continue,
                Ok(_) => format!("blob {number} has other content"),
                Err(_) if !must_succeed => continue,
                Err(error) => format!("blob {number}: {error}"),
            };
            wrong.lock().unwrap().get_or_insert(said);
        }
    });
}
