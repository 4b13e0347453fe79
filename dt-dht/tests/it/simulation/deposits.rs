//! Blobs that are put while nodes change: what was acknowledged stays, and what broke off holds up nothing.

use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use dt_dht::testing::simulator::{Dice, Host, Roster};
use dt_dht::{BlobRef, Client};
use futures_util::future::{Either, select};

/// What was acknowledged, with the number that its content follows from.
pub(super) type Stored = Arc<Mutex<Vec<(u64, BlobRef)>>>;

/// Somebody who puts blobs, and often breaks off: after none of the messages, or some, or nearly all.
pub(super) struct Depositor {
    pub(super) seed: u64,
    pub(super) client: Client,
    pub(super) host: Host,
    pub(super) roster: Roster,
    pub(super) dice: Dice,
    pub(super) stored: Stored,
}

fn content(seed: u64, number: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed ^ (number << 32));
    let length = *dice.choose(&[0, 1, 100, 3000]);
    [number.to_le_bytes().to_vec(), dice.bytes(length)].concat()
}

impl Depositor {
    pub(super) async fn works(mut self) {
        for number in 0..10 {
            let pause = self.dice.within(0..=3500);
            self.host.sleep(Duration::from_millis(pause)).await;
            if self.dice.permille(700) {
                self.roster.inform(&self.client);
            }
            let patience = match self.dice.permille(500) {
                true => self.dice.within(0..=1000),
                false => 60_000,
            };
            let content = content(self.seed, number);
            let put = pin!(self.client.put_blob(&content, self.host.now()));
            let patience = pin!(self.host.sleep(Duration::from_millis(patience)));
            if let Either::Left((Ok(blob), _)) = select(put, patience).await {
                self.stored.lock().unwrap().push((number, blob));
            }
        }
    }
}

/// Reads whatever was acknowledged; what is wrong with it, if anything is.
pub(super) async fn read_all(seed: u64, client: Client, host: Host, stored: Stored) -> Result<(), String> {
    let stored = stored.lock().unwrap().clone();
    for (number, blob) in stored {
        match client.get_blob(&blob, host.now()).await {
            Ok(found) if found == content(seed, number) => {}
            Ok(_) => return Err(format!("blob {number} has other content")),
            Err(error) => return Err(format!("blob {number} is lost: {error}")),
        }
    }
    Ok(())
}
