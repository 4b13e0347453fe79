//! Everything that takes part, in one folder: parties with their keys, one ledger, four DHT nodes, the asset, the device agent.
//!
//! ```text
//! DIR/run.json            what was asked for, and how often the run was taken up
//! DIR/specification.aml   the AML file that the twin began with
//! DIR/keys/*.key          each party's identity, mode 0600
//! DIR/ledger.redb         the ledger
//! DIR/node-*.redb         what each DHT node stores
//! DIR/asset.log           what was done to the plant
//! DIR/agent.journal       what the device agent must not forget
//! DIR/clock               the story's time
//! DIR/story.jsonl         the steps that are done
//! DIR/seal.json           digests of all these, once the story has ended
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dt_aml::{Document, Limits, Package, PackageLimits};
use dt_dht::{InProcess, Transport, Validator};
use dt_feed::BatchPolicy;
use dt_ledger::{
    Approval, Genesis, LedgerStore, Organisation, RedbStore, Replica, Solo, State as _, twin_id,
};
use dt_model::{Identity, Name, PartyId, Protection, Signer, Timestamp, TwinId, file};
use dt_sync::{Agent, Client, Journal, Ledger};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::asset::Asset;
use crate::clock::Clock;
use crate::subject::{PLANT_AML, Subject};

/// The four lifecycle parties of section 5.1, the device agent, and somebody who has no part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Manufacturer,
    Owner,
    Maintainer,
    Auditor,
    Agent,
    Outsider,
}

impl Who {
    pub(crate) const ALL: [Self; 6] =
        [Self::Manufacturer, Self::Owner, Self::Maintainer, Self::Auditor, Self::Agent, Self::Outsider];
    /// The organisations: each has an authority and runs a node. The agent belongs to the owner's.
    pub(crate) const ORGANISATIONS: [Self; 4] =
        [Self::Manufacturer, Self::Owner, Self::Maintainer, Self::Auditor];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Manufacturer => "manufacturer",
            Self::Owner => "owner",
            Self::Maintainer => "maintainer",
            Self::Auditor => "auditor",
            Self::Agent => "agent",
            Self::Outsider => "outsider",
        }
    }

    /// The file of its keys.
    fn key_file(self) -> String {
        self.name().to_owned()
    }

    /// The file of its organisation's authority.
    fn authority_file(self) -> String {
        format!("{}-authority", self.name())
    }
}

/// What the run was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The number that everything follows from, if one was given.
    pub(crate) seed: Option<u64>,
    /// When the plant and the story started.
    pub(crate) started: Timestamp,
    /// The AML file that was given; `None` is the plant's own.
    pub(crate) aml: Option<String>,
    /// How long the new sensor's stream becomes.
    pub(crate) readings: u64,
    /// How often the run was taken up again.
    pub(crate) resumed: u64,
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// See [`Settings::seed`].
    pub(crate) seed: Option<u64>,
    /// See [`Settings::readings`].
    pub(crate) readings: u64,
    /// The AML file.
    pub(crate) aml: Option<&'a Path>,
}

/// A step that is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Done {
    step: String,
    at: Timestamp,
}

/// Where a seeded run starts: a day of the plant's first season.
const SEEDED_START: Timestamp = Timestamp::from_millis(1_772_431_200_000);
/// How many malicious nodes the DHT survives; it has 3k + 1 = 4.
pub(crate) const MAX_FAULTY: u16 = 1;
/// The owner's name for the plant.
pub(crate) const DEVICE_ID: &str = "bottling-plant-7";

/// Everything that takes part.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) subject: Subject,
    pub(crate) aml: Vec<u8>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) people: BTreeMap<Who, Arc<Identity>>,
    pub(crate) authorities: BTreeMap<Who, Arc<Identity>>,
    pub(crate) nodes: Vec<Arc<Identity>>,
    pub(crate) replica: Arc<Replica>,
    pub(crate) solo: Arc<Solo>,
    pub(crate) asset: Arc<Asset>,
    pub(crate) agent: Option<Agent>,
    dht: Option<Dht>,
    done: Vec<Done>,
    seed: [u8; 32],
    draws: u64,
}

