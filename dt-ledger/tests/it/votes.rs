//! How the organisations change who they are: thresholds, votes, and what cannot be voted away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Approval, Call, EventKind, MAX_OPEN_PROPOSALS, MAX_PROPOSAL_MILLIS, MemoryStore,
    Organisation, Proposal, Reason, Resource, State as _, proposal_id,
};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, PartyId, Signer as _};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::*;

const HOUR: u64 = 3_600_000;

fn chain(organisations: u64, validators: u64) -> Fixture {
    Fixture::new(Arc::new(MemoryStore::default()), organisations, validators)
}

fn propose(chain: &Fixture, by: &Identity, proposal: Proposal) -> Result<Digest, Reason> {
    let receipt = chain.apply(by, vec![Call::Propose { proposal, millis: HOUR }])?;
    Ok(proposal_id(&receipt.transaction, 0))
}

fn vote(chain: &Fixture, by: &Identity, proposal: Digest) -> Result<(), Reason> {
    chain.apply(by, vec![Call::Vote { proposal }]).map(drop)
}

/// Proposes it, and has one after the other agree until it is enacted; says how many it took.
fn agree(chain: &Fixture, by: &[Identity], proposal: Proposal) -> usize {
    let id = propose(chain, &by[0], proposal).expect("can be proposed");
    for (votes, authority) in (1..).zip(&by[1..]) {
        if chain.state().proposal(&id).unwrap().is_none() {
            return votes;
        }
        vote(chain, authority, id).expect("may vote");
    }
    assert!(chain.state().proposal(&id).unwrap().is_none(), "enacted when all agree");
    by.len()
}

fn authorities(chain: &Fixture, count: u64) -> Vec<Identity> {
    (0..count).map(|number| chain.authority(number)).collect()
}

fn rule<T>(result: Result<T, Reason>) -> &'static str {
    result.map(drop).expect_err("is refused").rule()
}

