//! Edits of the specification by element ID (`insertAML`, `removeAML`, Listing 1.2), all or none of them.

use dt_aml::{Change, Document, Edit, RemovePolicy};
use dt_model::{ComponentId, DataClass, Digest, Operation, PartyId, Text, TwinId};

use super::Transition;
use crate::Reason;
use crate::receipt::TwinEvent;
use crate::record::{Resource, Specification, StateKey};
use crate::replica::specification::root_of;
use crate::state::{CallError, State, component_of, enclosing};
use crate::transaction::MAX_AML_BYTES;

/// Edits in one call.
const MAX_EDITS: usize = 1024;

impl Transition<'_> {
    pub(super) fn edit_aml(
        &mut self,
        sender: PartyId,
        id: TwinId,
        edits: &[Edit],
        expected: Option<Digest>,
    ) -> Result<(), CallError> {
        if edits.is_empty() || edits.len() > MAX_EDITS {
            return Err(Reason::Full.into());
        }
        if let Some(expected) = expected {
            self.require_root(&id, expected)?;
        }
        let before = self.specified(&id).ok_or(Reason::UnknownTwin(id))?.clone();
        let mut document = Document::clone(&before.document);
        for edit in edits {
            self.take_work(document.carried_by(edit))?;
            self.edit(sender, id, &mut document, edit)?;
        }
        if document.len() > MAX_AML_BYTES as u64 {
            return Err(Reason::Full.into());
        }
        let root = root_of(&document);
        let version = self.specification_state(&id)?.version + 1;
        self.put(&StateKey::Specification(id), &Specification { root, version });
        let edited = before.edited(id, version, document, edits, &mut self.staged.specification_rows);
        self.staged.specifications.insert(id, edited);
        self.tell(id, TwinEvent::SpecificationChanged(root));
        Ok(())
    }

    /// Authorizes one edit by the document as the edits before it left it, applies it, and traces what it touched.
    fn edit(
        &mut self,
        sender: PartyId,
        id: TwinId,
        document: &mut Document,
        edit: &Edit,
    ) -> Result<(), CallError> {
        let mut scopes = Vec::new();
        for target in edit.targets() {
            let scope = self.scope(&id, document, target)?;
            self.require(sender, &id, Operation::Write, DataClass::Specification, scope.as_ref())?;
            scopes.push(scope);
        }
        let under = edit.targets().next().and_then(|target| document.find(target).ok()).and_then(enclosing);
        // Only a cascade reaches elsewhere; a copy makes the edit pay for the pages that both share until then.
        let former = (edit.policy() == Some(RemovePolicy::Cascade)).then(|| document.clone());
        let outcome = document
            .apply(std::slice::from_ref(edit))
            .map_err(|error| Reason::BadEdit(Text::abridged(&error.to_string())))?;
        for (number, change) in outcome.changes.iter().enumerate() {
            // References that went with what they refer to may stand anywhere.
            if number > 0 {
                let former = former.as_ref().unwrap_or(document);
                let scope = self.scope(&id, former, change.within.as_deref().unwrap_or_default())?;
                self.require(sender, &id, Operation::Write, DataClass::Specification, scope.as_ref())?;
                scopes.push(scope);
            }
            self.kept(sender, &id, change)?;
            self.removed(sender, id, change, under.as_ref())?;
            self.inserted(sender, id, change)?;
        }
        for scope in scopes {
            self.trace(Resource::Element(id, scope.unwrap_or_else(root)))?;
        }
        Ok(())
    }

    /// The nearest element at or above `target` that stood in the specification before this call: the policies that stand there are
    /// those that decide. What the call itself has inserted is judged by where it was inserted. Empty: the document around its root.
    fn scope(
        &self,
        id: &TwinId,
        document: &Document,
        target: &str,
    ) -> Result<Option<ComponentId>, CallError> {
        if target.is_empty() {
            return Ok(None);
        }
        let unknown = || match ComponentId::new(target) {
            Ok(component) => Reason::UnknownComponent(component),
            Err(_) => Reason::BadEdit(Text::abridged("an address is a printable text")),
        };
        let element = document.find(target).map_err(|_| unknown())?;
        let before = self.specification(id).ok_or(Reason::UnknownTwin(*id))?;
        Ok(element.ancestors().filter_map(component_of).find(|at| before.find(at.as_str()).is_ok()))
    }

    /// What was moved or came back otherwise: each element that has a stricter policy must allow it too.
    fn kept(&mut self, sender: PartyId, id: &TwinId, change: &Change) -> Result<(), CallError> {
        for kept in &change.kept {
            let Ok(component) = ComponentId::new(kept.as_str()) else { continue };
            self.require_own(sender, id, &component)?;
            self.trace(Resource::Element(*id, component))?;
        }
        Ok(())
    }

    /// Requires the right to write in an element that has a policy of its own.
    fn require_own(&self, sender: PartyId, id: &TwinId, component: &ComponentId) -> Result<(), CallError> {
        match self.raw(&StateKey::Policy(*id, Some(component.clone())))? {
            Some(_) => self.require(sender, id, Operation::Write, DataClass::Specification, Some(component)),
            None => Ok(()),
        }
    }

    /// What went with a removal: each element that had a stricter policy must allow it too, none may still have a feed, and each leaves
    /// behind where it stood before this call (`under`, if the call itself had inserted it), so that what was linked to it keeps its
    /// scope.
    fn removed(
        &mut self,
        sender: PartyId,
        id: TwinId,
        change: &Change,
        under: Option<&ComponentId>,
    ) -> Result<(), CallError> {
        for removed in &change.removed {
            let Ok(component) = ComponentId::new(removed.as_str()) else { continue };
            self.require_own(sender, &id, &component)?;
            if self.raw(&StateKey::Feed(id, component.clone()))?.is_some() {
                return Err(Reason::FeedAttached(component).into());
            }
            let before = self.specification(&id).ok_or(Reason::UnknownTwin(id))?;
            let stood = before.find(removed).map(enclosing).unwrap_or_else(|_| under.cloned());
            self.put(&StateKey::Former(id, component.clone()), &stood);
            self.trace(Resource::Element(id, component))?;
        }
        Ok(())
    }

    /// What came with an insertion. Whoever brings back an element that stood here once takes over what is linked to it, so that he needs
    /// the right to write where it stood.
    fn inserted(&mut self, sender: PartyId, id: TwinId, change: &Change) -> Result<(), CallError> {
        for inserted in &change.inserted {
            let Ok(component) = ComponentId::new(inserted.as_str()) else { continue };
            if self.raw(&StateKey::Former(id, component.clone()))?.is_some() {
                self.require(sender, &id, Operation::Write, DataClass::Specification, Some(&component))?;
            }
            self.trace(Resource::Element(id, component))?;
        }
        Ok(())
    }

    /// Whether the specification is still the one that the sender saw.
    pub(super) fn require_root(&self, id: &TwinId, expected: Digest) -> Result<(), CallError> {
        let found = self.specification_state(id)?.root;
        if found == expected { Ok(()) } else { Err(Reason::SpecificationChanged { found }.into()) }
    }
}

/// The address of the root element, under which changes are traced that lie under no component.
fn root() -> ComponentId {
    #[expect(clippy::expect_used, reason = "a constant that is a valid text")]
    ComponentId::new("/").expect("a valid text")
}
