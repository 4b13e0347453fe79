//! What the simulated disk keeps over a power cut.

use bytes::Bytes;
use dt_dht::RecordStore;
use dt_dht::testing::simulator::{Disk, Durability};

fn write(disk: &Disk, number: u8) -> bool {
    let row = |key: &'static [u8]| (Bytes::from_static(key), Bytes::copy_from_slice(&[number]));
    disk.put(&[row(b"a"), row(b"b")]).is_ok()
}

/// The value of both rows, which are written together.
fn held(disk: &Disk) -> Option<u8> {
    let value = |key: &[u8]| disk.get(key).unwrap().map(|value| value[0]);
    assert_eq!(value(b"a"), value(b"b"), "a batch is whole");
    value(b"a")
}

#[test]
fn what_was_acknowledged_survives() {
    for written in [false, true] {
        let disk = Disk::new(Durability::OnReturn);
        assert!(write(&disk, 1));
        disk.cut_power_at(1, written);
        assert!(write(&disk, 2));
        assert!(!write(&disk, 3), "the power is cut in this one");
        assert!(disk.is_off() && !write(&disk, 4) && disk.get(b"a").is_err() && disk.remove(&[]).is_err());
        disk.start();
        assert_eq!(held(&disk), Some(if written { 3 } else { 2 }));
        assert!(write(&disk, 5), "a cut happens once");
    }
}

#[test]
fn a_disk_that_syncs_late_goes_back_to_the_last_sync() {
    let disk = Disk::new(Durability::Late);
    (1..=10).for_each(|number| assert!(write(&disk, number)));
    assert_eq!(held(&disk), Some(10), "reads see what is not durable");
    disk.cut_power();
    disk.start();
    assert_eq!(held(&disk), Some(8));
    disk.remove(&[Bytes::from_static(b"a"), Bytes::from_static(b"b")]).unwrap();
    assert_eq!(held(&disk), None);
    disk.cut_power();
    disk.start();
    assert_eq!(held(&disk), Some(8), "a removal, too, may be undone");
}
