//! The commands that a participant gives to its running node, and what a person or a program sees of the answers.

mod documents;
mod follow;
mod show;
mod words;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use dt_acl::History;
use dt_ledger::{Argument, CallResult, CallStatus};
use dt_model::{Name, Text};
use dt_sync::Reading;

use self::show::{Show, word};
pub(crate) use self::words::Verb;
use self::words::{CallProgram, HistoryOf, Simulate};
use crate::api;
use crate::failure::{Failure, Kind, at};
use crate::folder::Folder;
use crate::remote::Remote;

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
            let (mut content, length) = documents::open(&file)?;
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
        Verb::Put(put) => documents::put(&remote, put, &mut show),
        Verb::Get { twin, document, version, out } => {
            documents::get(&remote, twin, document, version, out.as_deref(), &mut show)
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
            // On standard error, so that it mixes with no answer.
            let audited = remote.audit(|height| {
                if std::io::stderr().is_terminal() {
                    anstream::eprintln!("{height} blocks are in order");
                }
            })?;
            show.all(&audited)
        }
        Verb::Follow(what) => follow::follow(&remote, what, &mut show),
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
    show.line(&call, &format!("call {}: {}", call.call, word(&status)))?;
    match call.status {
        CallStatus::Rejected(rule) => Err(Failure::refused(rule.as_str(), "the agent's own check")),
        CallStatus::Completed(CallResult::Failed(_) | CallResult::Unknown) => {
            Err(Failure::new(Kind::Internal, "the machine did not do it, or nobody knows whether it did"))
        }
        CallStatus::Expired | CallStatus::Cancelled => {
            Err(Failure::unreachable("the agent did not start it"))
        }
        _ => Ok(()),
    }
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
