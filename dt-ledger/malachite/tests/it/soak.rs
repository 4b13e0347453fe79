//! Faults at random, for as long as one likes: processes that are killed, stopped and go on, lose their disks, and links that are cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::cluster::{Plan, run};
use crate::fleet::{Fleet, Load, Task};

const VALIDATORS: usize = 4;

/// All ways between members, each of which can be cut.
struct Links(Vec<Vec<Arc<watch::Sender<bool>>>>);

impl Links {
    /// Puts a way of its own between each two members of the plan.
    async fn between(plan: &mut Plan) -> Self {
        let mut cuts = Vec::new();
        for _ in 0..plan.ports.len() {
            let (mut ways, mut row) = (Vec::new(), Vec::new());
            for (consensus, exchange) in &plan.ports {
                let cut = Arc::new(watch::Sender::new(false));
                ways.push((carry(*consensus, &cut).await, carry(*exchange, &cut).await));
                row.push(cut);
            }
            plan.links.push(ways);
            cuts.push(row);
        }
        Self(cuts)
    }

    /// Cuts, or mends, all that lies between the member and the others.
    fn cut(&self, member: usize, cut: bool) {
        for other in 0..self.0.len() {
            self.0[member][other].send_replace(cut);
            self.0[other][member].send_replace(cut);
        }
    }
}

/// Carries what comes to a new port on to another one, unless the way is cut; the port.
async fn carry(to: u16, cut: &watch::Sender<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = cut.subscribe();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut cut = cut.clone();
            tokio::spawn(async move {
                if *cut.borrow_and_update() {
                    return;
                }
                let Ok(mut to) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut to) => {}
                    _ = cut.wait_for(|cut| *cut) => {}
                }
            });
        }
    });
    port
}

/// Xorshift: the order of faults is the same each time, their moments are not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % most
    }
}

/// A slice of the soak; `DT_MALACHITE_SOAK` says how many seconds it is to be instead.
#[test]
fn soak() {
    let seconds = std::env::var("DT_MALACHITE_SOAK").ok().and_then(|word| word.parse().ok()).unwrap_or(20);
    let (length, mut dice) = (Duration::from_secs(seconds), Dice(88_172_645_463_325_252));
    run(seconds + 400, async {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::new(folder.path().into(), VALIDATORS as u64, VALIDATORS + 1);
        let links = Links::between(&mut plan).await;
        let mut fleet = Fleet::of(plan, folder).await;
        let party = fleet.enrol(10).await;
        let load = Load::start(&fleet.watcher, party);
        let (begun, mut wiped, mut faults) = (Instant::now(), None, 0);
        while begun.elapsed() < length {
            let count = [1, 1, 1, 2, 4][usize::try_from(dice.below(5)).unwrap()];
            let first = usize::try_from(dice.below(4)).unwrap();
            let members: Vec<usize> = (0..count).map(|next| (first + next) % VALIDATORS).collect();
            let pause = Duration::from_millis(dice.below(4000));
            let fault = ["killed", "stopped", "cut off", "wiped"][usize::try_from(dice.below(4)).unwrap()];
            // One disk at most is lost, late: its validator votes no more, so from then on all others are needed.
            if fault == "wiped" && (wiped.is_some() || begun.elapsed() < length / 2) {
                continue;
            }
            let members = if fault == "wiped" { vec![first] } else { members };
            println!("{:4} s, block {}: {members:?} {fault}", begun.elapsed().as_secs(), fleet.height());
            let is_borne = members.len() == 1 && wiped.is_none();
            for member in &members {
                match fault {
                    "killed" => fleet.kill(*member),
                    "stopped" => fleet.hold(*member, true),
                    "cut off" => links.cut(*member, true),
                    _ => {
                        fleet.wipe(*member);
                        wiped = Some(*member);
                    }
                }
            }
            sleep(pause).await;
            if is_borne {
                load.progress(&mut fleet).await;
            }
            for member in &members {
                match fault {
                    "stopped" => fleet.hold(*member, false),
                    "cut off" => links.cut(*member, false),
                    _ => fleet.spawn(*member, Task { watch: wiped == Some(*member), ..Task::default() }),
                }
            }
            load.progress(&mut fleet).await;
            faults += 1;
        }
        println!("{faults} faults, {} blocks", fleet.height());
        load.finish(&mut fleet).await;
        fleet.finish().await;
    });
}
