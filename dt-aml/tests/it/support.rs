//! Fixtures, real files, and a small generator of numbers.

use std::path::{Path, PathBuf};

use dt_aml::{Document, Limits, ParseError};

pub(crate) const PLANT_215: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<CAEXFile FileName="plant.aml" SchemaVersion="2.15">
  <InstanceHierarchy Name="Plant">
    <Version>1</Version>
    <!-- the line -->
    <InternalElement Name="Line" ID="line">
      <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min">
        <DefaultValue>30</DefaultValue>
        <Value>42.5</Value>
        <Constraint Name="Safety">
          <OrdinalScaledType>
            <RequiredMaxValue>60</RequiredMaxValue>
            <RequiredMinValue>0</RequiredMinValue>
          </OrdinalScaledType>
        </Constraint>
        <Attribute Name="Step" AttributeDataType="xs:int"><Value>5</Value></Attribute>
      </Attribute>
      <ExternalInterface Name="Out" ID="line.out"/>
      <InternalElement Name="Motor" ID="motor">
        <ExternalInterface Name="In" ID="motor.in"/>
      </InternalElement>
      <InternalElement Name="Sensor" ID="sensor" />
      <InternalLink Name="Drive" RefPartnerSideA="{line}:Out" RefPartnerSideB="{motor}:In"/>
      <RoleRequirements RefBaseRoleClassPath="Roles/Line"/>
    </InternalElement>
    <InternalElement Name="Copy" ID="mirror" RefBaseSystemUnitPath="sensor"/>
  </InstanceHierarchy>
  <RoleClassLib Name="Roles">
    <RoleClass Name="Line"/>
  </RoleClassLib>
</CAEXFile>
"#;

pub(crate) const PLANT_30: &str = r#"<CAEXFile SchemaVersion="3.0" FileName="p.aml" xmlns="http://www.dke.de/CAEX" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <SuperiorStandardVersion>AutomationML 2.10</SuperiorStandardVersion>
  <SourceDocumentInformation OriginName="hand" OriginID="1" OriginVersion="1" LastWritingDateTime="2024-01-01T00:00:00Z"/>
  <InstanceHierarchy Name="Plant">
    <InternalElement Name="Pump" ID="pump">
      <ExternalInterface Name="P1" ID="pump.p1"/>
      <InternalElement Name="Valve" ID="valve">
        <ExternalInterface Name="P1" ID="valve.p1"/>
      </InternalElement>
      <InternalLink Name="Pipe" RefPartnerSideA="pump.p1" RefPartnerSideB="valve.p1"/>
    </InternalElement>
  </InstanceHierarchy>
</CAEXFile>"#;

pub(crate) fn parse(text: impl AsRef<[u8]>) -> Document {
    Document::parse(text, &Limits::default()).expect("a fixture parses")
}

pub(crate) fn refused(text: impl AsRef<[u8]>) -> ParseError {
    Document::parse(text, &Limits::default()).expect_err("this must not parse")
}

pub(crate) fn text(document: &Document) -> String {
    String::from_utf8(document.to_bytes()).expect("a document is UTF-8")
}

/// The document's bytes parsed anew MUST give the same tree, hence the same hash.
pub(crate) fn assert_consistent(document: &Document) {
    let bytes = document.to_bytes();
    assert_eq!(document.len(), bytes.len() as u64, "the count of bytes drifted");
    let again = Document::parse(&bytes, document.limits()).expect("an edited document parses");
    assert_eq!(again.root_hash(), document.root_hash(), "the hash depends on more than bytes");
    assert!(again.ids().eq(document.ids()));
    let mut written = Vec::new();
    document.write_to(&mut written).expect("a vector takes all");
    assert_eq!(written, bytes);
}

/// A linear congruential generator (Knuth, MMIX): the same numbers on every run.
pub(crate) struct Lcg(pub(crate) u64);

impl Lcg {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// Real AutomationML files as (name, bytes): those in the directory `DT_AML_DATA`, or beside the workspace, and the
/// documents of the packages there. Packages are left out, aloud, without the feature that reads them; so is everything
/// if the directory is not there, and then the tests stand on fixtures alone.
pub(crate) fn real_files() -> Vec<(String, Vec<u8>)> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/aml");
    let folder = std::env::var_os("DT_AML_DATA").map_or_else(beside, PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("no real AutomationML files at {}: set DT_AML_DATA", folder.display());
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    let mut read = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("aml") => read.push((name, std::fs::read(&path).expect("a readable file"))),
            Some("mtp" | "zip" | "amlx") => read.extend(document_in(name, &path)),
            _ => {}
        }
    }
    read
}

/// The document in a package, named after both.
#[cfg(feature = "packages")]
fn document_in(name: String, path: &Path) -> Option<(String, Vec<u8>)> {
    let bytes = std::fs::read(path).expect("a readable file");
    let package = dt_aml::Package::read(&bytes, &dt_aml::PackageLimits::default());
    let package = package.unwrap_or_else(|e| panic!("{name}: {e}"));
    let document = package.entry(package.root_name()).expect("the root is an entry");
    Some((format!("{name}!{}", package.root_name()), document.to_vec()))
}

#[cfg(not(feature = "packages"))]
fn document_in(name: String, _: &Path) -> Option<(String, Vec<u8>)> {
    eprintln!("left out: {name} is a package, and feature `packages` is off");
    None
}

/// The real files that are AutomationML, and the fixtures.
pub(crate) fn documents() -> Vec<(String, Vec<u8>)> {
    let mut documents = real_files();
    documents.retain(|(name, _)| !name.starts_with("BAD_"));
    documents.push(("fixture 2.15".to_owned(), PLANT_215.into()));
    documents.push(("fixture 3.0".to_owned(), PLANT_30.into()));
    let bom_crlf = format!("\u{feff}{}", PLANT_215.replace('\n', "\r\n"));
    documents.push(("fixture with mark and CRLF".to_owned(), bom_crlf.into()));
    documents
}