/// The DHT's nodes, in this process.
pub(crate) struct Dht {
    pub(crate) network: Arc<InProcess>,
    replicas: Vec<Arc<dt_dht::Replica>>,
}

impl World {
    /// The run in `folder`: a new one, or the one that is there, which then goes on as it was asked for at first.
    pub(crate) fn open(folder: &Path, asked: Asked<'_>) -> Result<Self, Failure> {
        fs::create_dir_all(folder.join("keys")).map_err(|error| at(folder, &error))?;
        let (settings, aml) = settle(folder, asked)?;
        let document = Document::parse(&aml, &Limits::default())?;
        let subject = match &settings.aml {
            None => Subject::of_plant()?,
            Some(_) => Subject::of_document(&document)?,
        };
        let mut world_seed = master_seed(&settings)?;
        let mut rng = ChaCha20Rng::from_seed(world_seed);
        rng.fill_bytes(&mut world_seed);
        let mut identity = |name: &str| identity(folder, name, &mut rng);
        let mut people = BTreeMap::new();
        for who in Who::ALL {
            people.insert(who, identity(&who.key_file())?);
        }
        let mut authorities = BTreeMap::new();
        for who in Who::ORGANISATIONS {
            authorities.insert(who, identity(&who.authority_file())?);
        }
        let nodes =
            (1..=4).map(|number| identity(&format!("node-{number}"))).collect::<Result<Vec<_>, _>>()?;
        let validator = identity("validator")?;

        let store: Arc<dyn LedgerStore> = Arc::new(RedbStore::open(&folder.join("ledger.redb"))?);
        let genesis = genesis(&authorities, &validator, settings.started)?;
        let replica = Arc::new(Replica::open(store, &genesis)?);
        let clock = Arc::new(Clock::open(folder, settings.started.max(replica.tip().time))?);
        let time = Arc::clone(&clock);
        let solo = Arc::new(Solo::new(Arc::clone(&replica), validator, Arc::new(move || time.now())));
        let plant_seed = settings.seed.unwrap_or(0);
        let asset = Asset::open(folder, subject.clone(), plant_seed, settings.started, clock.now())?;
        let done = read_done(folder)?;
        let mut world = Self {
            folder: folder.to_owned(),
            settings,
            subject,
            aml,
            clock,
            people,
            authorities,
            nodes,
            replica,
            solo,
            asset,
            agent: None,
            dht: None,
            done,
            seed: world_seed,
            draws: 0,
        };
        world.open_dht()?;
        Ok(world)
    }

    /// The chain's twin.
    pub(crate) fn twin(&self) -> Result<TwinId, Failure> {
        Ok(twin_id(&self.replica.chain(), &self.party(Who::Owner), &Name::new(DEVICE_ID)?))
    }

    pub(crate) fn party(&self, who: Who) -> PartyId {
        self.people[&who].party()
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets time pass, for everybody and the plant.
    pub(crate) fn advance(&self, millis: u64) -> Result<Timestamp, Failure> {
        let now = self.clock.advance(millis)?;
        self.asset.advance(now)?;
        Ok(now)
    }

    /// A random source of its own for each purpose. In a seeded run it follows from the seed, but never twice the same: a run that is
    /// taken up again draws anew.
    pub(crate) fn rng(&mut self) -> ChaCha20Rng {
        self.draws += 1;
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&self.settings.resumed.to_le_bytes());
        hasher.update(&self.draws.to_le_bytes());
        ChaCha20Rng::from_seed(*hasher.finalize().as_bytes())
    }

    /// The ledger, as `who` uses it.
    pub(crate) fn ledger(&self, who: Who) -> Ledger {
        self.ledger_of(Arc::clone(&self.people[&who]))
    }

    /// The ledger, as whoever has these keys uses it.
    pub(crate) fn ledger_of(&self, signer: Arc<Identity>) -> Ledger {
        Ledger::new(Arc::clone(&self.solo) as _, Arc::clone(&self.replica), signer)
    }

    /// The client of `who`, over the DHT as it is.
    pub(crate) fn client(&mut self, who: Who) -> Result<Client, Failure> {
        let network = Arc::clone(&self.dht()?.network);
        self.client_over(who, network)
    }

