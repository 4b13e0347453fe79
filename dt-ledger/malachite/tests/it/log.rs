//! What a node's tasks log, line by line in a file, for whoever looks into a test that failed: nothing is written unless `DT_MALACHITE_LOG` names a
//! folder for it.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use dt_ledger::Clock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::cluster::clock;

/// The folder.
const FOLDER: &str = "DT_MALACHITE_LOG";

/// Writes what all of this process logs, from now on.
pub(crate) fn keep(name: &str) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let file = File::create(folder.join(format!("{name}-{}.log", std::process::id()))).unwrap();
    // Somebody else may listen already.
    let _ = tracing::subscriber::set_global_default(Log { clock: clock(), file: Mutex::new(file) });
}

struct Log {
    clock: Clock,
    file: Mutex<File>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("dt_ledger");
        *metadata.level() <= if is_ours { Level::DEBUG } else { Level::INFO }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line =
            Line(format!("{} {} {}", (self.clock)().as_millis(), metadata.level(), metadata.target()));
        event.record(&mut line);
        line.0.push('\n');
        let _ = self.file.lock().unwrap().write_all(line.0.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
