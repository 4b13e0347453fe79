//! Items in simulated networks: an owner and a manager grant and revoke, two write, one reads, k nodes lie, machines crash.
//!
//! A few seeds run by default. All of them:
//!
//! ```sh
//! DT_DHT_SEEDS=10000 cargo test --release -p dt-acl --test it -- simulation --nocapture
//! ```

use core::fmt::Display;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use dt_acl::{
    AclError, AclRef, AclValidator, DataValidator, Grantee, History, ItemId, ItemState, Items, Revocation,
    Rights,
};
use dt_dht::Resilience;
use dt_dht::testing::simulator::{
    Dice, Host, OperationId, Recorder, Seen, Setup, Simulation, Tally, for_seeds,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{PartyId, Signer};
use futures_util::future::select;

const OWNER: u64 = 0;
const MANAGER: u64 = 1;
const WRITER: u64 = 2;
/// A writer who is dismissed now and then, and may come back.
const GUEST: u64 = 3;
const NAME: &str = "item";

#[test]
fn simulation() {
    for_seeds("-p dt-acl --test it -- simulation", 20, |seed| {
        let mut run = Run::new(seed);
        run.storm()?;
        run.calm()?;
        run.check()
    });
}

fn must<T, E: Display>(what: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what}: {error}"))
}

fn setup(resilience: Resilience) -> Setup {
    let parties = [OWNER, MANAGER, WRITER, GUEST].map(|seed| identity(seed).party());
    Setup::new(resilience, parties, vec![Arc::new(AclValidator), Arc::new(DataValidator)])
}

fn item() -> ItemId {
    ItemId::new(identity(OWNER).party(), NAME)
}

fn grantee(seed: u64, rights: Rights) -> Grantee {
    let party = identity(seed);
    Grantee::new(party.party(), party.encryption_key(), rights)
}

/// What is known beside the history.
#[derive(Default)]
struct Notes {
    /// Every content that somebody began to write: by whom, and whether he was dismissed all the time.
    begun: Vec<(PartyId, bool)>,
    /// By sequence: the list, and the data's counter with the list under which it was written.
    states: BTreeMap<u64, (AclRef, Option<(u64, AclRef)>)>,
    /// Whether the guest was dismissed, with the certificate, and nobody has begun to let him in since.
    guest_is_out: bool,
    /// How often somebody began to let him in, and how many are about to.
    grants: (u64, usize),
    wrong: Option<String>,
}

struct Run {
    simulation: Simulation,
    recorder: Recorder,
    notes: Arc<Mutex<Notes>>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let setup = Setup::draw(&mut Dice::new(seed), setup);
        Self {
            simulation: Simulation::new(seed, setup),
            recorder: Recorder::default(),
            notes: Arc::default(),
        }
    }

    fn user(&mut self, seed: u64) -> User {
        let (client, host) = self.simulation.participant(Arc::new(identity(seed)));
        let mut dice = self.simulation.dice();
        let rng = SeedRng::new(dice.number());
        let (recorder, notes) = (self.recorder.clone(), self.notes.clone());
        User { seed, items: Items::new(Arc::new(client)), host, dice, rng, recorder, notes }
    }

    fn storm(&mut self) -> Result<(), String> {
        for seed in [OWNER, MANAGER, WRITER, GUEST, GUEST] {
            let user = self.user(seed);
            self.simulation.spawn(user.works(5));
        }
        must("storm", self.simulation.run())
    }

    /// Afterwards, with all honest nodes up, everything succeeds.
    fn calm(&mut self) -> Result<(), String> {
        self.simulation.calm();
        let mut user = self.user(OWNER);
        self.simulation.spawn(async move {
            let outcome = user.finishes().await;
            outcome.unwrap_or_else(|error| user.complain(format!("at last: {error}")));
        });
        must("calm", self.simulation.run())
    }

    fn check(&self) -> Result<Tally, String> {
        let mut notes = self.notes.lock().unwrap();
        notes.wrong.take().map_or(Ok(()), Err)?;
        let history = self.recorder.history();
        must("history", history.check_steps())?;
        must("stores", self.simulation.verify_stores())?;
        // Data that is newer than a list was written under that list, or a later one.
        let states: Vec<_> = notes.states.values().collect();
        for (at, (list, before)) in states.iter().enumerate() {
            let written_since =
                states[at..].iter().filter_map(|(_, data)| *data).filter(|data| Some(*data) != *before);
            if let Some((counter, under)) =
                written_since.clone().find(|(_, under)| under.version < list.version)
            {
                return Err(format!(
                    "data {counter} came under list {} after list {}",
                    under.version, list.version
                ));
            }
        }
        Ok(Tally::from(&*history))
    }
}

