//! The paper's story in small (sections 4.5 and 5): a twin is created, fed, documented, edited, called, and its past is told.

use std::collections::BTreeMap;

use dt_ledger::{
    Argument, CallResult, CallStatus, EventCursor, EventFilter, EventKind, ExecuteError, Reason, Resource,
    State as _, TwinCall, TwinEvent,
};
use dt_model::{Text, Timestamp};
use dt_sync::testing::{Subject, device_suite};
use dt_sync::{AgentError, ClientError, DeviceError, READING_MEDIA_TYPE};

use crate::asset::{Asset, PROGRAM, VARIABLE};
use crate::world::Who::*;
use crate::world::{LIFECYCLE, Who, World, component, name, party, uri};

/// Another temperature sensor, as it describes itself.
pub(crate) const SPARE: &str = r#"<InternalElement Name="Temperature" ID="temperature-2">
  <Attribute Name="Value" AttributeDataType="xs:decimal" Unit="degC"/>
</InternalElement>"#;

fn refused(error: ClientError) -> Reason {
    match error {
        ClientError::Ledger(ExecuteError::Refused(reason)) => reason,
        other => panic!("{other} is no refusal"),
    }
}

#[tokio::test]
async fn readings_flow_to_every_lifecycle_party() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    let sensors = [component("temperature"), component("pressure")];
    agent.connect(&sensors, world.now()).await.unwrap();
    let linked = world.state().feeds(&world.twin).unwrap();
    assert_eq!(
        linked.iter().map(|(component, _)| component.clone()).collect::<Vec<_>>(),
        [sensors[1].clone(), sensors[0].clone()]
    );
    assert!(linked.iter().all(|(_, feed)| feed.reference.publisher == party(Who::Agent)));

    let first = world.measure(&mut agent, "20.5").await;
    let second = world.measure(&mut agent, "21").await;
    let both = [first, second];
    for who in LIFECYCLE {
        assert_eq!(world.temperatures(who).await.unwrap(), both, "{who:?}");
    }
    assert_eq!(agent.published(&sensors[0]), Some(2));
    assert_eq!(agent.published(&sensors[1]), Some(0));

    // By place, by time, and the last of them.
    let client = world.client(Auditor);
    let feed = client.feed(&world.twin, &sensors[0]).unwrap();
    let mut readings = client.readings(&world.twin, &sensors[0], &feed, world.now()).await.unwrap();
    assert_eq!(readings.latest(world.now()).await.unwrap(), [both[1].clone()]);
    assert_eq!(readings.range(0..1, world.now()).await.unwrap(), [both[0].clone()]);
    let times = both[1].time..world.wait(1);
    assert_eq!(readings.history(times, world.now()).await.unwrap(), [both[1].clone()]);
    assert_eq!(readings.reader().manifest().media_type.as_str(), READING_MEDIA_TYPE);

    // The head is anchored once, and the chain is no longer for having it anchored twice.
    agent.anchor().await.unwrap();
    let anchor = world.state().head_anchor(&world.twin, &feed).unwrap().unwrap();
    assert_eq!(anchor.size, 2);
    let height = world.consensus().status().height;
    agent.anchor().await.unwrap();
    assert_eq!(world.consensus().status().height, height);
    assert_eq!(world.temperatures(Maintainer).await.unwrap(), both);
}

#[tokio::test]
async fn what_is_connected_already_is_left_as_it_is() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    let height = world.consensus().status().height;
    agent.connect(&[component("temperature")], world.now()).await.unwrap();
    assert_eq!(world.consensus().status().height, height);
    // A restarted agent takes its feeds up where they are.
    world.measure(&mut agent, "20").await;
    drop(agent);
    let mut agent = world.agent().await;
    assert_eq!(agent.published(&component("temperature")), Some(1));
    world.measure(&mut agent, "21").await;
    let values: Vec<_> =
        world.temperatures(Owner).await.unwrap().into_iter().map(|of| of.value.to_string()).collect();
    assert_eq!(values, ["20", "21"]);
}

