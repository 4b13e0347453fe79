//! What parties without the right, or without good faith, try.
//!
//! Each is tried through the public interface. Two assertions are behind all of it: `thwarted`, for what is signed properly and refused by
//! the contracts, says the rule and that the state is the same to the byte but for the sender's nonce; `barred`, for what is no transaction
//! of the chain at all, says that no proposer takes it, that a block with it is refused in spite of all votes, and that no row changes.
//!
//! | attack | test |
//! |---|---|
//! | without a role: take a twin over, take the owner's role, change the agent, add or end a call, remove a source, … | `whoever_has_no_right_changes_nothing`, `scope::nobody_takes_a_twin_over` |
//! | with the role of a writer: what only the owner or the agent does | `a_writer_is_no_owner_and_no_agent` |
//! | edit outside one's part of the specification; set the policy of an ancestor | `scope::a_right_in_one_part_is_none_in_another`, `policies::*` |
//! | grow a specification beyond its depth or size | `scope::a_specification_grows_neither_too_deep_nor_too_large`, `carrying_much_to_and_fro_is_refused` |
//! | move a call on out of turn, or as another twin's or a former agent | `scope::only_who_stands_in_a_calls_life_moves_it_on`, `calls::*` |
//! | lift a safety rule for one's own call; numbers in disguise | `scope::nobody_lifts_a_safety_rule_for_his_own_call`, `safety::*`, `interlocks::*` |
//! | forge or exchange an author | `admission::nobody_signs_for_another`, `forgery::what_is_signed_for_one_twin_serves_no_other` |
//! | replay: again, on another chain, on another twin; reuse and gaps of nonces | `admission::nothing_is_replayed`, `forgery::what_is_signed_for_one_twin_serves_no_other` |
//! | after its last height | `admission::what_is_over_is_over` |
//! | too many calls, 10 MB, lengths that are not there | `admission::a_transaction_has_its_size`, `forgery::a_body_has_one_spelling` |
//! | 2^64-1 everywhere | `the_largest_numbers_do_no_harm`, `proposers::nobody_votes_for_another_or_twice` |
//! | keys of small order | `forgery::a_key_of_small_order_is_nobody`, `x509::keys_and_signatures_of_other_kinds_are_refused` |
//! | a second form of a signature; a second signature of one body | `forgery::a_signature_has_one_form`, `forgery::of_many_signatures_of_one_body_one_counts` |
//! | another spelling of one value | `forgery::a_body_has_one_spelling`, `admission::no_flipped_bit_or_cut_of_a_transaction_passes` |
//! | certificates: expired, of another authority, for another key or chain | `admission::only_a_proper_certificate_enrols`, `membership::*`, `x509::*` |
//! | after a revocation | `admission::a_revoked_party_does_nothing_and_reads_nothing`, `membership::a_revoked_party_comes_back_only_with_a_later_certificate` |
//! | what was verified before, and may not be any more | `forgery::what_was_admissible_once_is_judged_again` |
//! | a header that does not follow; time that goes back, or ends | `proposers::no_part_of_a_header_is_the_proposers_to_choose`, `blocks::*` |
//! | other transactions under a verified header | `proposers::transactions_are_not_exchanged_between_verify_and_commit` |
//! | blocks beyond the limit | `proposers::no_block_is_too_large`, `blocks::an_oversized_block_is_refused_before_its_work` |
//! | a proposal that was tampered with on disk | `proposers::a_poisoned_proposal_reaches_no_chain` |
//! | any other row that was | `damage::damaged_rows_are_errors`, `broken_stores::*` |
//! | votes of two rounds, of others' names, of who was put out; a fork | `proposers::votes_count_once_…`, `proposers::the_validators_of_who_was_put_out_…`, `proposers::a_fork_needs_the_votes` |
//! | an authority that names others' keys, acts for others' parties, votes twice | `proposers::naming_anothers_key_gives_nothing`, `proposers::nobody_votes_for_another_or_twice`, `votes::*` |
//! | a checkpoint's signatures of another log, or of another height | `proposers::a_checkpoint_of_another_origin_is_none`, `verifier::*` |
//! | a forged signature at the end of a block whose others are applied meanwhile | `cores::one_bad_signature_at_the_end_undoes_all_before_it` |
//! | the floor of another's feed | `nobody_raises_the_floor_of_another_publishers_feed` |

