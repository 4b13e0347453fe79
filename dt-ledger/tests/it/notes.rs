//! Signed notes and checkpoints: those of others are read, ours are as they were, and what differs in a byte is refused.

use dt_ledger::{
    Checkpoint, CheckpointError, LogHead, MAX_NOTE_BYTES, NoteError, NoteKey, NoteSignature, SignedNote,
    vote_quorum,
};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, PartyId, Signer as _};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::digest;

/// A tree head that the Go checksum database published, and its key.
const GO_SUM: &str = "go.sum database tree\n49189689\nftjbAOzaupaIvaPo/G+Dk63nxOZ2s1OPOKIaPtXs7S4=\n\n\
    — sum.golang.org Az3grlKZssqRoMNPpZfKt0TphbbcF+pzXqElURJKRNFKfaUAgqeI5k2AORH0QAhg/ebRwyIqD/OqP4oLtLnNumvOBAM=\n";
const GO_SUM_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

/// The example of the first implementation (`golang.org/x/mod/sumdb/note`).
const PETER: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

/// The examples of the two specifications, of which the first has empty lines in its text.
const SPECIFIED: [&str; 2] = [
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
     — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n",
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
     — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n",
];

/// The checkpoint of [`checkpoint`], signed by the identity of seed 1, byte for byte.
const GOLDEN: &str = "dt-ledger/c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1\n1234\n\
    5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ=\nheight 56\n\
    block sbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbE=\n\
    state UVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVE=\n\
    receipts Tk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk4=\n\n\
    — dt-ledger/c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1 t/i4H1HEdk2oXmbCHwJ0Al3hCbfSv50zhO19VvlHrLA59D0GklZZ62v7HWJ98IhfupG6sS6dcODxcuFvkNmJJEsfrgw=\n";

fn key(text: &str) -> NoteKey {
    text.parse().unwrap()
}

fn parse(text: &str) -> Result<SignedNote, NoteError> {
    SignedNote::parse(text.as_bytes())
}

pub(crate) fn checkpoint() -> Checkpoint {
    Checkpoint {
        chain: digest(0xc1),
        log: LogHead { size: 1234, root: digest(0xe4) },
        height: 56,
        block: digest(0xb1),
        state_root: digest(0x51),
        receipts_root: digest(0x4e),
    }
}

fn parties(identities: &[Identity]) -> Vec<PartyId> {
    identities.iter().map(Identity::party).collect()
}

#[test]
fn notes_of_others_are_read_and_shown_again() {
    for note in [GO_SUM, PETER, SPECIFIED[0], SPECIFIED[1]] {
        assert_eq!(parse(note).unwrap().to_string(), note);
    }
    for (note, of) in [(GO_SUM, GO_SUM_KEY), (PETER, PETER_KEY)] {
        let keys = [key(GO_SUM_KEY), key(PETER_KEY)];
        assert_eq!(parse(note).unwrap().verify(&keys).unwrap(), [&key(of)]);
        assert_eq!(key(of).to_string(), of);
        let changed = note.replacen('e', "E", 1);
        assert!(parse(&changed).unwrap().verify(&keys).is_err());
    }
    assert!(parse(SPECIFIED[0]).unwrap().text().ends_with("sole:\n\ned è subito sera.\n"));
    assert!(parse(GO_SUM).unwrap().verify(&[key(PETER_KEY)]).is_err(), "signed by nobody who is known");
    assert!(parse(GO_SUM).unwrap().verify(&[]).is_err());
}

#[test]
fn keys_have_one_form() {
    for at in 0..PETER_KEY.len() {
        let mut bytes = PETER_KEY.as_bytes().to_vec();
        bytes[at] += 1;
        assert!(String::from_utf8(bytes).unwrap().parse::<NoteKey>().is_err(), "byte {at}");
        assert!(PETER_KEY[at + 1..].parse::<NoteKey>().is_err(), "from byte {at} on");
        assert!(PETER_KEY[..at].parse::<NoteKey>().is_err(), "up to byte {at}");
    }
    let party = identity(1).party();
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\u{2003}b", "a\nb", "a\u{7f}b", &"a".repeat(256)] {
        assert!(matches!(NoteKey::new(name, party), Err(NoteError::KeyName)), "{name:?}");
    }
    assert!(NoteKey::new("è/ü", party).is_ok());
}

