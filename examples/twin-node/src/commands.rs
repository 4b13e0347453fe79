//! The commands that a participant gives to its running node, and what a person or a program sees of the answers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use dt_acl::History;
use dt_ledger::{Argument, EventPage};
use dt_model::{ComponentId, ContentHash, ContentHasher, Name, Text, TwinId};
use dt_sync::Reading;
use serde::Serialize;

use crate::api;
use crate::failure::{Failure, Kind, at};
use crate::folder::Folder;
use crate::remote::Remote;

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
        document: dt_ledger::DocumentId,
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
    twin: TwinId,
    file: PathBuf,
    /// The title; without it, the file's name.
    #[arg(long)]
    title: Option<Name>,
    /// The media type (RFC 6838).
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    media_type: Name,
    /// The element that it belongs to.
    #[arg(long, value_name = "ID")]
    component: Option<ComponentId>,
    /// A new version of this document.
    #[arg(long, value_name = "ID", conflicts_with_all = ["title", "component"])]
    version_of: Option<dt_ledger::DocumentId>,
}

#[derive(Args)]
pub(crate) struct CallProgram {
    twin: TwinId,
    program: ComponentId,
    /// Parameters: `NAME=VALUE`, or `NAME=VALUE:UNIT`.
    #[arg(value_name = "PARAMETER")]
    parameters: Vec<String>,
    /// The call is void after so many seconds, unless it was started.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    valid: u64,
    /// Only while the specification is as it is now.
    #[arg(long)]
    guarded: bool,
    /// Wait for what comes of it.
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
pub(crate) struct HistoryOf {
    /// Of this twin.
    #[arg(long)]
    twin: Option<TwinId>,
    /// Of this element of the twin.
    #[arg(long, value_name = "ID", requires = "twin")]
    element: Option<ComponentId>,
    /// By this party: its name or key.
    #[arg(long)]
    party: Option<String>,
    /// Go on after this place, as a former page ended with.
    #[arg(long, value_name = "HEIGHT.INDEX")]
    after: Option<String>,
    /// The newest first.
    #[arg(long)]
    newest: bool,
    /// Entries on the page.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Args)]
pub(crate) struct Follow {
    /// Only of this twin.
    #[arg(long)]
    twin: Option<TwinId>,
    /// Begin after this point; without it, with what happens from now on.
    #[arg(long, value_name = "HEIGHT.INDEX", conflicts_with = "cursor")]
    from: Option<String>,
    /// Keep the point in this file, and go on from there: each event is told at least once.
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
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

/// How long the node waits for an event before it is asked again.
const FOLLOW_WAIT_MS: u64 = 20_000;
/// Events in one answer.
const FOLLOW_LIMIT: u32 = 256;
/// Between two looks at a call.
const LOOK: Duration = Duration::from_millis(100);

/// Carries out a command.
pub(crate) fn run(folder: &Folder, json: bool, verb: Verb, out: &mut dyn Write) -> Result<(), Failure> {
    let remote = Remote::open(folder)?;
    let mut show = Show { json, out };
    match verb {
        Verb::Status => {
            let status: api::Status = remote.get("/v1/status", &())?;
            show.all(&status)
        }
        Verb::Create { file, device_id, device_name, agent } => {
            let device_name = device_name.unwrap_or_else(|| device_id.clone());
            let create = api::Create { device_id, device_name, agent };
            let (mut content, length) = open(&file)?;
            let created: api::Created = remote.send("/v1/twins", &create, &mut content, length)?;
            show.line(&created, &created.twin.to_string())
        }
        Verb::Show { twin, address: None, .. } => {
            let twin: api::Twin = remote.get(&format!("/v1/twins/{twin}"), &())?;
            show.all(&twin)
        }
        Verb::Show { twin, address: Some(address), readings: false } => {
            let element: api::Element =
                remote.get(&format!("/v1/twins/{twin}/element"), &api::At { address })?;
            show.line(&element, &element.source)
        }
        Verb::Show { twin, address: Some(address), readings: true } => {
            let readings: Vec<Reading> =
                remote.get(&format!("/v1/twins/{twin}/readings"), &api::At { address })?;
            for reading in &readings {
                let unit = reading.unit.as_ref().map_or("", Name::as_str);
                show.line(reading, &format!("{} {} {unit}", reading.time, reading.value))?;
            }
            Ok(())
        }
        Verb::Edit { twin, address, value } => {
            let edit = api::Edit { edits: vec![dt_aml::Edit::SetValue { address, value }] };
            let committed: api::Committed = remote.post(&format!("/v1/twins/{twin}/edits"), &edit)?;
            show.line(
                &committed,
                &format!("block {}, transaction {}", committed.height, committed.transaction),
            )
        }
        Verb::Put(put) => put_file(&remote, put, &mut show),
        Verb::Get { twin, document, version, out } => {
            get_file(&remote, twin, document, version, out.as_deref(), &mut show)
        }
        Verb::Grant { twin, party, role, no_history } => {
            let history = if no_history { History::Omitted } else { History::Full };
            let grant = api::Grant { party, role, history };
            let granted: api::Granted = remote.post(&format!("/v1/twins/{twin}/roles"), &grant)?;
            show.line(&granted, &format!("granted to {}", granted.party))
        }
        Verb::Revoke { twin, party, eager } => {
            let revoke = api::Revoke { party, eager };
            let revoked: api::Revoked = remote.post(&format!("/v1/twins/{twin}/revocations"), &revoke)?;
            show.line(
                &revoked,
                &format!("{} items of {} go on under other keys", revoked.items, revoked.party),
            )
        }
        Verb::Call(call) => call_program(&remote, call, &mut show),
        Verb::History(of) => history(&remote, of, &mut show),
        Verb::Audit => {
            let audited: api::Audited = remote.post("/v1/audit", &())?;
            show.all(&audited)
        }
        Verb::Follow(what) => follow(&remote, what, &mut show),
        Verb::Simulate { what } => {
            let intervention = match what {
                Simulate::Break { sensor, shows } => api::Intervention::Break { sensor, shows },
                Simulate::Exchange { old, new, fragment } => {
                    let fragment =
                        std::fs::read_to_string(&fragment).map_err(|error| at(&fragment, error))?;
                    api::Intervention::Exchange { old, new, fragment }
                }
            };
            let done: api::Done = remote.post("/v1/device", &intervention)?;
            show.line(&done, "done")
        }
    }
}

/// How answers are shown.
struct Show<'a> {
    json: bool,
    out: &'a mut dyn Write,
}

impl Show<'_> {
    /// One line: `text` for people.
    fn line(&mut self, value: &impl Serialize, text: &str) -> Result<(), Failure> {
        if !self.json {
            return written(writeln!(self.out, "{text}"));
        }
        let line = serde_json::to_string(value).map_err(|error| Failure::internal(&error))?;
        written(writeln!(self.out, "{line}"))
    }

