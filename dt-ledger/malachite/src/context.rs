//! What the engine agrees on, in the ledger's terms: heights are block heights, validators are parties, a value is a block's digest.
//!
//! The engine is generic over these types and never looks into a block: it decides which digest has the votes, and the application
//! ([`crate::application`]) holds the block that the digest names.

use core::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::{Tip, turn};
use dt_model::{Digest, PartyId, Signature};
use malachite::app::types::core::{
    self as engine, Context, LinearTimeouts, NilOrVal, Round, SignedExtension, SigningScheme, VoteType,
    VotingPower,
};

/// The types of one chain's consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain;

/// A block's height, counted from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize,
)]
pub struct Height(pub u64);

/// A validator, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Address(pub PartyId);

/// A block, by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct BlockId(pub Digest);

/// A validator. All have one vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    address: Address,
}

/// Who votes at a height, and who proposes in which round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// In the order of the ledger.
    validators: Vec<Validator>,
    /// Those of them that take turns in proposing.
    turns: Vec<Validator>,
}

/// The proposal of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) block: BlockId,
    pub(crate) pol_round: Round,
    pub(crate) proposer: Address,
}

/// A vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) block: NilOrVal<BlockId>,
    pub(crate) voter: Address,
}

/// A piece of a proposed block, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Part {
    /// What follows, signed by whoever proposes it.
    Announcement(dt_model::Envelope<crate::bodies::Announcement>),
    /// The next bytes of the block.
    Bytes(Bytes),
}

/// Ed25519 by the ledger's strict rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ed25519;

/// Nobody has one: signing goes through [`dt_model::Signer`], which may be a device that gives no key away.
#[derive(Debug, Clone, Copy)]
pub enum NoKey {}

/// Bytes are no key or signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed key or signature")]
pub struct Malformed;

impl Validators {
    /// Who votes on the block after `tip`.
    pub(crate) fn after(tip: &Tip) -> Self {
        let all = |parties: &[PartyId]| {
            parties.iter().map(|party| Validator { address: Address(*party) }).collect()
        };
        Self { validators: all(&tip.validators), turns: all(&tip.turns()) }
    }
}

impl Context for Chain {
    type Address = Address;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Timeouts = LinearTimeouts;
    type Value = BlockId;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    #[expect(clippy::expect_used, reason = "the engine refuses to start a height without validators")]
    fn select_proposer<'a>(&self, validators: &'a Validators, height: Height, round: Round) -> &'a Validator {
        turn(&validators.turns, height.0, round.as_u32().unwrap_or(0)).expect("there are validators")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        block: BlockId,
        pol_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, block, pol_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, block: NilOrVal<BlockId>, voter: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, block, voter }
    }

    fn new_precommit(&self, height: Height, round: Round, block: NilOrVal<BlockId>, voter: Address) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, block, voter }
    }
}

impl engine::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl engine::Address for Address {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl engine::Value for BlockId {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.short().fmt(f)
    }
}

impl engine::Validator<Chain> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &PartyId {
        &self.address.0
    }

    fn voting_power(&self) -> VotingPower {
        1
    }
}

impl engine::ValidatorSet<Chain> for Validators {
    fn count(&self) -> usize {
        self.validators.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.validators.len() as VotingPower
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.validators.iter().find(|validator| validator.address == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }
}

impl engine::Proposal<Chain> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockId {
        &self.block
    }

    fn take_value(self) -> BlockId {
        self.block
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

impl engine::Vote<Chain> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.block
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.block
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.voter
    }

    // Votes carry nothing else: the policy of every height says so.
    fn extension(&self) -> Option<&SignedExtension<Chain>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Chain>> {
        None
    }

    fn extend(self, _: SignedExtension<Chain>) -> Self {
        self
    }
}

impl engine::ProposalPart<Chain> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::Announcement(_))
    }

    // The announcement says how many bytes there are.
    fn is_last(&self) -> bool {
        false
    }
}

impl SigningScheme for Ed25519 {
    type DecodingError = Malformed;
    type Signature = Signature;
    type PublicKey = PartyId;
    type PrivateKey = NoKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, Malformed> {
        bytes.try_into().map(<Signature as From<[u8; 64]>>::from).map_err(|_| Malformed)
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.as_bytes().to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PartyId, Malformed> {
        let bytes = bytes.try_into().map_err(|_| Malformed)?;
        PartyId::from_bytes(bytes).map_err(|_| Malformed)
    }

    fn encode_public_key(key: &PartyId) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
}
