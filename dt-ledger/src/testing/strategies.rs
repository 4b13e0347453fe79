//! Proptest strategies for what travels: well-formed values, most of which a chain would refuse.

use std::collections::BTreeMap;

use bytes::Bytes;
use dt_aml::{Edit, RemovePolicy};
use dt_model::testing::{
    component, content_hash, digest, identity, party, permission, text, timestamp, twin,
};
use dt_model::{EncryptionKey, Envelope, Identity, Name, Signed, codec};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::safety::{Comparison, Condition, Number, Operand, Relation, SafetyRule};
use crate::{
    Approval, Argument, Block, Call, CallResult, Certificate, CreateTwin, Credential, Document, DocumentId,
    FeedReference, Header, LogHead, Organisation, Policy, ProgramCall, Proposal, Provenance, Subject,
    Transaction, TwinCall, Version,
};

/// Any numbers, the extremes oftener.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()]
}

fn signer() -> impl Strategy<Value = Identity> {
    (0u64..1000).prop_map(identity)
}

fn name() -> impl Strategy<Value = Name> {
    text()
}

fn encryption_key() -> impl Strategy<Value = EncryptionKey> {
    any::<[u8; 32]>().prop_map(EncryptionKey::from)
}

/// Any policy in canonical form.
pub fn policy() -> impl Strategy<Value = Policy> {
    let subject = prop_oneof![1 => Just(Subject::Everyone), 3 => name().prop_map(Subject::Role)];
    vec((subject, btree_set(permission(), 0..6)), 0..4).prop_map(|grants| {
        grants
            .into_iter()
            .fold(Policy::none(), |policy, (subject, permissions)| policy.allow(subject, permissions))
    })
}

/// Any signed certificate.
///
/// # Panics
/// Never: the keys are in memory.
pub fn certificate() -> impl Strategy<Value = Envelope<Certificate>> {
    (signer(), digest(), party(), name(), encryption_key(), timestamp(), timestamp()).prop_map(
        |(authority, chain, party, name, encryption_key, not_before, not_after)| {
            let certificate = Certificate { chain, party, name, encryption_key, not_before, not_after };
            Signed::new(certificate, &authority).expect("keys in memory sign").into_envelope()
        },
    )
}

/// Any credential; few of those that claim to be X.509 are.
pub fn credential() -> impl Strategy<Value = Credential> {
    let x509 = (party(), vec(any::<u8>(), 0..200), encryption_key()).prop_map(
        |(authority, certificate, encryption_key)| Credential::X509 {
            authority,
            certificate: Bytes::from(certificate),
            encryption_key,
        },
    );
    prop_oneof![3 => certificate().prop_map(Credential::from), 1 => x509]
}

/// Any rule of approval.
pub fn approval() -> impl Strategy<Value = Approval> {
    prop_oneof![Just(Approval::Majority), Just(Approval::TwoThirds), Just(Approval::Unanimous)]
}

/// Any proposal to the organisations.
pub fn proposal() -> impl Strategy<Value = Proposal> {
    let organisation = (name(), party(), vec(party(), 0..4)).prop_map(|(name, authority, validators)| {
        Proposal::AddOrganisation(Organisation { name, authority, validators })
    });
    prop_oneof![
        organisation,
        party().prop_map(Proposal::RemoveOrganisation),
        approval().prop_map(Proposal::SetApproval),
        any::<u8>().prop_map(Proposal::SetSeats),
        any::<(u16, u16)>()
            .prop_map(|(replicas, max_faulty)| Proposal::FoundStorage { replicas, max_faulty }),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    let feeds = vec((digest(), number(), number()), 0..3);
    let provenance = (digest(), feeds, name()).prop_map(|(specification, feeds, method)| Provenance {
        specification,
        feeds,
        method,
    });
    (number(), content_hash(), digest(), option::of(provenance))
        .prop_map(|(size, content, item, provenance)| Version { size, content, item, provenance })
}

fn document() -> impl Strategy<Value = Document> {
    (name(), name(), option::of(component()), version()).prop_map(
        |(title, media_type, component, version)| Document { title, media_type, component, version },
    )
}

fn document_id() -> impl Strategy<Value = DocumentId> {
    any::<[u8; 32]>().prop_map(DocumentId::from)
}

fn edit() -> impl Strategy<Value = Edit> {
    let text = || "[a-z<>/=\" ]{0,40}";
    let policy = || {
        prop_oneof![Just(RemovePolicy::Restrict), Just(RemovePolicy::OpenLinks), Just(RemovePolicy::Cascade)]
    };
    prop_oneof![
        (text(), text(), option::of(text())).prop_map(|(fragment, parent, after)| Edit::Insert {
            fragment,
            parent,
            after
        }),
        (text(), policy()).prop_map(|(address, policy)| Edit::Remove { address, policy }),
        (text(), text(), policy()).prop_map(|(address, fragment, policy)| Edit::Replace {
            address,
            fragment,
            policy
        }),
        (text(), text()).prop_map(|(address, value)| Edit::SetValue { address, value }),
        (text(), text(), option::of(text())).prop_map(|(address, parent, after)| Edit::Move {
            address,
            parent,
            after
        }),
        (text(), option::of(text()), option::of(text()), text(), policy()).prop_map(
            |(parent, after, before, content, policy)| Edit::Splice {
                parent,
                after,
                before,
                content,
                policy
            }
        ),
        (text(), text(), text(), policy()).prop_map(|(address, start, end, policy)| Edit::Retag {
            address,
            start,
            end,
            policy
        }),
    ]
}

fn program_call() -> impl Strategy<Value = ProgramCall> {
    (component(), arguments(), timestamp(), option::of(digest())).prop_map(
        |(program, parameters, valid_until, guard)| ProgramCall { program, parameters, valid_until, guard },
    )
}

/// Any exact decimal.
///
/// # Panics
/// Never: 28 digits are exact.
pub fn safety_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        "-?[0-9]{1,14}\\.[0-9]{1,14}".prop_map(|text| { text.parse().expect("28 digits are exact") })
    ]
}

