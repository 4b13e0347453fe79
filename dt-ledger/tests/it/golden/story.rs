//! The story: a plant's life in which everything that can happen does.

use std::sync::Arc;

use dt_ledger::testing::Fixture;
use dt_ledger::{
    Approval, Call, Certificate, CreateTwin, Credential, LedgerStore, Organisation, Policy, Proposal,
    Receipt, State as _, TwinCall, proposal_id, twin_id,
};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, Signed, Signer as _, Timestamp, TwinId};

use super::random::Dice;
use crate::support::*;

/// The height at which the story ends.
pub(super) const END: u64 = 240;
/// Made once by OpenSSL, for party 60 and organisation 0.
const X509: &[u8] = include_bytes!("../data/openssl.der");

pub(super) struct Story {
    pub(super) plant: Plant,
}

/// Tells the story in `store`, and says of which chain it is.
pub(crate) fn story(store: Arc<dyn LedgerStore>) -> Fixture {
    let story = Story { plant: Plant::over(Fixture::new(store, 3, 4)) };
    let mut dice = Dice(2024);
    story.members();
    story.nodes();
    story.votes();
    story.thrown(&mut dice, 60);
    story.rights();
    story.data();
    story.edits();
    story.thrown(&mut dice, 130);
    story.rules();
    story.calls();
    story.thrown(&mut dice, END - 30);
    story.twins();
    story.thrown(&mut dice, END);
    story.plant.chain
}

impl Story {
    pub(super) fn yes(&self, who: &Identity, call: Call) -> Receipt {
        let what = format!("{call:?}");
        self.plant.chain.apply(who, vec![call]).unwrap_or_else(|reason| panic!("{what}: {}", reason.rule()))
    }

    pub(super) fn no(&self, who: &Identity, call: Call, rule: &str) {
        let what = format!("{call:?}");
        let reason = self.plant.chain.apply(who, vec![call]).expect_err(&what);
        assert_eq!(reason.rule(), rule, "{what}");
    }

    pub(super) fn does(&self, who: &Identity, call: TwinCall) -> Receipt {
        self.yes(who, self.plant.on(call))
    }

    pub(super) fn fails(&self, who: &Identity, call: TwinCall, rule: &str) {
        self.no(who, self.plant.on(call), rule);
    }

    fn certificate(&self, authority: &Identity, party: &Identity, millis: u64) -> Credential {
        let now = self.plant.chain.now();
        let certificate = Certificate {
            chain: self.plant.chain.replica().chain(),
            party: party.party(),
            name: name("temporary"),
            encryption_key: party.encryption_key(),
            not_before: now,
            not_after: Timestamp::from_millis(now.as_millis() + millis),
        };
        Signed::new(certificate, authority).unwrap().into_envelope().into()
    }

    /// Enrolment, renewal, the end of a certificate, revocation, nodes.
    fn members(&self) {
        let Plant { chain, owner, maintainer, .. } = &self.plant;
        let authority = chain.authority(0);
        let [temporary, leaver] = [20, 21].map(identity);
        let register = |by: &Identity, party: &Identity, millis| Call::Register {
            certificate: self.certificate(by, party, millis),
        };
        self.yes(&temporary, register(&authority, &temporary, 50));
        self.no(&temporary, register(&authority, &temporary, 50), "membership.already-registered");
        self.no(&temporary, register(&leaver, &temporary, 99), "membership.bad-certificate");
        self.yes(&temporary, register(&authority, &temporary, 100));
        self.yes(&leaver, register(&authority, &leaver, 100));
        self.yes(&temporary, Call::RegisterNode { endpoints: vec![uri("tcp://temporary")] });
        self.yes(&leaver, Call::RegisterNode { endpoints: vec![uri("tcp://leaver")] });
        self.yes(&leaver, Call::RevokeCertificate { party: leaver.party() });
        chain.wait(100);
        let visitor = TwinCall::AssignRole { party: temporary.party(), role: name("visitor") };
        self.fails(owner, visitor, "membership.unknown-party");
        self.yes(&authority, Call::RevokeCertificate { party: temporary.party() });
        self.no(&authority, Call::RevokeCertificate { party: leaver.party() }, "membership.unknown-party");
        self.no(owner, Call::RevokeCertificate { party: maintainer.party() }, "authorization.not-yours");
        chain.wait(1);
        self.yes(&leaver, register(&chain.authority(1), &leaver, 1_000_000));
        let x509 = Credential::X509 {
            authority: authority.party(),
            certificate: X509.into(),
            encryption_key: leaver.encryption_key(),
        };
        self.no(&leaver, Call::Register { certificate: x509 }, "membership.bad-certificate");
        self.yes(owner, Call::RotateEncryptionKey { key: temporary.encryption_key() });
        self.no(
            &authority,
            Call::RotateEncryptionKey { key: owner.encryption_key() },
            "membership.unknown-party",
        );
        self.yes(owner, Call::RegisterNode { endpoints: vec![uri("tcp://a"), uri("tcp://b")] });
        self.no(owner, Call::RegisterNode { endpoints: vec![] }, "form.not-canonical");
        self.yes(owner, Call::RetireNode);
        self.no(owner, Call::RetireNode, "membership.unknown-party");
    }