fn takes_part(chain: &Fixture, who: &Identity) -> bool {
    let transaction = chain.sign(who, vec![Call::RetireNode]);
    match chain.admit(&transaction) {
        Ok(_) => true,
        Err(AdmissionError::UnknownSender(party)) if party == who.party() => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn as_many_must_agree_as_the_rule_says() {
    for count in 1..=7u64 {
        let first = |enough: &dyn Fn(u64) -> bool| (1..=count).find(|votes| enough(*votes)).unwrap() as usize;
        for (approval, needed) in [
            (Approval::Majority, first(&|votes| 2 * votes > count)),
            (Approval::TwoThirds, first(&|votes| 3 * votes > 2 * count)),
            (Approval::Unanimous, count as usize),
        ] {
            let chain = chain(count, 1);
            let all = authorities(&chain, count);
            agree(&chain, &all, Proposal::SetApproval(approval));
            assert_eq!(agree(&chain, &all, Proposal::SetSeats(9)), needed, "{approval:?} of {count}");
            assert_eq!(chain.state().consortium().unwrap().seats, 9);
        }
    }
    assert_eq!(Approval::TwoThirds.needed(u64::MAX), u64::MAX / 3 * 2 + 1, "no overflow");
}

#[test]
fn an_organisation_comes_and_goes_with_all_that_is_its_own() {
    let chain = chain(3, 4);
    let all = authorities(&chain, 3);
    let (newcomer, organisation) = Fixture::organisation(9);
    let key = chain.validator(77).party();
    let organisation = Organisation { validators: vec![key], ..organisation };
    let theirs = identity(78);
    assert!(!takes_part(&chain, &newcomer));
    assert_eq!(agree(&chain, &all, Proposal::AddOrganisation(organisation.clone())), 2);
    let state = chain.state();
    assert_eq!(state.organisations().unwrap().len(), 4);
    assert!(state.validators().unwrap().contains(&key) && state.validators().unwrap().is_sorted());
    assert_eq!(state.organisation(&newcomer.party()).unwrap().unwrap().since, chain.now());

    // It enrols a party, which runs a node and owns a twin.
    let certificate = dt_ledger::Certificate {
        chain: chain.replica().chain(),
        party: theirs.party(),
        name: name("theirs"),
        encryption_key: theirs.encryption_key(),
        not_before: chain.now(),
        not_after: dt_model::Timestamp::MAX,
    };
    let certificate = dt_model::Signed::new(certificate, &newcomer).unwrap().into_envelope().into();
    chain.apply(&theirs, vec![Call::Register { certificate }]).unwrap();
    chain.apply(&theirs, vec![Call::RegisterNode { endpoints: vec![uri("x")] }]).unwrap();
    let twin = chain.twin(&theirs, None, &[]);
    let open = propose(&chain, &newcomer, Proposal::SetSeats(5)).unwrap();
    let other = propose(&chain, &all[0], Proposal::SetSeats(6)).unwrap();
    vote(&chain, &newcomer, other).unwrap();

    assert_eq!(agree(&chain, &all, Proposal::RemoveOrganisation(newcomer.party())), 3, "of four");
    let state = chain.state();
    assert!(!takes_part(&chain, &newcomer) && !takes_part(&chain, &theirs));
    let read = dt_model::Permission::new(dt_model::Operation::Read, dt_model::DataClass::Document);
    let judged = state.authorize(&twin, &theirs.party(), read, None, chain.now());
    assert!(matches!(judged, Err(dt_ledger::CallError::Refused(Reason::UnknownParty(_)))));
    assert!(state.nodes().unwrap().nodes.is_empty());
    assert_eq!(state.validators().unwrap(), chain.replica().genesis().validators());
    assert!(state.proposal(&open).unwrap().is_none(), "its proposals fall with it");
    let traced = chain.replica().trace(&Resource::Organisation(newcomer.party())).unwrap();
    assert_eq!(traced.len(), 2);

    // Taken in again, it finds its party, but its vote is gone.
    assert_eq!(agree(&chain, &all, Proposal::AddOrganisation(organisation)), 2);
    assert!(takes_part(&chain, &theirs));
    vote(&chain, &all[1], other).unwrap();
    assert!(
        chain.state().proposal(&other).unwrap().is_some(),
        "two of four, for the third is of a former term"
    );
    vote(&chain, &newcomer, other).unwrap();
    assert_eq!(chain.state().consortium().unwrap().seats, 6);
}

#[test]
fn only_organisations_vote_each_once_and_in_time() {
    let plant = Plant::over(chain(4, 1));
    let chain = &plant.chain;
    let all = authorities(chain, 4);
    assert_eq!(rule(propose(chain, &plant.owner, Proposal::SetSeats(5))), "membership.not-an-authority");
    let id = propose(chain, &all[0], Proposal::SetSeats(5)).unwrap();
    assert_eq!(rule(vote(chain, &plant.owner, id)), "membership.not-an-authority");
    assert_eq!(rule(vote(chain, &all[0], id)), "vote.already-voted", "the proposer's vote counts already");
    vote(chain, &all[1], id).unwrap();
    assert_eq!(rule(vote(chain, &all[1], id)), "vote.already-voted");
    assert_eq!(rule(vote(chain, &all[1], digest(1))), "vote.unknown-proposal");
    assert_eq!(chain.state().proposal(&id).unwrap().unwrap().votes.len(), 2);
    chain.wait(HOUR - 1);
    let in_time = chain.sign(&all[2], vec![Call::Vote { proposal: id }]);
    chain.admit(&in_time).unwrap();
    chain.wait(1);
    assert_eq!(rule(vote(chain, &all[2], id)), "vote.expired");
    assert_eq!(chain.state().consortium().unwrap().seats, 2, "nothing came of it");

    // A transaction of several votes is several votes of one.
    let id = propose(chain, &all[0], Proposal::SetSeats(5)).unwrap();
    let twice = vec![Call::Vote { proposal: id }, Call::Vote { proposal: id }];
    assert_eq!(rule(chain.apply(&all[1], twice)), "vote.already-voted");
    assert_eq!(rule(chain.apply(&all[1], vec![Call::Withdraw { proposal: id }])), "authorization.not-yours");
    chain.apply(&all[0], vec![Call::Withdraw { proposal: id }]).unwrap();
    assert_eq!(rule(vote(chain, &all[1], id)), "vote.unknown-proposal");
}

#[test]
fn proposals_are_few_and_do_not_stand_for_ever() {
    let chain = chain(3, 1);
    let all = authorities(&chain, 3);
    for millis in [0, MAX_PROPOSAL_MILLIS + 1, u64::MAX] {
        let call = Call::Propose { proposal: Proposal::SetSeats(5), millis };
        assert_eq!(rule(chain.apply(&all[0], vec![call])), "form.not-canonical");
    }
    let call = Call::Propose { proposal: Proposal::SetSeats(5), millis: MAX_PROPOSAL_MILLIS };
    chain.apply(&all[0], vec![call]).unwrap();
    let rest: Vec<_> =
        (1..MAX_OPEN_PROPOSALS).map(|_| propose(&chain, &all[0], Proposal::SetSeats(5)).unwrap()).collect();
    assert_eq!(rule(propose(&chain, &all[0], Proposal::SetSeats(5))), "limits.full");
    propose(&chain, &all[1], Proposal::SetSeats(5)).expect("another has room of its own");
    chain.wait(HOUR);
    propose(&chain, &all[0], Proposal::SetSeats(5)).expect("what expired makes room");
    let state = chain.state();
    assert!(rest.iter().all(|id| state.proposal(id).unwrap().is_none()));
    assert_eq!(state.proposals().unwrap().len(), 3);
    assert_eq!(state.organisation(&all[0].party()).unwrap().unwrap().open.len(), 2);
}

#[test]
fn what_cannot_be_is_neither_proposed_nor_enacted() {
    let chain = chain(3, 3);
    let all = authorities(&chain, 3);
    let (_, stranger) = Fixture::organisation(9);
    let refused = |proposal| rule(propose(&chain, &all[0], proposal));
    let with =
        |validators: Vec<PartyId>| Proposal::AddOrganisation(Organisation { validators, ..stranger.clone() });
    let member = Organisation { authority: all[1].party(), ..stranger.clone() };
    assert_eq!(refused(Proposal::AddOrganisation(member)), "membership.organisation-exists");
    let key = chain.validator(77).party();
    assert_eq!(refused(with(vec![key, key])), "membership.validator-exists");
    assert_eq!(refused(with(vec![chain.validator(1).party()])), "membership.validator-exists");
    let three = (77..80).map(|number| chain.validator(number).party()).collect();
    assert_eq!(refused(with(three)), "membership.too-many-validators");
    assert_eq!(refused(Proposal::RemoveOrganisation(key)), "membership.unknown-organisation");
    assert_eq!(refused(Proposal::SetSeats(0)), "membership.last-one");

    // What two of them agree on becomes impossible before the second one votes.
    let late = propose(&chain, &all[0], with(vec![key])).unwrap();
    chain.apply(&all[2], vec![Call::SetValidators { validators: vec![key] }]).unwrap();
    assert_eq!(rule(vote(&chain, &all[1], late)), "membership.validator-exists");
    assert_eq!(chain.state().proposal(&late).unwrap().unwrap().votes.len(), 1, "the vote does not count");
    chain.apply(&all[2], vec![Call::SetValidators { validators: vec![] }]).unwrap();
    vote(&chain, &all[1], late).unwrap();
    assert!(chain.state().validators().unwrap().contains(&key));

    let two = (80..82).map(|number| chain.validator(number).party()).collect();
    let seats = propose(&chain, &all[0], Proposal::SetSeats(1)).unwrap();
    chain.apply(&all[1], vec![Call::SetValidators { validators: two }]).unwrap();
    vote(&chain, &all[1], seats).unwrap();
    assert_eq!(rule(vote(&chain, &all[2], seats)), "membership.too-many-validators", "three of four");
}

#[test]
fn the_last_organisation_and_the_last_validator_stay() {
    let one = chain(1, 1);
    let authority = one.authority(0);
    let remove = |who: &Identity| Proposal::RemoveOrganisation(who.party());
    assert_eq!(rule(propose(&one, &authority, remove(&authority))), "membership.last-one");
    let none = || vec![Call::SetValidators { validators: vec![] }];
    assert_eq!(rule(one.apply(&authority, none())), "membership.last-one");

    // Organisation 0 runs the only validator.
    let two = chain(2, 1);
    let all = authorities(&two, 2);
    assert_eq!(rule(propose(&two, &all[1], remove(&all[0]))), "membership.last-one");
    let key = two.validator(77).party();
    two.apply(&all[1], vec![Call::SetValidators { validators: vec![key] }]).unwrap();
    let id = propose(&two, &all[1], remove(&all[0])).unwrap();
    let mine = propose(&two, &all[0], remove(&all[0])).unwrap();
    vote(&two, &all[0], id).expect("an organisation may agree to its own removal");
    assert!(!takes_part(&two, &all[0]));
    assert!(two.state().proposal(&mine).unwrap().is_none());
    assert_eq!(two.state().validators().unwrap(), [key]);
}

#[test]
fn an_organisation_names_its_own_validators_and_no_others() {
    let plant = Plant::over(chain(2, 4));
    let Plant { chain, owner, .. } = &plant;
    let authority = chain.authority(0);
    let set =
        |who: &Identity, validators: Vec<PartyId>| chain.apply(who, vec![Call::SetValidators { validators }]);
    let [a, b, c] = [77, 78, 79].map(|number| chain.validator(number).party());
    assert_eq!(rule(set(owner, vec![a])), "membership.not-an-authority");
    assert_eq!(rule(set(&authority, vec![a, b, c])), "membership.too-many-validators");
    assert_eq!(rule(set(&authority, vec![a, a])), "membership.validator-exists");
    let of_another = chain.validator(1).party();
    assert_eq!(rule(set(&authority, vec![a, of_another])), "membership.validator-exists");
    let before = chain.state().validators().unwrap();
    let height = set(&authority, vec![b, chain.validator(0).party()]).map(|_| chain.replica().tip().height);
    let state = chain.state();
    let mut expected = before;
    expected.retain(|key| *key != chain.validator(2).party());
    expected.push(b);
    expected.sort_unstable();
    assert_eq!(state.validators().unwrap(), expected);
    let block = chain.replica().block(height.unwrap()).unwrap().unwrap();
    assert_eq!(block.events[0].kind, EventKind::ValidatorsChanged(authority.party(), 4));
    assert_eq!(chain.replica().trace(&Resource::Organisation(authority.party())).unwrap().len(), 1);
}

#[test]
fn a_rule_that_changes_counts_for_what_is_open() {
    let chain = chain(4, 1);
    let all = authorities(&chain, 4);
    agree(&chain, &all, Proposal::SetApproval(Approval::Unanimous));
    let id = propose(&chain, &all[0], Proposal::SetSeats(5)).unwrap();
    for authority in &all[1..3] {
        vote(&chain, authority, id).unwrap();
    }
    assert_eq!(rule(vote(&chain, &all[0], id)), "vote.already-voted");
    agree(&chain, &all, Proposal::SetApproval(Approval::Majority));
    assert_eq!(chain.state().consortium().unwrap().seats, 2, "nothing happens by itself");
    vote(&chain, &all[0], id).expect("what there is suffices now");
    assert_eq!(chain.state().consortium().unwrap().seats, 5);

    // And the other way round: what would have been enough is not any more.
    let id = propose(&chain, &all[0], Proposal::SetSeats(6)).unwrap();
    vote(&chain, &all[1], id).unwrap();
    agree(&chain, &all, Proposal::SetApproval(Approval::Unanimous));
    vote(&chain, &all[2], id).unwrap();
    assert_eq!(chain.state().consortium().unwrap().seats, 5);
    vote(&chain, &all[3], id).unwrap();
    assert_eq!(chain.state().consortium().unwrap().seats, 6);
}

#[test]
fn the_vote_of_one_who_left_does_not_count() {
    let chain = chain(5, 1);
    let all = authorities(&chain, 5);
    let id = propose(&chain, &all[0], Proposal::SetSeats(5)).unwrap();
    vote(&chain, &all[4], id).unwrap();
    agree(&chain, &all, Proposal::RemoveOrganisation(all[4].party()));
    vote(&chain, &all[1], id).unwrap();
    let record = chain.state().proposal(&id).unwrap().expect("two of four");
    assert_eq!(
        record.votes.keys().copied().collect::<BTreeSet<_>>(),
        [&all[0], &all[1]].map(|a| a.party()).into()
    );
    vote(&chain, &all[2], id).unwrap();
    assert!(chain.state().proposal(&id).unwrap().is_none());
}

/// What somebody does, by numbers.
#[derive(Debug, Clone)]
enum Step {
    Add(u64),
    Remove(u64),
    Approval(Approval),
    Vote(usize),
    Withdraw(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        2 => (0..8u64).prop_map(Step::Add),
        3 => (0..8u64).prop_map(Step::Remove),
        1 => dt_ledger::testing::approval().prop_map(Step::Approval),
        9 => (0..12usize).prop_map(Step::Vote),
        1 => (0..12usize).prop_map(Step::Withdraw),
        1 => (0..HOUR).prop_map(Step::Wait),
    ];
    (0..8u64, step)
}

/// A proposal that was neither enacted nor withdrawn.
#[derive(Debug, Clone)]
struct Open {
    change: Step,
    proposer: u64,
    end: u64,
    votes: BTreeSet<u64>,
}

/// The votes in plain words. Whoever leaves takes his votes and proposals along at once.
struct Votes {
    members: BTreeSet<u64>,
    approval: Approval,
    /// In the order in which they were made; `None` where one is gone.
    proposals: Vec<Option<Open>>,
    now: u64,
}

impl Votes {
    fn possible(&self, step: &Step) -> bool {
        match step {
            Step::Add(number) => !self.members.contains(number),
            // Organisation 0 has the only validator.
            Step::Remove(number) => *number != 0 && self.members.contains(number),
            _ => true,
        }
    }

    fn suffices(&self, votes: usize) -> bool {
        let all = self.members.len();
        match self.approval {
            Approval::Majority => votes * 2 > all,
            Approval::TwoThirds => votes * 3 > all * 2,
            Approval::Unanimous => votes == all,
        }
    }

    /// Removes the open proposals that are so.
    fn drop_those(&mut self, are: impl Fn(&Open) -> bool) {
        for proposal in &mut self.proposals {
            if proposal.as_ref().is_some_and(&are) {
                *proposal = None;
            }
        }
    }

    /// Whether the step is taken.
    fn take(&mut self, by: u64, step: &Step) -> bool {
        let now = self.now;
        match step {
            Step::Wait(millis) => self.now += millis,
            Step::Withdraw(at) => match self.proposals.get_mut(*at) {
                Some(proposal) if proposal.as_ref().is_some_and(|open| open.proposer == by) => {
                    *proposal = None
                }
                _ => return false,
            },
            Step::Vote(at) => return self.vote(by, *at),
            change => {
                let open =
                    self.proposals.iter().flatten().filter(|open| open.proposer == by && now < open.end);
                if !self.possible(change) || open.count() >= MAX_OPEN_PROPOSALS {
                    return false;
                }
                self.drop_those(|open| open.proposer == by && now >= open.end);
                let votes = BTreeSet::new();
                self.proposals.push(Some(Open {
                    change: change.clone(),
                    proposer: by,
                    end: now + HOUR,
                    votes,
                }));
                return self.vote(by, self.proposals.len() - 1);
            }
        }
        true
    }

    fn vote(&mut self, by: u64, at: usize) -> bool {
        let Some(Some(mut open)) = self.proposals.get(at).cloned() else { return false };
        if self.now >= open.end {
            return false;
        }
        let is_new = open.votes.insert(by);
        if !self.suffices(open.votes.len()) {
            self.proposals[at] = Some(open);
            return is_new;
        }
        if !self.possible(&open.change) {
            return false;
        }
        self.proposals[at] = None;
        match open.change {
            Step::Add(number) => drop(self.members.insert(number)),
            Step::Approval(approval) => self.approval = approval,
            Step::Remove(number) => {
                self.members.remove(&number);
                self.drop_those(|open| open.proposer == number);
                for open in self.proposals.iter_mut().flatten() {
                    open.votes.remove(&number);
                }
            }
            other => panic!("{other:?} is not voted on"),
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn votes_are_what_a_naive_model_says(count in 1..6u64, steps in vec(step(), 1..48)) {
        let chain = chain(count, 1);
        let mut model = Votes {
            members: (0..count).collect(), approval: Approval::Majority, proposals: vec![], now: chain.now().as_millis(),
        };
        let mut ids: Vec<Digest> = vec![];
        for (by, step) in &steps {
            let (authority, _) = Fixture::organisation(*by);
            let at = |index: &usize| ids.get(*index).copied().unwrap_or(Digest::ZERO);
            let change = |proposal| Call::Propose { proposal, millis: HOUR };
            let call = match step {
                Step::Wait(millis) => { chain.wait(*millis); None }
                Step::Add(number) => Some(change(Proposal::AddOrganisation(Fixture::organisation(*number).1))),
                Step::Remove(number) => {
                    Some(change(Proposal::RemoveOrganisation(Fixture::organisation(*number).0.party())))
                }
                Step::Approval(approval) => Some(change(Proposal::SetApproval(*approval))),
                Step::Vote(index) => Some(Call::Vote { proposal: at(index) }),
                Step::Withdraw(index) => Some(Call::Withdraw { proposal: at(index) }),
            };
            if call.is_some() && !model.members.contains(by) {
                prop_assert!(!takes_part(&chain, &authority));
                continue;
            }
            let proposed = model.proposals.len();
            let expected = model.take(*by, step);
            if let Some(call) = call {
                let receipt = chain.apply(&authority, vec![call]);
                prop_assert_eq!(receipt.is_ok(), expected, "{} {:?}: {:?}", by, step, receipt);
                if let (Ok(receipt), true) = (receipt, model.proposals.len() > proposed) {
                    ids.push(proposal_id(&receipt.transaction, 0));
                }
            }
            compare(&chain, &model, &ids)?;
        }
    }
}

fn compare(chain: &Fixture, model: &Votes, ids: &[Digest]) -> Result<(), TestCaseError> {
    let state = chain.state();
    let consortium = state.consortium().unwrap();
    let key = |number: &u64| Fixture::organisation(*number).0.party();
    prop_assert_eq!(&consortium.organisations, &model.members.iter().map(key).collect());
    prop_assert_eq!(consortium.approval, model.approval);
    prop_assert_eq!(state.organisations().unwrap().len(), model.members.len());
    let stored: BTreeMap<_, _> = state.proposals().unwrap().into_iter().collect();
    prop_assert_eq!(stored.len(), model.proposals.iter().flatten().count());
    for (id, proposal) in ids.iter().zip(&model.proposals) {
        let Some(Open { votes, .. }) = proposal else {
            prop_assert!(!stored.contains_key(id));
            continue;
        };
        // Votes of those who left are ignored until the next one is cast.
        let counted = stored[id].votes.iter().filter(|(authority, term)| {
            state.organisation(authority).unwrap().is_some_and(|organisation| organisation.term == **term)
        });
        prop_assert_eq!(
            counted.map(|(authority, _)| *authority).collect::<BTreeSet<_>>(),
            votes.iter().map(key).collect()
        );
    }
    Ok(())
}