    /// The client of `who`, over some transport.
    pub(crate) fn client_over(&mut self, who: Who, transport: Arc<dyn Transport>) -> Result<Client, Failure> {
        let signer = Arc::clone(&self.people[&who]);
        let membership = self.membership()?;
        let dht = dt_dht::Client::new(signer, transport, membership, self.rng());
        Ok(Client::new(self.ledger(who), Arc::new(dht), &mut self.rng()))
    }

    /// The DHT.
    pub(crate) fn dht(&self) -> Result<&Dht, Failure> {
        self.dht.as_ref().ok_or_else(|| "the DHT's nodes are not registered yet".into())
    }

    /// Brings the DHT up, once it is founded and its nodes are registered, or up to the ledger's membership.
    pub(crate) fn open_dht(&mut self) -> Result<(), Failure> {
        if self.replica.snapshot()?.nodes_head()?.epoch == 0 {
            return Ok(());
        }
        let membership = self.membership()?;
        if let Some(dht) = &self.dht {
            for replica in &dht.replicas {
                replica.update_membership(membership.clone());
            }
            return Ok(());
        }
        let mut replicas = Vec::new();
        for (number, node) in (1..).zip(&self.nodes) {
            let store = dt_dht::RedbStore::open(node_file(&self.folder, number))?;
            let signer = Arc::clone(node) as Arc<dyn Signer>;
            replicas.push(Arc::new(dt_dht::Replica::new(
                signer,
                Arc::new(store),
                membership.clone(),
                validators(),
            )));
        }
        let clock = Arc::clone(&self.clock);
        let network = InProcess::new(replicas.iter().cloned(), Arc::new(move || clock.now()));
        self.dht = Some(Dht { network: Arc::new(network), replicas });
        Ok(())
    }

    fn membership(&self) -> Result<dt_dht::Membership, Failure> {
        Ok(dt_sync::membership(&self.replica.snapshot()?, self.replica.chain(), self.now())?)
    }

    /// The device agent, started if it is not yet.
    pub(crate) async fn agent(&mut self) -> Result<&mut Agent, Failure> {
        if self.agent.is_none() {
            let client = self.client(Who::Agent)?;
            let twin = self.twin()?;
            let journal = Journal::open(&self.folder.join("agent.journal"), twin, self.replica.tip().height)?;
            let device = Arc::clone(&self.asset) as Arc<dyn dt_sync::Device>;
            let policy = BatchPolicy::default();
            self.agent = Some(Agent::start(client, twin, device, journal, policy, self.clock.now()).await?);
        }
        self.agent.as_mut().ok_or_else(|| "the agent did not start".into())
    }

    /// Whether a step was done before, in this run or an earlier one.
    pub(crate) fn is_done(&self, step: &str) -> bool {
        self.done.iter().any(|done| done.step == step)
    }

    /// Remembers that a step is done.
    pub(crate) fn set_done(&mut self, step: &str) -> Result<(), Failure> {
        let done = Done { step: step.to_owned(), at: self.now() };
        let mut line = serde_json::to_string(&done)?;
        line.push('\n');
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.join("story.jsonl"))?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        self.done.push(done);
        Ok(())
    }
}

/// The rules by which the DHT's nodes go.
pub(crate) fn validators() -> Vec<Arc<dyn Validator>> {
    let mut validators = dt_feed::validators();
    validators.push(Arc::new(dt_acl::AclValidator));
    validators.push(Arc::new(dt_acl::DataValidator));
    validators
}

/// What node `number` (from 1) stores.
pub(crate) fn node_file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("node-{number}.redb"))
}

/// The steps that a run has done.
pub(crate) fn steps_done(folder: &Path) -> Result<Vec<String>, Failure> {
    Ok(read_done(folder)?.into_iter().map(|done| done.step).collect())
}

fn read_done(folder: &Path) -> Result<Vec<Done>, Failure> {
    let path = folder.join("story.jsonl");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| at(&path, &error))?,
    };
    // A last line that was cut off is a step that is to be done again.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        fs::write(&path, &text[..whole])?;
    }
    text[..whole].lines().map(|line| serde_json::from_str(line).map_err(|error| at(&path, &error))).collect()
}

