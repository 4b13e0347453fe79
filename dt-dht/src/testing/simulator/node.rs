//! One simulated machine: its disk, its clock, its replica, and whether it means well.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dt_model::PartyId;

use super::byzantine::{Means, Villain};
use super::roster::{Seat, SharedSeat, seat};
use super::{Dice, Disk, Host, Misdeed};
use crate::{RecordStore, Replica};

/// A node of the simulated network.
pub(super) struct Machine {
    means: Means,
    disk: Arc<Disk>,
    seat: SharedSeat,
    host: Host,
    villain: Option<Villain>,
}

impl Machine {
    pub(super) fn new(means: Means, disk: Disk, host: Host) -> Self {
        let disk = Arc::new(disk);
        let (replica, membership) = (start(&means, &disk), means.membership.clone());
        let seat = Seat { replica, membership, starts: 0, is_up: true, is_honest: true };
        Self { means, disk, seat: Arc::new(Mutex::new(seat)), host, villain: None }
    }

    pub(super) fn party(&self) -> PartyId {
        self.means.signer.party()
    }

    pub(super) const fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    pub(super) fn seat(&self) -> SharedSeat {
        self.seat.clone()
    }

    pub(super) fn host(&self) -> Host {
        self.host.clone()
    }

    pub(super) fn replica(&self) -> Arc<Replica> {
        seat(&self.seat).replica.clone()
    }

    pub(super) const fn is_honest(&self) -> bool {
        self.villain.is_none()
    }

    pub(super) fn is_up(&self) -> bool {
        seat(&self.seat).is_up
    }

    /// Turns bad, or to another misdeed.
    pub(super) fn turn(&mut self, misdeed: Misdeed, dice: Dice) {
        self.follow();
        seat(&self.seat).is_honest = false;
        self.villain = Some(Villain::new(self.means.clone(), misdeed, self.disk.image(), dice));
    }

    /// What it replies to `request`, if it does. Its disk may lose its power meanwhile: then it is down.
    pub(super) fn serve(&mut self, request: &[u8]) -> Option<Bytes> {
        if !self.is_up() {
            return None;
        }
        self.follow();
        let (now, replica) = (self.host.now(), self.replica());
        let reply = match &mut self.villain {
            None => Some(replica.handle(request, now)),
            Some(villain) => villain.serve(&replica, request, now),
        };
        let is_up = !self.disk.is_off();
        seat(&self.seat).is_up = is_up;
        reply.filter(|_| is_up)
    }

    /// Loses its power, now: which node that was.
    pub(super) fn crash(&mut self) -> PartyId {
        self.disk.cut_power();
        seat(&self.seat).is_up = false;
        self.party()
    }

    /// Starts again with what its disk kept, and nothing else. (Its copy of the ledger is no part of the simulation.)
    pub(super) fn start(&mut self) {
        self.follow();
        self.disk.start();
        let mut here = seat(&self.seat);
        (here.replica, here.starts, here.is_up) = (start(&self.means, &self.disk), here.starts + 1, true);
    }

    /// What it has learnt of the nodes, its mask learns.
    fn follow(&mut self) {
        let here = seat(&self.seat);
        if here.membership.epoch() > self.means.membership.epoch() {
            self.means.membership = here.membership.clone();
            if let Some(villain) = &mut self.villain {
                villain.follow(&here.membership);
            }
        }
    }
}

fn start(means: &Means, disk: &Arc<Disk>) -> Arc<Replica> {
    let store: Arc<dyn RecordStore> = disk.clone();
    let (signer, membership) = (means.signer.clone(), means.membership.clone());
    Arc::new(Replica::new(signer, store, membership, means.validators.clone()))
}
