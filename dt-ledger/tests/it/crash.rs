//! A ledger on disk survives the end of the process at any moment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dt_ledger::testing::Fixture;
use dt_ledger::{Call, RedbStore, State as _, audit};
use dt_model::Signer as _;

/// Set in the process that is to be killed: where its ledger lies.
const LEDGER: &str = "DT_LEDGER_TO_BE_KILLED";
/// So often is it killed.
const KILLS: u64 = 10;

/// The other process: commits blocks for ever and says each height when it is committed. Without the variable there is nothing to do.
#[test]
fn writes_until_killed() {
    let Some(path) = std::env::var_os(LEDGER).map(PathBuf::from) else { return };
    let chain = Fixture::new(Arc::new(RedbStore::open(&path).unwrap()), 1, 1);
    let party = dt_model::testing::identity(1);
    if chain.state().party(&party.party()).unwrap().is_none() {
        let party = chain.enrol(1);
        let _ = chain.twin(&party, None, &[]);
    }
    let twin = chain.state().twins().next();
    loop {
        let transaction = match (twin, chain.replica().tip().height % 2) {
            (Some(twin), 0) => {
                let id = format!("x{}", chain.replica().tip().height);
                let call = crate::support::edit([crate::support::insert(&id, "tank")]);
                chain.sign(&party, vec![Call::Twin { twin, call }])
            }
            _ => chain.sign(&party, vec![Call::RotateEncryptionKey { key: party.encryption_key() }]),
        };
        let height = chain.commit(&[transaction]).block.header.height;
        let mut out = std::io::stdout();
        writeln!(out, "\ncommitted {height}").unwrap();
        out.flush().unwrap();
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writes_until_killed", "--nocapture", "--test-threads=1"])
        .env(LEDGER, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The heights that the process announces, until it has announced `enough`; then it is killed, some `delay` later.
fn kill_after(mut child: Child, enough: usize, delay: Duration) -> Vec<u64> {
    let mut heights = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let read = |line: &str| line.strip_prefix("committed ").and_then(|height| height.parse::<u64>().ok());
    while heights.len() < enough {
        let line = lines.next().expect("goes on until it is killed").unwrap();
        heights.extend(read(&line));
    }
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had announced before it died, but we had not read yet.
    heights.extend(lines.map_while(Result::ok).filter_map(|line| read(&line)));
    heights
}

#[test]
fn what_was_announced_survives_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let mut reached = 0;
    for kill in 0..KILLS {
        // Neither the counts nor the delays have a common measure with the time that a commit takes.
        let delay = Duration::from_micros(kill * 3571 % 9973);
        let heights = kill_after(start(&path), 1 + (kill as usize * 5) % 7, delay);
        let last = *heights.last().unwrap();
        assert!(last > reached, "it went on where it was killed");

        let store = Arc::new(RedbStore::open(&path).unwrap());
        let chain = Fixture::new(Arc::clone(&store) as Arc<dyn dt_ledger::LedgerStore>, 1, 1);
        let tip = chain.replica().tip();
        assert!(tip.height >= last, "height {last} was announced, and {} is there", tip.height);
        assert!(tip.height <= last + 2, "nothing is there that was never made");
        for height in reached + 1..=last {
            assert!(chain.replica().block(height).unwrap().is_some(), "height {height} is there");
        }
        let report = audit(&*store, chain.replica().genesis(), &mut |_| {}).expect("nothing is half written");
        assert_eq!(report.tip, tip);
        reached = last;
    }
}
