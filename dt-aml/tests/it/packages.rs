//! Packages: real ones, sound ones of every sort, and attacks.

use std::io::{Cursor, Write};

use dt_aml::{Limits, Package, PackageError, PackageLimit, PackageLimits, ParseError};
use flate2::{Compression, Crc, write::DeflateEncoder};
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::support::{PLANT_30, PLANT_215, assert_consistent, real_files};

const RELATIONSHIP: &str = "http://schemas.automationml.org/container/relationship/RootDocument";

fn read(bytes: &[u8]) -> Result<Package, PackageError> {
    Package::read(bytes, &PackageLimits::default())
}

/// A sound zip file of these files, as other programs write it.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Relationships as writers of `.amlx` make them, with a byte-order mark.
fn relationships(targets: &[(&str, &str)]) -> String {
    let relationship = |(number, (kind, target)): (usize, &(&str, &str))| {
        format!(r#"<Relationship Type="{kind}" Target="{target}" Id="R{number}" />"#)
    };
    let inner: String = targets.iter().enumerate().map(relationship).collect();
    format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Relationships \
         xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">{inner}</Relationships>"
    )
}

/// An entry to be written byte by byte, sound unless its fields are bent.
#[derive(Clone)]
struct Raw {
    name: Vec<u8>,
    /// What stands in the entry's own header instead of the name.
    local_name: Option<Vec<u8>>,
    flags: u16,
    method: u16,
    crc: u32,
    size: u32,
    data: Vec<u8>,
    attributes: u32,
    /// Where the directory says that the entry is, instead of where it is.
    offset: Option<u32>,
}

impl Raw {
    fn stored(name: &str, content: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        Self {
            name: name.into(),
            local_name: None,
            flags: 0,
            method: 0,
            crc: crc.sum(),
            size: u32::try_from(content.len()).unwrap(),
            data: content.to_vec(),
            attributes: 0,
            offset: None,
        }
    }

    fn deflated(name: &str, content: &[u8]) -> Self {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(content).unwrap();
        Self { method: 8, data: deflate.finish().unwrap(), ..Self::stored(name, content) }
    }

    /// What both headers of an entry have in common.
    fn header(&self, name: &[u8]) -> Vec<u8> {
        let mut header = Vec::new();
        for number in [20, self.flags, self.method, 0, 0x21] {
            header.extend(number.to_le_bytes());
        }
        for number in [self.crc, u32::try_from(self.data.len()).unwrap(), self.size] {
            header.extend(number.to_le_bytes());
        }
        header.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        header.extend([0, 0]);
        header
    }
}