mod admission;
mod damage;
mod forgery;
mod proposers;
mod scope;

use bytes::Bytes;
use dt_ledger::store::{Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Block, BlockError, Call, CallResult, Commit, CommitCertificate, Header, MAINTAINER,
    OWNER, Policy, Resource, State as _, StateKey, Subject, Transaction, TwinCall,
};
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, Permission, Signed, Signer as _, codec};

use crate::support::*;

/// Why `bytes` are not taken into a block; `None` if they are.
fn admission(chain: &Fixture, bytes: impl Into<Bytes>) -> Option<AdmissionError> {
    let (_, mut left) = chain.replica().assemble(vec![bytes.into()], chain.now()).unwrap();
    left.pop().map(|(_, error)| error)
}

/// The same of a transaction in its proper form; if it is not taken, then by nobody ([`barred`]).
fn offered(chain: &Fixture, transaction: &Envelope<Transaction>) -> Option<AdmissionError> {
    admission(chain, bytes_of(transaction))?;
    Some(barred(chain, bytes_of(transaction)))
}

fn sign(transaction: Transaction, signer: &Identity) -> Envelope<Transaction> {
    Signed::new(transaction, signer).unwrap().into_envelope()
}

pub(crate) fn bytes_of(transaction: &Envelope<Transaction>) -> Bytes {
    codec::encode(transaction).into()
}

/// All that a chain stores.
fn rows(chain: &Fixture) -> Vec<Vec<dt_ledger::store::Row>> {
    let view = chain.replica().store().view().unwrap();
    Table::ALL.map(|table| scan_prefix(&*view, table, &[], usize::MAX).unwrap()).into()
}

/// The next block as a proposer without scruples makes it: of these transactions, whatever they are, under a header that fits them.
pub(crate) fn next_block(chain: &Fixture, transactions: Vec<Bytes>) -> Block {
    let (mut block, _) = chain.replica().assemble(Vec::new(), chain.now()).unwrap();
    block.header.transactions_root = dt_model::merkle::root(
        transactions.iter().map(|transaction| dt_model::merkle::leaf_hash(&[transaction])),
    );
    block.transactions = transactions;
    block
}

/// The votes of all validators of the moment, whatever they vote for.
pub(crate) fn votes_for(chain: &Fixture, block: &Block) -> CommitCertificate {
    let height = chain.replica().tip().height + 1;
    let mut votes = chain.certify(&Header { height, ..block.header.clone() });
    for vote in &mut votes.votes {
        let voter = (0..10).map(|number| chain.validator(number)).find(|key| key.party() == vote.signer());
        let Header { chain, height, .. } = block.header;
        let commit = Commit { chain, height, round: 0, block: block.header.digest() };
        *vote = Signed::new(commit, &voter.unwrap()).unwrap().into_envelope();
    }
    votes
}

/// Has `who` try `calls` in one transaction, and says by which rule they are refused. Nothing of it happens: of the state his nonce alone
/// is another afterwards, and nobody is told of anything.
pub(crate) fn thwarted(chain: &Fixture, who: &Identity, calls: Vec<Call>) -> &'static str {
    let what = format!("{calls:?}").chars().take(300).collect::<String>();
    let state =
        |table| scan_prefix(&*chain.replica().store().view().unwrap(), table, &[], usize::MAX).unwrap();
    let nonce = StateKey::Nonce(who.party()).to_bytes();
    let unmoved = || {
        let mut rows = state(Table::State);
        rows.retain(|(key, _)| *key != nonce);
        (rows, state(Table::Specifications))
    };
    let (before, root) = (unmoved(), chain.replica().tip().state_root);
    let committed = chain.commit(&[chain.sign(who, calls)]);
    let reason = committed.receipts[0].result().expect_err(&what);
    assert!(unmoved() == before, "{what}");
    assert_ne!(chain.replica().tip().state_root, root, "the nonce is used");
    assert!(committed.events.is_empty(), "{what}");
    reason.rule()
}