/// What a run in `folder` was asked for.
pub(crate) fn read_settings(folder: &Path) -> Result<Settings, Failure> {
    let path = folder.join("run.json");
    let text = fs::read(&path).map_err(|error| at(&path, &error))?;
    serde_json::from_slice(&text).map_err(|error| at(&path, &error))
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    format!("{}: {error}", path.display()).into()
}

/// The bytes of a document, or of the one in a package.
fn read_document(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = fs::read(path)?;
    if !Package::is_one(&bytes) {
        return Ok(bytes);
    }
    let package = Package::read(&bytes, &PackageLimits::default())?;
    let document = package.entry(package.root_name()).map(<[u8]>::to_vec);
    Ok(document.unwrap_or_default())
}

/// The settings and the AML of the run: those that were written down, or new ones.
fn settle(folder: &Path, asked: Asked<'_>) -> Result<(Settings, Vec<u8>), Failure> {
    let Asked { seed, readings, aml } = asked;
    let path = folder.join("run.json");
    let specification = folder.join("specification.aml");
    let settings = if path.exists() {
        let settings = read_settings(folder)?;
        if seed.is_some_and(|seed| settings.seed != Some(seed)) {
            return Err(format!("{}: the run there has another seed", folder.display()).into());
        }
        Settings { resumed: settings.resumed + 1, ..settings }
    } else {
        let content = match aml {
            Some(path) => read_document(path).map_err(|error| at(path, &error))?,
            None => PLANT_AML.to_vec(),
        };
        if let Err(error) = Document::parse(&content, &Limits::default()) {
            return Err(at(aml.unwrap_or(&specification), &error));
        }
        file::write_private(&specification, &content).map_err(|error| at(&specification, &error))?;
        let name = |path: &Path| {
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        Settings { seed, started: start(seed), aml: aml.map(name), readings, resumed: 0 }
    };
    // Written before anything is drawn: no run draws the same twice.
    file::write_private(&path, &serde_json::to_vec_pretty(&settings)?).map_err(|error| at(&path, &error))?;
    let content = fs::read(&specification).map_err(|error| at(&specification, &error))?;
    Ok((settings, content))
}

#[expect(clippy::disallowed_methods, reason = "a program may ask what time it is; what it calls may not")]
fn start(seed: Option<u64>) -> Timestamp {
    let Some(_) = seed else {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return Timestamp::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    };
    SEEDED_START
}

fn master_seed(settings: &Settings) -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    match settings.seed {
        Some(number) => {
            let mut hasher = blake3::Hasher::new_derive_key("dt/example/bottling-plant/seed/v1");
            hasher.update(&number.to_le_bytes());
            seed = *hasher.finalize().as_bytes();
        }
        None => getrandom::fill(&mut seed)?,
    }
    Ok(seed)
}

/// The identity `name` of the run, made now if it is not there. It is drawn in any case, so that those after it stay the same.
fn identity(folder: &Path, name: &str, rng: &mut ChaCha20Rng) -> Result<Arc<Identity>, Failure> {
    let path = folder.join("keys").join(format!("{name}.key"));
    let fresh = Identity::generate(rng);
    if path.exists() {
        return Ok(Arc::new(Identity::load(&path, Protection::OwnerOnly)?));
    }
    fresh.save(&path, Protection::OwnerOnly, rng)?;
    Ok(Arc::new(fresh))
}

fn genesis(
    authorities: &BTreeMap<Who, Arc<Identity>>,
    validator: &Arc<Identity>,
    time: Timestamp,
) -> Result<Genesis, Failure> {
    let organisations = authorities.iter().map(|(who, authority)| {
        // One validator orders here; it is the owner's.
        let validators = if *who == Who::Owner { vec![validator.party()] } else { Vec::new() };
        Ok(Organisation { name: Name::new(who.name())?, authority: authority.party(), validators })
    });
    Ok(Genesis {
        name: Name::new("bottling plant consortium")?,
        time,
        organisations: organisations.collect::<Result<_, Failure>>()?,
        approval: Approval::Majority,
        seats: 1,
    })
}