/// A sensor that fails does not keep the others back, nor does one that measures nonsense.
#[tokio::test]
async fn one_failing_sensor_does_not_stop_the_others() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    agent.connect(&[component("temperature"), component("pressure")], world.now()).await.unwrap();
    world.asset.breaks("pressure", DeviceError::Lost);
    let now = world.wait(1);
    world.asset.measures("pressure", now, "2", Some("bar"));
    world.asset.measures("temperature", now, "95", Some("degC"));
    let pulled = agent.pull(now).await.unwrap();
    assert_eq!((pulled.readings, pulled.anomalies.len()), (1, 1));
    assert_eq!(pulled.failed, [(component("pressure"), DeviceError::Lost)]);
    assert_eq!(agent.published(&component("temperature")), Some(1));
    // It is asked again, from where it was.
    world.asset.mends("pressure");
    let pulled = agent.pull(world.now()).await.unwrap();
    assert_eq!((pulled.readings, pulled.failed.len()), (1, 0));
    // A sensor whose time goes back is not believed; the other, which comes after it, is heard.
    let now = world.wait(1);
    world.asset.measures("temperature", now, "20", Some("degC"));
    world.asset.measures("pressure", now, "2", Some("bar"));
    world.asset.measures("pressure", Timestamp::from_millis(now.as_millis() - 1), "2", Some("bar"));
    assert!(matches!(agent.pull(now).await, Err(AgentError::Append(_))));
    assert_eq!(agent.published(&component("temperature")), Some(2));
}

#[tokio::test]
async fn anomalies_are_reported_once_and_their_end_too() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    agent.connect(&[component("temperature"), component("pressure")], world.now()).await.unwrap();
    let mut pull = async |value: &str, unit: Option<&str>| {
        let now = world.wait(1);
        world.asset.measures("temperature", now, value, unit);
        agent.pull(now).await.unwrap()
    };
    let normal = pull("90", Some("degC")).await;
    assert_eq!((normal.readings, normal.anomalies.len()), (1, 0), "the limit itself is allowed");
    let hot = pull("90.1", Some("degC")).await;
    assert_eq!(hot.anomalies[0].value.as_str(), "90.1");
    assert_eq!(hot.anomalies[0].component, component("temperature"));
    let hotter = pull("95", Some("degC")).await;
    assert_eq!((hotter.readings, hotter.anomalies.len(), hotter.recovered.len()), (1, 0, 0));
    let cool = pull("50", Some("degC")).await;
    assert_eq!(cool.recovered, [component("temperature")]);
    assert_eq!(pull("50", Some("degF")).await.anomalies.len(), 1, "a reading in another unit");
    assert_eq!(pull("50", Some("degC")).await.recovered.len(), 1);
    assert_eq!(pull("50", None).await.anomalies.len(), 1, "a reading in no unit");
    assert_eq!(pull("50", Some("degC")).await.recovered.len(), 1);
    assert_eq!(pull("warm", Some("degC")).await.anomalies.len(), 1, "a reading that is no number");

    // What the specification does not limit is no anomaly.
    let now = world.wait(1);
    world.asset.measures("pressure", now, "1000000", Some("bar"));
    assert_eq!(agent.pull(now).await.unwrap().anomalies.len(), 0);
    assert_eq!(world.temperatures(Auditor).await.unwrap().len(), 9, "anomalies are published like the rest");
}

