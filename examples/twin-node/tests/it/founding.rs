//! Cards and what is composed of them: what is forged, doubled or too little does not found anything.

use std::path::{Path, PathBuf};

use crate::house::{code, init, run, said, text};

struct Cards {
    folder: tempfile::TempDir,
    cards: Vec<PathBuf>,
}

impl Cards {
    fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cards = (0..).zip(names);
        let cards = cards.map(|(at, name)| init(&folder.path().join(format!("{at}")), name)).collect();
        Self { folder, cards }
    }

    /// `genesis` with all cards and these words; the exit code and what was said.
    fn compose(&self, out: &Path, words: &[&str]) -> (i32, String) {
        let mut all = vec!["genesis"];
        all.extend(self.cards.iter().map(|card| text(card)));
        all.extend(["--out", text(out)]);
        all.extend(words);
        let output = run(&all);
        (code(&output), said(&output))
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("founding.json")
    }
}

#[test]
fn four_cards_found_a_network() {
    let cards = Cards::of(&["owner", "manufacturer", "maintainer", "auditor"]);
    let (code, said) = cards.compose(&cards.out(), &["--approval", "two-thirds"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("digest") && said.contains("chain"), "{said}");
    // Written once: nobody founds the same again by mistake.
    let (code, said) = cards.compose(&cards.out(), &[]);
    assert_eq!((code, said.contains("already")), (2, true), "{said}");
}

#[test]
fn a_card_that_was_changed_is_refused() {
    let cards = Cards::of(&["owner"]);
    let card = std::fs::read_to_string(&cards.cards[0]).unwrap();
    std::fs::write(&cards.cards[0], card.replace("127.0.0.1", "127.0.0.9")).unwrap();
    let (code, said) = cards.compose(&cards.out(), &["--faulty", "0"]);
    assert_eq!((code, said.contains("owner.card")), (2, true), "{said}");
    assert!(!cards.out().exists(), "nothing is founded");
}

#[test]
fn nobody_takes_part_twice() {
    let cards = Cards::of(&["owner", "owner"]);
    let (code, said) = cards.compose(&cards.out(), &["--faulty", "0"]);
    assert_eq!((code, said.contains("two organisations are called owner")), (2, true), "{said}");
}

#[test]
fn too_few_do_not_outnumber_the_liars() {
    let cards = Cards::of(&["owner", "auditor"]);
    let (code, said) = cards.compose(&cards.out(), &[]);
    assert_eq!((code, said.contains("outnumbered")), (2, true), "{said}");
}

#[test]
fn a_founding_file_that_was_changed_is_refused_by_whoever_runs_it() {
    let cards = Cards::of(&["owner"]);
    let home = cards.folder.path().join("0");
    let (status, said_) = cards.compose(&home.join("founding.json"), &["--faulty", "0"]);
    assert_eq!(status, 0, "{said_}");
    let founding = std::fs::read_to_string(home.join("founding.json")).unwrap();
    std::fs::write(home.join("founding.json"), founding.replace("127.0.0.1", "127.0.0.9")).unwrap();
    let output = run(&["run", "--while-stdin", "--folder", text(&home)]);
    assert_eq!(code(&output), 2, "{}", said(&output));
}

#[test]
fn a_folder_is_made_once_and_keys_are_kept() {
    let cards = Cards::of(&["owner"]);
    let home = cards.folder.path().join("0");
    let key = home.join("keys/party.key");
    let before = std::fs::read(&key).unwrap();
    let output = run(&["init", "--name", "owner", "--folder", text(&home)]);
    assert_eq!(code(&output), 2, "{}", said(&output));
    assert_eq!(std::fs::read(&key).unwrap(), before);
    // What is secret, the owner of the folder alone can read.
    for secret in [key, home.join("token"), home.join("keys/authority.key")] {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&secret).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let cards = Cards::of(&["owner"]);
    let home = cards.folder.path().join("0");
    let (status, said_) = cards.compose(&home.join("founding.json"), &["--faulty", "0"]);
    assert_eq!(status, 0, "{said_}");
    let config = std::fs::read_to_string(home.join("config.toml")).unwrap();
    let (head, api) = config.split_once("[api]").unwrap();
    let open = format!("{head}[api]{}", api.replace("127.0.0.1", "0.0.0.0"));
    for (wrong, why) in [(open, "api.listen"), (config.replace("vote = true", "votes = true"), "votes")] {
        std::fs::write(home.join("config.toml"), wrong).unwrap();
        let output = run(&["run", "--while-stdin", "--folder", text(&home)]);
        assert_eq!((code(&output), said(&output).contains(why)), (2, true), "{}", said(&output));
    }
}