/// Why `bytes` are no transaction of the chain. A proposer leaves them out; one that does not makes no block, whoever votes for it; and no
/// row changes.
fn barred(chain: &Fixture, bytes: impl Into<Bytes>) -> AdmissionError {
    let bytes = bytes.into();
    let before = rows(chain);
    assert!(chain.replica().admit(&bytes, chain.now()).is_err());
    let error = admission(chain, bytes.clone()).expect("no proposer takes it");
    let block = next_block(chain, vec![bytes]);
    let votes = votes_for(chain, &block);
    let of_block = |result: Result<(), BlockError>| match result {
        Err(BlockError::Transaction { index: 0, error }) => error,
        other => panic!("a block with it is refused for it: {other:?}"),
    };
    let verified = of_block(chain.replica().verify(&block, dt_model::Timestamp::MAX));
    let committed = of_block(chain.replica().commit(block, votes).map(drop));
    assert_eq!(verified.to_string(), error.to_string());
    assert_eq!(committed.to_string(), error.to_string());
    assert!(rows(chain) == before);
    error
}

/// The rule by which a call of [`harm`] is refused to who has no right to it.
fn guard(call: &TwinCall) -> &'static str {
    match call {
        TwinCall::TransferOwnership { .. } | TwinCall::Decommission | TwinCall::SetAgent { .. } => {
            "authorization.not-the-owner"
        }
        TwinCall::CancelCall { .. } => "authorization.not-the-owner",
        TwinCall::ClaimCalls { .. } | TwinCall::StartCall { .. } | TwinCall::ReportValues { .. } => {
            "authorization.not-the-agent"
        }
        TwinCall::CompleteCall { .. } | TwinCall::RejectCall { .. } => "authorization.not-the-agent",
        TwinCall::AnchorHead { .. } => "authorization.not-yours",
        _ => "authorization.not-permitted",
    }
}