    /// All fields, one a line for people.
    fn all(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        if self.json {
            return self.line(value, "");
        }
        let value = serde_json::to_value(value).map_err(|error| Failure::internal(&error))?;
        written(fields(self.out, &value, 0))
    }
}

/// A tree of fields, indented.
fn fields(out: &mut dyn Write, value: &serde_json::Value, depth: usize) -> std::io::Result<()> {
    use serde_json::Value;
    for (name, value) in value.as_object().into_iter().flatten() {
        let (name, indent) = (name.replace('_', " "), "  ".repeat(depth));
        match value {
            Value::Null => {}
            Value::Object(_) => {
                writeln!(out, "{indent}{name}")?;
                fields(out, value, depth + 1)?;
            }
            Value::Array(values) => {
                writeln!(out, "{indent}{name} ({})", values.len())?;
                for value in values {
                    match value {
                        Value::Object(of) => {
                            let words = of.iter().filter(|(_, value)| !value.is_null());
                            let words = words.map(|(name, value)| format!("{name}={}", word(value)));
                            writeln!(out, "{indent}  {}", words.collect::<Vec<_>>().join("  "))?;
                        }
                        value => writeln!(out, "{indent}  {}", word(value))?,
                    }
                }
            }
            value => writeln!(out, "{indent}{name:22} {}", word(value))?,
        }
    }
    Ok(())
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| Failure::new(Kind::Internal, format_args!("standard output: {error}")))
}