    /// The DHT is founded, and one of its nodes is replaced.
    fn nodes(&self) {
        let Plant { chain, owner, maintainer, agent, .. } = &self.plant;
        let [first, second] = [0, 1].map(|number| chain.authority(number));
        let found = |replicas, max_faulty| Proposal::FoundStorage { replicas, max_faulty };
        let propose = |proposal| Call::Propose { proposal, millis: 10_000 };
        let node = |at: &str| Call::RegisterNode { endpoints: vec![uri(at)] };
        self.no(&first, propose(found(3, 1)), "form.not-canonical");
        self.yes(owner, node("tcp://owner"));
        let id = self.proposes(&first, found(1, 0));
        self.yes(&second, Call::Vote { proposal: id });
        self.no(&first, propose(found(1, 0)), "nodes.storage-founded");
        self.yes(agent, node("tcp://agent"));
        self.yes(owner, Call::RetireNode);
        self.no(maintainer, Call::HandOver { epoch: 2 }, "nodes.nothing-to-hand-over");
        self.yes(owner, Call::HandOver { epoch: 2 });
        self.yes(agent, Call::HandOver { epoch: 2 });
        self.yes(agent, Call::HandOver { epoch: 4 });
    }

    fn proposes(&self, by: &Identity, proposal: Proposal) -> Digest {
        let receipt = self.yes(by, Call::Propose { proposal, millis: 10_000 });
        proposal_id(&receipt.transaction, 0)
    }

    /// Organisations, validators, and every rule by which they decide.
    fn votes(&self) {
        let Plant { chain, owner, .. } = &self.plant;
        let [first, second, third] = [0, 1, 2].map(|number| chain.authority(number));
        let (fourth, organisation) = Fixture::organisation(9);
        let vote = |proposal| Call::Vote { proposal };
        let key = |number| chain.validator(number).party();
        let propose = |proposal| Call::Propose { proposal, millis: 10_000 };

        let two_thirds = self.proposes(&first, Proposal::SetApproval(Approval::TwoThirds));
        self.no(&first, vote(two_thirds), "vote.already-voted");
        self.no(owner, vote(two_thirds), "membership.not-an-authority");
        self.no(&second, Call::Withdraw { proposal: two_thirds }, "authorization.not-yours");
        self.yes(&second, vote(two_thirds));
        self.no(&third, vote(two_thirds), "vote.unknown-proposal");
        for approval in [Approval::Unanimous, Approval::Majority] {
            let id = self.proposes(&third, Proposal::SetApproval(approval));
            self.yes(&first, vote(id));
            self.yes(&second, vote(id));
        }
        let withdrawn = self.proposes(&second, Proposal::SetSeats(9));
        self.yes(&second, Call::Withdraw { proposal: withdrawn });
        let late = self.proposes(&second, Proposal::SetSeats(8));
        chain.wait(10_000);
        self.no(&first, vote(late), "vote.expired");
        for _ in 0..4 {
            let _ = self.proposes(&second, Proposal::SetSeats(7));
        }
        self.no(&second, propose(Proposal::SetSeats(7)), "limits.full");
        self.no(owner, propose(Proposal::SetApproval(Approval::Majority)), "membership.not-an-authority");
        self.no(&first, propose(Proposal::SetSeats(1)), "membership.too-many-validators");
        self.no(&first, propose(Proposal::SetSeats(0)), "membership.last-one");

        let organisation = Organisation { validators: vec![key(5)], ..organisation };
        let add = || Proposal::AddOrganisation(organisation.clone());
        let id = self.proposes(&first, add());
        self.yes(&third, vote(id));
        self.no(&first, propose(add()), "membership.organisation-exists");
        let unknown = Proposal::RemoveOrganisation(owner.party());
        self.no(&first, propose(unknown), "membership.unknown-organisation");
        let set = |keys: &[u64]| Call::SetValidators { validators: keys.iter().copied().map(key).collect() };
        self.no(&fourth, set(&[0]), "membership.validator-exists");
        self.no(&fourth, set(&[5, 6, 7]), "membership.too-many-validators");
        self.no(owner, set(&[5]), "membership.not-an-authority");
        self.yes(&fourth, set(&[6]));
        self.yes(&second, set(&[1, 4]));
        let id = self.proposes(&first, Proposal::RemoveOrganisation(fourth.party()));
        self.yes(&second, vote(id));
        self.yes(&third, vote(id));
        let id = self.proposes(&first, Proposal::SetSeats(3));
        self.yes(&third, vote(id));
    }

