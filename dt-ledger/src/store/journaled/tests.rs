//! The store against sorted maps: with segments and pieces so small that redb is behind at any time, and crashes at any moment.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use redb::{Builder, StorageBackend};

use crate::store::journaled::Journaled;
use crate::store::redb::create_tables;
use crate::store::{Batch, Row, StoreView, Table, Writes};

const TABLES: [Table; 2] = [Table::State, Table::Pending];

type Model = [BTreeMap<Vec<u8>, Vec<u8>>; 2];

#[derive(Debug, Clone)]
enum Step {
    Commit([Writes; 2]),
    /// A look that lasts until the end.
    Look,
    /// The process dies, or the power fails, and another process opens what is left.
    Die {
        is_power: bool,
    },
    Reopen,
    Compact,
}

fn writes() -> impl Strategy<Value = Writes> {
    let key = (0..40u8).prop_map(|key| vec![key; usize::from(key % 3) + 1]);
    btree_map(key, prop::option::weighted(0.7, vec(any::<u8>(), 0..90)), 0..16)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = [writes(), writes()].prop_map(Step::Commit);
    let step = prop_oneof![
        12 => commit,
        3 => Just(Step::Look),
        2 => any::<bool>().prop_map(|is_power| Step::Die { is_power }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Compact),
    ];
    vec(step, 1..40)
}

/// redb's file: what was flushed of it, and what was written since.
#[derive(Debug, Clone, Default)]
struct Disk {
    flushed: Vec<u8>,
    written: Vec<(usize, Vec<u8>)>,
    now: Vec<u8>,
    is_broken: bool,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Disk>>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.lock().unwrap().now[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        let len = usize::try_from(len).unwrap();
        disk.now.resize(len, 0);
        disk.flushed.resize(len, 0);
        disk.written.retain(|(offset, data)| offset + data.len() <= len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        for (offset, data) in std::mem::take(&mut disk.written) {
            disk.flushed[offset..offset + data.len()].copy_from_slice(&data);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if disk.is_broken {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let offset = usize::try_from(offset).unwrap();
        disk.now[offset..offset + data.len()].copy_from_slice(data);
        disk.written.push((offset, data.to_vec()));
        Ok(())
    }
}

/// A store, the files of its journal beside `ledger`, and redb's.
struct Machine {
    store: Option<Journaled>,
    disk: Shared,
    ledger: PathBuf,
}

impl Machine {
    fn start(disk: Shared, ledger: PathBuf) -> Self {
        let database = Builder::new().create_with_backend(disk.clone()).unwrap();
        create_tables(&database).unwrap();
        let store = Some(Journaled::open(database, &ledger).unwrap());
        Self { store, disk, ledger }
    }

    fn store(&mut self) -> &mut Journaled {
        self.store.as_mut().unwrap()
    }

    fn reopen(mut self) -> Self {
        drop(self.store.take());
        Self::start(self.disk, self.ledger)
    }

    /// The machine as it would be if the process, or the power, ended now. Redb may be given rows meanwhile, so the journal is copied before redb's file:
    /// as if the process had ended before it cleared a segment.
    fn die(&self, folder: &Path, is_power: bool) -> Self {
        std::fs::create_dir(folder).unwrap();
        for file in std::fs::read_dir(self.ledger.parent().unwrap()).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        let disk = self.disk.0.lock().unwrap();
        let left = if is_power { disk.flushed.clone() } else { disk.now.clone() };
        let left = Disk { flushed: left.clone(), written: Vec::new(), now: left, is_broken: false };
        drop(disk);
        Self::start(Shared(Arc::new(Mutex::new(left))), folder.join("ledger"))
    }
}

fn rows(view: &dyn StoreView, of: Table, from: &[u8], is_back: bool, limit: usize) -> Vec<Row> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if is_back {
        view.scan_back(of, from, visit).unwrap()
    } else {
        view.scan(of, from, visit).unwrap()
    }
    found
}

fn check(view: &dyn StoreView, model: &Model) {
    for (table, model) in TABLES.into_iter().zip(model) {
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        for key in (0..41u8).step_by(5) {
            assert_eq!(view.get(table, &[key]).unwrap().as_ref(), model.get(&vec![key]));
            for limit in [1, 3, usize::MAX] {
                let expected: Vec<Row> = model.range(vec![key]..).take(limit).map(owned).collect();
                assert_eq!(rows(view, table, &[key], false, limit), expected);
                let expected: Vec<Row> = model.range(..=vec![key]).rev().take(limit).map(owned).collect();
                assert_eq!(rows(view, table, &[key], true, limit), expected);
            }
        }
    }
}

#[test]
fn where_redb_fails_nothing_is_lost_and_nothing_is_added() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("0")).unwrap();
    let mut machine = Machine::start(Shared::default(), folder.path().join("0").join("ledger"));
    let mut model = Model::default();
    let mut commit = |machine: &mut Machine, number: u8| {
        let mut batch = Batch::default();
        batch.put(Table::State, vec![number], vec![number; 200]);
        let done = machine.store().commit(batch).is_ok();
        if done {
            model[0].insert(vec![number], vec![number; 200]);
        }
        done
    };
    assert!((0..30).all(|number| commit(&mut machine, number)), "a disk that works");
    machine.disk.0.lock().unwrap().is_broken = true;
    assert!(!(30..200).all(|number| commit(&mut machine, number)), "it is noticed");
    assert!((200..=255).all(|number| !commit(&mut machine, number)), "and not forgotten");
    check(&*machine.store().view().unwrap(), &model);
    assert!(machine.store().database().is_err());
    // It works again before the store is closed: redb must not get the young rows without the old ones.
    machine.disk.0.lock().unwrap().is_broken = false;
    let mut again = machine.reopen();
    check(&*again.store().view().unwrap(), &model);
}

#[cfg(target_os = "linux")]
#[test]
fn only_the_thread_behind_steps_back() {
    use rustix::process::getpriority_process;

    let before = getpriority_process(None).unwrap();
    let behind = std::thread::spawn(|| {
        super::step_back();
        getpriority_process(None).unwrap()
    });
    assert_eq!(behind.join().unwrap(), super::NICE.max(before));
    assert_eq!(getpriority_process(None).unwrap(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn it_is_sorted_maps_whatever_redb_has_and_whoever_dies(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("0")).unwrap();
        let mut machine = Machine::start(Shared::default(), folder.path().join("0").join("ledger"));
        let (mut model, mut looks): (Model, _) = (Model::default(), Vec::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Commit(writes) => {
                    let mut batch = Batch::default();
                    for ((table, writes), model) in TABLES.into_iter().zip(writes).zip(&mut model) {
                        for (key, value) in &writes {
                            match value {
                                Some(value) => drop(model.insert(key.clone(), value.clone())),
                                None => drop(model.remove(key)),
                            }
                        }
                        batch.extend(table, writes);
                    }
                    machine.store().commit(batch).unwrap();
                }
                Step::Look => looks.push((machine.store().view().unwrap(), model.clone())),
                Step::Die { is_power } => {
                    looks.clear();
                    machine = machine.die(&folder.path().join((number + 1).to_string()), is_power);
                }
                Step::Reopen => {
                    looks.clear();
                    machine = machine.reopen();
                }
                Step::Compact => {
                    looks.clear();
                    machine.store().database().unwrap().compact().unwrap();
                }
            }
            check(&*machine.store().view().unwrap(), &model);
        }
        for (view, model) in looks {
            check(&*view, &model);
        }
    }
}
