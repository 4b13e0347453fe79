//! The part of the story that dice write: many parties in many blocks, much of it refused.

use std::collections::BTreeMap;

use dt_ledger::{Call, MAINTAINER, State as _, TwinCall};
use dt_model::{Identity, PartyId, Signer as _};

use super::story::Story;
use crate::support::*;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): the same numbers on every machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

impl Story {
    /// Blocks of none to many transactions, enough for several threads, until the chain is so high.
    pub(super) fn thrown(&self, dice: &mut Dice, height: u64) {
        let Plant { chain, owner, maintainer, auditor, agent, outsider, .. } = &self.plant;
        let parties = [owner, maintainer, auditor, agent, outsider];
        while chain.replica().tip().height < height {
            chain.wait(dice.pick(&[0, 1, 20, 3000]));
            let mut ahead: BTreeMap<PartyId, u64> = BTreeMap::new();
            let mut transactions = Vec::new();
            for _ in 0..dice.pick(&[0, 1, 2, 4, 25]) {
                let signer = dice.pick(&parties);
                let calls = (0..1 + dice.below(2)).map(|_| self.any_call(dice, signer)).collect();
                let waiting = ahead.entry(signer.party()).or_default();
                transactions.push(chain.sign_ahead(signer, calls, *waiting));
                *waiting += 1;
            }
            chain.commit(&transactions);
        }
    }

    fn any_call(&self, dice: &mut Dice, signer: &Identity) -> Call {
        let at = dice.pick(&["line", "tank", "level", "valve", "conveyor", "motor", "nowhere"]);
        let number = dice.below(6);
        let party = dice.pick(&[&self.plant.auditor, &self.plant.outsider]).party();
        let role = name(dice.pick(&[MAINTAINER, "auditor", "visitor"]));
        let state = self.plant.chain.state();
        let twin = state.twin(&self.plant.twin).unwrap();
        self.plant.on(match dice.below(12) {
            0 => return Call::RotateEncryptionKey { key: signer.encryption_key() },
            1 => return Call::RegisterNode { endpoints: vec![uri(&format!("tcp://node-{number}"))] },
            2 => add_document(Some(at)),
            3 => edit([insert(&format!("part-{number}"), at)]),
            4 => edit([remove(&format!("part-{number}"))]),
            5 => TwinCall::AddExternalSource {
                uri: uri(&format!("https://data.example/{number}")),
                component: Some(component(at)),
            },
            6 => TwinCall::RemoveExternalSource { uri: uri(&format!("https://data.example/{number}")) },
            7 => TwinCall::AssignRole { party, role },
            8 => TwinCall::UnassignRole { party, role },
            9 => {
                let speed = dice.pick(&["4.9", "5", "30.5", "6e1", "61"]);
                TwinCall::CallProgram(set_speed(speed, dice.pick(&["slow", "fast"])))
            }
            10 => TwinCall::ClaimCalls { epoch: twin.epoch + 1 },
            _ => TwinCall::AnchorAcl { item: digest(9), version: number + 1, digest: digest(8) },
        })
    }
}
