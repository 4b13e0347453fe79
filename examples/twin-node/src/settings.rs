//! The configuration of a node: one TOML file, written by `init` with comments, read by `run`. What it does not know it refuses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use dt_model::{ComponentId, Name};
use serde::{Deserialize, Serialize};

use crate::card::Address;
use crate::failure::{Failure, at};

/// How a node is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The organisation's and its party's name.
    pub(crate) name: Name,
    pub(crate) ledger: LedgerSettings,
    pub(crate) storage: StorageSettings,
    pub(crate) api: ApiSettings,
    pub(crate) device: Option<DeviceSettings>,
}

/// The replica of the ledger and its consensus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LedgerSettings {
    pub(crate) consensus: Address,
    pub(crate) exchange: Address,
    pub(crate) vote: bool,
    pub(crate) block_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) propose_ms: u64,
}

/// The party's part in the DHT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StorageSettings {
    pub(crate) listen: Address,
    pub(crate) serve: bool,
    pub(crate) found: bool,
}

/// The requests of this machine's users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ApiSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) max_document_bytes: usize,
    pub(crate) request_ms: u64,
}

/// A simulated device, and the agent that acts for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DeviceSettings {
    pub(crate) id: Name,
    pub(crate) pull_ms: u64,
    pub(crate) sample_ms: u64,
    #[serde(default)]
    pub(crate) sensors: Vec<SensorSettings>,
    #[serde(default)]
    pub(crate) programs: Vec<ProgramSettings>,
}

/// A simulated sensor, which measures whole numbers around a middle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SensorSettings {
    pub(crate) id: ComponentId,
    pub(crate) middle: i64,
    pub(crate) spread: u32,
    pub(crate) unit: Option<Name>,
}

/// A simulated program, which sets variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProgramSettings {
    pub(crate) id: ComponentId,
    /// The variable that each parameter sets.
    pub(crate) variables: BTreeMap<Name, ComponentId>,
}

/// The least times that make sense, in milliseconds.
const LEAST_MS: u64 = 10;

impl Settings {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| at(path, error))?;
        Self::parse(&text).map_err(|error| at(path, error))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let settings: Self = toml::from_str(text).map_err(Failure::bad_input)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Failure> {
        if !self.api.listen.ip().is_loopback() {
            return Err(Failure::bad_input(format_args!(
                "api.listen: {} is not of this machine alone; requests act in the party's name",
                self.api.listen
            )));
        }
        let LedgerSettings { block_ms, idle_ms, propose_ms, .. } = self.ledger;
        let of_device = self.device.iter().flat_map(|device| [device.pull_ms, device.sample_ms]);
        let times = [idle_ms, propose_ms, self.api.request_ms].into_iter().chain(of_device);
        if times.into_iter().any(|time| time < LEAST_MS) || block_ms > idle_ms {
            return Err(Failure::bad_input(format_args!(
                "times are at least {LEAST_MS} ms, and ledger.block-ms at most ledger.idle-ms"
            )));
        }
        Ok(())
    }

    /// The file as `init` writes it: it says what each line is for.
    pub(crate) fn commented(&self) -> Result<String, Failure> {
        let Self { name, ledger, storage, api, device } = self;
        let LedgerSettings { consensus, exchange, vote, block_ms, idle_ms, propose_ms } = ledger;
        let StorageSettings { listen, serve, found } = storage;
        let (api_listen, bytes, request_ms) = (&api.listen, api.max_document_bytes, api.request_ms);
        let mut text = format!(
            r#"# A node of twin-node. It is read when the node starts.

# What the organisation and its party are called on the ledger.
name = {name}

[ledger]
# Where the consensus engine, and the exchange of transactions, listen.
consensus = {consensus}
exchange = {exchange}
# Whether this node votes on blocks. Without its journal (ledger/journal) it does not start as a voter: set this to false then.
vote = {vote}
# Least time between two blocks, time between blocks where nothing waits, and how long a proposer is waited for. The same at all nodes.
block-ms = {block_ms}
idle-ms = {idle_ms}
propose-ms = {propose_ms}

[storage]
# Where the DHT node listens.
listen = {listen}
# Whether this party stores for the others.
serve = {serve}
# Whether the organisation votes by itself for the DHT of the founding file.
found = {found}

[api]
# Where this machine's users and programs ask. Loopback only: whoever has the token (file `token`) acts in the party's name.
listen = "{api_listen}"
# Larger documents are refused.
max-document-bytes = {bytes}
# A request that takes longer is answered that it is not reachable; what it began goes on.
request-ms = {request_ms}
"#,
            name = quoted(name.as_str()),
            consensus = quoted(consensus.as_str()),
            exchange = quoted(exchange.as_str()),
            listen = quoted(listen.as_str()),
        );
        text += "\n# A simulated device. The agent acts for the twin that this party creates with this device ID.\n";
        match device {
            Some(device) => text += &device.commented()?,
            None => text += "# [device]\n# id = \"plant-7\"\n",
        }
        Ok(text)
    }
}

impl DeviceSettings {
    fn commented(&self) -> Result<String, Failure> {
        #[derive(Serialize)]
        struct Table<'a> {
            device: &'a DeviceSettings,
        }
        let table = toml::to_string(&Table { device: self }).map_err(|error| Failure::internal(&error))?;
        Ok(format!(
            "# The agent looks every pull-ms; sensors measure every sample-ms, around `middle` by at most `spread`. A program sets\n# the variable of each of its parameters.\n{table}"
        ))
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(device: bool) -> Settings {
        let device = device.then(|| DeviceSettings {
            id: "plant \"7\"".parse().unwrap(),
            pull_ms: 500,
            sample_ms: 100,
            sensors: vec![SensorSettings {
                id: "[A01] level".parse().unwrap(),
                middle: -5,
                spread: 3,
                unit: None,
            }],
            programs: vec![ProgramSettings {
                id: "p".parse().unwrap(),
                variables: BTreeMap::from([("Speed".parse().unwrap(), "p.speed".parse().unwrap())]),
            }],
        });
        Settings {
            name: "Zumtobel & Söhne \"Wartung\"".parse().unwrap(),
            ledger: LedgerSettings {
                consensus: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
                exchange: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
                vote: true,
                block_ms: 20,
                idle_ms: 500,
                propose_ms: 1500,
            },
            storage: StorageSettings {
                listen: "/ip4/127.0.0.1/tcp/3".parse().unwrap(),
                serve: true,
                found: false,
            },
            api: ApiSettings {
                listen: "127.0.0.1:4".parse().unwrap(),
                max_document_bytes: 1 << 20,
                request_ms: 30_000,
            },
            device,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for settings in [settings(false), settings(true)] {
            let text = settings.commented().unwrap();
            assert_eq!(Settings::parse(&text).unwrap(), settings, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let text = settings(true).commented().unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Settings::parse(&text.replacen(from, to, 1)).unwrap_err().message
        };
        assert!(refused("127.0.0.1:4", "0.0.0.0:4").contains("api.listen"), "not for others");
        assert!(refused("vote = true", "vote = true\nspeed = 3").contains("speed"), "unknown words");
        assert!(refused("idle-ms = 500", "idle-ms = 5").contains("10 ms"));
        assert!(refused("idle-ms = 500", "").contains("idle-ms"), "nothing is left out");
        assert!(refused("vote = true", "vote = 1").contains("vote"));
    }
}
