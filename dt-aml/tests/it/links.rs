//! Interfaces, links and mirrors, in both ways of writing them.

use dt_aml::{Document, Element, Kind, Problem, Target};

use crate::support::{PLANT_30, PLANT_215, documents, parse};

fn at<'d>(document: &'d Document, address: &str) -> Element<'d> {
    document.find(address).expect("an address")
}

#[test]
fn both_ways_of_writing_lead_to_interfaces() {
    let document = parse(PLANT_215);
    let link = document.links().next().expect("a link");
    assert_eq!(link.a.reference, "{line}:Out");
    assert_eq!(
        (link.a.owner(), link.a.interface()),
        (Some(at(&document, "line")), Some(at(&document, "line.out")))
    );
    assert_eq!(
        (link.b.owner(), link.b.interface()),
        (Some(at(&document, "motor")), Some(at(&document, "motor.in")))
    );
    assert_eq!(document.links().count(), 1);

    let document = parse(PLANT_30);
    let link = at(&document, "pump").links().next().expect("a link");
    assert_eq!((link.a.owner(), link.b.owner()), (Some(at(&document, "pump")), Some(at(&document, "valve"))));
    assert_eq!(at(&document, "valve").connected(), [link]);
    assert_eq!(at(&document, "valve").links().count(), 0);
}

#[test]
fn every_end_is_told() {
    let document = parse(
        r#"<CAEXFile><InstanceHierarchy Name="H"><InternalElement Name="E" ID="e">
             <ExternalInterface Name="In" ID="in"/><ExternalInterface Name="Out" ID="out"/>
             <ExternalInterface Name="Twin" ID="t"/><ExternalInterface Name="Twin" ID="t"/>
             <ExternalInterface Name="a:b" ID="e:In"/>
             <InternalLink Name="1" RefPartnerSideA="in" RefPartnerSideB="{e}:Out"/>
             <InternalLink Name="2" RefPartnerSideA="" />
             <InternalLink Name="3" RefPartnerSideA="e" RefPartnerSideB="{e}"/>
             <InternalLink Name="4" RefPartnerSideA="nowhere" RefPartnerSideB="e:Nothing"/>
             <InternalLink Name="5" RefPartnerSideA="t" RefPartnerSideB="e:Twin"/>
             <InternalLink Name="6" RefPartnerSideA="e:In" RefPartnerSideB="e:a:b"/>
             <InternalLink Name="7" RefPartnerSideA="f:Only" RefPartnerSideB="f:Both"/>
           </InternalElement>
           <InternalElement Name="F" ID="f"><ExternalInterface Name="Both"/><ExternalInterface Name="Only" ID="only"/></InternalElement>
           <InternalElement Name="F" ID="f"><ExternalInterface Name="Both"/></InternalElement>
           </InstanceHierarchy></CAEXFile>"#,
    );
    let e = at(&document, "e");
    let targets: Vec<_> = e.links().flat_map(|link| [link.a.target, link.b.target]).collect();
    let interface = |id: &str| Target::Interface { owner: e, interface: at(&document, id) };
    let twice = Target::Ambiguous { count: 2 };
    assert_eq!(
        targets,
        [
            interface("in"),
            interface("out"),
            Target::Open,
            Target::Open,
            Target::Element(e),
            Target::Element(e),
            Target::Missing,
            Target::Missing,
            twice,
            twice,
            twice,
            interface("e:In"),
            Target::Interface {
                owner: at(&document, "only").parent().expect("an owner"),
                interface: at(&document, "only")
            },
            twice,
        ]
    );
    let broken = document
        .issues()
        .into_iter()
        .filter(|issue| matches!(issue.problem, Problem::BrokenReference { .. }));
    assert_eq!(broken.count(), 2);
    assert_eq!(e.interface("In"), Some(at(&document, "in")));
    assert_eq!((e.interface("Twin"), e.interface("Nothing")), (None, None));
    assert_eq!(e.interfaces().count(), 5);
    let connected: Vec<_> =
        e.connected().iter().filter_map(|link| link.element.name().map(|name| name.into_owned())).collect();
    assert_eq!(connected, ["1", "6"]);
}

