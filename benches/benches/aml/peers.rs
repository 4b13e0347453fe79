//! One insertion with libraries that have no incremental form: parse, insert, write.

use core::hint::black_box;

use benches::{fragment, unit_id};
use criterion::{BatchSize, Criterion};
use quick_xml::events::{BytesStart, Event};
use xmltree::XMLNode;

use crate::{FEW_SAMPLES, Plant, document};

/// Inserts a fragment in a unit of a plant: the plant's text, the unit's ID, the fragment; returns the plant's new text.
type Insert = fn(&str, &str, &str) -> Vec<u8>;

pub(crate) fn bench(criterion: &mut Criterion, plant: &Plant) {
    let mut group = criterion.benchmark_group(format!("aml/parse, insert, write {}", plant.size));
    group.sample_size(FEW_SAMPLES);
    let peers: [(&str, Insert); 4] = [
        ("ours: dt-aml", ours),
        ("peer: quick-xml", quick_xml),
        ("peer: xot", xot),
        ("peer: xmltree", xmltree),
    ];
    for (name, edit) in peers {
        group.bench_function(name, |b| {
            let (text, unit) = (plant.text(), unit_id(plant.units() / 2));
            let fragment = fragment().replacen(" ID=", " xmlns=\"http://www.dke.de/CAEX\" ID=", 1);
            assert!(edit(text, &unit, &fragment).len() > text.len() / 2, "{name} writes what it read");
            b.iter_batched(|| (), |()| edit(black_box(text), &unit, &fragment), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn ours(text: &str, unit: &str, fragment: &str) -> Vec<u8> {
    let mut document = document(text);
    document.insert(fragment, unit, None).expect("it fits");
    document.to_bytes()
}

/// Copies events, and the fragment behind the unit's start tag.
fn quick_xml(text: &str, unit: &str, fragment: &str) -> Vec<u8> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut writer = quick_xml::Writer::new(Vec::with_capacity(text.len() + fragment.len()));
    let is_unit = |tag: &BytesStart<'_>| {
        tag.name().as_ref() == "InternalElement"
            && tag.try_get_attribute("ID").expect("attributes").is_some_and(|id| id.value == unit)
    };
    loop {
        let event = reader.read_event().expect("well-formed");
        let here = match &event {
            Event::Eof => break writer.into_inner(),
            Event::Start(tag) => is_unit(tag),
            _ => false,
        };
        writer.write_event(event).expect("memory takes all");
        if here {
            writer.get_mut().extend_from_slice(fragment.as_bytes());
        }
    }
}

fn xot(text: &str, unit: &str, fragment: &str) -> Vec<u8> {
    let mut xot = xot::Xot::new();
    let root = xot.parse(text).expect("well-formed");
    let fragment = xot.parse(fragment).expect("well-formed");
    let device = xot.document_element(fragment).expect("an element");
    let id = xot.name("ID").expect("a name that occurs");
    let found = xot.descendants(root).find(|node| xot.get_attribute(*node, id) == Some(unit));
    xot.append(found.expect("a unit"), device).expect("it fits");
    let mut out = Vec::with_capacity(text.len());
    xot.write(root, &mut out).expect("memory takes all");
    out
}

fn xmltree(text: &str, unit: &str, fragment: &str) -> Vec<u8> {
    let mut root = xmltree::Element::parse(text.as_bytes()).expect("well-formed");
    let device = xmltree::Element::parse(fragment.as_bytes()).expect("well-formed");
    let found = find(&mut root, unit).expect("a unit");
    found.children.push(XMLNode::Element(device));
    let mut out = Vec::with_capacity(text.len());
    root.write(&mut out).expect("memory takes all");
    out
}

fn find<'e>(element: &'e mut xmltree::Element, id: &str) -> Option<&'e mut xmltree::Element> {
    if element.attributes.iter().any(|(name, value)| name == "ID" && value == id) {
        return Some(element);
    }
    element.children.iter_mut().find_map(|child| find(child.as_mut_element()?, id))
}
