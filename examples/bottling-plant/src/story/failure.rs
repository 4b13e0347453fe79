//! Section 5.2, steps 1 and 2: the sensor fails and is replaced; the agent registers the exchange and forwards the new stream.

use dt_ledger::{Resource, State as _};
use dt_model::{DataClass, Operation, Permission};

use super::prove;
use crate::Failure;
use crate::narrator::Narrator;
use crate::plant::Intervention;
use crate::world::{Who, World};

/// How often the agent looks, while something is wrong.
const LOOK_MS: u64 = 2_000;
/// How long the flood goes on before somebody comes.
const FLOOD_MS: u64 = 12_000;
/// How long the maintainer takes.
const REPAIR_MS: u64 = 30_000;
/// Between two pulls of the agent.
const PULL_MS: u64 = 51_200;

pub(super) async fn failure(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    if !world.asset.has(|done| *done == Intervention::BreakSensor) {
        world.asset.break_sensor()?;
    }
    let broke = world.asset.broke_at().ok_or("the sensor is broken")?;
    let mut seen = None;
    // A run that goes on has perhaps pulled these readings before: the readings themselves say the same.
    for _ in 0..10 {
        let now = world.advance(LOOK_MS)?;
        let pulled = world.agent().await?.pull(now).await?;
        seen = seen.or_else(|| {
            pulled.anomalies.into_iter().find(|anomaly| anomaly.component == world.subject.sensor)
        });
        if seen.is_some() {
            break;
        }
    }
    let now = world.advance(FLOOD_MS)?;
    let agent = world.agent().await?;
    agent.pull(now).await?;
    agent.flush(now).await?;
    agent.anchor().await?;
    let name = &world.subject.sensor_name;
    narrator.says(&format!("{broke}: {name} sticks far below its range, the valves stay open too long"));
    let (bottles, overflow) = world.asset.flooded();
    prove(bottles > 0, "bottles flood")?;
    narrator.says(&format!("{bottles} bottles flooded, {overflow} ml beside them"));
    match seen {
        Some(anomaly) => {
            let after = anomaly.time.since(broke).as_millis();
            narrator.proven(&format!(
                "the agent sees it {after} ms after: {} against the specification ({})",
                anomaly.value, anomaly.rule
            ));
            narrator.fact("anomaly", anomaly.rule);
        }
        None => {
            let sensor = world.subject.sensor.clone();
            let agent = world.agent().await?;
            prove(agent.published(&sensor).is_some(), "the broken sensor's readings are published")?;
            narrator.says("the agent had seen it before this run was taken up again");
        }
    }
    narrator.fact("flooded_bottles", bottles);
    Ok(())
}

pub(super) async fn exchange(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, subject) = (world.twin()?, world.subject.clone());
    let maintainer = world.client(Who::Maintainer)?;
    let permission = Permission::new(Operation::Read, DataClass::Sensor);
    let state = world.replica.snapshot()?;
    state.authorize(&twin, &world.party(Who::Maintainer), permission, Some(&subject.sensor), world.now())?;
    let before = maintainer.ledger().specification(&twin)?;
    let former = before.find(subject.sensor.as_str()).ok();
    let neighbour = former
        .and_then(|old| old.previous_sibling())
        .filter(|next| next.kind() == dt_aml::Kind::InternalElement);
    let neighbour = neighbour.and_then(|next| next.address());
    let now = world.advance(REPAIR_MS)?;
    world.asset.replace_sensor()?;
    narrator.says(&format!("{now}: the maintainer has taken the broken sensor out and put a new one in"));

    let agent = world.agent().await?;
    let exchanged = agent.follow_exchanges(now).await?;
    let height = world.replica.tip().height;
    let specification = maintainer.ledger().specification(&twin)?;
    prove(
        specification.find(subject.sensor.as_str()).is_err(),
        "the old sensor is out of the specification",
    )?;
    let new = specification.find(subject.replacement.as_str())?;
    let state = world.replica.snapshot()?;
    prove(state.feed(&twin, &subject.sensor)?.is_none(), "the old feed is no longer linked")?;
    let feed = state.feed(&twin, &subject.replacement)?.ok_or("not proven: the new feed is linked")?;
    let place = new.previous_sibling().filter(|next| next.kind() == dt_aml::Kind::InternalElement);
    let after_whom = place.and_then(|next| next.name());
    let place = place.and_then(|next| next.address());
    if !exchanged.is_empty() && neighbour.is_some() {
        prove(place == neighbour, "the new sensor stands after its sibling")?;
    }
    narrator.proven(&format!(
        "one atomic transaction in block {height}: old sensor out, new sensor in{}, feed reference swapped to {}",
        after_whom.map_or_else(String::new, |sibling| format!(" after its sibling {sibling}")),
        feed.reference.feed.short(),
    ));
    let trace = maintainer.ledger().history(&Resource::Element(twin, subject.sensor.clone()))?;
    let last = trace.last().ok_or("not proven: the exchange is traced")?;
    prove(last.author == world.party(Who::Agent), "the agent made the exchange")?;
    narrator.proven(&format!(
        "the old sensor's trace ends with it: {} links, each signed and chained",
        trace.len()
    ));
    narrator.fact("height", height);
    Ok(())
}

pub(super) async fn stream(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, sensor) = (world.twin()?, world.subject.replacement.clone());
    let wanted = world.settings.readings;
    let bar = narrator.progress(wanted, "readings sealed, chained and stored");
    loop {
        let published = world.agent().await?.published(&sensor).unwrap_or(0);
        bar.set_position(published.min(wanted));
        if published >= wanted {
            break;
        }
        let now = world.advance(PULL_MS)?;
        let agent = world.agent().await?;
        agent.pull(now).await?;
        if agent.published(&sensor).unwrap_or(0) + 256 > wanted {
            agent.flush(now).await?;
        }
    }
    bar.finish_and_clear();
    let now = world.now();
    let agent = world.agent().await?;
    agent.flush(now).await?;
    agent.anchor().await?;
    let published = agent.published(&sensor).unwrap_or(0);
    let auditor = world.client(Who::Auditor)?;
    let feed = auditor.feed(&twin, &sensor)?;
    let mut readings = auditor.readings(&twin, &sensor, &feed, now).await?;
    let head = readings.head(now).await?.ok_or("not proven: the stream has a head")?;
    prove(head.size() == published && published >= wanted, "the readings of the new sensor are stored")?;
    let anchored = world.replica.snapshot()?.head_anchor(&twin, &feed)?;
    prove(anchored.is_some_and(|anchor| anchor.size == head.size()), "the head is anchored on the ledger")?;
    narrator.proven(&format!(
        "{} readings in {} sealed segments, one signed head, root {}; anchored on the ledger, so that no node can roll it back",
        head.size(),
        head.segments,
        head.root().short(),
    ));
    narrator.fact("readings", head.size());
    Ok(())
}
