//! One simulated machine: its disk, its clock, its replica, and whether it means well.

use std::sync::Arc;

use bytes::Bytes;
use dt_model::PartyId;

use super::byzantine::{Means, Villain};
use super::{Dice, Disk, Host, Misdeed};
use crate::{RecordStore, Replica};

/// A node of the simulated network.
pub(super) struct Machine {
    means: Means,
    disk: Arc<Disk>,
    replica: Replica,
    host: Host,
    villain: Option<Villain>,
    is_up: bool,
}

impl Machine {
    pub(super) fn new(means: Means, disk: Disk, host: Host) -> Self {
        let disk = Arc::new(disk);
        let replica = start(&means, &disk);
        Self { means, disk, replica, host, villain: None, is_up: true }
    }

    pub(super) fn party(&self) -> PartyId {
        self.means.signer.party()
    }

    pub(super) const fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    pub(super) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(super) const fn is_honest(&self) -> bool {
        self.villain.is_none()
    }

    pub(super) const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Turns bad, or to another misdeed.
    pub(super) fn turn(&mut self, misdeed: Misdeed, dice: Dice) {
        self.villain = Some(Villain::new(self.means.clone(), misdeed, self.disk.image(), dice));
    }

    /// What it replies to `request`, if it does. Its disk may lose its power meanwhile: then it is down.
    pub(super) fn serve(&mut self, request: &[u8]) -> Option<Bytes> {
        if !self.is_up {
            return None;
        }
        let now = self.host.now();
        let reply = match &mut self.villain {
            None => Some(self.replica.handle(request, now)),
            Some(villain) => villain.serve(&self.replica, request, now),
        };
        self.is_up = !self.disk.is_off();
        reply.filter(|_| self.is_up)
    }

    /// Loses its power, now.
    pub(super) fn crash(&mut self) {
        self.disk.cut_power();
        self.is_up = false;
    }

    /// Starts again with what its disk kept, and nothing else.
    pub(super) fn start(&mut self) {
        self.disk.start();
        self.replica = start(&self.means, &self.disk);
        self.is_up = true;
    }
}

fn start(means: &Means, disk: &Arc<Disk>) -> Replica {
    let store: Arc<dyn RecordStore> = disk.clone();
    Replica::new(means.signer.clone(), store, means.membership.clone(), means.validators.clone())
}
