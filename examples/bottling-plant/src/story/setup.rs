//! Section 4.5: the network is set up, the parties are enrolled, the twin is created, its sensors are connected.

use std::collections::BTreeMap;

use dt_ledger::{
    Call, Certificate, CreateTwin, Credential, MAINTAINER, MAX_PROPOSAL_MILLIS, Policy, Proposal, State as _,
    TwinCall, Uri, proposal_id,
};
use dt_model::{DataClass, Digest, Name, Operation, Permission, Signed, Signer, Timestamp};

use super::{prove, refused};
use crate::Failure;
use crate::narrator::Narrator;
use crate::world::{DEVICE_ID, MAX_FAULTY, Who, World};

/// How long the certificates are good: five years.
const VALIDITY: core::time::Duration = core::time::Duration::from_secs(5 * 365 * 24 * 60 * 60);
/// The sensors run for a minute before anything happens.
const HEALTHY_MS: u64 = 60_000;

pub(super) async fn set_up(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let organisations = Who::ORGANISATIONS.map(Who::name).join(", ");
    narrator.proven(&format!(
        "the chain {} begins with four organisations: {organisations}",
        world.replica.chain().short()
    ));
    enrol(world, narrator).await?;
    found(world).await?;
    world.open_dht()?;
    narrator.proven(
        "the organisations have agreed on a DHT of four nodes, one of each of them: 3k + 1 for k = 1 liar",
    );
    create(world, narrator).await
}

/// Certifies and registers the parties and the nodes, those that are not yet.
async fn enrol(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let mut newcomers: Vec<(Who, std::sync::Arc<dt_model::Identity>, String)> = Vec::new();
    for who in [Who::Manufacturer, Who::Owner, Who::Maintainer, Who::Auditor, Who::Agent] {
        let authority = if who == Who::Agent { Who::Owner } else { who };
        newcomers.push((authority, world.people[&who].clone(), who.name().to_owned()));
    }
    for (number, (who, node)) in (1..).zip(Who::ORGANISATIONS.into_iter().zip(world.nodes.clone())) {
        newcomers.push((who, node, format!("node-{number}")));
    }
    for (authority, identity, name) in newcomers {
        let is_registered = world.replica.snapshot()?.party(&identity.party())?.is_some();
        let ledger = world.ledger_of(identity.clone());
        if !is_registered {
            let certificate = certify(world, authority, &*identity, &name)?;
            ledger.execute(vec![Call::Register { certificate }]).await?;
        }
        if name.starts_with("node-")
            && !world.replica.snapshot()?.nodes()?.nodes.contains_key(&identity.party())
        {
            let endpoints = vec![Uri::new(format!("inproc:{name}"))?];
            ledger.execute(vec![Call::RegisterNode { endpoints }]).await?;
        }
    }
    // The outsider has keys, and nobody who certifies them.
    let forged =
        certify_by(&*world.people[&Who::Outsider], world, &*world.people[&Who::Outsider], "outsider")?;
    let stranger = world.ledger(Who::Outsider).execute(vec![Call::Register { certificate: forged }]).await;
    prove(stranger.is_err(), "a certificate of one's own making is not accepted")?;
    narrator.proven("four parties and the device agent are enrolled by certificates of their organisations; one forged by an outsider is refused");
    Ok(())
}

/// Three of the four organisations agree that there is a DHT.
async fn found(world: &World) -> Result<(), Failure> {
    if world.replica.snapshot()?.nodes_head()?.is_founded() {
        return Ok(());
    }
    let [first, others @ .., _] = Who::ORGANISATIONS.map(|who| world.authorities[&who].clone());
    let proposal = Proposal::FoundStorage { replicas: 3 * MAX_FAULTY + 1, max_faulty: MAX_FAULTY };
    let call = Call::Propose { proposal, millis: MAX_PROPOSAL_MILLIS };
    let proposed = world.ledger_of(first).execute(vec![call]).await?;
    let proposal = proposal_id(&proposed.transaction, 0);
    for authority in others {
        world.ledger_of(authority).execute(vec![Call::Vote { proposal }]).await?;
    }
    Ok(())
}

fn certify(world: &World, authority: Who, party: &dyn Signer, name: &str) -> Result<Credential, Failure> {
    certify_by(&*world.authorities[&authority], world, party, name)
}