#[tokio::test]
async fn documents_have_versions_and_reach_everybody() {
    let world = World::new().await;
    let maintainer = world.client(Maintainer);
    let document = world.share(&maintainer, "manual", "first").await.unwrap();
    for who in LIFECYCLE {
        assert_eq!(world.read(who, document).await.unwrap(), "first", "{who:?}");
    }
    world.wait(10);
    world.client(Owner).write_version(world.twin, document, b"second", world.now()).await.unwrap();
    assert_eq!(world.read(Auditor, document).await.unwrap(), "second");
    let old = world.client(Auditor).read_document(world.twin, document, Some(1), world.now()).await.unwrap();
    assert_eq!((old.bytes.as_slice(), old.author), (&b"first"[..], party(Maintainer)));
    assert_eq!(old.hash, dt_model::ContentHash::of(b"first"));
    let new = world.client(Auditor).read_document(world.twin, document, Some(2), world.now()).await.unwrap();
    assert_eq!((new.author, new.time), (party(Owner), world.now()));
    let missing = world.client(Auditor).read_document(world.twin, document, Some(3), world.now()).await;
    assert!(matches!(missing, Err(ClientError::UnknownDocument(unknown)) if unknown == document));

    // The same draft again is the same document; whoever may not write is refused by the ledger.
    assert_eq!(world.share(&maintainer, "manual", "first").await.unwrap(), document);
    assert_eq!(world.state().documents(&world.twin).unwrap().len(), 1);
    let refusal = refused(world.share(&world.client(Auditor), "report", "mine").await.unwrap_err());
    assert_eq!(refusal.rule(), "authorization.not-permitted");
}

#[tokio::test]
async fn a_version_made_again_is_registered_once() {
    let world = World::new().await;
    let maintainer = world.client(Maintainer);
    let document = world.share(&maintainer, "manual", "first").await.unwrap();
    let once = maintainer.write_version(world.twin, document, b"second", world.now()).await.unwrap();
    let twice = maintainer.write_version(world.twin, document, b"second", world.now()).await.unwrap();
    assert_eq!(once, twice);
    let versions = || world.state().document(&world.twin, &document).unwrap().unwrap().versions;
    assert_eq!(versions(), 2);
    maintainer.write_version(world.twin, document, b"first", world.now()).await.unwrap();
    assert_eq!(
        (versions(), world.read(Auditor, document).await.unwrap().as_str()),
        (3, "first"),
        "back to what it was"
    );
}

#[tokio::test]
async fn remarks_and_sources_hang_on_components() {
    let world = World::new().await;
    let maintainer = world.client(Maintainer);
    let remark = maintainer.annotate(world.twin, &component("pump"), "leaks", world.now()).await.unwrap();
    assert_eq!(world.read(Manufacturer, remark).await.unwrap(), "leaks");
    let record = world.state().document(&world.twin, &remark).unwrap().unwrap();
    assert_eq!(record.component, Some(component("pump")));
    assert_eq!(record.media_type.as_str(), "text/plain;charset=utf-8");

    let place = uri("https://maintainer.example/spares");
    maintainer.add_source(world.twin, place.clone(), Some(component("pump"))).await.unwrap();
    let source = world.state().source(&world.twin, &place).unwrap().unwrap();
    assert_eq!((source.owner, source.component), (party(Maintainer), Some(component("pump"))));
    let again = maintainer.add_source(world.twin, place, None).await.unwrap_err();
    assert_eq!(refused(again).rule(), "source.exists");

    let trace = maintainer.ledger().history(&Resource::Element(world.twin, component("pump"))).unwrap();
    assert_eq!(trace.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2]);
    assert!(trace.iter().all(|entry| entry.author == party(Maintainer)));
}