/// Somebody is about to let the guest in.
struct Grant(Arc<Mutex<Notes>>);

impl Grant {
    fn begin(notes: &Arc<Mutex<Notes>>) -> Self {
        let mut known = notes.lock().unwrap();
        known.guest_is_out = false;
        known.grants = (known.grants.0 + 1, known.grants.1 + 1);
        Self(notes.clone())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.0.lock().unwrap().grants.1 -= 1;
    }
}

struct User {
    seed: u64,
    items: Items,
    host: Host,
    dice: Dice,
    rng: SeedRng,
    recorder: Recorder,
    notes: Arc<Mutex<Notes>>,
}

impl User {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn complain(&self, wrong: String) {
        self.notes().wrong.get_or_insert(wrong);
    }

    async fn works(mut self, operations: usize) {
        for _ in 0..operations {
            let pause = self.dice.within(0..=2000);
            self.host.sleep(Duration::from_millis(pause)).await;
            // Now and then somebody loses patience: his future is dropped in the middle.
            let patience = if self.dice.permille(150) { self.dice.within(1..=800) } else { 1 << 22 };
            let host = self.host.clone();
            let alarm = core::pin::pin!(host.sleep(Duration::from_millis(patience)));
            let operation = core::pin::pin!(self.operate());
            let _whoever_was_first = select(operation, alarm).await;
        }
    }

    async fn operate(&mut self) {
        let draw = self.dice.below(10);
        // An error is no violation: the network may be down, or somebody else was faster.
        match (self.seed, draw) {
            (OWNER, 0..6) if self.creates().await => {}
            (OWNER | MANAGER, 0..3) => drop(self.dismisses().await),
            (OWNER | MANAGER, 3..6) => drop(self.lets_in().await),
            (_, 6..8) => drop(self.reads().await),
            _ => drop(self.writes().await),
        }
    }

    /// Creates the item, if it is not there yet.
    async fn creates(&mut self) -> bool {
        let call = self.calls();
        let granted =
            [grantee(MANAGER, Rights::ALL), grantee(WRITER, Rights::WRITE), grantee(GUEST, Rights::WRITE)];
        match self.items.create(NAME, &granted, self.host.now(), &mut self.rng).await {
            Ok(state) => self.saw(call, &state),
            Err(AclError::AlreadyExists(_)) => return false,
            Err(_) => {}
        }
        true
    }

    async fn finishes(&mut self) -> Result<(), String> {
        self.creates().await;
        must("dismiss", self.dismisses().await)?;
        must("let in", self.lets_in().await)?;
        must("write", self.writes().await)?;
        must("read", self.reads().await)
    }

