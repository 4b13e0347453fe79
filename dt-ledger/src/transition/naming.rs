//! What a transaction names, whether or not it comes to pass: by this rejected ones are found.

use std::collections::BTreeSet;

use dt_model::{ComponentId, Digest, PartyId, TwinId};

use super::twin_id;
use crate::call::{Call, TwinCall};
use crate::record::Resource;

/// Things that a rejected transaction is found by, besides its twins: it costs its sender nothing to name very many.
const MAX_NAMED: usize = 64;

/// The twins that `calls` of `sender` address.
pub(super) fn addressed(chain: &Digest, sender: &PartyId, calls: &[Call]) -> BTreeSet<TwinId> {
    let addressed = |call: &Call| match call {
        Call::CreateTwin(create) => Some(twin_id(chain, sender, &create.device_id)),
        Call::Twin { twin, .. } => Some(*twin),
        _ => None,
    };
    calls.iter().filter_map(addressed).collect()
}

/// The first things that `calls` of `sender` name.
pub(super) fn named(sender: PartyId, calls: &[Call]) -> BTreeSet<Resource> {
    let mut found = BTreeSet::new();
    for resource in calls.iter().flat_map(|call| of_call(sender, call)) {
        if found.len() == MAX_NAMED {
            break;
        }
        found.insert(resource);
    }
    found
}

fn of_call(sender: PartyId, call: &Call) -> Vec<Resource> {
    match call {
        Call::Register { .. } | Call::RotateEncryptionKey { .. } => vec![Resource::Party(sender)],
        Call::RevokeCertificate { party } => vec![Resource::Party(*party)],
        Call::RegisterNode { .. } | Call::RetireNode | Call::HandOver { .. } => vec![Resource::Nodes],
        Call::SetValidators { .. } => vec![Resource::Organisation(sender)],
        Call::Vote { proposal } | Call::Withdraw { proposal } => vec![Resource::Proposal(*proposal)],
        Call::Propose { .. } | Call::CreateTwin(_) => Vec::new(),
        Call::Twin { twin, call } => of_twin_call(*twin, call),
    }
}

fn of_twin_call(twin: TwinId, call: &TwinCall) -> Vec<Resource> {
    let element = |component: &ComponentId| Resource::Element(twin, component.clone());
    let at = |component: &Option<ComponentId>| component.as_ref().map(element);
    match call {
        TwinCall::TransferOwnership { .. }
        | TwinCall::Decommission
        | TwinCall::SetAgent { .. }
        | TwinCall::ClaimCalls { .. } => vec![Resource::Twin(twin)],
        TwinCall::AssignRole { .. } | TwinCall::UnassignRole { .. } => vec![Resource::Policy(twin, None)],
        TwinCall::SetPolicy { component, .. } => vec![Resource::Policy(twin, component.clone())],
        TwinCall::RemovePolicy { component } => vec![Resource::Policy(twin, Some(component.clone()))],
        TwinCall::AddDocument(document) => at(&document.component).into_iter().collect(),
        TwinCall::AddDocumentVersion { document, .. } | TwinCall::RemoveDocument { document } => {
            vec![Resource::Document(twin, *document)]
        }
        TwinCall::AddExternalSource { uri, component } => {
            [Resource::Source(twin, uri.clone())].into_iter().chain(at(component)).collect()
        }
        TwinCall::RemoveExternalSource { uri } => vec![Resource::Source(twin, uri.clone())],
        TwinCall::AddSensorFeed { component, .. }
        | TwinCall::RemoveSensorFeed { component }
        | TwinCall::AnchorHead { component, .. } => vec![Resource::Feed(twin, component.clone())],
        TwinCall::EditAml { edits, .. } => {
            let targets = edits.iter().flat_map(dt_aml::Edit::targets);
            let components = targets.filter_map(|target| ComponentId::new(target).ok());
            components.map(|component| Resource::Element(twin, component)).take(MAX_NAMED).collect()
        }
        TwinCall::CallProgram(call) => vec![element(&call.program)],
        TwinCall::ReportValues { program, .. } => vec![element(program)],
        TwinCall::SetSafetyRules { .. } => vec![Resource::Safety(twin)],
        TwinCall::CancelCall { call }
        | TwinCall::StartCall { call, .. }
        | TwinCall::CompleteCall { call, .. }
        | TwinCall::RejectCall { call, .. } => vec![Resource::Call(twin, *call)],
        TwinCall::AnchorAcl { item, .. } => vec![Resource::Item(twin, *item)],
    }
}