#[tokio::test]
async fn the_specification_is_edited_by_whoever_saw_its_present_state() {
    let world = World::new().await;
    let (owner, auditor) = (world.client(Owner), world.client(Auditor));
    let insert = |id: &str| dt_aml::Edit::Insert {
        fragment: format!(r#"<InternalElement Name="{id}" ID="{id}"/>"#),
        parent: "press".to_owned(),
        after: None,
    };
    owner.edit_specification(world.twin, vec![insert("lamp")]).await.unwrap();
    assert!(auditor.ledger().specification(&world.twin).unwrap().find("lamp").is_ok());
    let reason = refused(auditor.edit_specification(world.twin, vec![insert("horn")]).await.unwrap_err());
    assert_eq!(reason.rule(), "authorization.not-permitted");
    let reason = refused(owner.edit_specification(world.twin, vec![insert("lamp")]).await.unwrap_err());
    assert_eq!(reason.rule(), "specification.bad-edit");
    assert!(matches!(
        auditor.ledger().specification(&dt_model::TwinId::from([1; 32])),
        Err(ClientError::UnknownTwin(_))
    ));
}

#[tokio::test]
async fn a_call_within_limits_reaches_the_machine_and_its_result_comes_back() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    let number = world.client(Maintainer).call_program(world.twin, world.force("12.5")).await.unwrap();
    assert_eq!(world.call_record(number).status, CallStatus::Committed);
    let served = agent.serve_calls(world.now()).await.unwrap();
    let done = CallStatus::Completed(CallResult::Succeeded(Text::new("done").unwrap()));
    assert_eq!((served[0].call, &served[0].status, served.len()), (number, &done, 1));
    assert_eq!(world.call_record(number).status, done);
    assert_eq!(world.asset.actuated(), ["12.5"]);
    assert_eq!(agent.serve_calls(world.now()).await.unwrap(), [], "there is nothing more to do");
    assert_eq!(world.asset.actuated().len(), 1);

    // Each edge of its life is in its trace, by whoever made it.
    let trace = world.client(Auditor).ledger().history(&Resource::Call(world.twin, number)).unwrap();
    let authors: Vec<_> = trace.iter().map(|entry| entry.author).collect();
    let agent = party(Who::Agent);
    assert_eq!(authors, [party(Maintainer), agent, agent, agent]);
}

#[tokio::test]
async fn a_call_beyond_the_limits_is_refused_and_nothing_moves() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    let maintainer = world.client(Maintainer);
    for value in ["50.1", "0.9", "-3"] {
        let reason = refused(maintainer.call_program(world.twin, world.force(value)).await.unwrap_err());
        assert_eq!(reason.rule(), "program.parameter-limit", "{value}");
    }
    let mut call = world.force("5");
    call.parameters.values_mut().for_each(|argument| argument.unit = Some(name("N")));
    let reason = refused(maintainer.call_program(world.twin, call).await.unwrap_err());
    assert_eq!(reason.rule(), "program.parameter-unit");
    let reason = refused(world.client(Auditor).call_program(world.twin, world.force("5")).await.unwrap_err());
    assert_eq!(reason.rule(), "authorization.not-permitted");
    assert_eq!(agent.serve_calls(world.now()).await.unwrap(), []);
    assert_eq!(world.asset.actuated().len(), 0);
}

#[tokio::test]
async fn an_exchange_is_one_transaction_and_the_past_is_kept() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    let before = world.measure(&mut agent, "20").await;
    world.asset.is_exchanged("temperature", "temperature-2", SPARE);
    let now = world.wait(1);
    let done = agent.follow_exchanges(now).await.unwrap();
    assert_eq!(done.iter().map(|exchange| exchange.new.as_str()).collect::<Vec<_>>(), ["temperature-2"]);
    assert_eq!(agent.follow_exchanges(now).await.unwrap(), [], "it is done");

    let (old, new) = (component("temperature"), component("temperature-2"));
    let specification = agent.client().ledger().specification(&world.twin).unwrap();
    assert!(specification.find(old.as_str()).is_err());
    let place = specification.find(new.as_str()).unwrap();
    assert_eq!(place.parent().and_then(|parent| parent.address()).as_deref(), Some("press"));
    assert!(matches!(agent.client().feed(&world.twin, &old), Err(ClientError::NoFeed(_))));

    // All of it in the transaction that the three traces name.
    let history = |resource| agent.client().ledger().history(&resource).unwrap();
    let removed = history(Resource::Feed(world.twin, old.clone()));
    let added = history(Resource::Feed(world.twin, new.clone()));
    let edited = history(Resource::Element(world.twin, new.clone()));
    assert_eq!(removed.last().unwrap().transaction, added[0].transaction);
    assert_eq!(edited[0].transaction, added[0].transaction);

    // The new sensor measures, and what the old one measured can still be read.
    let now = world.wait(1);
    let after = world.asset.measures("temperature-2", now, "21", Some("degC"));
    assert_eq!(agent.pull(now).await.unwrap().readings, 1);
    for who in LIFECYCLE {
        let client = world.client(who);
        let feed = client.feed(&world.twin, &new).unwrap();
        let mut readings = client.readings(&world.twin, &new, &feed, now).await.unwrap();
        assert_eq!(readings.latest(now).await.unwrap(), std::slice::from_ref(&after), "{who:?}");
        let former = client.feeds_ever(&world.twin, &old).unwrap();
        let mut readings = client.readings(&world.twin, &old, &former[0], now).await.unwrap();
        assert_eq!((former.len(), readings.latest(now).await.unwrap()), (1, vec![before.clone()]), "{who:?}");
    }
}

