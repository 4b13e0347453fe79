//! The story, step by step (paper, sections 5.1 to 5.3). Each step proves what it claims, or fails.
//!
//! A step that is done is written down. A run that is taken up again passes over the steps that are done, and does the one that was cut off
//! again: every operation in it either finds that it was done or finishes it.

mod ending;
mod failure;
mod setup;
mod sharing;

use dt_sync::ClientError;

use crate::Failure;
use crate::narrator::Narrator;
use crate::seal;
use crate::world::{Who, World};

/// The steps, in order: a name for machines and a title for people.
const STEPS: [(&str, &str); 12] = [
    ("set-up", "Set-up: organisations, certificates, parties, nodes, and the twin with its default rights"),
    ("connect", "The device agent connects the sensors to the twin"),
    ("failure", "The fill-level sensor fails, and bottles flood"),
    ("exchange", "The maintainer replaces the sensor; the agent brings the twin up to date"),
    ("stream", "The new sensor's stream flows"),
    ("report", "The maintainer shares a maintenance report"),
    ("programs", "The owner calls a program of the machine"),
    ("audit", "The auditor, who trusts no node, checks what happened"),
    ("insight", "The manufacturer learns when and how its sensor failed"),
    ("revocation", "The maintainer's contract ends"),
    ("outsider", "Somebody who has no part in it tries to read"),
    ("resilience", "One DHT node lies, another is stopped"),
];

/// Tells the whole story, or the rest of one that was cut off.
pub(crate) async fn tell(mut world: World, narrator: &mut Narrator) -> Result<(), Failure> {
    introduce(&world, narrator);
    for (name, title) in STEPS {
        if world.is_done(name) {
            continue;
        }
        narrator.step(name, title);
        match name {
            "set-up" => setup::set_up(&mut world, narrator).await?,
            "connect" => setup::connect(&mut world, narrator).await?,
            "failure" => failure::failure(&mut world, narrator).await?,
            "exchange" => failure::exchange(&mut world, narrator).await?,
            "stream" => failure::stream(&mut world, narrator).await?,
            "report" => sharing::report(&mut world, narrator).await?,
            "programs" => sharing::programs(&mut world, narrator).await?,
            "audit" => sharing::audit(&mut world, narrator).await?,
            "insight" => sharing::insight(&mut world, narrator).await?,
            "revocation" => ending::revocation(&mut world, narrator).await?,
            "outsider" => ending::outsider(&mut world, narrator).await?,
            _ => ending::resilience(&mut world, narrator).await?,
        }
        narrator.fact("at", world.now().to_string());
        world.set_done(name)?;
    }
    end(world, narrator)
}

fn introduce(world: &World, narrator: &mut Narrator) {
    narrator.step("run", "A bottling plant's digital twin, shared by parties that do not trust each other");
    let settings = &world.settings;
    let seed = settings
        .seed
        .map_or_else(|| "keys drawn by chance".to_owned(), |seed| format!("all from seed {seed}"));
    narrator.says(&format!("{}; the plant's time starts at {}", seed, settings.started));
    if settings.resumed > 0 {
        let done: Vec<&str> =
            STEPS.iter().map(|(name, _)| *name).filter(|name| world.is_done(name)).collect();
        let done = if done.is_empty() { "no step".to_owned() } else { done.join(", ") };
        narrator.says(&format!("taken up again in {}: {done} done before", world.folder.display()));
    }
    if let Some(aml) = &settings.aml {
        narrator.says(&format!("the specification comes from {aml}"));
    }
    for line in &world.subject.explanation {
        narrator.says(line);
    }
    narrator.fact("resumed", settings.resumed);
    narrator.fact("sensor", world.subject.sensor.as_str());
}

fn end(world: World, narrator: &mut Narrator) -> Result<(), Failure> {
    narrator.step("end", "The end");
    let tip = world.replica.tip();
    let auditor = world.people[&Who::Auditor].clone();
    let (folder, chain) = (world.folder.clone(), world.replica.chain());
    // Everything is closed before it is sealed.
    drop(world);
    let files = seal::seal(&folder, chain, &*auditor)?;
    narrator.proven(&format!(
        "the auditor signed the digests of all {files} files: any bit that changes will show"
    ));
    narrator.says(&format!("chain {chain}, {} blocks, state {}", tip.height, tip.state_root));
    narrator.fact("chain", chain.to_string());
    narrator.fact("height", tip.height);
    narrator.fact("state_root", tip.state_root.to_string());
    narrator.end();
    Ok(())
}

/// Fails the story unless `holds`: a claim that is not proven is not told.
fn prove(holds: bool, claim: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(format!("not proven: {claim}").into()) }
}

/// `count` things, in the singular where there is one.
fn plural(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// The refusal by the contracts that `result` must be, by its rule's name.
fn refused<T>(result: Result<T, ClientError>) -> Result<&'static str, Failure> {
    match result {
        Err(ClientError::Ledger(dt_ledger::ExecuteError::Refused(reason))) => Ok(reason.rule()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("not proven: the ledger refuses this".into()),
    }
}