/// One of each call that would do harm.
fn harm(plant: &Plant, to: &Identity) -> Vec<TwinCall> {
    let document = plant.document(&plant.owner, Some("tank"));
    let source = TwinCall::AddExternalSource { uri: uri("https://owner.example"), component: None };
    plant.call(&plant.owner, source.clone()).unwrap();
    plant.call(&plant.owner, add_feed("level", &plant.agent)).unwrap();
    plant.call(&plant.owner, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    plant.call(&plant.agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(&plant.agent, TwinCall::StartCall { call: 1, epoch: 1 }).unwrap();
    let all = Policy::none().allow(Subject::Everyone, Permission::read_all());
    let (party, owner) = (to.party(), plant.owner.party());
    vec![
        TwinCall::TransferOwnership { to: party },
        TwinCall::Decommission,
        TwinCall::SetAgent { agent: Some(party) },
        TwinCall::AssignRole { party, role: name(MAINTAINER) },
        TwinCall::AssignRole { party, role: name(OWNER) },
        TwinCall::UnassignRole { party: owner, role: name(OWNER) },
        TwinCall::UnassignRole { party: plant.maintainer.party(), role: name(MAINTAINER) },
        TwinCall::SetPolicy { component: None, policy: all.clone() },
        TwinCall::SetPolicy { component: Some(component("tank")), policy: all },
        TwinCall::RemovePolicy { component: component("tank") },
        add_document(None),
        TwinCall::AddDocumentVersion { document, version: version(9) },
        TwinCall::RemoveDocument { document },
        source,
        TwinCall::RemoveExternalSource { uri: uri("https://owner.example") },
        add_feed("valve", to),
        remove_feed("level"),
        edit([insert("x", "tank")]),
        edit([remove("valve")]),
        edit([insert("x", "/")]),
        TwinCall::CallProgram(set_speed("30", "slow")),
        TwinCall::CancelCall { call: 1 },
        TwinCall::ClaimCalls { epoch: 2 },
        TwinCall::StartCall { call: 1, epoch: 1 },
        TwinCall::CompleteCall { call: 1, epoch: 1, result: CallResult::Unknown },
        TwinCall::RejectCall { call: 1, epoch: 1, rule: name("x") },
        TwinCall::SetSafetyRules { rules: vec![], expected: 0 },
        TwinCall::ReportValues {
            program: component("set-speed"),
            epoch: 1,
            values: set_speed("30", "slow").parameters,
        },
        TwinCall::AnchorHead { component: component("level"), size: u64::MAX, root: digest(1) },
    ]
}

#[test]
fn whoever_has_no_right_changes_nothing() {
    let plant = Plant::new();
    let anchor = TwinCall::AnchorAcl { item: digest(1), version: u64::MAX, digest: digest(1) };
    let all = harm(&plant, &plant.outsider);
    let twin_rows = |plant: &Plant| {
        let state = plant.chain.state();
        let trace = |resource| plant.chain.replica().trace(&resource).unwrap().len();
        let element = trace(Resource::Element(plant.twin, component("tank")));
        let policy = trace(Resource::Policy(plant.twin, None));
        let program = state.program_history(&plant.twin, &component("set-speed")).unwrap();
        let safety = (state.safety_rules(&plant.twin).unwrap(), program);
        (
            safety,
            state.twin(&plant.twin).unwrap(),
            state.participants(&plant.twin).unwrap(),
            state.documents(&plant.twin).unwrap(),
            state.sources(&plant.twin).unwrap(),
            state.feeds(&plant.twin).unwrap(),
            (plant.specification_root(), element, policy),
        )
    };
    let before = twin_rows(&plant);
    // Not the twin's, though the chain's: everything. One of everyone: everything but an anchor of his own.
    for (who, calls) in
        [(&plant.outsider, [all.clone(), vec![anchor]].concat()), (&plant.auditor, all.clone())]
    {
        for call in calls {
            let rule = thwarted(&plant.chain, who, vec![plant.on(call.clone())]);
            assert_eq!(rule, guard(&call), "{call:?}");
        }
    }
    assert!(before == twin_rows(&plant));
    let stranger = identity(99);
    for call in all {
        let transaction = plant.chain.sign(&stranger, vec![plant.on(call)]);
        assert!(matches!(barred(&plant.chain, bytes_of(&transaction)), AdmissionError::UnknownSender(_)));
    }
    assert!(before == twin_rows(&plant));
}

/// What the maintainer may do is not what only the owner or the agent does.
#[test]
fn a_writer_is_no_owner_and_no_agent() {
    let plant = Plant::new();
    let all = harm(&plant, &plant.maintainer);
    let allowed = all.iter().filter(|call| match plant.call(&plant.maintainer, (*call).clone()) {
        Ok(_) => true,
        // Some would be his, but come too late or twice.
        Err(reason) if reason.rule() == guard(call) => false,
        Err(reason) => {
            let expected = [
                "source.exists",
                "authorization.not-yours",
                "feed.attached",
                "feed.none",
                "specification.bad-edit",
            ];
            assert!(expected.contains(&reason.rule()), "{call:?}: {}", reason.rule());
            false
        }
    });
    let names: Vec<String> =
        allowed.map(|call| format!("{call:?}").split([' ', '(', '{']).next().unwrap().to_owned()).collect();
    let expected =
        ["AddDocument", "AddDocumentVersion", "RemoveDocument", "AddSensorFeed", "RemoveSensorFeed"];
    assert_eq!(names, [&expected[..], &["EditAml", "CallProgram"]].concat());
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let plant = Plant::new();
    let Plant { chain, owner, agent, twin, .. } = &plant;
    let max = u64::MAX;
    let mut huge = version(1);
    huge.size = max;
    let provenance = |count: usize| dt_ledger::Provenance {
        specification: Digest::ZERO,
        feeds: vec![(digest(1), max, 0); count],
        method: name("m"),
    };
    huge.provenance = Some(provenance(64));
    let document = plant.document(owner, None);
    plant.call(owner, TwinCall::AddDocumentVersion { document, version: huge.clone() }).unwrap();
    huge.provenance = Some(provenance(65));
    assert_eq!(plant.refused(owner, TwinCall::AddDocumentVersion { document, version: huge }), "limits.full");
    plant.call(owner, add_feed("level", agent)).unwrap();
    let head = TwinCall::AnchorHead { component: component("level"), size: max, root: digest(1) };
    plant.call(agent, head.clone()).unwrap();
    assert_eq!(plant.refused(agent, head), "anchor.goes-back");
    plant.call(agent, TwinCall::ClaimCalls { epoch: max }).unwrap();
    for call in [
        TwinCall::StartCall { call: max, epoch: max },
        TwinCall::CompleteCall { call: max, epoch: max, result: CallResult::Unknown },
        TwinCall::RejectCall { call: max, epoch: max, rule: name("x") },
    ] {
        assert_eq!(plant.refused(agent, call), "call.unknown");
    }
    assert_eq!(plant.refused(owner, TwinCall::CancelCall { call: max }), "call.unknown");
    assert_eq!(
        plant.refused(owner, TwinCall::SetSafetyRules { rules: vec![], expected: max }),
        "safety.rules-changed"
    );
    chain.wait(max - 1 - chain.now().as_millis());
    plant.call(owner, add_document(None)).expect("a moment before the end of time");
    assert_eq!(chain.state().twin(twin).unwrap().epoch, max);
}

/// Linking somebody's stream under a publisher of one's own gives no hold on the floor of the real one.
#[test]
fn nobody_raises_the_floor_of_another_publishers_feed() {
    let plant = Plant::new();
    let head = |size| TwinCall::AnchorHead { component: component("level"), size, root: digest(8) };
    let (maintainer, agent) = (&plant.maintainer, &plant.agent);
    plant.call(maintainer, add_feed("level", maintainer)).unwrap();
    plant.call(maintainer, head(u64::MAX)).unwrap();
    plant.call(maintainer, TwinCall::RemoveSensorFeed { component: component("level") }).unwrap();
    plant.call(&plant.owner, add_feed("level", agent)).unwrap();
    plant.call(agent, head(10)).unwrap();
    let feed = dt_ledger::FeedReference { feed: digest(77), publisher: agent.party() };
    let anchored = plant.chain.state().head_anchor(&plant.twin, &feed).unwrap();
    assert_eq!(anchored.map(|anchor| anchor.size), Some(10));
}

/// A move is short, however much it carries along: so many of them are refused before they are made.
#[test]
fn carrying_much_to_and_fro_is_refused() {
    let plant = Plant::new();
    let Plant { owner, .. } = &plant;
    let parts: String = (0..300).map(|n| format!(r#"<InternalElement Name="p{n}" ID="p{n}"/>"#)).collect();
    let fragment = format!(r#"<InternalElement Name="Crate" ID="crate">{parts}</InternalElement>"#);
    let insert = dt_aml::Edit::Insert { fragment, parent: "line".into(), after: None };
    plant.call(owner, edit([insert])).unwrap();
    let to_and_fro = |count: usize| {
        edit((0..count).map(|n| dt_aml::Edit::Move {
            address: "crate".into(),
            parent: ["tank", "line"][n % 2].into(),
            after: None,
        }))
    };
    plant.call(owner, to_and_fro(4)).unwrap();
    let before = plant.specification_root();
    assert_eq!(plant.refused(owner, to_and_fro(1000)), "limits.full");
    assert_eq!(plant.specification_root(), before);
}
