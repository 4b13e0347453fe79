//! What a command or a request may fail with: the same on the command line, in the node and between the two.

use std::fmt;
use std::process::ExitCode;

use dt_acl::AclError;
use dt_dht::{GetError, PutError};
use dt_ledger::{AdmissionError, CallError, ConsensusError, ExecuteError, Reason, StoreError};
use dt_sync::ClientError;
use serde::{Deserialize, Serialize};

/// What is to be done about it: decides the exit code and the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The ledger's contracts or an item's list say no; the rule has a name.
    Refused,
    /// What was given makes no sense.
    BadInput,
    /// Nothing of that name is there.
    NotFound,
    /// It is larger than this node takes.
    TooLarge,
    /// The request does not carry the folder's token.
    Unauthorized,
    /// The node does not run, is not ready, or too few others answer. It may work later.
    Unreachable,
    /// Another process has the folder.
    InUse,
    /// The consensus has stopped for good: somebody has to look into it.
    Halted,
    /// Something that should not happen.
    Internal,
}

/// Exit codes, as `--help` lists them.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something that should not happen; for devnet: a claim was not proven
  2  what was given makes no sense, is too large, or is not there
  3  refused by the contracts, or by an item's access control list; the rule is named
  4  not reachable: the node does not run, is not ready, or too few others answer
  5  another process has the folder
  6  the consensus has stopped for good";

impl Kind {
    /// The HTTP status (RFC 9110).
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Refused => 403,
            Self::BadInput => 400,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::Unauthorized => 401,
            Self::Unreachable | Self::InUse | Self::Halted => 503,
            Self::Internal => 500,
        }
    }

    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::BadInput | Self::NotFound | Self::TooLarge | Self::Unauthorized => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::InUse => 5,
            Self::Halted => 6,
        }
    }

    /// What it is called in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::BadInput => "bad-input",
            Self::NotFound => "not-found",
            Self::TooLarge => "too-large",
            Self::Unauthorized => "unauthorized",
            Self::Unreachable => "unreachable",
            Self::InUse => "in-use",
            Self::Halted => "halted",
            Self::Internal => "internal",
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What is to be done about it.
    pub(crate) kind: Kind,
    /// The rule that refused it, where one did: `authorization.not-permitted`.
    pub(crate) rule: Option<String>,
    /// For people.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, rule: None, message: message.to_string() }
    }

    pub(crate) fn bad_input(message: impl fmt::Display) -> Self {
        Self::new(Kind::BadInput, message)
    }

    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    /// With all that caused it, since whoever reads it has nothing else.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(Kind::Internal, chain(error))
    }

    pub(crate) fn refused(rule: &str, message: impl fmt::Display) -> Self {
        Self { kind: Kind::Refused, rule: Some(rule.to_owned()), message: message.to_string() }
    }

    /// Says on standard error what went wrong.
    pub(crate) fn report(&self) -> ExitCode {
        anstream::eprintln!("twin-node: {self}");
        ExitCode::from(self.kind.exit_code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "refused by {rule}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}

/// An error and what caused it, where it does not say so itself.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    text
}

/// What is at `path`, and what is wrong with it.
pub(crate) fn at(path: &std::path::Path, error: impl fmt::Display) -> Failure {
    Failure::bad_input(format_args!("{}: {error}", path.display()))
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::refused(reason.rule(), reason)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(reason) => reason.into(),
            CallError::Store(error) => error.into(),
        }
    }
}

impl From<ConsensusError> for Failure {
    fn from(error: ConsensusError) -> Self {
        match error {
            ConsensusError::Admission(AdmissionError::UnknownSender(_)) => {
                Self::refused("membership.unknown-party", error)
            }
            ConsensusError::Admission(AdmissionError::Size) => Self::new(Kind::TooLarge, error),
            ConsensusError::Busy | ConsensusError::Conflict { .. } | ConsensusError::Stopped => {
                Self::unreachable(error)
            }
            ConsensusError::Pruned { .. } => Self::not_found(error),
            _ => Self::internal(&error),
        }
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(reason) => reason.into(),
            ExecuteError::Consensus(error) => error.into(),
            ExecuteError::Expired(_) => Self::unreachable(error),
            error => Self::internal(&error),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Ledger(error) => error.into(),
            ClientError::Refused(reason) => reason.into(),
            ClientError::Store(error) => error.into(),
            ClientError::Item(AclError::NotAReader(_)) => Self::refused("list.not-a-reader", error),
            ClientError::Item(AclError::NotPermitted) => Self::refused("list.not-permitted", error),
            ClientError::Item(AclError::Put(ref put) | AclError::InDoubt { source: ref put, .. }) => {
                of_put(put, &error)
            }
            ClientError::Item(AclError::Get(ref get)) | ClientError::Get(ref get) => of_get(get, &error),
            ClientError::Put(ref put) => of_put(put, &error),
            ClientError::UnknownTwin(_) | ClientError::UnknownDocument(_) | ClientError::NoFeed(_) => {
                Self::not_found(error)
            }
            ClientError::NoStorage => Self::unreachable(error),
            ClientError::Text(_) => Self::bad_input(error),
            _ => Self::internal(&error),
        }
    }
}

fn of_put(put: &PutError, error: &ClientError) -> Failure {
    match put {
        PutError::NoQuorum { .. } | PutError::Contended { .. } => Failure::unreachable(chain(error)),
        _ => Failure::internal(error),
    }
}

fn of_get(get: &GetError, error: &ClientError) -> Failure {
    match get {
        GetError::NoQuorum { .. } | GetError::Contended { .. } => Failure::unreachable(chain(error)),
        _ => Failure::internal(error),
    }
}
