//! A network of this program's own processes on one machine, and the bottling plant's story over them.
//!
//! ```text
//! devnet ─▶ fleet: folders, founding, `twin-node run` for each member     ◀── killed with whoever started them
//!        └▶ story: the steps, each proven by what the nodes answer ─▶ narrator: terminal, or JSON
//! ```

mod fleet;
mod narrator;
mod plant;
mod story;

use std::path::PathBuf;

use clap::Args;

use self::fleet::Fleet;
use self::narrator::Narrator;
use crate::failure::{Failure, at};

/// Start nodes of several organisations on this machine, and tell the bottling plant's story over them; one is killed on the way.
#[derive(Args)]
pub(crate) struct Devnet {
    /// How many organisations, each with a node.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=16))]
    nodes: u8,
    /// Keep the nodes' folders, and say where they are.
    #[arg(long)]
    keep: bool,
}

impl Devnet {
    /// Tells the story in `folder`, or in one that goes with it.
    pub(crate) fn run(&self, folder: Option<PathBuf>, json: bool) -> Result<(), Failure> {
        let mut narrator = Narrator::new(json);
        let temporary = match &folder {
            Some(_) => None,
            None => {
                let made = tempfile::Builder::new().prefix("twin-node-").disable_cleanup(self.keep).tempdir();
                Some(made.map_err(|error| at(&std::env::temp_dir(), error))?)
            }
        };
        let root = folder.or_else(|| temporary.as_ref().map(|folder| folder.path().to_owned()));
        let root = root.unwrap_or_default();
        let told =
            Fleet::found(&root, usize::from(self.nodes)).and_then(|fleet| story::tell(fleet, &mut narrator));
        if let Err(failure) = &told {
            narrator.wrong(&failure.to_string());
        }
        narrator.end();
        if self.keep || temporary.is_none() {
            narrator.says(&format!("everything lies in {}", root.display()));
        }
        told
    }
}