fn open(path: &Path) -> Result<(File, u64), Failure> {
    let file = File::open(path).map_err(|error| at(path, error))?;
    let data = file.metadata().map_err(|error| at(path, error))?;
    if data.is_file() { Ok((file, data.len())) } else { Err(at(path, "is no file")) }
}

fn put_file(remote: &Remote, put: PutFile, show: &mut Show<'_>) -> Result<(), Failure> {
    let PutFile { twin, file, title, media_type, component, version_of } = put;
    let (mut content, length) = open(&file)?;
    let query = match version_of {
        Some(document) => api::Put { document: Some(document), ..api::Put::default() },
        None => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let title = title.unwrap_or_else(|| Name::abridged(&name));
            api::Put { title: Some(title), media_type: Some(media_type), component, document: None }
        }
    };
    let stored: api::Stored =
        remote.send(&format!("/v1/twins/{twin}/documents"), &query, &mut content, length)?;
    show.line(&stored, &format!("{} version {}, {} bytes", stored.document, stored.version, stored.size))
}

/// Streams a document to where it is to go. What does not have the hash that the ledger registered does not stay.
fn get_file(
    remote: &Remote,
    twin: TwinId,
    document: dt_ledger::DocumentId,
    version: Option<u32>,
    to: Option<&Path>,
    show: &mut Show<'_>,
) -> Result<(), Failure> {
    let response = remote.fetch(&format!("/v1/twins/{twin}/documents/{document}"), &api::Get { version })?;
    let registered = response.headers().get(api::SHA256_HEADER).and_then(|value| value.to_str().ok());
    let registered: Option<ContentHash> = registered.and_then(|value| value.parse().ok());
    let mut content = response.into_body().into_reader();
    let Some(path) = to else {
        let (hash, _) = copy(&mut content, show.out).map_err(|error| at(Path::new("-"), error))?;
        return match_registered(registered, hash);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| at(path, error))?;
    let (hash, length) = copy(&mut content, &mut file).map_err(|error| at(path, error))?;
    match_registered(registered, hash)?;
    file.as_file().sync_all().map_err(|error| at(path, error))?;
    file.persist(path).map_err(|error| at(path, error))?;
    let got = serde_json::json!({ "document": document, "size": length, "sha256": hash });
    show.line(&got, &format!("{length} bytes, SHA-256 {hash}"))
}

fn match_registered(registered: Option<ContentHash>, found: ContentHash) -> Result<(), Failure> {
    if registered == Some(found) {
        return Ok(());
    }
    Err(Failure::new(Kind::Internal, "the content does not have the hash that the ledger registered"))
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> std::io::Result<(ContentHash, u64)> {
    let (mut hasher, mut length, mut buffer) = (ContentHasher::default(), 0, vec![0; 64 * 1024]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher.finish(), length));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        length += read as u64;
    }
}

/// `NAME=VALUE`, or `NAME=VALUE:UNIT`.
fn parameter(text: &str) -> Result<(Name, Argument), Failure> {
    let wrong = || Failure::bad_input(format_args!("{text}: a parameter is NAME=VALUE, or NAME=VALUE:UNIT"));
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (value, unit) = rest.rsplit_once(':').map_or((rest, None), |(value, unit)| (value, Some(unit)));
    let unit = unit.map(Name::new).transpose().map_err(|_| wrong())?;
    let value = Text::new(value).map_err(|_| wrong())?;
    Ok((Name::new(name).map_err(|_| wrong())?, Argument { value, unit }))
}

