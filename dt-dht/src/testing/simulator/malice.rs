//! The catalogue of misdeeds behind any transport: a real replica, of which others see what a malicious node makes of it.

use std::sync::{Arc, Mutex, PoisonError};

use dt_model::Signed;

use super::byzantine::{Means, Misdeed, Villain};
use super::{Dice, disk::Image};
use crate::{Answer, Clock, Record, Replica, Validator};

/// How a node is malicious, and what it has at hand for it.
#[derive(Clone)]
pub struct Malice {
    /// What it does.
    pub misdeed: Misdeed,
    /// Those of its real replica, which it goes by as it likes.
    pub validators: Vec<Arc<dyn Validator>>,
    /// What an accomplice among the writers signed: [`Misdeed::Phantoms`].
    pub phantoms: Arc<[Signed<Record>]>,
    /// What it draws its choices from.
    pub seed: u64,
}

impl Malice {
    /// What the node of `replica` answers, that has turned bad with the rows that it holds now. It goes by its replica's membership.
    ///
    /// # Panics
    /// If the replica's store fails.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up reports by panicking")]
    pub fn answering(self, replica: Arc<Replica>, clock: Clock) -> Answer {
        let rows: Image =
            replica.store().scan(&[], None, usize::MAX).expect("a store that works").into_iter().collect();
        let (signer, membership) = (replica.shared_signer(), replica.membership());
        let epoch = membership.epoch();
        let means = Means { signer, membership, validators: self.validators, phantoms: self.phantoms };
        let villain = Mutex::new((Villain::new(means, self.misdeed, rows, Dice::new(self.seed)), epoch));
        Arc::new(move |request| {
            let mut villain = villain.lock().unwrap_or_else(PoisonError::into_inner);
            let (villain, known) = &mut *villain;
            let membership = replica.membership();
            if membership.epoch() > *known {
                *known = membership.epoch();
                villain.follow(&membership);
            }
            villain.serve(&replica, request, clock())
        })
    }
}
