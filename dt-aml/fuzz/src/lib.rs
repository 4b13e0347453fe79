//! What must hold for any bytes: asked by the fuzz targets, and of the kept corpus by the tests.

pub mod random;

use dt_aml::{Document, Edit, Limits, RemovePolicy};

/// Limits that a fuzzer reaches.
const LIMITS: Limits =
    Limits { bytes: 1 << 16, depth: 32, elements: 2048, attributes: 32, namespaces: 8, fragment: 4096 };

/// What a document is edited from.
const PLANTS: [&str; 3] = [
    r#"<CAEXFile SchemaVersion="2.15"><InstanceHierarchy Name="H">
  <InternalElement Name="A" ID="a" RefBaseSystemUnitPath="S/U">
    <Attribute Name="x" AttributeDataType="xs:IDREF"><Value>b</Value></Attribute>
    <ExternalInterface Name="i"/>
    <InternalElement Name="B" ID="b"/>
    <InternalLink Name="l" RefPartnerSideA="{a}:i" RefPartnerSideB="b:i"/>
    <RoleRequirements RefBaseRoleClassPath="R/C"/>
    <MappingObject><AttributeNameMapping SystemUnitAttributeName="x" RoleAttributeName="y"/></MappingObject>
  </InternalElement>
  <InternalElement Name="M" ID="m" RefBaseSystemUnitPath="a"/>
</InstanceHierarchy>
<RoleClassLib Name="R"><RoleClass Name="C"><RoleClass Name="D" RefBaseClassPath="R/C"/></RoleClass></RoleClassLib>
<SystemUnitClassLib Name="S"><SystemUnitClass Name="U"/></SystemUnitClassLib>
</CAEXFile>
"#,
    "\u{feff}<?xml version='1.0'?>\r\n<c:CAEXFile xmlns:c='http://www.dke.de/CAEX'>\r\n\t<c:SourceDocumentInformation/><c:InstanceHierarchy Name='H'><c:InternalElement Name='A' ID='a'><c:ExternalInterface Name='i' ID='i'/></c:InternalElement><c:InternalElement Name='A' ID='a'></c:InternalElement></c:InstanceHierarchy></c:CAEXFile>",
    "<CAEXFile/>",
];

/// Any bytes are a document that keeps its promises, or an error.
pub fn parse(data: &[u8]) {
    let Ok(document) = Document::parse(data, &LIMITS) else { return };
    assert_eq!(document.to_bytes(), data);
    let _listed = document.issues();
    let _programs = document.programs();
    for element in document.elements() {
        if let Some(address) = element.address() {
            assert!(document.find(&address) == Ok(element), "{address}");
        }
    }
}

/// Any edits keep a document whole, and can be taken back.
pub fn edits(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let plant = PLANTS[usize::from(*choice) % PLANTS.len()];
    let mut document = Document::parse(plant, &LIMITS).expect("a plant");
    let (first, start) = (document.clone(), document.root_hash());
    let mut source = data.iter().copied();
    let mut inverses = Vec::new();
    for step in 0..24 {
        if source.len() == 0 {
            break;
        }
        let edit = edit(&document, &mut source, step);
        let before = document.root_hash();
        match document.apply(&[edit]) {
            Ok(outcome) => inverses.push(outcome.inverse),
            Err(_) => assert_eq!(document.root_hash(), before),
        }
    }
    let bytes = document.to_bytes();
    let again = Document::parse(&bytes, &LIMITS).expect("what was edited can be parsed");
    assert_eq!(again.root_hash(), document.root_hash());
    assert_eq!(document.len(), bytes.len() as u64);
    let patch = first.diff(&document).expect("short names");
    let mut other = first.clone();
    other.apply_patch(&patch).expect("a difference leads there");
    assert_eq!(other.to_bytes(), bytes);
    for inverse in inverses.iter().rev() {
        document.apply_patch(inverse).expect("an inverse fits");
    }
    assert_eq!(document.root_hash(), start);
    assert_eq!(document.to_bytes(), plant.as_bytes());
}

/// An edit of the common sorts, or one whose text is taken from the data as it is.
fn edit(document: &Document, source: &mut impl ExactSizeIterator<Item = u8>, step: usize) -> Edit {
    let mut below = |bound: usize| {
        let high = source.next().filter(|_| bound > 256).unwrap_or(0);
        let number = usize::from(source.next().unwrap_or(0)) + 256 * usize::from(high);
        number % bound.max(1)
    };
    match below(4) {
        0 => {
            let elements: Vec<_> = document.elements().collect();
            let element = elements[below(elements.len())];
            let address = element.address().unwrap_or_default();
            let (kind, length) = (below(4), below(64));
            let bytes: Vec<u8> = source.by_ref().take(length).collect();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let policy = RemovePolicy::OpenLinks;
            match kind {
                0 => Edit::Insert { fragment: text, parent: address, after: None },
                1 => Edit::Splice { parent: address, after: None, before: None, content: text, policy },
                2 => Edit::Retag { address, start: text, end: String::new(), policy },
                _ => Edit::Remove { address: text, policy },
            }
        }
        _ => random::edit(document, &mut below, step),
    }
}
