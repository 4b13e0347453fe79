//! The nodes as processes: founded, started, killed, and never left behind.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use dt_ledger::Approval;
use dt_model::Name;

use super::plant;
use crate::api::{Block, Status};
use crate::card::SignedCard;
use crate::clock;
use crate::failure::{Failure, Kind, at};
use crate::folder::Folder;
use crate::founding::Founding;
use crate::init::Init;
use crate::remote::Remote;

/// Who takes part, in the order in which nodes are asked for; further ones have numbers.
const NAMES: [&str; 4] = ["owner", "manufacturer", "maintainer", "auditor"];
/// How many DHT nodes may be malicious, or dead.
const MAX_FAULTY: u16 = 1;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Looks before something is given up: two minutes.
const LOOKS: u32 = 1200;

/// All nodes. Dropping it kills those that still run; if even that does not come to pass, they stop when their standard input ends.
pub(super) struct Fleet {
    members: Vec<Member>,
    pub(super) founding: Founding,
}

/// One node.
pub(super) struct Member {
    pub(super) name: Name,
    folder: Folder,
    remote: Remote,
    child: Option<Child>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Fleet {
    /// Makes the folders of `nodes` organisations below `root`, and what they found together.
    pub(super) fn found(root: &Path, nodes: usize) -> Result<Self, Failure> {
        let ports = free_ports(4 * nodes)?;
        let (mut folders, mut cards) = (Vec::new(), Vec::new());
        for (number, ports) in ports.chunks(4).enumerate() {
            let name =
                NAMES.get(number).map_or_else(|| format!("member-{}", number + 1), |name| (*name).into());
            let name = Name::new(name).map_err(Failure::bad_input)?;
            let folder = Folder::new(root.join(name.as_str()));
            let card = init(&folder, name.clone(), ports)?;
            cards.push(SignedCard::read(&card)?);
            folders.push((name, folder));
        }
        let name = Name::new("bottling plant consortium").map_err(Failure::bad_input)?;
        let founding = Founding::compose(name, clock::now(), Approval::Majority, MAX_FAULTY, cards)?;
        let mut members = Vec::new();
        for (name, folder) in folders {
            founding.write(&folder.founding())?;
            let remote = Remote::open(&folder)?;
            members.push(Member { name, folder, remote, child: None });
        }
        Ok(Self { members, founding })
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The node of that name.
    pub(super) fn member(&self, name: &str) -> Result<&Member, Failure> {
        let member = self.members.iter().find(|member| member.name.as_str() == name);
        member.ok_or_else(|| Failure::not_found(format_args!("there is no {name}")))
    }

    pub(super) fn member_mut(&mut self, name: &str) -> Result<&mut Member, Failure> {
        let member = self.members.iter_mut().find(|member| member.name.as_str() == name);
        member.ok_or_else(|| Failure::not_found(format_args!("there is no {name}")))
    }

    /// What `name` is asked through.
    pub(super) fn ask(&self, name: &str) -> Result<&Remote, Failure> {
        Ok(&self.member(name)?.remote)
    }

    /// Waits until every node that runs has come as far as the furthest; how far that is.
    pub(super) fn settle(&self) -> Result<u64, Failure> {
        let mut heights = Vec::new();
        for member in self.members.iter().filter(|member| member.child.is_some()) {
            heights.push(member.status()?.height);
        }
        let height = heights.into_iter().max().unwrap_or(0);
        for member in self.members.iter().filter(|member| member.child.is_some()) {
            wait(&format!("{} comes to block {height}", member.name), || {
                Ok((member.status()?.height >= height).then_some(()))
            })?;
        }
        Ok(height)
    }
}

impl Member {
    /// Starts the node as a process. What it logs lies in its folder.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let path = self.folder.path().join("node.log");
        let log = File::options().create(true).append(true).open(&path).map_err(|error| at(&path, error))?;
        let program = std::env::current_exe().map_err(|error| Failure::internal(&error))?;
        let child = Command::new(program)
            .args(["run", "--while-stdin", "--folder"])
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.map_err(|error| Failure::internal(&error))?);
        Ok(())
    }

    /// Waits until the node is ready.
    pub(super) fn wait_ready(&mut self) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            if let Some(code) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(unproven(&format!("{} runs (it ended with {code})", self.name)));
            }
            if self.remote.ready().is_ok_and(|readiness| readiness.ready) {
                return Ok(());
            }
            sleep(LOOK);
        }
        Err(unproven(&format!("{} becomes ready", self.name)))
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets the node stop by itself; whether it did so in order.
    pub(super) fn stop(&mut self) -> Result<bool, Failure> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        drop(child.stdin.take());
        for _ in 0..LOOKS {
            if let Some(status) = child.try_wait().map_err(|error| Failure::internal(&error))? {
                return Ok(status.success());
            }
            sleep(LOOK);
        }
        self.child = Some(child);
        self.kill();
        Ok(false)
    }

    pub(super) fn status(&self) -> Result<Status, Failure> {
        self.remote.get("/v1/status", &())
    }

    pub(super) fn block(&self, height: u64) -> Result<Block, Failure> {
        self.remote.get(&format!("/v1/blocks/{height}"), &())
    }
}

/// Makes one node's folder; where its card lies.
fn init(folder: &Folder, name: Name, ports: &[u16]) -> Result<std::path::PathBuf, Failure> {
    let &[ledger_port, exchange_port, storage_port, api_port] = ports else {
        return Err(Failure::new(Kind::Internal, "a node has four ports"));
    };
    let is_owner = name.as_str() == NAMES[0];
    let (host, bind) = (std::net::IpAddr::from([127, 0, 0, 1]), None);
    let init = Init { name, host, bind, ledger_port, exchange_port, storage_port, api_port, device: None };
    let mut settings = init.settings()?;
    settings.ledger.block_ms = 20;
    settings.ledger.idle_ms = 500;
    settings.ledger.propose_ms = 2_000;
    settings.device = is_owner.then(plant::device).transpose()?;
    init.run_with(folder, &settings)
}

/// Below those that the system gives to outgoing connections: one of them could else have a dead node's port when it comes back.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Ports that are free now, all different, from somewhere on.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let mut draw = [0; 2];
    getrandom::fill(&mut draw).map_err(|error| Failure::internal(&error))?;
    let offset = u16::from_le_bytes(draw) % (PORTS.end - PORTS.start);
    let candidates = PORTS.cycle().skip(usize::from(offset)).take(PORTS.len());
    // All are held until there are enough.
    let free = candidates.filter_map(|port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?)));
    let held: Vec<(u16, TcpListener)> = free.take(count).collect();
    if held.len() < count {
        return Err(Failure::new(Kind::Internal, format_args!("fewer than {count} ports are free")));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// Looks until there is something. A node that does not answer for a moment is asked again.
pub(super) fn wait<T>(
    claim: &str,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let mut last = None;
    for _ in 0..LOOKS {
        match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(failure) => last = Some(failure),
        }
        sleep(LOOK);
    }
    let last = last.map_or_else(String::new, |last| format!(" (last: {last})"));
    Err(unproven(&format!("{claim}{last}")))
}

/// A claim that does not hold.
pub(super) fn unproven(claim: &str) -> Failure {
    Failure::new(Kind::Internal, format_args!("not proven: {claim}"))
}