    /// Roles and policies.
    fn rights(&self) {
        let Plant { owner, maintainer, auditor, .. } = &self.plant;
        let assign = |role: &str| TwinCall::AssignRole { party: auditor.party(), role: name(role) };
        let unassign = |role: &str| TwinCall::UnassignRole { party: auditor.party(), role: name(role) };
        self.does(owner, assign("inspector"));
        self.fails(maintainer, assign("inspector"), "authorization.not-permitted");
        self.fails(owner, assign(dt_ledger::OWNER), "authorization.owner-role");
        self.does(owner, unassign("inspector"));
        self.fails(owner, unassign("inspector"), "authorization.role-not-held");
        let set = |at: &str| TwinCall::SetPolicy { component: Some(component(at)), policy: Policy::none() };
        let remove = |at: &str| TwinCall::RemovePolicy { component: component(at) };
        self.does(owner, set("conveyor"));
        self.fails(owner, set("nowhere"), "specification.unknown-component");
        self.fails(owner, add_document(Some("motor")), "authorization.not-permitted");
        self.fails(maintainer, remove("conveyor"), "authorization.not-permitted");
        self.does(owner, remove("conveyor"));
        self.does(owner, set("tank"));
        self.does(owner, TwinCall::SetPolicy { component: None, policy: Policy::paper_default() });
        self.does(owner, set("line"));
        self.does(owner, remove("line"));
    }

    /// A twin's end, other hands, another agent; a certificate of a company's PKI.
    fn twins(&self) {
        let Plant { chain, owner, maintainer, agent, outsider, .. } = &self.plant;
        let create = |device: &str, aml: &[u8], policy| CreateTwin {
            device_name: name("second"),
            device_id: name(device),
            aml: aml.to_vec(),
            policy,
            roles: [].into(),
            agent: None,
        };
        let plant = dt_ledger::testing::PLANT.as_bytes();
        let second = create("second", plant, Policy::paper_default());
        let twin = twin_id(&chain.replica().chain(), &owner.party(), &second.device_id);
        self.yes(owner, Call::CreateTwin(second.clone()));
        self.no(owner, Call::CreateTwin(second), "twin.exists");
        let bad = create("bad", b"<CAEXFile>", Policy::none());
        self.no(owner, Call::CreateTwin(bad), "specification.malformed");
        let set = |agent: Option<&Identity>| TwinCall::SetAgent { agent: agent.map(Identity::party) };
        self.does(owner, set(None));
        self.does(owner, set(Some(agent)));
        self.fails(maintainer, set(Some(maintainer)), "authorization.not-the-owner");
        let transfer = |to: &Identity| TwinCall::TransferOwnership { to: to.party() };
        self.fails(maintainer, transfer(maintainer), "authorization.not-the-owner");
        self.does(owner, transfer(outsider));
        self.fails(owner, TwinCall::Decommission, "authorization.not-the-owner");
        self.does(outsider, transfer(owner));
        let on = |twin: TwinId, call| Call::Twin { twin, call };
        self.yes(owner, on(twin, TwinCall::Decommission));
        self.no(owner, on(twin, add_document(None)), "twin.decommissioned");
        self.no(owner, on([9; 32].into(), TwinCall::Decommission), "twin.unknown");

        let company = identity(60);
        let certificate = Credential::X509 {
            authority: chain.authority(0).party(),
            certificate: X509.into(),
            encryption_key: company.encryption_key(),
        };
        let valid = certificate.open(&chain.replica().chain()).unwrap().not_before;
        chain.wait(valid.since(chain.now()).as_millis().try_into().unwrap());
        self.yes(&company, Call::Register { certificate });
        assert!(chain.state().active_party(&company.party(), chain.now()).unwrap().is_some());
    }
}