fn certify_by(
    authority: &dyn Signer,
    world: &World,
    party: &dyn Signer,
    name: &str,
) -> Result<Credential, Failure> {
    let certificate = Certificate {
        chain: world.replica.chain(),
        party: party.party(),
        name: Name::new(name)?,
        encryption_key: party.encryption_key(),
        not_before: Timestamp::from_millis(0),
        not_after: world.settings.started.saturating_add(VALIDITY),
    };
    Ok(Signed::new(certificate, authority)?.into_envelope().into())
}

async fn create(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let twin = world.twin()?;
    let owner = world.client(Who::Owner)?;
    if world.replica.snapshot()?.twin(&twin).is_err() {
        let role = |name: &str| Name::new(name).map(|name| vec![name]);
        let create = CreateTwin {
            device_name: Name::new("Bottling plant")?,
            device_id: Name::new(DEVICE_ID)?,
            aml: world.aml.clone(),
            policy: Policy::paper_default(),
            roles: BTreeMap::from([
                (world.party(Who::Manufacturer), role("manufacturer")?),
                (world.party(Who::Maintainer), role(MAINTAINER)?),
                (world.party(Who::Auditor), role("auditor")?),
            ]),
            agent: Some(world.party(Who::Agent)),
        };
        owner.create_twin(create).await?;
    }
    let preparation = world.subject.preparation.clone();
    let sensor_is_prepared =
        owner.ledger().specification(&twin)?.find(world.subject.program.as_str()).is_ok();
    if !preparation.is_empty() && !sensor_is_prepared {
        owner.edit_specification(twin, preparation).await?;
        narrator.says("the owner adds to the specification what the story needs and the file does not have");
    }
    let specification = owner.ledger().specification(&twin)?;
    let ids = specification.ids().count();
    narrator.proven(&format!(
        "the owner's twin {} is on the ledger: {} bytes of AML with {ids} IDs, root {}",
        twin.short(),
        specification.len(),
        Digest::from(*specification.root_hash().as_bytes()).short(),
    ));
    default_rights(world, narrator).await
}

/// Section 4.5: write by owner and maintainer, read by everyone else.
async fn default_rights(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let (twin, now) = (world.twin()?, world.now());
    let state = world.replica.snapshot()?;
    let may = |who: Who, operation| {
        let permission = Permission::new(operation, DataClass::Document);
        state.authorize(&twin, &world.party(who), permission, Some(&world.subject.sensor), now).is_ok()
    };
    for (who, reads, writes) in [
        (Who::Owner, true, true),
        (Who::Maintainer, true, true),
        (Who::Manufacturer, true, false),
        (Who::Auditor, true, false),
        (Who::Outsider, false, false),
    ] {
        let holds = may(who, Operation::Read) == reads && may(who, Operation::Write) == writes;
        prove(holds, "write by owner and maintainer, read by everyone else")?;
    }
    let edit = TwinCall::RemoveSensorFeed { component: world.subject.sensor.clone() };
    let auditor = world.client(Who::Auditor)?;
    let rule = refused(auditor.ledger().execute_on(twin, [edit]).await.map_err(dt_sync::ClientError::from))?;
    narrator.proven(&format!("rights: owner and maintainer write, everyone else in the twin reads; the auditor's write is refused on the ledger by {rule}"));
    Ok(())
}

pub(super) async fn connect(world: &mut World, narrator: &mut Narrator) -> Result<(), Failure> {
    let twin = world.twin()?;
    let mut sensors = vec![world.subject.sensor.clone()];
    sensors.extend(world.subject.witness.clone());
    let now = world.now();
    let agent = world.agent().await?;
    agent.connect(&sensors, now).await?;
    let now = world.advance(HEALTHY_MS)?;
    let agent = world.agent().await?;
    let pulled = agent.pull(now).await?;
    agent.flush(now).await?;
    agent.anchor().await?;
    prove(pulled.anomalies.is_empty(), "all readings are within the specification")?;
    let owner = world.client(Who::Owner)?;
    let sensor = world.subject.sensor.clone();
    let feed = owner.feed(&twin, &sensor)?;
    let latest = owner.readings(&twin, &sensor, &feed, now).await?.latest(now).await?;
    let latest = latest.last().ok_or("not proven: the owner reads the sensor's stream")?;
    let unit = latest.unit.as_ref().map_or("", |unit| unit.as_str());
    narrator
        .proven(&format!("{} feeds linked on the ledger; readings within the specification", sensors.len()));
    narrator.proven(&format!(
        "the owner reads {} {unit} of {}, decrypted and verified up to the agent's signature",
        latest.value, latest.time
    ));
    Ok(())
}