#[test]
fn what_is_no_note_is_refused() {
    let line = PETER.lines().last().unwrap();
    let signature = line.rsplit(' ').next().unwrap();
    let with = |lines: &str| format!("text\n\n{lines}");
    assert!(parse(&with(&format!("{line}\n"))).is_ok());
    for note in ["", "\n", "text\n", "text\n\n", "text", &format!("text\n{line}\n")] {
        assert!(parse(note).is_err(), "{note:?}");
    }
    for lines in [
        line.to_owned(),
        format!("{line}\n\n"),
        format!("{line} \n"),
        format!(" {line}\n"),
        format!("{line}\r\n"),
        format!("{line}\nmore\n"),
        format!("- PeterNeumann {signature}\n"),
        format!("— {signature}\n"),
        format!("—  {signature}\n"),
        format!("— Peter Neumann {signature}\n"),
        format!("— Peter+Neumann {signature}\n"),
        format!("— PeterNeumann {}\n", &signature[1..]),
        format!("— PeterNeumann {}\n", signature.trim_end_matches('=')),
        format!("— PeterNeumann {}\n", signature.replace("nAM=", "nAN=")),
        "— PeterNeumann x08gow==\n".to_owned(),
        "— PeterNeumann AAAAAAA=AAAA\n".to_owned(), // two pieces, each padded
        "— PeterNeumann \n".to_owned(),
        "— PeterNeumann\n".to_owned(),
    ] {
        assert!(parse(&with(&lines)).is_err(), "{lines:?}");
    }
    assert!(matches!(SignedNote::parse(b"t\xff\n\n"), Err(NoteError::NotText)));
    assert!(matches!(parse(&format!("te\txt\n\n{line}\n")), Err(NoteError::NotText)));
    let many = format!("text\n\n{}", format!("{line}\n").repeat(MAX_NOTE_BYTES / line.len()));
    assert!(matches!(parse(&many), Err(NoteError::TooLong { .. })));
    let second = parse(&with(&format!("{line}\nwrong\n"))).unwrap_err();
    assert!(matches!(second, NoteError::Line { line: 2 }));
}

#[test]
fn signatures_by_others_are_ignored_and_wrong_ones_are_not() {
    let text = "a text\n\nof some lines\n";
    let [a, b, c] = [1, 2, 3].map(identity);
    let sign = |name: &str, who: &Identity| NoteSignature::sign(text, name, who).unwrap();
    let key = |name: &str, who: &Identity| NoteKey::new(name, who.party()).unwrap();
    let keys = [key("log", &a), key("log", &b)];
    let note = |signatures: Vec<NoteSignature>| SignedNote::new(text, signatures).unwrap();

    let all =
        note(vec![sign("other", &a), sign("log", &b), sign("log", &c), sign("log", &a), sign("log", &b)]);
    assert_eq!(parse(&all.to_string()).unwrap(), all);
    assert_eq!(all.verify(&keys).unwrap(), [&keys[1], &keys[0]], "each once");
    assert!(note(vec![sign("other", &a), sign("log", &c)]).verify(&keys).is_err(), "nobody known");

    let elsewhere = NoteSignature::sign("another text\n", "log", &a).unwrap();
    assert!(note(vec![sign("log", &b), elsewhere.clone()]).verify(&keys).is_err(), "one that is wrong");
    assert_eq!(note(vec![sign("log", &a), elsewhere]).verify(&keys).unwrap(), [&keys[0]], "it had signed");
    assert!(matches!(SignedNote::new(text, vec![]), Err(NoteError::Unsigned)));
    assert!(matches!(SignedNote::new("text", vec![sign("log", &a)]), Err(NoteError::OpenLine)));
    assert!(matches!(SignedNote::new("te\u{1}xt\n", vec![sign("log", &a)]), Err(NoteError::NotText)));
}

#[test]
fn no_text_is_signed_that_could_be_something_else() {
    // The preimages of our envelopes: the length of a domain's name, and the name, which begins with `dt/`.
    for length in ['\n', ' ', '%', 'a', '\u{7f}'] {
        let text = format!("{length}dt/ledger/transaction/v1 and so on\n");
        let refused = NoteSignature::sign(&text, "log", &identity(1));
        assert!(matches!(refused, Err(NoteError::Ambiguous)), "{length:?}");
    }
    assert!(NoteSignature::sign("dt/ledger\n", "log", &identity(1)).is_ok());
}

