//! What a process logs, in a file, for whoever looks into a test that failed: nothing is written unless `DT_MALACHITE_LOG` names a folder for it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

/// The folder.
const FOLDER: &str = "DT_MALACHITE_LOG";

/// Writes what all of this process logs, from now on.
pub(crate) fn keep(name: &str) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let file = File::create(folder.join(format!("{name}-{}.log", std::process::id()))).unwrap();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(file));
    // Somebody else may listen already.
    let _ = log.with_env_filter("info,dt_ledger=debug,dt_ledger_malachite=debug").try_init();
}
