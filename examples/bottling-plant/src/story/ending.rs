//! What must not work, and what must go on working: revocation, strangers, liars and crashes.

use std::sync::Arc;

use dt_acl::{KeyError, Keyring, Revocation};
use dt_dht::Transport;
use dt_dht::testing::{Fault, Faulty};
use dt_ledger::{Call, State as _};
use dt_model::{Name, Signer as _};
use dt_sync::{Draft, feed_keys};

use super::{plural, prove};
use crate::Failure;
use crate::narrator::Narrator;
use crate::world::{Who, World};

/// How long the plant runs on before the maintainer tries to read.
const AFTER_MS: u64 = 60_000;
/// Readings that are read back while a node lies or is stopped.
const SAMPLE: u64 = 1_000;

pub(super) async fn revocation(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, now, sensor) = (world.twin()?, world.now(), world.subject.replacement.clone());
    let maintainer = world.client(Who::Maintainer)?;
    let owner = world.client(Who::Owner)?;
    let feed = owner.feed(&twin, &sensor)?;
    // What the maintainer holds when the contract ends, it holds for ever: its keys of the epochs so far.
    let former_keys = maintainer.feed_keyring(&twin, &feed, now).await.ok();
    let party = world.party(Who::Maintainer);
    owner.revoke(twin, party, Revocation::Lazy, now).await?;
    let authority = world.authorities[&Who::Maintainer].clone();
    if world.replica.snapshot()?.party(&party)?.is_some_and(|record| record.revoked.is_none()) {
        world.ledger_of(authority).execute(vec![Call::RevokeCertificate { party }]).await?;
    }
    world.open_dht()?;
    let roles = world.replica.snapshot()?.roles(&twin, &party)?;
    prove(roles.is_empty(), "the maintainer has no role left")?;

    let now = world.advance(AFTER_MS)?;
    world.agent = None;
    let agent = world.agent().await?;
    agent.pull(now).await?;
    agent.flush(now).await?;
    agent.anchor().await?;
    let owner = world.client(Who::Owner)?;
    let keys = owner.feed_keyring(&twin, &feed, now).await?;
    let readable = owner.readings(&twin, &sensor, &feed, now).await?.latest(now).await?;
    prove(!readable.is_empty(), "the others read on")?;
    narrator.proven(&format!(
        "roles gone and certificate revoked on the ledger; the stream goes on under key epoch {}",
        keys.epoch()
    ));

    let refused = maintainer.readings(&twin, &sensor, &feed, now).await.err();
    let refused = refused.ok_or("not proven: the nodes no longer serve the maintainer")?;
    narrator.proven(&format!("the nodes serve it no longer: {refused}"));
    if let Some(former) = former_keys.filter(|former| former.epoch() < keys.epoch()) {
        let list = owner.items().acl(feed_keys(&feed), None, now).await?;
        let opens = former.key(keys.epoch()).is_ok()
            || Keyring::open(&list, &*world.people[&Who::Maintainer]).is_ok();
        prove(!opens, "neither former keys nor the present list open what was written afterwards")?;
        narrator.proven(&format!(
            "nor would the records help: its keys reach to epoch {}, what was written afterwards is sealed under {}",
            former.epoch(),
            keys.epoch()
        ));
    }
    let title = Name::new("maintenance plan")?;
    let draft = Draft { title: &title, media_type: &title, component: None, content: b"no longer" };
    prove(maintainer.write_document(twin, draft, now).await.is_err(), "it writes no longer")?;
    Ok(())
}

pub(super) async fn outsider(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, now, sensor) = (world.twin()?, world.now(), world.subject.replacement.clone());
    let outsider = world.client(Who::Outsider)?;
    let feed = outsider.feed(&twin, &sensor)?;
    let stream = outsider.readings(&twin, &sensor, &feed, now).await.err();
    let stream = stream.ok_or("not proven: the outsider reads no stream")?;
    let documents = world.replica.snapshot()?.documents(&twin)?;
    for (document, _) in &documents {
        let read = outsider.read_document(twin, *document, None, now).await;
        prove(read.is_err(), "the outsider reads no document")?;
    }
    narrator.proven(&format!("no reading: {stream}; nor any of {}", plural(documents.len(), "document")));
    // A lying node may hand over what it stores: it is sealed for others.
    let auditor = world.client(Who::Auditor)?;
    let list = auditor.items().acl(feed_keys(&feed), None, now).await?;
    let opened = Keyring::open(&list, &*world.people[&Who::Outsider]);
    prove(matches!(opened, Err(KeyError::NotAReader(_))), "the outsider has no key")?;
    narrator.proven(&format!(
        "nor would a lying node help: the keys are wrapped for {}, none of them the outsider",
        plural(list.entries().len(), "reader")
    ));
    Ok(())
}

pub(super) async fn resilience(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (liar, stopped) = (world.nodes[1].clone(), world.nodes[2].clone());
    let network = world.dht()?.network.clone();
    let faulty = Arc::new(Faulty::new(Arc::clone(&network) as Arc<dyn Transport>));
    for (fault, lie) in [
        (Fault::ForgedNewer, "shows newer records of its own making"),
        (Fault::NothingStored, "says that nothing is stored"),
        (Fault::CorruptShards, "shows shards with flipped bits"),
    ] {
        faulty.corrupt(liar.clone(), fault);
        let transport = Arc::clone(&faulty) as Arc<dyn Transport>;
        let read = everything_is_there(world, transport).await?;
        narrator.proven(&format!("node 2 {lie}: {read}"));
    }
    faulty.heal(&liar.party());

    network.stop(&stopped.party());
    let read = everything_is_there(world, Arc::clone(&network) as Arc<dyn Transport>).await?;
    let (twin, now, sensor) = (world.twin()?, world.now(), world.subject.replacement.clone());
    let owner = world.client(Who::Owner)?;
    let note = owner.annotate(twin, &sensor, "written while node 3 was down", now).await?;
    network.start(&stopped.party());
    narrator.proven(&format!("node 3 is stopped: {read}; writing goes on"));
    let auditor = world.client(Who::Auditor)?;
    let read = auditor.read_document(twin, note, None, now).await?;
    prove(read.bytes == b"written while node 3 was down", "what was written meanwhile is there")?;
    narrator.proven("node 3 is back: what was written meanwhile is read, nothing is lost");
    Ok(())
}

/// Reads every document and the end of the stream over `transport`: all must be as the ledger says.
async fn everything_is_there(world: &mut World, transport: Arc<dyn Transport>) -> Result<String, Failure> {
    let (twin, now, sensor) = (world.twin()?, world.now(), world.subject.replacement.clone());
    let owner = world.client_over(Who::Owner, transport)?;
    let documents = world.replica.snapshot()?.documents(&twin)?;
    for (document, _) in &documents {
        owner.read_document(twin, *document, None, now).await?;
    }
    let feed = owner.feed(&twin, &sensor)?;
    let mut readings = owner.readings(&twin, &sensor, &feed, now).await?;
    let size = readings.head(now).await?.ok_or("the stream has a head")?.size();
    let anchored = world.replica.snapshot()?.head_anchor(&twin, &feed)?.map_or(0, |anchor| anchor.size);
    prove(size == anchored, "the stream has its full length")?;
    let sample = SAMPLE.min(size);
    let read = readings.range(size - sample..size, now).await?;
    prove(read.len() as u64 == sample, "the readings are there")?;
    Ok(format!("{} and a stream of {size} readings are as they were", plural(documents.len(), "document")))
}