#[test]
fn a_checkpoint_is_printed_and_read_byte_for_byte() {
    let validator = identity(1);
    let note = checkpoint().note(vec![checkpoint().sign(&validator).unwrap()]).unwrap();
    assert_eq!(note.to_string(), GOLDEN);
    assert_eq!(
        Checkpoint::open(&parse(GOLDEN).unwrap(), &digest(0xc1), &[validator.party()]).unwrap(),
        checkpoint()
    );
    assert_eq!(note.text().parse::<Checkpoint>().unwrap(), checkpoint());
    let text = note.text();
    for (from, to) in [
        ("1234", "01234"),
        ("1234", "+1234"),
        ("1234", "1234 "),
        ("1234", ""),
        ("1234", "18446744073709551616"),
        ("height 56", "height  56"),
        ("height 56", "height 056"),
        ("height 56\n", ""),
        ("dt-ledger/c", "dt-ledger/C"),
        ("dt-ledger/", ""),
        ("sbGx", "sbG="),
        ("OQ=", "OR="),
        ("k4=\n", "k4=\n\n"),
        ("k4=\n", "k4=\nmore\n"),
        ("k4=\n", "k4="),
        ("\n", "\r\n"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert!(changed.parse::<Checkpoint>().is_err(), "{changed}");
    }
    let empty = Checkpoint { log: LogHead::empty(), height: 0, ..checkpoint() };
    assert!(empty.to_string().contains("\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nheight 0\n"));
    assert_eq!(empty.to_string().parse::<Checkpoint>().unwrap(), empty);
}

#[test]
fn a_quorum_of_validators_makes_a_checkpoint() {
    let validators = [1, 2, 3, 4].map(identity);
    let keys = parties(&validators);
    let open = |signers: &[&Identity], keys: &[PartyId]| {
        let signatures = signers.iter().map(|signer| checkpoint().sign(*signer).unwrap()).collect();
        Checkpoint::open(&checkpoint().note(signatures).unwrap(), &digest(0xc1), keys)
    };
    let [a, b, c, _] = &validators;
    let outsider = identity(9);
    assert_eq!(vote_quorum(4), 3);
    assert_eq!(open(&[a, b, c], &keys).unwrap(), checkpoint());
    assert_eq!(open(&[&outsider, c, a, b], &keys).unwrap(), checkpoint());
    for few in [&[a, b][..], &[a, b, b, a, b], &[a, b, &outsider]] {
        let refused = open(few, &keys);
        assert!(matches!(refused, Err(CheckpointError::TooFew { signers: 2, needed: 3 })), "{refused:?}");
    }
    let twice: Vec<PartyId> = [&keys[..], &keys[..]].concat();
    assert_eq!(open(&[a, b, c], &twice).unwrap(), checkpoint(), "a validator named twice is one");
    assert!(open(&[a, b], &twice).is_err());
    assert!(matches!(open(&[&outsider], &keys), Err(CheckpointError::Signature(_))));
    assert!(matches!(open(&[a], &[]), Err(CheckpointError::Signature(_))), "nobody is no quorum of nobody");

    let signatures: Vec<_> = [a, b, c].map(|signer| checkpoint().sign(signer).unwrap()).into();
    let note = checkpoint().note(signatures.clone()).unwrap();
    let elsewhere = Checkpoint::open(&note, &digest(0xc2), &keys);
    assert!(matches!(elsewhere, Err(CheckpointError::WrongChain { found }) if found == digest(0xc1)));
    let other = Checkpoint { height: 57, ..checkpoint() };
    let forged = other.note(signatures).unwrap();
    assert!(matches!(Checkpoint::open(&forged, &digest(0xc1), &keys), Err(CheckpointError::Signature(_))));
    let relabelled = checkpoint().sign(a).unwrap();
    assert_eq!(relabelled.name(), Checkpoint::origin(&digest(0xc1)));
    let other_chain = Checkpoint { chain: digest(0xc2), ..checkpoint() }.sign(a).unwrap();
    assert_ne!(relabelled.id(), other_chain.id(), "a key is another one on another chain");
}

proptest! {
    #[test]
    fn whatever_is_parsed_is_shown_again(bytes in vec(any::<u8>(), 0..200), at: prop::sample::Index, byte: u8) {
        let _ = SignedNote::parse(&bytes).map(|note| assert_eq!(note.to_string().into_bytes(), bytes));
        for note in [GO_SUM, GOLDEN, SPECIFIED[0]] {
            let mut changed = note.as_bytes().to_vec();
            let at = at.index(changed.len());
            changed[at] = byte;
            let Ok(parsed) = SignedNote::parse(&changed) else { continue };
            prop_assert_eq!(parsed.to_string().into_bytes(), &changed[..]);
            prop_assert!(parsed.verify(&[key(GO_SUM_KEY)]).is_err() || changed == note.as_bytes());
            if let Ok(checkpoint) = parsed.text().parse::<Checkpoint>() {
                prop_assert_eq!(checkpoint.to_string(), parsed.text());
            }
        }
    }

    #[test]
    fn checkpoints_travel(size: u64, height: u64, fields: [[u8; 32]; 5]) {
        let [chain, root, block, state_root, receipts_root] = fields.map(Digest::from);
        let log = LogHead { size, root };
        let checkpoint = Checkpoint { chain, log, height, block, state_root, receipts_root };
        prop_assert_eq!(checkpoint.to_string().parse::<Checkpoint>().unwrap(), checkpoint);
    }
}
