//! A plant with its lifecycle parties (paper, section 5.1), and short ways to write calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use dt_aml::{Edit, RemovePolicy};
use dt_ledger::safety::{Condition, Number, SafetyRule};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    Argument, Call, Document, DocumentId, FeedReference, LedgerStore, MAINTAINER, Policy, ProgramCall,
    Reason, Receipt, State as _, TwinCall, Uri, Version, document_id,
};
use dt_model::{
    ComponentId, ContentHash, DataClass, Digest, Identity, Name, Operation, Permission, Signer as _, Text,
    Timestamp, TwinId,
};

/// A chain with one twin, and the parties around it.
pub(crate) struct Plant {
    pub(crate) chain: Fixture,
    pub(crate) owner: Identity,
    pub(crate) maintainer: Identity,
    /// Holds the role `auditor`, which no policy names: one of everyone.
    pub(crate) auditor: Identity,
    pub(crate) agent: Identity,
    /// A party of the chain without any part in the twin.
    pub(crate) outsider: Identity,
    pub(crate) twin: TwinId,
}

impl Plant {
    pub(crate) fn new() -> Self {
        Self::over(Fixture::default())
    }

    pub(crate) fn over(chain: Fixture) -> Self {
        let [owner, maintainer, auditor, agent, outsider] = [1, 2, 3, 4, 5].map(|seed| chain.enrol(seed));
        let twin = chain.twin(&owner, Some(&agent), &[(&maintainer, MAINTAINER), (&auditor, "auditor")]);
        Self { chain, owner, maintainer, auditor, agent, outsider, twin }
    }

    pub(crate) fn call(&self, who: &Identity, call: TwinCall) -> Result<Receipt, Reason> {
        self.chain.call(who, self.twin, call)
    }

    /// The rule by which `call` is refused.
    pub(crate) fn refused(&self, who: &Identity, call: TwinCall) -> &'static str {
        let what = format!("{call:?}");
        match self.call(who, call) {
            Ok(_) => panic!("accepted: {what}"),
            Err(reason) => reason.rule(),
        }
    }

    pub(crate) fn on(&self, call: TwinCall) -> Call {
        Call::Twin { twin: self.twin, call }
    }

    /// Adds a document there and says which it is.
    pub(crate) fn document(&self, who: &Identity, at: Option<&str>) -> DocumentId {
        self.added(&self.call(who, add_document(at)).expect("may add documents there"))
    }

    /// The document that the first call of the last block's transaction added.
    pub(crate) fn added(&self, receipt: &Receipt) -> DocumentId {
        document_id(self.chain.replica().tip().height, &receipt.transaction, 0)
    }

    pub(crate) fn specification_root(&self) -> Digest {
        self.chain.state().specification_state(&self.twin).unwrap().root
    }

    pub(crate) fn may(
        &self,
        who: &Identity,
        operation: Operation,
        class: DataClass,
        at: Option<&str>,
    ) -> bool {
        let at = at.map(component);
        let permission = Permission::new(operation, class);
        let state = self.chain.state();
        state.authorize(&self.twin, &who.party(), permission, at.as_ref(), self.chain.now()).is_ok()
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn component(text: &str) -> ComponentId {
    ComponentId::new(text).unwrap()
}

pub(crate) fn uri(text: &str) -> Uri {
    Uri::new(text).unwrap()
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from([byte; 32])
}

pub(crate) fn version(byte: u8) -> Version {
    Version { size: u64::from(byte), content: ContentHash::of(&[byte]), item: digest(byte), provenance: None }
}

pub(crate) fn add_document(at: Option<&str>) -> TwinCall {
    TwinCall::AddDocument(Document {
        title: name("report"),
        media_type: name("application/pdf"),
        component: at.map(component),
        version: version(1),
    })
}

pub(crate) fn add_feed(at: &str, publisher: &Identity) -> TwinCall {
    let feed = FeedReference { feed: digest(77), publisher: publisher.party() };
    TwinCall::AddSensorFeed { component: component(at), feed }
}

pub(crate) fn remove_feed(at: &str) -> TwinCall {
    TwinCall::RemoveSensorFeed { component: component(at) }
}

pub(crate) fn insert(id: &str, parent: &str) -> Edit {
    let fragment = format!(r#"<InternalElement Name="{id}" ID="{id}"/>"#);
    Edit::Insert { fragment, parent: parent.into(), after: None }
}

pub(crate) fn remove(address: &str) -> Edit {
    Edit::Remove { address: address.into(), policy: RemovePolicy::Restrict }
}

pub(crate) fn edit(edits: impl IntoIterator<Item = Edit>) -> TwinCall {
    TwinCall::EditAml { edits: edits.into_iter().collect(), expected: None }
}

/// A call of `set-speed`.
pub(crate) fn set_speed(speed: &str, mode: &str) -> ProgramCall {
    let argument =
        |value: &str, unit: Option<&str>| Argument { value: Text::new(value).unwrap(), unit: unit.map(name) };
    ProgramCall {
        program: component("set-speed"),
        parameters: BTreeMap::from([
            (name("Speed"), argument(speed, Some("m/min"))),
            (name("Mode"), argument(mode, None)),
        ]),
        valid_until: Timestamp::MAX,
        guard: None,
    }
}

/// A safety rule.
pub(crate) fn rule(called: &str, program: Option<&str>, condition: Condition) -> SafetyRule {
    SafetyRule { name: name(called), program: program.map(component), condition }
}

pub(crate) fn number(text: &str) -> Number {
    text.parse().unwrap()
}

pub(crate) fn max_step(parameter: &str, step: &str, from: Option<&str>) -> Condition {
    Condition::MaxStep { parameter: name(parameter), step: number(step), from: from.map(number) }
}

/// A short life of a plant, some of it refused.
pub(crate) fn short_story(store: Arc<dyn LedgerStore>) -> Plant {
    let plant = Plant::over(Fixture::new(store, 2, 4));
    let Plant { chain, owner, maintainer, auditor, agent, .. } = &plant;
    let document = plant.document(maintainer, Some("tank"));
    chain.wait(10);
    plant.call(owner, TwinCall::AddDocumentVersion { document, version: version(2) }).unwrap();
    plant.call(agent, add_feed("level", agent)).unwrap();
    plant.refused(auditor, add_document(None));
    let swap = vec![
        plant.on(remove_feed("level")),
        plant.on(edit([remove("level"), insert("level-2", "tank")])),
        plant.on(add_feed("level-2", agent)),
    ];
    chain.apply(maintainer, swap).unwrap();
    plant
        .call(owner, TwinCall::SetPolicy { component: Some(component("tank")), policy: Policy::none() })
        .unwrap();
    plant.call(maintainer, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    chain.wait(10);
    let many = [
        chain.sign(agent, vec![plant.on(TwinCall::ClaimCalls { epoch: 1 })]),
        chain.sign_ahead(agent, vec![plant.on(TwinCall::StartCall { call: 1, epoch: 1 })], 1),
        chain.sign(owner, vec![plant.on(TwinCall::RemoveDocument { document })]),
        chain.sign(
            maintainer,
            vec![plant.on(TwinCall::AnchorAcl { item: digest(3), version: 1, digest: digest(4) })],
        ),
    ];
    chain.commit(&many);
    plant.call(owner, TwinCall::TransferOwnership { to: maintainer.party() }).unwrap();
    plant
}
