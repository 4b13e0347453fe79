//! The bottling plant's story (paper, section 5) over processes: told through the same requests that the commands make. Each step proves
//! what it claims, or fails.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use dt_acl::History;
use dt_ledger::{Argument, CallResult, CallStatus, DocumentId, MAINTAINER};
use dt_model::{ComponentId, ContentHash, Name, Text, TwinId};
use dt_sync::Reading;

use super::fleet::{Fleet, unproven, wait};
use super::narrator::Narrator;
use super::plant;
use crate::api;
use crate::failure::{Failure, Kind};
use crate::remote::Remote;

/// What has been acknowledged: everybody who may can read it.
struct Acknowledged {
    document: DocumentId,
    version: u32,
    content: Vec<u8>,
}

struct Story<'a> {
    fleet: Fleet,
    narrator: &'a mut Narrator,
    twin: TwinId,
    acknowledged: Vec<Acknowledged>,
}

/// Blocks that are made while one of the nodes is dead.
const BLOCKS: u64 = 5;
/// A document that is stored in pieces of which any few are enough.
const DRAWING_BYTES: usize = 300_000;
/// Documents that are written meanwhile, at most: each is read by everybody at the end.
const MOST_WRITTEN: usize = 8;
const REPORT: &str = "Maintenance report: fill-level sensor replaced";

/// Tells the story.
pub(super) fn tell(mut fleet: Fleet, narrator: &mut Narrator) -> Result<(), Failure> {
    narrator
        .step("Four organisations found a network, each with a node: a process with ledger, DHT and client");
    set_up(&mut fleet, narrator)?;
    narrator.step("The owner creates the plant's twin; its device agent connects the fill-level sensor");
    let twin = create(&fleet, narrator)?;
    let mut story = Story { fleet, narrator, twin, acknowledged: Vec::new() };
    story.rights()?;
    story.narrator.step("The sensor fails, and is replaced");
    story.failure()?;
    story.exchange()?;
    story.narrator.step("The maintainer shares a report; whoever has no part in it reads nothing");
    story.report()?;
    story.narrator.step("The owner calls a program of the machine");
    story.programs()?;
    story.narrator.step("The manufacturer's node is killed (kill -9)");
    story.crash()?;
    story.narrator.step("The maintainer's contract ends");
    story.revocation()?;
    story.narrator.step("Everybody checks everything");
    story.audit()?;
    story.end()
}

fn set_up(fleet: &mut Fleet, narrator: &mut Narrator) -> Result<(), Failure> {
    let digest = fleet.founding.digest();
    narrator.says(&format!("the founding file's digest, compared by telephone: {}", digest.short()));
    for member in fleet.members_mut() {
        member.start()?;
    }
    for member in fleet.members_mut() {
        member.wait_ready()?;
    }
    let chain = fleet.founding.genesis().chain();
    for member in fleet.members() {
        let status = member.status()?;
        let validators = status.validators == fleet.members().len() as u64;
        prove(status.chain == chain && status.registered && validators, "all are on the same chain")?;
        prove(status.nodes.replicas == fleet.founding.replicas(), "the DHT is the founding file's")?;
    }
    let members = fleet.members().len();
    narrator.proven(&format!(
        "{members} processes vote on chain {}, and have founded a DHT of {} replicas, of which {} may lie",
        chain.short(),
        fleet.founding.replicas(),
        fleet.founding.max_faulty,
    ));
    Ok(())
}

