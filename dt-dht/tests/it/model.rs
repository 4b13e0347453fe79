//! Any sequence of puts, gets, stops and lies, against a naive register: what was acknowledged is never lost, and reads never go back.

use std::collections::BTreeMap;

use dt_dht::testing::{Fault, Network};
use dt_dht::{Client, OwnedRecords, Refusal};
use dt_model::Signer;
use dt_model::{Signed, testing::identity};
use proptest::prelude::*;

use crate::support::*;

#[derive(Debug, Clone)]
enum Step {
    /// The next version of a name.
    Put(u8),
    Get(u8),
    /// An honest node goes down or comes back.
    Stop(usize),
    Start(usize),
    /// One of the k bad nodes changes its behaviour.
    Behave(usize, Option<Fault>),
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop::sample::select(vec![
        None,
        Some(Fault::Silent),
        Some(Fault::Garbage),
        Some(Fault::Zeros),
        Some(Fault::Replay),
        Some(Fault::ForgedNewer),
        Some(Fault::NothingStored),
        Some(Fault::Stale),
        Some(Fault::Pretend),
        Some(Fault::Refuse(Refusal::Conflict)),
    ])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3).prop_map(Step::Put),
        4 => (0u8..3).prop_map(Step::Get),
        1 => any::<prop::sample::Index>().prop_map(|at| Step::Stop(at.index(64))),
        2 => any::<prop::sample::Index>().prop_map(|at| Step::Start(at.index(64))),
        2 => (any::<prop::sample::Index>(), fault()).prop_map(|(at, fault)| Step::Behave(at.index(64), fault)),
    ]
}

/// What is known of one name.
#[derive(Debug, Default, Clone, Copy)]
struct Register {
    /// The highest version that was tried.
    tried: u64,
    /// The highest that was acknowledged or read.
    floor: u64,
}

struct World {
    network: Network,
    bad: usize,
    stopped: Vec<bool>,
    writer: Client,
    reader: Client,
    model: BTreeMap<u8, Register>,
}

impl World {
    fn new(max_faulty: u16, more: u16) -> Self {
        let resilience = dt_dht::Resilience::new(3 * max_faulty + 1 + more, max_faulty).unwrap();
        let network = with_nodes(resilience, resilience.replicas(), &[std::sync::Arc::new(OwnedRecords)]);
        let (writer, reader) = (client(&network, WRITER), client(&network, READER));
        let stopped = vec![false; network.nodes().len()];
        Self { network, bad: usize::from(max_faulty), stopped, writer, reader, model: BTreeMap::new() }
    }

    fn honest_are_up(&self) -> bool {
        self.stopped[self.bad..].iter().all(|stopped| !stopped)
    }

    async fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put(name) => self.put(name).await?,
            Step::Get(name) => self.get(name).await?,
            Step::Stop(at) => self.set_running(at, false),
            Step::Start(at) => self.set_running(at, true),
            Step::Behave(at, fault) => {
                let node = &self.network.nodes()[at % self.bad];
                match fault {
                    Some(fault) => self.network.corrupt(node, fault),
                    None => self.network.faulty().heal(&node.party()),
                }
            }
        }
        Ok(())
    }

    fn set_running(&mut self, at: usize, running: bool) {
        let at = self.bad + at % (self.stopped.len() - self.bad);
        self.stopped[at] = !running;
        let node = self.network.nodes()[at].party();
        if running { self.network.in_process().start(&node) } else { self.network.in_process().stop(&node) }
    }

    async fn put(&mut self, name: u8) -> Result<(), TestCaseError> {
        let register = self.model.entry(name).or_default();
        register.tried += 1;
        let record = record(name, register.tried);
        match self.writer.put(&record, self.network.now()).await {
            Ok(certificate) => {
                prop_assert_eq!(certificate.verify_for(self.network.membership(), &record), Ok(()));
                register.floor = register.tried;
            }
            Err(error) => prop_assert!(!self.honest_are_up(), "all honest nodes are up: {error:?}"),
        }
        Ok(())
    }

    async fn get(&mut self, name: u8) -> Result<(), TestCaseError> {
        let register = self.model.entry(name).or_default();
        let key = record(name, 1).key;
        match self.reader.get(key, OwnedRecords::check(), self.network.now()).await {
            Ok(found) => {
                let version = found.as_ref().map_or(0, |found| found.version);
                prop_assert!(version >= register.floor, "{version} was read, {register:?}");
                prop_assert!(version <= register.tried, "{version} was never written, {register:?}");
                if let Some(found) = found {
                    prop_assert_eq!(found, record(name, version));
                }
                register.floor = version;
            }
            Err(error) => prop_assert!(!self.honest_are_up(), "all honest nodes are up: {error:?}"),
        }
        Ok(())
    }
}

fn record(name: u8, version: u64) -> Signed<dt_dht::Record> {
    let writer = identity(WRITER);
    let value = format!("{name} {version}").into_bytes();
    let record = OwnedRecords::record(writer.party(), format!("n{name}").parse().unwrap(), version, value);
    Signed::new(record, &writer).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn acknowledged_writes_are_never_lost(
        max_faulty in 1u16..3,
        more in 0u16..2,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(max_faulty, more);
            for step in steps {
                world.run(step).await?;
            }
            // At the end everybody honest is back, and everything is there.
            (0..world.stopped.len() - world.bad).for_each(|at| world.set_running(at, true));
            for name in 0..3 {
                world.get(name).await?;
            }
            for replica in &world.network.nodes()[world.bad..] {
                report(&world.network, replica);
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
