//! The words of the commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dt_ledger::DocumentId;
use dt_model::{ComponentId, Name, TwinId};

/// What a participant does, through its running node.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// How the node stands.
    Status,
    /// Create a twin from an AutomationML file; the party becomes its owner.
    Create {
        /// The AutomationML document.
        file: PathBuf,
        /// The owner's name for the device, unique among its twins.
        #[arg(long, value_name = "ID")]
        device_id: Name,
        /// What people call the device.
        #[arg(long, value_name = "NAME")]
        device_name: Option<Name>,
        /// The party that acts for the device: its name or key.
        #[arg(long, value_name = "PARTY")]
        agent: Option<String>,
    },
    /// Show a twin, an element of its specification, or the last readings of a sensor.
    Show {
        twin: TwinId,
        /// An ID, or a path from an ID or the root.
        address: Option<String>,
        /// The last readings of that sensor.
        #[arg(long, requires = "address")]
        readings: bool,
    },
    /// Set a value in the specification.
    Edit {
        twin: TwinId,
        /// The address of the CAEX attribute: `ID/Attribute[Name]`.
        address: String,
        value: String,
    },
    /// Share a document.
    Put(PutFile),
    /// Read a document into a file, or to standard output.
    Get {
        twin: TwinId,
        document: DocumentId,
        /// Which version, counted from 1; the newest without it.
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// The file; without it, standard output.
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Give a party a role, and open to it what the role may read.
    Grant {
        twin: TwinId,
        /// Its name or key.
        party: String,
        role: Name,
        /// Only what is written from now on.
        #[arg(long)]
        no_history: bool,
    },
    /// Take all roles from a party, and everything out of its reach.
    Revoke {
        twin: TwinId,
        /// Its name or key.
        party: String,
        /// Encrypt anew at once what is stored already.
        #[arg(long)]
        eager: bool,
    },
    /// Call a program of the machine.
    Call(CallProgram),
    /// What happened to a twin or an element, or what a party did.
    History(HistoryOf),
    /// Execute the node's own chain again from its beginning, and compare everything that is stored.
    Audit,
    /// Follow what happens on the ledger, one line for each event.
    Follow(Follow),
    /// Do something to the simulated device, as somebody beside it would.
    Simulate {
        #[command(subcommand)]
        what: Simulate,
    },
}

#[derive(Args)]
pub(crate) struct PutFile {
    pub(super) twin: TwinId,
    pub(super) file: PathBuf,
    /// The title; without it, the file's name.
    #[arg(long)]
    pub(super) title: Option<Name>,
    /// The media type (RFC 6838).
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    pub(super) media_type: Name,
    /// The element that it belongs to.
    #[arg(long, value_name = "ID")]
    pub(super) component: Option<ComponentId>,
    /// A new version of this document.
    #[arg(long, value_name = "ID", conflicts_with_all = ["title", "component"])]
    pub(super) version_of: Option<DocumentId>,
}

#[derive(Args)]
pub(crate) struct CallProgram {
    pub(super) twin: TwinId,
    pub(super) program: ComponentId,
    /// Parameters: `NAME=VALUE`, or `NAME=VALUE:UNIT`.
    #[arg(value_name = "PARAMETER")]
    pub(super) parameters: Vec<String>,
    /// The call is void after so many seconds, unless it was started.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) valid: u64,
    /// Only while the specification is as it is now.
    #[arg(long)]
    pub(super) guarded: bool,
    /// Wait for what comes of it.
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Args)]
pub(crate) struct HistoryOf {
    /// Of this twin.
    #[arg(long)]
    pub(super) twin: Option<TwinId>,
    /// Of this element of the twin.
    #[arg(long, value_name = "ID", requires = "twin")]
    pub(super) element: Option<ComponentId>,
    /// By this party: its name or key.
    #[arg(long)]
    pub(super) party: Option<String>,
    /// Go on after this place, as a former page ended with.
    #[arg(long, value_name = "HEIGHT.INDEX")]
    pub(super) after: Option<String>,
    /// The newest first.
    #[arg(long)]
    pub(super) newest: bool,
    /// Entries on the page.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}

#[derive(Args)]
pub(crate) struct Follow {
    /// Only of this twin.
    #[arg(long)]
    pub(super) twin: Option<TwinId>,
    /// Begin after this point; without it, with what happens from now on.
    #[arg(long, value_name = "HEIGHT.INDEX", conflicts_with = "cursor")]
    pub(super) from: Option<String>,
    /// Keep the point in this file, and go on from there: each event is told at least once.
    #[arg(long, value_name = "FILE")]
    pub(super) cursor: Option<PathBuf>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
}

#[derive(Subcommand)]
pub(crate) enum Simulate {
    /// A sensor fails.
    Break {
        sensor: ComponentId,
        /// What it shows from now on.
        #[arg(allow_negative_numbers = true)]
        shows: i64,
    },
    /// A sensor is exchanged for another.
    Exchange {
        old: ComponentId,
        /// The new one, as an AML element with an ID.
        new: ComponentId,
        fragment: PathBuf,
    },
}