/// Any safety rule: most of them speak of what no specification has.
pub fn safety_rule() -> impl Strategy<Value = SafetyRule> {
    let relation = prop_oneof![
        Just(Relation::Equal),
        Just(Relation::NotEqual),
        Just(Relation::Less),
        Just(Relation::AtMost),
        Just(Relation::More),
        Just(Relation::AtLeast)
    ];
    let operand = || {
        prop_oneof![
            name().prop_map(Operand::Parameter),
            component().prop_map(Operand::Variable),
            text().prop_map(Operand::Constant)
        ]
    };
    let comparison = (operand(), relation, operand()).prop_map(|(left, relation, right)| Comparison {
        left,
        relation,
        right,
    });
    let condition = prop_oneof![
        (name(), safety_number(), option::of(safety_number()))
            .prop_map(|(parameter, step, from)| Condition::MaxStep { parameter, step, from }),
        (any::<u32>(), number()).prop_map(|(starts, period)| Condition::MaxRate { starts, period }),
        (comparison.clone(), comparison).prop_map(|(when, then)| Condition::Interlock { when, then }),
        (component(), btree_set(text(), 0..4))
            .prop_map(|(variable, values)| Condition::RequiredMode { variable, values }),
    ];
    (name(), option::of(component()), condition).prop_map(|(name, program, condition)| SafetyRule {
        name,
        program,
        condition,
    })
}

fn arguments() -> impl Strategy<Value = BTreeMap<Name, Argument>> {
    let argument = (text(), option::of(name())).prop_map(|(value, unit)| Argument { value, unit });
    btree_map(name(), argument, 0..4)
}

fn call_result() -> impl Strategy<Value = CallResult> {
    prop_oneof![
        text().prop_map(CallResult::Succeeded),
        text().prop_map(CallResult::Failed),
        Just(CallResult::Unknown)
    ]
}

