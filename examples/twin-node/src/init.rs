//! `init` and `genesis`: what is done once, before there is a chain.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dt_ledger::Approval;
use dt_model::{Name, Signer as _, Text};

use crate::card::{Address, Card, SignedCard};
use crate::clock;
use crate::failure::{Failure, at};
use crate::folder::{Folder, Key, keypair, rng};
use crate::founding::Founding;
use crate::settings::{ApiSettings, DeviceSettings, LedgerSettings, Settings, StorageSettings};

/// Makes a node's folder: keys, configuration, and the card for the others.
#[derive(Args)]
pub(crate) struct Init {
    /// What the organisation and its party are called.
    #[arg(long)]
    pub(crate) name: Name,
    /// The address at which the others reach this machine.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// The address to listen at for the others; without it, that of `--host`.
    #[arg(long)]
    pub(crate) bind: Option<IpAddr>,
    /// The consensus engine's TCP port.
    #[arg(long, value_name = "PORT", default_value_t = 27000)]
    pub(crate) ledger_port: u16,
    /// The TCP port for transactions and images.
    #[arg(long, value_name = "PORT", default_value_t = 27001)]
    pub(crate) exchange_port: u16,
    /// The DHT node's TCP port.
    #[arg(long, value_name = "PORT", default_value_t = 27002)]
    pub(crate) storage_port: u16,
    /// The port for requests of this machine's users, on loopback.
    #[arg(long, value_name = "PORT", default_value_t = 27003)]
    pub(crate) api_port: u16,
    /// Simulate a device with this ID, and act for it: its sensors and programs are named in the configuration.
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<Name>,
}

/// Composes the chain's beginning from the cards of all organisations.
#[derive(Args)]
pub(crate) struct Compose {
    /// The cards.
    #[arg(required = true, value_name = "CARD")]
    pub(crate) cards: Vec<PathBuf>,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// What people call the chain.
    #[arg(long, default_value = "twins")]
    pub(crate) name: Name,
    /// How many organisations must agree to change who they are.
    #[arg(long, value_enum, default_value_t = Threshold::Majority)]
    pub(crate) approval: Threshold,
    /// How many DHT nodes may be malicious; 3 times as many and one are needed.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) faulty: u16,
}

/// How many organisations must agree.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Threshold {
    /// More than half.
    Majority,
    /// More than two thirds.
    TwoThirds,
    /// All.
    Unanimous,
}

impl From<Threshold> for Approval {
    fn from(threshold: Threshold) -> Self {
        match threshold {
            Threshold::Majority => Self::Majority,
            Threshold::TwoThirds => Self::TwoThirds,
            Threshold::Unanimous => Self::Unanimous,
        }
    }
}

/// A document in one request, before somebody sets another limit.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024 * 1024;

impl Init {
    /// Makes the folder; where the card lies.
    pub(crate) fn run(&self, folder: &Folder) -> Result<PathBuf, Failure> {
        self.run_with(folder, &self.settings()?)
    }

    /// As the configuration would say it, before somebody changes it.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let bind = self.bind.unwrap_or(self.host);
        let device = self.device.clone().map(|id| DeviceSettings {
            id,
            pull_ms: 1_000,
            sample_ms: 1_000,
            sensors: Vec::new(),
            programs: Vec::new(),
        });
        Ok(Settings {
            name: self.name.clone(),
            ledger: LedgerSettings {
                consensus: address(bind, self.ledger_port)?,
                exchange: address(bind, self.exchange_port)?,
                vote: true,
                block_ms: 50,
                idle_ms: 1_000,
                propose_ms: 3_000,
            },
            storage: StorageSettings { listen: address(bind, self.storage_port)?, serve: true, found: true },
            api: ApiSettings {
                listen: SocketAddr::from(([127, 0, 0, 1], self.api_port)),
                max_document_bytes: MAX_DOCUMENT_BYTES,
                request_ms: 60_000,
            },
            device,
        })
    }

    /// Makes the folder of a node that is set up by `settings`.
    pub(crate) fn run_with(&self, folder: &Folder, settings: &Settings) -> Result<PathBuf, Failure> {
        if std::fs::read_dir(folder.path()).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(at(folder.path(), "there is something already; keys are not overwritten"));
        }
        let mut rng = rng()?;
        folder.create(&mut rng)?;
        let authority = folder.create_key(Key::Authority, &mut rng)?;
        let validator = folder.create_key(Key::Validator, &mut rng)?;
        let node = folder.create_key(Key::Node, &mut rng)?;
        let party = folder.create_key(Key::Party, &mut rng)?;
        if settings.device.is_some() {
            folder.create_key(Key::Agent, &mut rng)?;
        }
        let card = Card {
            name: settings.name.clone(),
            authority: authority.party(),
            validator: validator.party(),
            party: party.party(),
            node: Text::abridged(&keypair(&node)?.public().to_peer_id().to_string()),
            consensus: address(self.host, self.ledger_port)?,
            exchange: address(self.host, self.exchange_port)?,
            storage: address(self.host, self.storage_port)?,
        };
        let path = folder.card(card.name.as_str());
        SignedCard::new(card, &authority)?.write(&path)?;
        // Last: a folder without it is not taken for a node's.
        let config = folder.config();
        dt_model::file::write_private(&config, settings.commented()?.as_bytes())
            .map_err(|error| at(&config, error))?;
        Ok(path)
    }
}

impl Compose {
    /// Writes the file; what was founded.
    pub(crate) fn run(&self) -> Result<Founding, Failure> {
        let cards: Result<Vec<_>, _> = self.cards.iter().map(|path| SignedCard::read(path)).collect();
        let approval = self.approval.into();
        let founding = Founding::compose(self.name.clone(), clock::now(), approval, self.faulty, cards?)?;
        if self.out.exists() {
            return Err(at(&self.out, "is there already; a chain begins once"));
        }
        founding.write(&self.out)?;
        Ok(founding)
    }
}

fn address(host: IpAddr, port: u16) -> Result<Address, Failure> {
    let version = if host.is_ipv4() { "ip4" } else { "ip6" };
    Address::new(format!("/{version}/{host}/tcp/{port}")).map_err(Failure::bad_input)
}
