//! Proofs that a replica gives and anybody checks against a [`Certified`] root: values of the state, elements of a specification, traces,
//! transactions and what became of them.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::SubtreeHash;
use dt_model::merkle::{ConsistencyProof, InclusionProof, Subtree};
use dt_model::{Digest, TwinId, codec};

use crate::block::{leaf_hash, log_root};
use crate::evidence::log::{Log, LogHead};
use crate::evidence::verifier::{Certified, VerifyError};
use crate::receipt::Receipt;
use crate::record::{Resource, Specification, StateKey, TraceEntry};
use crate::replica::Replica;
use crate::state::{CallError, State};
use crate::store::StoreError;
use crate::transaction::AML_LIMITS;
use crate::tree::StateProof;
use crate::{Reason, Snapshot};

/// No value that is proven is longer.
const MAX_VALUE_BYTES: usize = crate::state::MAX_VALUE_BYTES;

/// Shows that an element stands in a twin's specification: from its bytes to the specification's root, from there to the state's.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ElementProof {
    /// Where the specification stands.
    pub specification: Specification,
    /// That it stands there.
    pub state: StateProof,
    /// That the element is in it.
    pub element: dt_aml::Proof,
}

/// The last writes to one thing, up to the present, each chained to the one before, and that there are no later ones.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TraceProof {
    /// The writes in order: who, when, in which block and transaction. Where the first is not number 1, earlier ones were left out.
    pub entries: Vec<TraceEntry>,
    /// What the state holds at [`Resource::head_key`]: how many there are in all, and the digest of the last. `None` if the thing was never
    /// written.
    pub head: Option<Vec<u8>>,
    /// That this is so.
    pub state: StateProof,
}

impl Snapshot {
    /// The bytes of the element at `address` in the specification of `twin`, with the proof that they are.
    ///
    /// # Errors
    /// [`Reason::UnknownTwin`], [`Reason::BadEdit`] if there is no one such element, or [`StoreError`].
    pub fn prove_element(&self, twin: &TwinId, address: &str) -> Result<(String, ElementProof), CallError> {
        let specification = self.specification_state(twin)?;
        let document = self.specification(twin).ok_or(Reason::UnknownTwin(*twin))?;
        let unknown =
            |error: &dyn std::fmt::Display| Reason::BadEdit(dt_model::Text::abridged(&error.to_string()));
        let source = document.find(address).map_err(|error| unknown(&error))?.source().into_owned();
        let element = document.prove(address).map_err(|error| unknown(&error))?;
        let state = self.prove(&StateKey::Specification(*twin))?;
        Ok((source, ElementProof { specification, state, element }))
    }
}

impl Replica {
    /// The paper's *trace*, for somebody who does not trust this replica: every write to `resource` that it still holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove_trace(&self, resource: &Resource) -> Result<TraceProof, StoreError> {
        let snapshot = self.snapshot()?;
        let key = resource.head_key();
        let (head, state) = (snapshot.raw(&key)?, snapshot.prove(&key)?);
        Ok(TraceProof { entries: snapshot.trace(resource)?, head, state })
    }

    /// The proof that a transaction is in the log as it stands now. Its bytes are what its sender sent; the block holds them, too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove_transaction(&self, transaction: &Digest) -> Result<Option<InclusionProof>, StoreError> {
        let Some((header, index)) = self.place_of(transaction)? else { return Ok(None) };
        self.prove_leaf(header.log.size + index as u64)
    }

    /// What became of a transaction, and the proof of it under the receipts root after its block: [`Certified::receipt`] asks for what
    /// was certified of that height.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove_receipt(
        &self,
        transaction: &Digest,
    ) -> Result<Option<(Receipt, InclusionProof)>, StoreError> {
        let Some((block, index)) = self.find_transaction(transaction)? else { return Ok(None) };
        let receipts = block.receipts;
        let leaves: Vec<Digest> = receipts.iter().map(|receipt| leaf_hash(&codec::encode(receipt))).collect();
        let (at, size) = (index as u64, leaves.len() as u64);
        let hash_of = |part: Subtree| Ok::<_, StoreError>(root_of_part(&leaves, part));
        let proof = InclusionProof::generate(at, size, hash_of)?;
        Ok(receipts.into_iter().nth(index).zip(proof))
    }

    /// The proof that transaction number `index` of the chain, counted from 0, is in the log as it stands now. It needs the hashes alone,
    /// which are kept when blocks are pruned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove_leaf(&self, index: u64) -> Result<Option<InclusionProof>, StoreError> {
        let (tip, view) = self.standing()?;
        Log::new(&*view, tip.log).inclusion(index, tip.log.size)
    }

    /// The proof that the log as it stands now begins with the first `from` transactions that somebody saw earlier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove_extension(&self, from: u64) -> Result<Option<ConsistencyProof>, StoreError> {
        let (tip, view) = self.standing()?;
        Log::new(&*view, tip.log).consistency(from, tip.log.size)
    }
}

