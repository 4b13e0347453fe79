//! A participant dies between any two steps, and does the same again: everything is there, once.

use dt_ledger::{Resource, TwinCall};
use dt_sync::{Client, Journal};

use crate::api::SPARE;
use crate::world::Who::*;
use crate::world::{World, component, name, party};

#[tokio::test]
async fn a_document_whose_writing_was_cut_off_is_there_once() {
    for steps in 0.. {
        let world = World::new().await;
        let (mortal, fuse) = world.mortal(Maintainer, steps);
        let outcome = world.share(&mortal, "manual", "text").await;
        let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
        let documents = world.state().documents(&world.twin).unwrap();
        assert_eq!(documents.len(), 1, "after {steps} steps");
        assert_eq!((documents[0].0, documents[0].1.versions), (document, 1), "after {steps} steps");
        assert_eq!(world.read(Auditor, document).await.unwrap(), "text", "after {steps} steps");
        let item = world.item(document);
        assert_eq!(world.anchored(Maintainer, item), world.list(Auditor, item).await.version());
        if fuse.left() > 0 {
            outcome.unwrap();
            return assert!(steps > 20, "to write has more steps than {steps}");
        }
    }
}

#[tokio::test]
async fn a_version_whose_writing_was_cut_off_is_there_once() {
    for steps in 0.. {
        let world = World::new().await;
        let document = world.share(&world.client(Maintainer), "manual", "first").await.unwrap();
        let (mortal, fuse) = world.mortal(Manufacturer, steps);
        let role = name(dt_ledger::MAINTAINER);
        world.call(Owner, TwinCall::AssignRole { party: party(Manufacturer), role }).await.unwrap();
        let write =
            async |client: &Client| client.write_version(world.twin, document, b"second", world.now()).await;
        let outcome = write(&mortal).await;
        let executed = write(&world.client(Manufacturer)).await.unwrap();
        let trace = mortal.ledger().history(&Resource::Document(world.twin, document)).unwrap();
        assert_eq!(trace.len(), 2, "after {steps} steps");
        assert_eq!((trace[1].transaction, trace[1].height), (executed.transaction, executed.height));
        assert_eq!(world.read(Auditor, document).await.unwrap(), "second", "after {steps} steps");
        if fuse.left() > 0 {
            assert_eq!(outcome.unwrap(), executed);
            return assert!(steps > 20, "to write has more steps than {steps}");
        }
    }
}

/// What the agent does after it was cut off: it dies and is started anew, or lives on and tries again.
const RESTARTS: [bool; 2] = [true, false];