/// Any call to a twin.
pub fn twin_call() -> impl Strategy<Value = TwinCall> {
    let feed = (digest(), party()).prop_map(|(feed, publisher)| FeedReference { feed, publisher });
    let rights = prop_oneof![
        party().prop_map(|to| TwinCall::TransferOwnership { to }),
        Just(TwinCall::Decommission),
        option::of(party()).prop_map(|agent| TwinCall::SetAgent { agent }),
        (party(), name()).prop_map(|(party, role)| TwinCall::AssignRole { party, role }),
        (party(), name()).prop_map(|(party, role)| TwinCall::UnassignRole { party, role }),
        (option::of(component()), policy())
            .prop_map(|(component, policy)| TwinCall::SetPolicy { component, policy }),
        component().prop_map(|component| TwinCall::RemovePolicy { component }),
        (vec(safety_rule(), 0..4), number())
            .prop_map(|(rules, expected)| TwinCall::SetSafetyRules { rules, expected }),
    ];
    let data = prop_oneof![
        document().prop_map(TwinCall::AddDocument),
        (document_id(), version())
            .prop_map(|(document, version)| TwinCall::AddDocumentVersion { document, version }),
        document_id().prop_map(|document| TwinCall::RemoveDocument { document }),
        (text(), option::of(component()))
            .prop_map(|(uri, component)| TwinCall::AddExternalSource { uri, component }),
        text().prop_map(|uri| TwinCall::RemoveExternalSource { uri }),
        (component(), feed).prop_map(|(component, feed)| TwinCall::AddSensorFeed { component, feed }),
        component().prop_map(|component| TwinCall::RemoveSensorFeed { component }),
        (vec(edit(), 0..4), option::of(digest()))
            .prop_map(|(edits, expected)| TwinCall::EditAml { edits, expected }),
        (digest(), number(), digest()).prop_map(|(item, version, digest)| TwinCall::AnchorAcl {
            item,
            version,
            digest
        }),
        (component(), number(), digest()).prop_map(|(component, size, root)| TwinCall::AnchorHead {
            component,
            size,
            root
        }),
    ];
    let programs =
        prop_oneof![
            program_call().prop_map(TwinCall::CallProgram),
            number().prop_map(|call| TwinCall::CancelCall { call }),
            number().prop_map(|epoch| TwinCall::ClaimCalls { epoch }),
            (number(), number()).prop_map(|(call, epoch)| TwinCall::StartCall { call, epoch }),
            (number(), number(), call_result()).prop_map(|(call, epoch, result)| TwinCall::CompleteCall {
                call,
                epoch,
                result
            }),
            (number(), number(), name()).prop_map(|(call, epoch, rule)| TwinCall::RejectCall {
                call,
                epoch,
                rule
            }),
            (component(), number(), arguments())
                .prop_map(|(program, epoch, values)| TwinCall::ReportValues { program, epoch, values }),
        ];
    // All of them side by side are more than a test thread's stack holds.
    prop_oneof![rights.boxed(), data.boxed(), programs.boxed()]
}

/// Any call.
pub fn call() -> impl Strategy<Value = Call> {
    let create = (name(), name(), vec(any::<u8>(), 0..200), policy())
        .prop_flat_map(|head| (Just(head), btree_map(party(), vec(name(), 0..3), 0..3), option::of(party())))
        .prop_map(|((device_name, device_id, aml, policy), roles, agent)| {
            Call::CreateTwin(CreateTwin { device_name, device_id, aml, policy, roles, agent })
        });
    prop_oneof![
        1 => credential().prop_map(|certificate| Call::Register { certificate }),
        1 => encryption_key().prop_map(|key| Call::RotateEncryptionKey { key }),
        1 => party().prop_map(|party| Call::RevokeCertificate { party }),
        1 => vec(text(), 0..3).prop_map(|endpoints| Call::RegisterNode { endpoints }),
        1 => Just(Call::RetireNode),
        1 => number().prop_map(|epoch| Call::HandOver { epoch }),
        1 => vec(party(), 0..4).prop_map(|validators| Call::SetValidators { validators }),
        1 => (proposal(), number()).prop_map(|(proposal, millis)| Call::Propose { proposal, millis }),
        1 => digest().prop_map(|proposal| Call::Vote { proposal }),
        1 => digest().prop_map(|proposal| Call::Withdraw { proposal }),
        1 => create,
        9 => (twin(), twin_call()).prop_map(|(twin, call)| Call::Twin { twin, call }),
    ]
}

/// Any signed transaction.
///
/// # Panics
/// Never: the keys are in memory.
pub fn transaction() -> impl Strategy<Value = Envelope<Transaction>> {
    (signer(), digest(), number(), number(), vec(call(), 0..4)).prop_map(
        |(signer, chain, nonce, valid_until, calls)| {
            let transaction = Transaction { chain, nonce, valid_until, calls };
            Signed::new(transaction, &signer).expect("keys in memory sign").into_envelope()
        },
    )
}

/// Any header.
pub fn header() -> impl Strategy<Value = Header> {
    let roots = (digest(), digest(), digest(), digest());
    (digest(), number(), timestamp(), digest(), roots, (number(), digest())).prop_map(
        |(chain, height, time, previous, roots, (size, root))| {
            let (transactions_root, state_root, receipts_root, next_validators) = roots;
            let log = LogHead { size, root };
            Header {
                chain,
                height,
                time,
                previous,
                transactions_root,
                state_root,
                receipts_root,
                log,
                next_validators,
                round: 0,
                resting: Vec::new(),
            }
        },
    )
}

/// Any block.
pub fn block() -> impl Strategy<Value = Block> {
    let bytes = transaction().prop_map(|transaction| Bytes::from(codec::encode(&transaction)));
    (header(), vec(bytes, 0..3)).prop_map(|(header, transactions)| Block { header, transactions })
}