/// The hash of one subtree over `leaves`.
fn root_of_part(leaves: &[Digest], part: Subtree) -> Digest {
    // A block holds fewer receipts than `usize` counts.
    let [start, end] = [part.start(), part.end()].map(|at| (at as usize).min(leaves.len()));
    log_root(&leaves[start..end])
}

impl Certified {
    /// The number, counted from 0, of the transaction with these bytes in the log, if `proof` shows that it is there.
    ///
    /// # Errors
    /// [`VerifyError::Proof`].
    pub fn transaction(&self, bytes: &[u8], proof: &InclusionProof) -> Result<u64, VerifyError> {
        let is_there = proof.size == self.log.size && proof.verify(&leaf_hash(bytes), &self.log.root);
        if is_there { Ok(proof.index) } else { Err(VerifyError::Proof) }
    }

    /// Whether `receipt` is one of the last block's ([`Checkpoint::height`](crate::Checkpoint::height)): it says what became of its
    /// transaction, by which rule it was refused, and what it wrote.
    ///
    /// # Errors
    /// [`VerifyError::Proof`].
    pub fn receipt(&self, receipt: &Receipt, proof: &InclusionProof) -> Result<(), VerifyError> {
        let leaf = leaf_hash(&codec::encode(receipt));
        if proof.verify(&leaf, &self.receipts_root) { Ok(()) } else { Err(VerifyError::Proof) }
    }

    /// Whether the log begins with `earlier`, which somebody saw before: nothing was taken out or changed since.
    ///
    /// # Errors
    /// [`VerifyError::Proof`].
    pub fn extends(&self, earlier: &LogHead, proof: &ConsistencyProof) -> Result<(), VerifyError> {
        let are_these = proof.from == earlier.size && proof.to == self.log.size;
        let holds = are_these && proof.verify(&earlier.root, &self.log.root);
        if holds { Ok(()) } else { Err(VerifyError::Proof) }
    }

    /// What the state holds at `key`: `value`, or nothing, if `proof` shows it.
    ///
    /// # Errors
    /// [`VerifyError::Proof`].
    pub fn value<T: BorshSerialize + BorshDeserialize>(
        &self,
        key: &StateKey,
        value: Option<&[u8]>,
        proof: &StateProof,
    ) -> Result<Option<T>, VerifyError> {
        if !proof.verify(&self.state_root, &key.to_bytes(), value) {
            return Err(VerifyError::Proof);
        }
        value.map(|bytes| codec::decode(bytes, MAX_VALUE_BYTES).map_err(|_| VerifyError::Proof)).transpose()
    }

    /// Whether the specification of `twin` holds an element with the bytes `source`. In which place, [`dt_aml::Proof::ancestors`] tells.
    ///
    /// # Errors
    /// [`VerifyError::Proof`].
    pub fn element(&self, twin: &TwinId, source: &str, proof: &ElementProof) -> Result<(), VerifyError> {
        let value = codec::encode(&proof.specification);
        self.value::<Specification>(&StateKey::Specification(*twin), Some(&value), &proof.state)?;
        let root = SubtreeHash(*proof.specification.root.as_bytes());
        proof.element.verify(root, source, &AML_LIMITS).map_err(|_| VerifyError::Proof)
    }

    /// The writes to `resource`, if `proof` shows that these are the last of them, none left out in between. They are all of them if the
    /// first is number 1.
    ///
    /// # Errors
    /// [`VerifyError::Proof`].
    pub fn trace<'a>(
        &self,
        resource: &Resource,
        proof: &'a TraceProof,
    ) -> Result<&'a [TraceEntry], VerifyError> {
        let head = proof.head.as_deref();
        if !proof.state.verify(&self.state_root, &resource.head_key().to_bytes(), head) {
            return Err(VerifyError::Proof);
        }
        let head = head.map(|value| resource.head_in(value)).transpose().map_err(|_| VerifyError::Proof)?;
        let follows = |pair: &[TraceEntry]| match pair {
            [before, after] => after.previous == before.digest() && after.number == before.number + 1,
            _ => true,
        };
        let ends = match (proof.entries.last(), head) {
            (Some(last), Some(head)) => last.digest() == head.last && last.number == head.count,
            (None, None) => true,
            _ => false,
        };
        let is_its_own = proof.entries.iter().all(|entry| entry.resource == *resource);
        if ends && is_its_own && proof.entries.windows(2).all(follows) {
            Ok(&proof.entries)
        } else {
            Err(VerifyError::Proof)
        }
    }
}
