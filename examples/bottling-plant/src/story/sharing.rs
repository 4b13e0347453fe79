//! Section 5.2, steps 3 and 4, and section 5.3: the report, the program calls, and what the others learn.

use std::collections::BTreeMap;

use dt_acl::ItemId;
use dt_ledger::{Argument, CallResult, CallStatus, ProgramCall, Resource, State as _};
use dt_model::{ContentHash, Name, Text, Timestamp};
use dt_sync::{Draft, check_reading};

use super::{plural, prove, refused};
use crate::Failure;
use crate::narrator::Narrator;
use crate::world::{Who, World};

/// The maintainer writes for five minutes.
const WRITING_MS: u64 = 300_000;
/// How long a call is good.
const CALL_VALIDITY: core::time::Duration = core::time::Duration::from_secs(60);
/// The belt needs some seconds to come up to speed.
const RAMP_MS: u64 = 10_000;
/// Of how many readings the auditor checks one: those in the middle.
const SHARE: u64 = 10;
/// The title of the report.
const REPORT: &str = "Maintenance report: fill-level sensor replaced";

fn report_text(world: &World) -> String {
    let broke = world.asset.broke_at().map_or_else(|| "unknown".to_owned(), |at| at.to_string());
    let (bottles, overflow) = world.asset.flooded();
    format!(
        "Maintenance report\n\nComponent: {}\nReplaced by: {}\nFailure: {broke}\nFinding: the probe stuck below its range; \
         {bottles} bottles flooded ({overflow} ml).\nWork: probe replaced, zero and span checked, line released.\n",
        world.subject.sensor, world.subject.replacement,
    )
}

pub(super) async fn report(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, sensor) = (world.twin()?, world.subject.replacement.clone());
    let now = world.advance(WRITING_MS)?;
    let maintainer = world.client(Who::Maintainer)?;
    let (title, media_type) = (Name::new(REPORT)?, Name::new("text/plain;charset=utf-8")?);
    let text = report_text(world);
    let content = text.as_bytes();
    let draft = Draft { title: &title, media_type: &media_type, component: Some(&sensor), content };
    let document = maintainer.write_document(twin, draft, now).await?;
    let owner = world.client(Who::Owner)?;
    let read = owner.read_document(twin, document, None, now).await?;
    prove(
        read.bytes == content && read.author == world.party(Who::Maintainer),
        "the owner reads the report",
    )?;
    let trace = owner.ledger().history(&Resource::Element(twin, sensor))?;
    let on_trace = trace.last().is_some_and(|last| last.author == world.party(Who::Maintainer));
    prove(on_trace, "the report is linked to the sensor")?;
    let version =
        world.replica.snapshot()?.document_version(&twin, &document, 1)?.ok_or("the report's version")?;
    let list = owner.items().acl(ItemId::from(*version.version.item.as_bytes()), None, now).await?;
    narrator.proven(&format!(
        "{} bytes, sealed for {}, stored by a quorum of the nodes; on the ledger by SHA-256 {}, linked to the new sensor",
        content.len(),
        plural(list.entries().len(), "reader"),
        read.hash.short(),
    ));
    narrator.proven("the owner reads it: decrypted, and equal to what the ledger registered");
    narrator.fact("document", document.to_string());
    narrator.fact("sha256", ContentHash::of(content).to_string());
    Ok(())
}

fn speed(world: &World, value: &str, now: Timestamp) -> Result<ProgramCall, Failure> {
    let argument = Argument { value: Text::new(value)?, unit: Some(Name::new("m/min")?) };
    Ok(ProgramCall {
        program: world.subject.program.clone(),
        parameters: BTreeMap::from([(world.subject.parameter.clone(), argument)]),
        valid_until: now.saturating_add(CALL_VALIDITY),
        guard: None,
    })
}

pub(super) async fn programs(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, now) = (world.twin()?, world.now());
    let owner = world.client(Who::Owner)?;
    let before = world.asset.conveyor_speed();
    let number = owner.call_program(twin, speed(world, "42.5", now)?).await?;
    let served = world.agent().await?.serve_calls(now).await?;
    let status = world.replica.snapshot()?.call(&twin, number)?.status;
    let CallStatus::Completed(CallResult::Succeeded(said)) = &status else {
        return Err(format!("not proven: the call succeeds (it is {status:?}, served {served:?})").into());
    };
    let now = world.advance(RAMP_MS)?;
    let after = world.asset.conveyor_speed();
    narrator.proven(&format!(
        "call {number}, 42.5 m/min: within the limits, executed once; the machine says \"{said}\""
    ));
    narrator.proven(&format!("the belt ran at {before} m/min and runs at {after} m/min"));

    let rule = refused(owner.call_program(twin, speed(world, "90", now)?).await)?;
    prove(rule == "program.parameter-limit", "the limit is the rule by which it is refused")?;
    prove(world.asset.conveyor_speed() == after, "the belt runs as before")?;
    narrator.proven(&format!("90 m/min: refused on the ledger by {rule}; the machine never heard of it"));
    let manufacturer = world.client(Who::Manufacturer)?;
    let rule = refused(manufacturer.call_program(twin, speed(world, "10", now)?).await)?;
    narrator.proven(&format!("the manufacturer's call: refused on the ledger by {rule}"));
    narrator.fact("speed", after);
    Ok(())
}

