//! Following what happens on the ledger, from any point on again.

use dt_ledger::EventPage;

use super::show::{Show, written};
use super::words::Follow;
use crate::api;
use crate::failure::{Failure, at};
use crate::remote::Remote;

/// How long the node waits for an event before it is asked again.
const FOLLOW_WAIT_MS: u64 = 20_000;
/// Events in one answer.
const FOLLOW_LIMIT: u32 = 256;
/// Tells one line for each event, until it is stopped or has told enough.
pub(super) fn follow(remote: &Remote, what: Follow, show: &mut Show<'_>) -> Result<(), Failure> {
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