#[tokio::test]
async fn what_has_no_feed_gets_none_by_being_exchanged() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.asset.is_exchanged("pump", "pump-2", r#"<InternalElement Name="Pump" ID="pump-2"/>"#);
    assert_eq!(agent.follow_exchanges(world.now()).await.unwrap().len(), 1);
    assert!(agent.client().ledger().specification(&world.twin).unwrap().find("pump-2").is_ok());
    world.measure(&mut agent, "20").await;
    assert!(matches!(agent.client().feed(&world.twin, &component("pump-2")), Err(ClientError::NoFeed(_))));
}

#[tokio::test]
async fn a_follower_is_told_everything_once_and_goes_on_where_it_was() {
    let world = World::new().await;
    let from = EventCursor::after_block(world.consensus().status().height);
    let of_twin = || EventFilter::default().twins([world.twin]);
    let mut follower = world.client(Auditor).ledger().follow(from, of_twin());
    assert_eq!(follower.next_committed().await.unwrap(), None);
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    world.client(Owner).create_twin(crate::world::press("another")).await.unwrap();
    let mut events = Vec::new();
    while let Some(occurrence) = follower.next_committed().await.unwrap() {
        events.push((occurrence.event.by, occurrence.event.kind));
    }
    let on_twin = |event| EventKind::Twin(world.twin, event);
    assert_eq!(events[0], (party(Maintainer), on_twin(TwinEvent::DocumentAdded(document))));
    let is_anchor = |kind: &EventKind| matches!(kind, EventKind::Twin(_, TwinEvent::AclAnchored(..)));
    assert!(events[1..].iter().all(|(_, kind)| is_anchor(kind)), "{events:?}");
    assert_eq!(follower.next_committed().await.unwrap(), None);

    let mut later = world.client(Auditor).ledger().follow(follower.cursor(), of_twin());
    let remove = TwinCall::RemoveDocument { document };
    let (next, removed) = tokio::join!(later.next(), world.call(Owner, remove));
    removed.unwrap();
    let event = next.unwrap().event;
    assert_eq!((event.by, event.kind), (party(Owner), on_twin(TwinEvent::DocumentRemoved(document))));
    assert_eq!(later.next_committed().await.unwrap(), None);
}

#[tokio::test]
async fn a_newcomer_registers_with_its_organisations_certificate() {
    let world = World::new().await;
    let outsider = world.client(Outsider);
    outsider.register(world.certificate(Outsider)).await.unwrap();
    assert!(world.state().party(&party(Outsider)).unwrap().is_some());
    let again = outsider.register(world.certificate(Outsider)).await.unwrap_err();
    assert_eq!(refused(again).rule(), "membership.already-registered");
    let foreign = world.client(Stranger).register(world.certificate(Auditor)).await;
    assert!(foreign.is_err());
}

#[tokio::test]
async fn the_asset_before_the_tests_keeps_the_contract_of_a_device() {
    let asset = Asset::new();
    for second in 1..5 {
        asset.measures("temperature", dt_model::Timestamp::from_millis(second * 1000), "20", Some("degC"));
    }
    let force = Argument { value: Text::new("20.0").unwrap(), unit: Some(name("kN")) };
    let subject = Subject {
        sensor: component("temperature"),
        program: component(PROGRAM),
        accepted: BTreeMap::from([(name("Force"), force)]),
        effect: Some((component(VARIABLE), name("Force"))),
    };
    device_suite(&asset, &subject).await;
    assert_eq!(asset.actuated(), ["20.0"]);
}