#[test]
fn interfaces_in_interfaces_belong_to_the_element() {
    let document = parse(
        r#"<CAEXFile xmlns="http://www.dke.de/CAEX"><InstanceHierarchy Name="H"><InternalElement Name="E" ID="e">
             <ExternalInterface Name="Plug" ID="plug"><ExternalInterface Name="Pin" ID="pin"/></ExternalInterface>
             <InternalElement Name="F" ID="f"><ExternalInterface Name="Pin" ID="f.pin"/></InternalElement>
             <InternalLink Name="L" RefPartnerSideA="pin" RefPartnerSideB="f.pin"/>
           </InternalElement></InstanceHierarchy></CAEXFile>"#,
    );
    let link = document.links().next().expect("a link");
    assert_eq!(link.a.owner(), Some(at(&document, "e")));
    assert_eq!(at(&document, "e").connected(), std::slice::from_ref(&link));
    assert_eq!(at(&document, "f").connected(), [link]);
    assert_eq!(at(&document, "plug").connected(), []);
}

#[test]
fn mirrors_know_their_master_and_masters_their_mirrors() {
    let mut document = parse(PLANT_215);
    let (sensor, mirror) = (at(&document, "sensor"), at(&document, "mirror"));
    assert_eq!(mirror.master(), Some(sensor));
    assert_eq!(sensor.mirrors(), [mirror]);
    assert_eq!((sensor.master(), mirror.mirrors()), (None, vec![]));
    let first = "<InternalElement Name='First' ID='first' RefBaseSystemUnitPath='{sensor}'/>";
    document.insert(first, "line", Some("motor")).expect("an insertion");
    let mirrors = at(&document, "sensor").mirrors();
    assert_eq!(
        mirrors,
        [at(&document, "first"), at(&document, "mirror")],
        "in document order, not in that of edits"
    );
    document.remove("mirror").expect("a removal");
    assert_eq!(at(&document, "sensor").mirrors(), [at(&document, "first")]);
}

#[test]
fn connections_come_in_document_order_after_edits() {
    let mut document = parse(PLANT_215);
    for (name, side) in [("Early", "A"), ("Late", "B")] {
        let link = format!("<InternalLink Name='{name}' RefPartnerSide{side}='motor:In'/>");
        document.insert(&link, "motor", None).expect("an insertion");
    }
    let fresh = parse(document.to_bytes());
    let names = |document: &Document| -> Vec<String> {
        let links = at(document, "motor").connected();
        links.iter().map(|link| link.element.name().expect("a name").into_owned()).collect()
    };
    assert_eq!(names(&document), ["Early", "Late", "Drive"]);
    assert_eq!(names(&fresh), names(&document));
}

#[test]
fn real_links_are_the_same_from_both_sides() {
    for (name, bytes) in documents() {
        let document = parse(&bytes);
        let (mut links, mut resolved) = (0, 0);
        for link in document.links() {
            links += 1;
            for owner in [link.a.owner(), link.b.owner()].into_iter().flatten() {
                resolved += 1;
                assert!(owner.connected().contains(&link), "{name}: {link:?}");
            }
        }
        let elements = document.elements().filter(|element| element.kind() == Kind::InternalElement);
        for element in elements {
            let slow: Vec<_> = document
                .links()
                .filter(|link| [link.a.owner(), link.b.owner()].contains(&Some(element)))
                .collect();
            assert_eq!(element.connected(), slow, "{name}: {element:?}");
        }
        // One link of each of these leads out of what is there.
        let expected = match name.as_str() {
            "aml_ev_ARAPCExample_c215.aml" => 57,
            "blackenergy_c30.aml" => 42,
            _ => 2 * links,
        };
        assert_eq!(resolved, expected, "{name}");
    }
}

#[test]
fn links_to_an_id_that_many_share_are_affordable() {
    const MANY: usize = 20_000;
    let element = "<InternalElement Name='e' ID='x'><ExternalInterface Name='i' ID='y'/></InternalElement>";
    let link = |n: usize| format!("<InternalLink Name='l{n}' RefPartnerSideA='x:i{n}' RefPartnerSideB='y'/>");
    let links: String = (0..MANY).map(link).collect();
    let mirrors = "<InternalElement Name='m' RefBaseSystemUnitPath='x'/>".repeat(MANY);
    let document = parse(format!(
        "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='top' ID='top'>{}{mirrors}{links}</InternalElement></InstanceHierarchy></CAEXFile>",
        element.repeat(MANY)
    ));
    let shared = Target::Ambiguous { count: MANY };
    assert!(document.links().all(|link| link.a.target == Target::Missing && link.b.target == shared));
    let first = document.query().named("e").iter().next().expect("an element");
    assert_eq!((first.connected(), first.mirrors()), (vec![], vec![]));
}