pub(super) async fn audit(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, now, subject) = (world.twin()?, world.now(), world.subject.clone());
    let auditor = world.client(Who::Auditor)?;
    let genesis = world.replica.genesis().clone();
    let report = dt_ledger::audit(&**world.replica.store(), &genesis, &mut |_| {})?;
    narrator.proven(&format!(
        "the chain: {} blocks re-executed from the genesis, {} transactions applied, {} refused by name; {} stored rows are what they must be",
        report.tip.height, report.applied, report.rejected, report.rows,
    ));
    let old = auditor.ledger().history(&Resource::Element(twin, subject.sensor))?;
    let new = auditor.ledger().history(&Resource::Element(twin, subject.replacement.clone()))?;
    prove(!old.is_empty() && !new.is_empty(), "both sensors are traced")?;
    let exchanged = new.first().map(|first| first.time).ok_or("traced")?;
    narrator.proven(&format!(
        "the sensor's trace: {} links of the old one, {} of the new one, exchanged at {exchanged}",
        old.len(),
        new.len()
    ));
    let documents = world.replica.snapshot()?.documents(&twin)?;
    let (document, _) =
        documents.iter().find(|(_, document)| document.title.as_str() == REPORT).ok_or("the report")?;
    let content = auditor.read_document(twin, *document, None, now).await?;
    prove(ContentHash::of(&content.bytes) == content.hash, "the report's hash")?;
    narrator.proven(&format!(
        "the report: {} bytes whose SHA-256 is the ledger's {}",
        content.bytes.len(),
        content.hash.short()
    ));
    let feed = auditor.feed(&twin, &subject.replacement)?;
    let mut readings = auditor.readings(&twin, &subject.replacement, &feed, now).await?;
    let size = readings.head(now).await?.ok_or("not proven: the stream has a head")?.size();
    let first = size / 2;
    let range = readings.range(first..first + size / SHARE, now).await?;
    prove(range.len() as u64 == size / SHARE, "the range is complete")?;
    let specification = auditor.ledger().specification(&twin)?;
    let outside =
        range.iter().filter(|reading| check_reading(&specification, &subject.replacement, reading).is_some());
    let outside = outside.count();
    prove(outside == 0, "the new sensor's readings are within the specification")?;
    let (proof, head) = readings.reader().prove(first, now).await?;
    proof.verify(readings.reader().manifest(), head.record())?;
    narrator.proven(&format!(
        "{} readings from number {first} on: complete, unaltered, within the specification; number {first} proven alone, for somebody without keys",
        range.len(),
    ));
    Ok(())
}

pub(super) async fn insight(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, now, subject) = (world.twin()?, world.now(), world.subject.clone());
    let manufacturer = world.client(Who::Manufacturer)?;
    let feeds = manufacturer.feeds_ever(&twin, &subject.sensor)?;
    let feed = feeds.last().ok_or("not proven: the old sensor's stream is still to be found")?;
    let mut readings = manufacturer.readings(&twin, &subject.sensor, feed, now).await?;
    let all = readings.history(Timestamp::from_millis(0)..Timestamp::MAX, now).await?;
    let specification = manufacturer.ledger().specification(&twin)?;
    // The sensor itself is gone; the one in its place has the same range.
    let is_bad =
        |reading: &dt_sync::Reading| check_reading(&specification, &subject.replacement, reading).is_some();
    let first_bad = all.iter().position(is_bad).ok_or("not proven: the failure is in the stream")?;
    let bad = &all[first_bad];
    let good = first_bad.checked_sub(1).map(|last| &all[last]);
    prove(world.asset.broke_at().is_some_and(|broke| bad.time > broke), "the stream shows when it failed")?;
    narrator.proven(&format!(
        "the old sensor's stream, {} readings: the last good one was {} at {}, the first bad one {} at {}",
        all.len(),
        good.map_or("-", |good| good.value.as_str()),
        good.map_or_else(|| "-".to_owned(), |good| good.time.to_string()),
        bad.value,
        bad.time,
    ));
    if let Some(witness) = &subject.witness {
        let feed = manufacturer.feed(&twin, witness)?;
        let mut readings = manufacturer.readings(&twin, witness, &feed, now).await?;
        let until = bad.time.saturating_add(core::time::Duration::from_secs(15));
        let near = readings.history(bad.time..until, now).await?;
        let odd = near.iter().find(|reading| check_reading(&specification, witness, reading).is_some());
        let odd = odd.ok_or("not proven: the inspection camera saw the flood")?;
        let unit = odd.unit.as_ref().map_or("", |unit| unit.as_str());
        let after = odd.time.since(bad.time).as_secs();
        narrator.proven(&format!(
            "circumstances: {after} s later the inspection camera measured {} {unit} too much in a bottle",
            odd.value
        ));
    }
    narrator.fact("failed_at", bad.time.to_string());
    Ok(())
}