fn call_program(remote: &Remote, call: CallProgram, show: &mut Show<'_>) -> Result<(), Failure> {
    let CallProgram { twin, program, parameters, valid, guarded, wait } = call;
    let parameters = parameters.iter().map(|text| parameter(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let request = api::CallProgram { program, parameters, valid_ms: valid.saturating_mul(1000), guarded };
    let mut call: api::Call = remote.post(&format!("/v1/twins/{twin}/calls"), &request)?;
    while wait && !call.has_ended() {
        std::thread::sleep(LOOK);
        call = remote.get(&format!("/v1/twins/{twin}/calls/{}", call.call), &())?;
    }
    let status = serde_json::to_value(&call.status).map_err(|error| Failure::internal(&error))?;
    show.line(&call, &format!("call {}: {}", call.call, word(&status)))
}

fn history(remote: &Remote, of: HistoryOf, show: &mut Show<'_>) -> Result<(), Failure> {
    let HistoryOf { twin, element, party, after, newest, limit } = of;
    let query = api::HistoryOf { twin, component: element, party, after, newest_first: newest, limit };
    let page: api::History = remote.get("/v1/history", &query)?;
    if show.json {
        return show.line(&page, "");
    }
    for entry in &page.entries {
        let outcome = match &entry.outcome {
            dt_ledger::Outcome::Applied => "applied".to_owned(),
            dt_ledger::Outcome::Rejected { reason, .. } => format!("refused by {}", reason.rule()),
        };
        let (place, sender, resources) = (&entry.place, entry.sender.short(), entry.resources.len());
        let line = format!(
            "{place} {} {sender} {outcome}, {resources} resources, {}",
            entry.time, entry.transaction
        );
        show.line(&(), &line)?;
    }
    page.next.map_or(Ok(()), |next| show.line(&(), &format!("more: --after {next}")))
}

fn follow(remote: &Remote, what: Follow, show: &mut Show<'_>) -> Result<(), Failure> {
    let Follow { twin, from, cursor, count, .. } = what;
    let kept = match &cursor {
        Some(path) if path.exists() => {
            Some(std::fs::read_to_string(path).map_err(|error| at(path, error))?.trim().to_owned())
        }
        _ => None,
    };
    let from = match kept.or(from) {
        Some(from) => from,
        None => {
            let status: api::Status = remote.get("/v1/status", &())?;
            format!("{}.0", status.height + 1)
        }
    };
    if api::point(&from).is_none() {
        return Err(Failure::bad_input(format_args!("{from}: a point is HEIGHT.INDEX")));
    }
    let mut query = api::Follow { from, twin, limit: FOLLOW_LIMIT, wait_ms: FOLLOW_WAIT_MS };
    let mut told = 0;
    loop {
        query.limit = count.map_or(FOLLOW_LIMIT, |count| {
            u32::try_from(count.saturating_sub(told)).unwrap_or(FOLLOW_LIMIT).clamp(1, FOLLOW_LIMIT)
        });
        let page: EventPage = remote.get("/v1/events", &query)?;
        for event in &page.events {
            let kind = serde_json::to_string(&event.event.kind).map_err(|error| Failure::internal(&error))?;
            let point = format!("{}.{}", event.cursor.height, event.cursor.index);
            show.line(event, &format!("{point} {} {} {kind}", event.time, event.event.by.short()))?;
            told += 1;
        }
        written(show.out.flush())?;
        query.from = format!("{}.{}", page.next.height, page.next.index);
        if let Some(path) = &cursor {
            // After the events have been told: a crash between tells them again.
            dt_model::file::write_private(path, query.from.as_bytes()).map_err(|error| at(path, error))?;
        }
        if count.is_some_and(|count| told >= count) {
            return Ok(());
        }
    }
}