/// A zip file of these entries, its end record saying what `end` makes of it.
fn raw(entries: &[Raw]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(u32::try_from(bytes.len()).unwrap());
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(entry.header(local_name));
        bytes.extend(local_name);
        bytes.extend(&entry.data);
        // Made by Unix, whose attributes tell links.
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(entry.header(&entry.name));
        directory.extend([0; 6]);
        directory.extend(entry.attributes.to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    let start = u32::try_from(bytes.len()).unwrap();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend([u32::try_from(directory.len()).unwrap().to_le_bytes(), start.to_le_bytes()].concat());
    bytes.extend([0, 0]);
    bytes
}

fn manifest() -> Raw {
    Raw::deflated("Manifest.aml", PLANT_215.as_bytes())
}

#[test]
fn real_packages_give_documents_that_come_back_unchanged() {
    let files = real_files();
    let documents: Vec<_> = files.iter().filter(|(name, _)| name.contains('!')).collect();
    for (name, bytes) in &documents {
        let document =
            dt_aml::Document::parse(bytes, &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(document.to_bytes(), *bytes, "{name}");
        assert!(document.internal_elements().count() > 0, "{name}");
        assert_consistent(&document);
    }
    assert!(files.is_empty() || !documents.is_empty(), "there are packages among the real files");
}

#[test]
fn relationships_name_the_document() {
    for target in [
        "/model/plant.aml",
        "model/plant.aml",
        "./model/plant.aml",
        "file:///model/plant.aml",
        "/MODEL/Plant.AML",
    ] {
        let library = ("http://schemas.automationml.org/container/relationship/Library", "/lib.aml");
        let relationships = relationships(&[library, (RELATIONSHIP, target)]);
        let bytes = zip(&[
            ("[Content_Types].xml", b"<Types/>"),
            ("_rels/.rels", relationships.as_bytes()),
            ("lib.aml", PLANT_215.as_bytes()),
            ("model/plant.aml", PLANT_30.as_bytes()),
            ("Manifest.aml", PLANT_215.as_bytes()),
        ]);
        assert!(Package::is_one(&bytes));
        let package = read(&bytes).unwrap();
        assert_eq!(package.root_name(), "model/plant.aml", "{target}");
        assert_eq!(package.document(&Limits::default()).unwrap().to_bytes(), PLANT_30.as_bytes());
        let names: Vec<_> = package.entries().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["[Content_Types].xml", "_rels/.rels", "lib.aml", "model/plant.aml", "Manifest.aml"]
        );
        assert_eq!(package.entry("lib.aml"), Some(PLANT_215.as_bytes()));
        assert_eq!(package.entry("lib"), None);
    }
}

#[test]
fn a_target_may_be_percent_encoded_and_its_type_in_small_letters() {
    let relationships = relationships(&[(&RELATIONSHIP.to_lowercase(), "/My%20Pl%C3%A4nt.aml")]);
    let package = read(&zip(&[("_rels/.rels", relationships.as_bytes()), ("My Plänt.aml", b"")])).unwrap();
    assert_eq!(package.root_name(), "My Plänt.aml");
    let error = package.document(&Limits::default()).unwrap_err();
    assert!(
        matches!(error, PackageError::Document { cause: ParseError::NotWellFormed { .. }, .. }),
        "{error}"
    );
}

#[test]
fn without_relationships_it_is_the_manifest_or_the_only_document() {
    let package = read(&zip(&[("Manifest.aml", b"1"), ("lib/other.aml", b"2")])).unwrap();
    assert_eq!(package.root_name(), "Manifest.aml");
    let package = read(&zip(&[("a.txt", b"1"), ("deep/Plant.AML", b"2"), ("b.xml", b"3")])).unwrap();
    assert_eq!(package.root_name(), "deep/Plant.AML");
    let relationships = relationships(&[("http://example.org/other", "/a.txt")]);
    let package = read(&zip(&[("_rels/.rels", relationships.as_bytes()), ("x.aml", b"2")])).unwrap();
    assert_eq!(package.root_name(), "x.aml");
}

#[test]
fn a_document_that_is_not_clear_is_refused() {
    assert_eq!(read(&zip(&[])), Err(PackageError::NoRoot));
    assert_eq!(read(&zip(&[("plant.xml", b"")])), Err(PackageError::NoRoot));
    let candidates = vec!["a.aml".to_owned(), "b/b.aml".to_owned()];
    assert_eq!(read(&zip(&[("a.aml", b""), ("b/b.aml", b"")])), Err(PackageError::ManyRoots { candidates }));

    let with = |text: &str| read(&zip(&[("_rels/.rels", text.as_bytes()), ("a.aml", b""), ("b.aml", b"")]));
    let both = relationships(&[(RELATIONSHIP, "/a.aml"), (RELATIONSHIP, "/b.aml")]);
    assert!(matches!(with(&both), Err(PackageError::ManyRoots { .. })));
    let gone = with(&relationships(&[(RELATIONSHIP, "/c.aml")]));
    assert_eq!(gone, Err(PackageError::NoSuchRoot { target: "/c.aml".into() }));
    let out = with(&relationships(&[(RELATIONSHIP, "../../a.aml")]));
    assert!(matches!(out, Err(PackageError::NoSuchRoot { .. })));
    let external =
        relationships(&[(RELATIONSHIP, "/a.aml")]).replace(" Id=", r#" TargetMode="External" Id="#);
    assert!(matches!(with(&external), Err(PackageError::ManyRoots { candidates }) if candidates.len() == 2));
    for broken in ["<Relationships>", "<!DOCTYPE x [<!ENTITY a 'b'>]><Relationships/>", "", "<a>\u{1}</a>"] {
        assert!(matches!(with(broken), Err(PackageError::Relationships { .. })), "{broken}");
    }
}

#[test]
fn what_the_builder_makes_is_sound() {
    let package =
        read(&raw(&[manifest(), Raw::stored("folder/", b""), Raw::stored("folder/a.txt", b"a")])).unwrap();
    assert_eq!(package.document(&Limits::default()).unwrap().to_bytes(), PLANT_215.as_bytes());
    assert_eq!(package.entries().count(), 2, "a directory is no file");
}

#[test]
fn every_limit_holds_at_its_border() {
    let bytes = raw(&[manifest(), Raw::stored("aaaa.txt", &[b'a'; 100])]);
    let plant = PLANT_215.len() as u64;
    let fits = PackageLimits {
        bytes: bytes.len() as u64,
        entries: 2,
        name: 12,
        entry: plant,
        expanded: plant + 100,
    };
    assert!(Package::read(&bytes, &fits).is_ok());
    let cases = [
        (PackageLimits { bytes: fits.bytes - 1, ..fits }, PackageLimit::Bytes),
        (PackageLimits { entries: 1, ..fits }, PackageLimit::Entries),
        (PackageLimits { name: 11, ..fits }, PackageLimit::Name),
        (PackageLimits { entry: plant - 1, ..fits }, PackageLimit::Entry),
        (PackageLimits { expanded: plant + 99, ..fits }, PackageLimit::Expanded),
    ];
    for (limits, expected) in cases {
        let error = Package::read(&bytes, &limits).unwrap_err();
        assert!(matches!(error, PackageError::Limit { limit, .. } if limit == expected), "{error}");
    }
}

#[test]
fn a_bomb_is_refused_by_what_it_says_and_by_what_it_does() {
    let zeros = vec![0; 16 << 20];
    let bomb = Raw::deflated("bomb.bin", &zeros);
    assert!(zeros.len() / bomb.data.len() > 900, "a thousand to one");
    let limits = PackageLimits { entry: 1 << 20, expanded: 4 << 20, ..PackageLimits::default() };
    let refused = |entries: &[Raw]| Package::read(&raw(entries), &limits).unwrap_err();
    let error = refused(&[manifest(), bomb.clone()]);
    assert!(matches!(error, PackageError::Limit { limit: PackageLimit::Entry, .. }), "{error}");

    // It says that it is small.
    let error = refused(&[manifest(), Raw { size: 1000, ..bomb.clone() }]);
    assert!(matches!(error, PackageError::Damaged { .. }), "{error}");

    // Many that are small enough, and too many.
    let part = Raw::deflated("x", &zeros[..1 << 20]);
    let parts = (0..5).map(|n| Raw { name: format!("{n}.bin").into(), ..part.clone() });
    let error = refused(&[vec![manifest()], parts.collect()].concat());
    assert!(matches!(error, PackageError::Limit { limit: PackageLimit::Expanded, .. }), "{error}");

    // One body, many entries.
    let shared = [
        manifest(),
        part.clone(),
        Raw { name: "y".into(), local_name: Some("x".into()), offset: Some(0), ..part },
    ];
    assert!(matches!(refused(&shared), PackageError::Overlap), "{}", refused(&shared));
}

#[test]
fn sizes_that_lie_are_found() {
    for size in [0, 99, 101, 1 << 20, u32::MAX - 1] {
        for entry in [Raw::stored("a.txt", &[b'a'; 100]), Raw::deflated("a.txt", &[b'a'; 100])] {
            let error = read(&raw(&[manifest(), Raw { size, ..entry }])).expect_err("a lie");
            let is_limit = matches!(error, PackageError::Limit { limit: PackageLimit::Entry, .. });
            assert!(is_limit == (size == u32::MAX - 1), "{size}: {error}");
        }
    }
    let entry = Raw { size: 5, ..Raw::stored("folder/", b"hello") };
    assert!(
        matches!(read(&raw(&[manifest(), entry])), Err(PackageError::Damaged { .. })),
        "a directory holds nothing"
    );
}

#[test]
fn a_hundred_thousand_entries_are_refused() {
    let entries: Vec<_> = (0..100_000).map(|n| Raw::stored(&format!("{n}.txt"), b"")).collect();
    let error = read(&raw(&entries[..65_000])).unwrap_err();
    assert_eq!(error, PackageError::Limit { limit: PackageLimit::Entries, max: 10_000 });
    // More than the end record can count takes ZIP64.
    assert_eq!(read(&raw(&entries)), Err(PackageError::Unsupported));
    // A count that is taken modulo 2^16 does not fit the directory, nor does any other.
    let mut bytes = raw(&entries[..66]);
    for count in [0_u16, 1, 65, 67, 9_999] {
        let at = bytes.len() - 14;
        bytes[at..at + 4].copy_from_slice(&[count.to_le_bytes(), count.to_le_bytes()].concat());
        assert!(matches!(read(&bytes), Err(PackageError::NotAPackage { .. })), "{count}");
    }
}

#[test]
fn zip64_and_parts_are_refused() {
    let sound = raw(&[manifest()]);
    let end = sound.len() - 22;
    let mut part = sound.clone();
    part[end + 4] = 1;
    assert_eq!(read(&part), Err(PackageError::Unsupported));
    let locator = [b"PK\x06\x07".as_slice(), &[0; 16]].concat();
    let long = [&sound[..end], &locator, &sound[end..]].concat();
    assert_eq!(read(&long), Err(PackageError::Unsupported));
}

#[test]
fn names_that_lead_out_are_refused() {
    let bad = [
        "../a.aml",
        "a/../../b.aml",
        "/etc/passwd",
        "a\\b.aml",
        "..",
        ".",
        "a/./b",
        "a//b",
        "",
        "/",
        "C:/a.aml",
        "c:a.aml",
        "a\0.aml",
        "a\n.aml",
        "%2e%2e/a.aml",
        "a%2F..%2Fb",
        "a%5cb",
        "..%2fa",
    ];
    for name in bad {
        let error = read(&raw(&[manifest(), Raw::stored(name, b"")])).expect_err(name);
        assert!(matches!(error, PackageError::BadName { .. }), "{name:?}: {error}");
    }
    for name in ["..a", "a..", "a.b/c..d", "100%", "%zz", "ä/ö.aml", "[Content_Types].xml", "ab:c"] {
        assert!(read(&raw(&[manifest(), Raw::stored(name, b"")])).is_ok(), "{name:?}");
    }
}

#[test]
fn two_entries_of_one_name_are_refused() {
    for name in ["Manifest.aml", "MANIFEST.AML", "Manifest%2Eaml", "manifest.aml/"] {
        let error = read(&raw(&[manifest(), Raw::stored(name, b"")])).expect_err(name);
        assert!(matches!(error, PackageError::DuplicateName { .. }), "{name}: {error}");
    }
}

#[test]
fn entries_of_other_sorts_are_refused() {
    let entry = Raw::stored("a.txt", b"abc");
    let refused = |entry: Raw| read(&raw(&[manifest(), entry])).unwrap_err();
    assert!(matches!(refused(Raw { flags: 1, ..entry.clone() }), PackageError::Encrypted { .. }));
    assert!(matches!(
        refused(Raw { attributes: 0o120_777 << 16, ..entry.clone() }),
        PackageError::Link { .. }
    ));
    for method in [1, 9, 12, 14, 93, 99, 1234] {
        let error = refused(Raw { method, ..entry.clone() });
        assert!(
            matches!(error, PackageError::Method { .. } | PackageError::NotAPackage { .. }),
            "{method}: {error}"
        );
    }
    assert!(matches!(refused(Raw { crc: 7, ..entry.clone() }), PackageError::Damaged { .. }));
    assert!(
        matches!(refused(Raw { method: 8, ..entry.clone() }), PackageError::Damaged { .. }),
        "not deflated"
    );
    let other_name = Raw { local_name: Some("b.txt".into()), ..entry };
    assert!(matches!(refused(other_name), PackageError::NotAPackage { .. }));
}

#[test]
fn what_stands_before_or_behind_is_refused() {
    let sound = zip(&[("Manifest.aml", PLANT_215.as_bytes())]);
    let around = [
        [b"#!/bin/sh\n".as_slice(), &sound].concat(),
        [sound.as_slice(), b"\n"].concat(),
        [sound.as_slice(), &sound].concat(),
        [sound.as_slice(), &sound[sound.len() - 22..]].concat(),
        PLANT_215.into(),
        Vec::new(),
        b"PK\x03\x04 and nothing more".into(),
    ];
    for bytes in around {
        assert!(matches!(read(&bytes), Err(PackageError::NotAPackage { .. })), "{:?}", read(&bytes));
    }
    assert!(!Package::is_one(PLANT_215.as_bytes()));
    // Behind the last entry of the directory, counted as part of it.
    let end = sound.len() - 22;
    let mut stuffed = [&sound[..end], b"stuffing", &sound[end..]].concat();
    stuffed[end + 8 + 12] += 8;
    assert!(matches!(read(&stuffed), Err(PackageError::NotAPackage { .. })), "{:?}", read(&stuffed));
    // A directory that says to be shorter than it is: readers that believe it miss the last entry.
    let mut shorter = sound.clone();
    shorter[end + 12] -= 1;
    assert!(matches!(read(&shorter), Err(PackageError::NotAPackage { .. })), "{:?}", read(&shorter));
    // A comment is part of the end record.
    let mut commented = sound.clone();
    let length = commented.len();
    commented[length - 2] = 4;
    commented.extend(b"note");
    assert_eq!(read(&commented), read(&sound));
}

#[test]
fn a_package_that_is_cut_off_anywhere_is_refused() {
    let bytes = zip(&[("Manifest.aml", PLANT_215.as_bytes()), ("a.txt", b"abc")]);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn every_flipped_bit_ends_in_an_error_or_changes_nothing() {
    let relationships = relationships(&[(RELATIONSHIP, "/m.aml")]);
    let bytes =
        zip(&[("_rels/.rels", relationships.as_bytes()), ("m.aml", PLANT_30.as_bytes()), ("a.txt", b"abc")]);
    let sound = read(&bytes).unwrap();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            match read(&flipped) {
                Ok(package) => assert_eq!(package, sound, "byte {at}, bit {bit}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > bytes.len() * 4, "{refused} of {}", bytes.len() * 8);
}

#[test]
fn random_bytes_in_a_sound_frame_never_panic() {
    let bytes = zip(&[("Manifest.aml", PLANT_215.as_bytes()), ("a.txt", b"abc")]);
    let mut random = crate::support::Lcg(2658);
    for _ in 0..20_000 {
        let mut bent = bytes.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bent.len());
            // The last bytes are the frame: bend them more often than their share.
            let at = if random.below(2) == 0 { at } else { bent.len() - 1 - random.below(200) };
            bent[at] = [0, 1, 0x7f, 0xff, b'P', b'K'][random.below(6)];
        }
        let _ = read(&bent);
    }
}