fn create(fleet: &Fleet, narrator: &mut Narrator) -> Result<TwinId, Failure> {
    let create = api::Create {
        device_id: name(plant::DEVICE_ID)?,
        device_name: name("Bottling plant")?,
        agent: Some("owner-agent".into()),
    };
    let (mut aml, length) = (plant::AML, plant::AML.len() as u64);
    let created: api::Created = fleet.ask("owner")?.send("/v1/twins", &create, &mut aml, length)?;
    let path = format!("/v1/twins/{}", created.twin);
    let twin: api::Twin = wait("the manufacturer's node has the twin", || {
        fleet.ask("manufacturer")?.get(&path, &()).map(Some)
    })?;
    prove(twin.specification_bytes == length, "the specification is the owner's")?;
    narrator.proven(&format!(
        "twin {}: {length} bytes of AML, root {}, the same on the manufacturer's node",
        created.twin.short(),
        twin.specification_root.short(),
    ));
    let sensor = component(plant::SENSOR)?;
    wait("the agent connects the sensor", || {
        let twin: api::Twin = fleet.ask("owner")?.get(&path, &())?;
        Ok(twin.feeds.contains(&sensor).then_some(()))
    })?;
    Ok(created.twin)
}

impl Story<'_> {
    fn path(&self, what: &str) -> String {
        format!("/v1/twins/{}{what}", self.twin)
    }

    /// Section 4.5: write by owner and maintainer, read by everyone else in the twin.
    fn rights(&mut self) -> Result<(), Failure> {
        self.grant("maintainer", MAINTAINER)?;
        self.grant("manufacturer", "manufacturer")?;
        self.fleet.settle()?;
        let readings = self.readings("manufacturer", plant::SENSOR)?;
        let last = readings.last().ok_or_else(|| unproven("the sensor has measured"))?;
        self.narrator.proven(&format!("the manufacturer reads the sensor's stream: {} mm", last.value));
        let edit = set(plant::SENSOR, "x");
        let edited: Result<api::Committed, _> =
            self.fleet.ask("manufacturer")?.post(&self.path("/edits"), &edit);
        let rule = refused(edited)?;
        self.narrator.proven(&format!("it may not write: refused on the ledger by {rule}"));
        Ok(())
    }

    fn failure(&mut self) -> Result<(), Failure> {
        let sensor = component(plant::SENSOR)?;
        let breaks = api::Intervention::Break { sensor: sensor.clone(), shows: plant::BROKEN_SHOWS };
        let _: api::Done = self.fleet.ask("owner")?.post("/v1/device", &breaks)?;
        let anomaly = wait("the agent notices", || {
            let device = self.fleet.member("owner")?.status()?.device;
            let anomalies = device.map(|device| device.anomalies).unwrap_or_default();
            Ok(anomalies.into_iter().find(|anomaly| anomaly.component == sensor))
        })?;
        let shown = plant::BROKEN_SHOWS.to_string();
        wait("the manufacturer reads it", || {
            let readings = self.readings("manufacturer", plant::SENSOR)?;
            Ok(readings.iter().any(|reading| reading.value.as_str() == shown).then_some(()))
        })?;
        self.narrator.proven(&format!(
            "the agent holds {} mm against the specification ({}); the manufacturer reads the same from its own node",
            anomaly.value, anomaly.rule
        ));
        Ok(())
    }

    fn exchange(&mut self) -> Result<(), Failure> {
        let (old, new) = (component(plant::SENSOR)?, component(plant::REPLACEMENT)?);
        let exchange =
            api::Intervention::Exchange { old: old.clone(), new, fragment: plant::FRAGMENT.into() };
        let _: api::Done = self.fleet.ask("owner")?.post("/v1/device", &exchange)?;
        let at = |address: &str| api::At { address: address.into() };
        let maintainer = self.fleet.ask("maintainer")?;
        wait("the exchange is on the ledger", || {
            maintainer.get::<api::Element>(&self.path("/element"), &at(plant::REPLACEMENT)).map(Some)
        })?;
        let gone = maintainer.get::<api::Element>(&self.path("/element"), &at(plant::SENSOR));
        prove(gone.is_err_and(|failure| failure.kind == Kind::NotFound), "the old sensor is out")?;
        let history = api::HistoryOf {
            twin: Some(self.twin),
            component: Some(old),
            newest_first: true,
            limit: 1,
            ..api::HistoryOf::default()
        };
        let page: api::History = maintainer.get("/v1/history", &history)?;
        let agent = self.fleet.member("owner")?.status()?.device.and_then(|device| device.agent);
        let last = page.entries.first();
        prove(last.is_some_and(|entry| Some(entry.sender) == agent), "the agent made the exchange")?;
        let place = last.map_or("", |entry| &entry.place);
        self.narrator.proven(&format!(
            "one transaction of the agent (at {place}): old sensor out, new one in, its feed linked"
        ));
        let edit = set(plant::INSTALLED, "2026-11-26");
        let edited: api::Committed = maintainer.post(&self.path("/edits"), &edit)?;
        self.narrator
            .proven(&format!("the maintainer enters the date of installation: block {}", edited.height));
        Ok(())
    }

    fn report(&mut self) -> Result<(), Failure> {
        let text = "Probe stuck below its range; replaced, zero and span checked, line released.\n";
        let report = self.put("maintainer", REPORT, text.as_bytes())?;
        self.fleet.settle()?;
        let read = self.get("manufacturer", report, None)?;
        prove(read == text.as_bytes(), "the manufacturer reads what the maintainer wrote")?;
        self.narrator.proven(&format!(
            "{} bytes, sealed, stored by a quorum, on the ledger by SHA-256; the manufacturer reads them on its own node",
            text.len()
        ));
        let rule = refused(self.get("auditor", report, None))?;
        self.narrator.proven(&format!("the auditor, who has no role yet, is refused by {rule}"));
        Ok(())
    }

    fn programs(&mut self) -> Result<(), Failure> {
        let called: api::Call = self.fleet.ask("owner")?.post(&self.path("/calls"), &speed("42.5")?)?;
        let path = self.path(&format!("/calls/{}", called.call));
        let ended = wait("the agent deals with the call", || {
            let call: api::Call = self.fleet.ask("owner")?.get(&path, &())?;
            Ok(call.has_ended().then_some(call))
        })?;
        let CallStatus::Completed(CallResult::Succeeded(said)) = &ended.status else {
            return Err(unproven(&format!("the machine does it ({:?})", ended.status)));
        };
        self.narrator.proven(&format!("42.5 m/min: executed once by the agent; the machine says \"{said}\""));
        let fast: Result<api::Call, _> = self.fleet.ask("owner")?.post(&self.path("/calls"), &speed("90")?);
        let rule = refused(fast)?;
        self.narrator.proven(&format!("90 m/min: refused on the ledger by {rule}"));
        let others: Result<api::Call, _> =
            self.fleet.ask("manufacturer")?.post(&self.path("/calls"), &speed("10")?);
        let rule = refused(others)?;
        self.narrator.proven(&format!("the manufacturer's call: refused on the ledger by {rule}"));
        Ok(())
    }

    /// One node is killed while another writes without a pause, and comes back.
    fn crash(&mut self) -> Result<(), Failure> {
        let writer = Writer { remote: self.fleet.ask("owner")?.clone(), path: self.path("/documents") };
        let stop = AtomicBool::new(false);
        let (killed, written) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write_until(&stop));
            let killed = self.kill_and_return();
            stop.store(true, Ordering::SeqCst);
            let crashed = || Err(Failure::new(Kind::Internal, "the writer's thread ended"));
            (killed, writing.join().unwrap_or_else(|_| crashed()))
        });
        killed?;
        let written = written?;
        let count = written.len();
        self.acknowledged.extend(written);
        self.narrator.proven(&format!("all {count} documents that the owner wrote meanwhile were taken"));
        Ok(())
    }

    fn kill_and_return(&mut self) -> Result<(), Failure> {
        let before = self.fleet.settle()?;
        self.fleet.member_mut("manufacturer")?.kill();
        let drawing: Vec<u8> =
            (0..DRAWING_BYTES).map(|at| u8::try_from(at * at % 251).unwrap_or(0)).collect();
        let document = self.put("maintainer", "Drawing of the probe", &drawing)?;
        self.fleet.settle()?;
        let read = self.get("owner", document, None)?;
        prove(read == drawing, "reading goes on")?;
        let height = wait("blocks go on being made", || {
            let height = self.fleet.member("owner")?.status()?.height;
            Ok((height >= before + BLOCKS).then_some(height))
        })?;
        self.narrator.proven(&format!(
            "the others go on: {} blocks; {DRAWING_BYTES} bytes of the maintainer's are written and read",
            height - before
        ));
        let member = self.fleet.member_mut("manufacturer")?;
        member.start()?;
        member.wait_ready()?;
        let height = self.fleet.settle()?;
        let read = self.get("manufacturer", document, None)?;
        prove(read == drawing, "what was written meanwhile is there")?;
        self.narrator.proven(&format!("it is back at block {height}, and reads what was written meanwhile"));
        Ok(())
    }

    fn revocation(&mut self) -> Result<(), Failure> {
        let report = self.acknowledged.first().map(|of| of.document).ok_or_else(|| unproven("a report"))?;
        let revoke = api::Revoke { party: "maintainer".into(), eager: false };
        let _: api::Revoked = self.fleet.ask("owner")?.post(&self.path("/revocations"), &revoke)?;
        let text = b"Reviewed by the owner. Next inspection in six months.\n";
        let query = api::Put { document: Some(report), ..api::Put::default() };
        let stored: api::Stored = self.fleet.ask("owner")?.send(
            &self.path("/documents"),
            &query,
            &mut &text[..],
            text.len() as u64,
        )?;
        self.acknowledge(&stored, text);
        self.fleet.settle()?;
        let read = self.get("manufacturer", report, Some(stored.version))?;
        prove(read == text, "the others read on")?;
        let rule = refused(self.get("maintainer", report, Some(stored.version)))?;
        self.narrator.proven(&format!(
            "version {} of its own report is out of its reach ({rule}); the manufacturer reads it",
            stored.version
        ));
        let rule = refused(self.put("maintainer", "one more", b"no longer"))?;
        self.narrator.proven(&format!("it writes no longer: refused by {rule}"));
        Ok(())
    }

    fn audit(&mut self) -> Result<(), Failure> {
        self.grant("auditor", "auditor")?;
        self.fleet.settle()?;
        for reader in ["owner", "manufacturer", "auditor"] {
            for of in &self.acknowledged {
                let read = self.get(reader, of.document, Some(of.version))?;
                prove(
                    read == of.content,
                    &format!("{reader} reads {} as it was written", of.document.short()),
                )?;
            }
        }
        self.narrator.proven(&format!(
            "owner, manufacturer and auditor read each of {} acknowledged versions, byte for byte",
            self.acknowledged.len()
        ));
        let height = self.fleet.settle()?;
        let mut blocks = Vec::new();
        for member in self.fleet.members() {
            let audited: api::Audited = self.fleet.ask(member.name.as_str())?.audit(|_| {})?;
            prove(audited.height >= height, "the audit comes to the end")?;
            self.narrator.proven(&format!(
                "{}: {} blocks executed again, {} transactions applied, {} refused by name, {} rows compared",
                member.name, audited.height, audited.applied, audited.rejected, audited.rows
            ));
            blocks.push(member.block(height)?);
        }
        let first = blocks.first().ok_or_else(|| unproven("there is a block"))?;
        prove(
            blocks.iter().all(|block| (block.digest, block.state_root) == (first.digest, first.state_root)),
            "all have the same block and state",
        )?;
        self.narrator.proven(&format!(
            "at block {height} all have the same digest {} and state root {}",
            first.digest.short(),
            first.state_root.short()
        ));
        Ok(())
    }

    fn end(mut self) -> Result<(), Failure> {
        for member in self.fleet.members_mut() {
            prove(member.stop()?, &format!("{} stops in order", member.name))?;
        }
        self.narrator.proven("all nodes stop in order when they are told to");
        Ok(())
    }

    fn grant(&self, party: &str, role: &str) -> Result<(), Failure> {
        let grant = api::Grant { party: party.into(), role: name(role)?, history: History::Full };
        let _: api::Granted = self.fleet.ask("owner")?.post(&self.path("/roles"), &grant)?;
        Ok(())
    }

    fn readings(&self, who: &str, sensor: &str) -> Result<Vec<Reading>, Failure> {
        self.fleet.ask(who)?.get(&self.path("/readings"), &api::At { address: sensor.into() })
    }

    /// Shares a document, which is remembered as acknowledged.
    fn put(&mut self, who: &str, title: &str, content: &[u8]) -> Result<DocumentId, Failure> {
        let query = api::Put {
            title: Some(name(title)?),
            media_type: Some(name("application/octet-stream")?),
            ..api::Put::default()
        };
        let (path, length) = (self.path("/documents"), content.len() as u64);
        let stored: api::Stored = self.fleet.ask(who)?.send(&path, &query, &mut &content[..], length)?;
        self.acknowledge(&stored, content);
        Ok(stored.document)
    }

    fn acknowledge(&mut self, stored: &api::Stored, content: &[u8]) {
        let (document, version) = (stored.document, stored.version);
        self.acknowledged.push(Acknowledged { document, version, content: content.to_vec() });
    }

    /// Reads a document, which must have the hash that the ledger registered.
    fn get(&self, who: &str, document: DocumentId, version: Option<u32>) -> Result<Vec<u8>, Failure> {
        let path = self.path(&format!("/documents/{document}"));
        let response = self.fleet.ask(who)?.fetch(&path, &api::Get { version })?;
        let registered = response.headers().get(api::SHA256_HEADER).and_then(|value| value.to_str().ok());
        let registered: Option<ContentHash> = registered.and_then(|value| value.parse().ok());
        let mut content = Vec::new();
        let read = response.into_body().into_reader().read_to_end(&mut content);
        read.map_err(Failure::unreachable)?;
        prove(registered == Some(ContentHash::of(&content)), "the content is what the ledger registered")?;
        Ok(content)
    }
}