#[tokio::test]
async fn a_connection_that_was_cut_off_is_made_once() {
    for restarts in RESTARTS {
        for steps in 0.. {
            let world = World::new().await;
            let (client, fuse) = world.mortal(Agent, steps);
            let mut agent = world.agent_as(client, Journal::in_memory(world.twin, 0)).await;
            let sensors = [component("temperature"), component("pressure")];
            let outcome = agent.connect(&sensors, world.now()).await;
            let is_last = fuse.left() > 0;
            fuse.mend();
            if restarts {
                agent = world.agent().await;
            }
            agent.connect(&sensors, world.now()).await.unwrap();
            let links = sensors.clone().map(|sensor| Resource::Feed(world.twin, sensor));
            for link in links {
                assert_eq!(agent.client().ledger().history(&link).unwrap().len(), 1, "after {steps} steps");
            }
            let reading = world.measure(&mut agent, "20").await;
            assert_eq!(world.temperatures(Auditor).await.unwrap(), [reading], "after {steps} steps");
            if is_last {
                outcome.unwrap();
                assert!(steps > 20, "to connect has more steps than {steps}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_exchange_that_was_cut_off_is_one_transaction() {
    for restarts in RESTARTS {
        for steps in 0.. {
            let world = World::new().await;
            let mut healthy = world.connected().await;
            let before = world.measure(&mut healthy, "20").await;
            drop(healthy);
            // To start takes steps, too.
            let (client, fuse) = world.mortal(Agent, 1 << 20);
            let mut agent = world.agent_as(client, Journal::in_memory(world.twin, world.height())).await;
            world.asset.is_exchanged("temperature", "temperature-2", SPARE);
            fuse.leave(steps);
            let outcome = agent.follow_exchanges(world.now()).await;
            let is_last = fuse.left() > 0;
            fuse.mend();
            if restarts {
                agent = world.agent().await;
            }
            agent.follow_exchanges(world.now()).await.unwrap();

            let (old, new) = (component("temperature"), component("temperature-2"));
            let history = |resource| agent.client().ledger().history(&resource).unwrap();
            assert_eq!(history(Resource::Feed(world.twin, new.clone())).len(), 1, "after {steps} steps");
            assert_eq!(history(Resource::Feed(world.twin, old.clone())).len(), 2, "after {steps} steps");
            let now = world.wait(1);
            let after = world.asset.measures("temperature-2", now, "21", Some("degC"));
            assert_eq!(agent.pull(now).await.unwrap().readings, 1, "after {steps} steps");
            let client = world.client(Auditor);
            for (component, reading) in [(&old, before), (&new, after)] {
                let feed = client.feeds_ever(&world.twin, component).unwrap()[0];
                let mut readings = client.readings(&world.twin, component, &feed, now).await.unwrap();
                assert_eq!(readings.range(0..1, now).await.unwrap(), [reading], "after {steps} steps");
            }
            if is_last {
                outcome.unwrap();
                assert!(steps > 20, "an exchange has more steps than {steps}");
                break;
            }
        }
    }
}

/// A pull that is cut off anywhere loses no reading, repeats none, and keeps no anomaly to itself.
#[tokio::test]
async fn readings_whose_publishing_was_cut_off_are_there_once() {
    for restarts in RESTARTS {
        for steps in 0.. {
            let world = World::new().await;
            drop(world.connected().await);
            let (client, fuse) = world.mortal(Agent, 1 << 20);
            let mut agent = world.agent_as(client, Journal::in_memory(world.twin, world.height())).await;
            let now = world.wait(1);
            let reading = world.asset.measures("temperature", now, "95", Some("degC"));
            fuse.leave(steps);
            let outcome = agent.pull(now).await;
            let is_last = fuse.left() > 0;
            fuse.mend();
            if restarts {
                agent = world.agent().await;
            }
            let mut anomalies = outcome.as_ref().map_or(0, |pulled| pulled.anomalies.len());
            anomalies += agent.pull(world.wait(1)).await.unwrap().anomalies.len();
            assert_eq!(world.temperatures(Auditor).await.unwrap(), [reading], "after {steps} steps");
            // An agent that died between publishing and telling has told nobody.
            assert!(anomalies == 1 || restarts && anomalies == 0, "after {steps} steps: {anomalies}");
            if is_last {
                outcome.unwrap();
                assert!(steps > 10, "to publish has more steps than {steps}");
                break;
            }
        }
    }
}

/// What the ledger refuses is not connected, and can be as soon as it is allowed.
#[tokio::test]
async fn a_connection_that_was_refused_can_be_made_later() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    let role = name(dt_ledger::AGENT);
    let take = TwinCall::UnassignRole { party: party(Agent), role: role.clone() };
    world.call(Owner, take).await.unwrap();
    let sensor = [component("temperature")];
    assert!(agent.connect(&sensor, world.now()).await.is_err());
    world.call(Owner, TwinCall::AssignRole { party: party(Agent), role }).await.unwrap();
    agent.connect(&sensor, world.now()).await.unwrap();
    let reading = world.measure(&mut agent, "20").await;
    assert_eq!(world.temperatures(Maintainer).await.unwrap(), [reading]);
}

/// A feed that somebody else unlinks is let go, and one that is linked again is taken up.
#[tokio::test]
async fn the_agent_follows_what_others_do_to_its_links() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    let sensor = component("temperature");
    let feed = agent.client().feed(&world.twin, &sensor).unwrap();
    world.call(Owner, TwinCall::RemoveSensorFeed { component: sensor.clone() }).await.unwrap();
    world.measure(&mut agent, "20").await;
    assert_eq!(agent.published(&sensor), None);
    agent.anchor().await.unwrap();
    world.call(Owner, TwinCall::AddSensorFeed { component: sensor.clone(), feed }).await.unwrap();
    world.measure(&mut agent, "21").await;
    assert_eq!(agent.published(&sensor), Some(2), "what was measured meanwhile, too");
}