    async fn dismisses(&mut self) -> Result<(), AclError> {
        let call = self.calls();
        let revocation = *self.dice.choose(&[Revocation::Lazy, Revocation::Eager]);
        let (now, guest) = (self.host.now(), identity(GUEST).party());
        let grants = self.notes().grants;
        match self.items.revoke(item(), guest, revocation, now, &mut self.rng).await {
            Ok(revoked) => self.is_out(call, &revoked.state, grants),
            Err(AclError::NotReencrypted { state, .. }) => self.is_out(call, &state, grants),
            // He is out already.
            Err(AclError::Change(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A dismissal has its certificate: nothing that was begun before it lets the guest in, unless somebody was at it meanwhile.
    fn is_out(&self, call: OperationId, state: &ItemState, grants: (u64, usize)) {
        self.saw(call, state);
        let mut notes = self.notes();
        notes.guest_is_out |= grants.1 == 0 && notes.grants == grants;
    }

    async fn lets_in(&mut self) -> Result<(), AclError> {
        let _running = Grant::begin(&self.notes);
        let call = self.calls();
        let granted = [grantee(GUEST, Rights::WRITE)];
        let history = *self.dice.choose(&[History::Full, History::Omitted]);
        let state = self.items.grant(item(), &granted, history, self.host.now(), &mut self.rng).await?;
        self.saw(call, &state);
        Ok(())
    }

    async fn reads(&mut self) -> Result<(), AclError> {
        let out_before = self.seed == GUEST && self.notes().guest_is_out;
        let call = self.calls();
        let state = match self.items.state(item(), None, self.host.now()).await {
            Err(AclError::NoSuchItem(_)) => {
                self.recorder.history().answer(call, Seen::default());
                return Ok(());
            }
            state => state?,
        };
        if out_before && self.notes().guest_is_out {
            self.complain("whoever was dismissed was served".to_owned());
        }
        self.note(&state);
        self.recorder.history().answer(call, seen(&state));
        let Some(data) = &state.data else { return Ok(()) };
        match self.items.open(&state.acl, data, self.host.now()).await {
            Ok(opened) => self.check_content(&opened.plaintext, opened.writer),
            // A newcomer without history does not have the key of what was written before.
            Err(AclError::Key(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn check_content(&self, plaintext: &[u8], writer: PartyId) {
        let number =
            plaintext.try_into().map(u64::from_le_bytes).ok().and_then(|number| usize::try_from(number).ok());
        let begun = number.and_then(|number| self.notes().begun.get(number).copied());
        match begun {
            None => self.complain("a content that nobody wrote".to_owned()),
            Some((_, true)) => self.complain("what a dismissed writer began to write".to_owned()),
            // Whoever encrypts it anew becomes its writer.
            Some((by, false))
                if by == writer || [OWNER, MANAGER].map(|seed| identity(seed).party()).contains(&writer) => {}
            Some(_) => self.complain("a content under another's name".to_owned()),
        }
    }

    async fn writes(&mut self) -> Result<(), AclError> {
        let (number, is_out) = {
            let mut notes = self.notes();
            notes.begun.push((identity(self.seed).party(), false));
            (notes.begun.len() - 1, self.seed == GUEST && notes.guest_is_out)
        };
        let content = (number as u64).to_le_bytes();
        let written = self.items.write(item(), &content, self.host.now(), &mut self.rng).await;
        {
            let mut notes = self.notes();
            notes.begun[number].1 = is_out && notes.guest_is_out;
        }
        let written = written?;
        if let Err(error) = written.certificate.verify(&self.items.client().membership()) {
            self.complain(format!("a certificate that proves nothing: {error}"));
        }
        Ok(())
    }

    /// An operation begins that will see a state. What it writes, if it does, is not the history's: others may write the same at the same
    /// time, and what became of it is seen by the states alone.
    fn calls(&self) -> OperationId {
        self.recorder.history().call(&format!("party {}", self.seed), NAME, None)
    }

    fn saw(&self, call: OperationId, state: &ItemState) {
        self.note(state);
        self.recorder.history().answer(call, seen(state));
    }

    fn note(&self, state: &ItemState) {
        if let Err(error) = state.certificate.verify(&self.items.client().membership()) {
            self.complain(format!("a certificate that proves nothing: {error}"));
        }
        let entries = state.certificate.state().entries();
        entries.iter().for_each(|entry| self.recorder.history().allow(entry.record));
        let under = state.data.as_ref().map(|data| (data.record().counter(), data.record().acl()));
        let sequence = state.certificate.state().sequence();
        self.notes().states.insert(sequence, (state.acl.reference(), under));
    }
}

fn seen(state: &ItemState) -> Seen {
    let state = state.certificate.state();
    let entries = state.entries().iter().map(|entry| (entry.slot, (entry.version, entry.record)));
    Seen { version: state.sequence(), entries: entries.collect() }
}