/// Somebody who writes one document after the other.
struct Writer {
    remote: Remote,
    path: String,
}

impl Writer {
    /// Writes until it is told to stop; what was acknowledged. Not one may fail.
    fn write_until(&self, stop: &AtomicBool) -> Result<Vec<Acknowledged>, Failure> {
        let mut written = Vec::new();
        while !stop.load(Ordering::SeqCst) && written.len() < MOST_WRITTEN {
            let content = format!("shift log, entry {}", written.len()).into_bytes();
            let query = api::Put {
                title: Some(name("shift log")?),
                media_type: Some(name("text/plain")?),
                ..api::Put::default()
            };
            let length = content.len() as u64;
            let stored: api::Stored = self.remote.send(&self.path, &query, &mut &content[..], length)?;
            written.push(Acknowledged { document: stored.document, version: stored.version, content });
        }
        Ok(written)
    }
}

fn set(address: &str, value: &str) -> api::Edit {
    api::Edit { edits: vec![dt_aml::Edit::SetValue { address: address.into(), value: value.into() }] }
}

fn speed(value: &str) -> Result<api::CallProgram, Failure> {
    let value = Text::new(value).map_err(Failure::bad_input)?;
    let argument = Argument { value, unit: Some(name(plant::UNIT)?) };
    Ok(api::CallProgram {
        program: component(plant::PROGRAM)?,
        parameters: BTreeMap::from([(name(plant::PARAMETER)?, argument)]),
        valid_ms: 60_000,
        guarded: false,
    })
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(Failure::bad_input)
}

fn component(text: &str) -> Result<ComponentId, Failure> {
    ComponentId::new(text).map_err(Failure::bad_input)
}

/// Fails the story unless `holds`: a claim that is not proven is not told.
fn prove(holds: bool, claim: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(unproven(claim)) }
}

/// The rule by which it must have been refused.
fn refused<T>(outcome: Result<T, Failure>) -> Result<String, Failure> {
    match outcome {
        Err(Failure { kind: Kind::Refused, rule: Some(rule), .. }) => Ok(rule),
        Err(failure) => Err(failure),
        Ok(_) => Err(unproven("this is refused")),
    }
}
