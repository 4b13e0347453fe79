//! What the organisations found together: the ledger's genesis, the DHT's resilience, and who is where. Composed once from everybody's
//! cards; each party puts the same file into its folder, and they compare its digest by telephone.

use std::collections::BTreeSet;
use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_ledger::{Approval, Genesis, Organisation, Proposal};
use dt_model::{Digest, Domain, Name, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::card::{Card, SignedCard, read_json, write_json};
use crate::failure::{Failure, at};

/// What everything begins with.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Founding {
    /// What people call the chain.
    pub(crate) name: Name,
    /// When it begins.
    pub(crate) time: Timestamp,
    /// How many organisations must agree to change who they are.
    pub(crate) approval: Approval,
    /// How many DHT nodes may be malicious: the paper's *k*.
    pub(crate) max_faulty: u16,
    /// The organisations, by name.
    pub(crate) members: Vec<SignedCard>,
}

const DIGEST: Domain = Domain::new("dt/example/twin-node/founding/v1");
/// Each organisation has one validator.
const SEATS: u8 = 1;
/// 256 members of a kilobyte each are less.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

impl Founding {
    /// Founds a chain of the organisations of `members`.
    pub(crate) fn compose(
        name: Name,
        time: Timestamp,
        approval: Approval,
        max_faulty: u16,
        mut members: Vec<SignedCard>,
    ) -> Result<Self, Failure> {
        members.sort_by(|one, other| one.card.name.cmp(&other.card.name));
        let founding = Self { name, time, approval, max_faulty, members };
        founding.check()?;
        Ok(founding)
    }

    /// Whether a chain and a DHT can begin with this.
    fn check(&self) -> Result<(), Failure> {
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for member in &self.members {
            let card = member.verify()?;
            if !names.insert(&card.name) {
                return Err(Failure::bad_input(format_args!("two organisations are called {}", card.name)));
            }
            for key in [card.authority, card.validator, card.party] {
                if !keys.insert(key) {
                    let short = key.short();
                    return Err(Failure::bad_input(format_args!(
                        "{}: the key {short} stands twice",
                        card.name
                    )));
                }
            }
        }
        self.genesis().check().map_err(Failure::bad_input)?;
        let (needed, members) = (usize::from(self.replicas()), self.members.len());
        if members < needed {
            return Err(Failure::bad_input(format_args!(
                "{} malicious nodes are outnumbered by {needed} organisations, not by {members}",
                self.max_faulty
            )));
        }
        Ok(())
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let founding: Self = read_json(path, MAX_FILE_BYTES)?;
        founding.check().map_err(|error| at(path, error))?;
        Ok(founding)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        write_json(path, self)
    }

    /// What everybody compares.
    pub(crate) fn digest(&self) -> Digest {
        DIGEST.blake3_of(self)
    }

    /// The ledger's part.
    pub(crate) fn genesis(&self) -> Genesis {
        let organisations = self.cards().map(|card| Organisation {
            name: card.name.clone(),
            authority: card.authority,
            validators: vec![card.validator],
        });
        Genesis {
            name: self.name.clone(),
            time: self.time,
            organisations: organisations.collect(),
            approval: self.approval,
            seats: SEATS,
        }
    }

    /// The DHT's part, on which the organisations vote.
    pub(crate) fn storage(&self) -> Proposal {
        Proposal::FoundStorage { replicas: self.replicas(), max_faulty: self.max_faulty }
    }

    pub(crate) const fn replicas(&self) -> u16 {
        self.max_faulty.saturating_mul(3).saturating_add(1)
    }

    pub(crate) fn cards(&self) -> impl Iterator<Item = &Card> {
        self.members.iter().map(|member| &member.card)
    }

    /// The organisation of this authority, and its place among them.
    pub(crate) fn member(&self, authority: &PartyId) -> Option<(usize, &Card)> {
        self.cards().enumerate().find(|(_, card)| card.authority == *authority)
    }
}
