//! Random edits of all kinds, most of which a document takes.

use dt_aml::{Document, Edit, Element, Kind, RemovePolicy};

/// A number below the given one.
pub type Below<'a> = &'a mut dyn FnMut(usize) -> usize;

/// An edit for this document; `step` makes the IDs and names that it brings its own.
pub fn edit(document: &Document, below: Below<'_>, step: usize) -> Edit {
    match below(12) {
        0..=3 => insertion(document, below, step),
        4 => Edit::Remove { address: spare(document, below), policy: policy(below) },
        5 => Edit::Replace {
            address: spare(document, below),
            fragment: fragment(below, step),
            policy: policy(below),
        },
        6 | 7 => match any_of(document, below, |element| element.kind() == Kind::Attribute) {
            Some(attribute) => {
                let value = ["", "1.5", "a < b & c > d", "]]>", "\u{e9}\r\n\t"][below(5)].to_owned();
                Edit::SetValue { address: address(attribute), value }
            }
            None => insertion(document, below, step),
        },
        8 | 9 => {
            let moved = any_of(document, below, |element| element.ancestors().count() > 2);
            let parent = moved.and_then(|moved| {
                let home = moved.parent()?.kind();
                any_of(document, below, |element| element.kind() == home)
            });
            match (moved, parent) {
                (Some(moved), Some(parent)) => {
                    let after = any_child(parent, below);
                    Edit::Move { address: address(moved), parent: address(parent), after }
                }
                _ => insertion(document, below, step),
            }
        }
        10 => splice(document, below, step),
        _ => retag(document, below, step),
    }
}

pub fn insertion(document: &Document, below: Below<'_>, step: usize) -> Edit {
    let hosts = |element: Element<'_>| {
        matches!(
            element.kind(),
            Kind::InternalElement
                | Kind::InstanceHierarchy
                | Kind::SystemUnitClass
                | Kind::RoleClass
                | Kind::RoleClassLib
                | Kind::Attribute
                | Kind::AttributeType
                | Kind::InterfaceClass
        )
    };
    let host = any_of(document, below, hosts).unwrap_or(document.root());
    let after = any_child(host, below);
    Edit::Insert { fragment: fragment(below, step), parent: address(host), after }
}

fn fragment(below: Below<'_>, step: usize) -> String {
    const FRAGMENTS: [&str; 5] = [
        r#"<InternalElement Name="New" ID="new-#"/>"#,
        "<InternalElement Name='N' ID='new-#'>\n  <!-- \u{e9} --><Attribute Name='A&amp;B'><Value>1</Value></Attribute></InternalElement>",
        r#"<Attribute Name="new-#" AttributeDataType="xs:int"><Value>1</Value></Attribute>"#,
        r#"<ExternalInterface Name="Port" ID="new-#"></ExternalInterface>"#,
        r#"<Description>about #</Description>"#,
    ];
    FRAGMENTS[below(FRAGMENTS.len())].replace('#', &step.to_string())
}

/// The text between two children of some element, with some of it changed.
fn splice(document: &Document, below: Below<'_>, step: usize) -> Edit {
    let Some(host) = any_of(document, below, |element| element.ancestors().count() > 2) else {
        return insertion(document, below, step);
    };
    let children: Vec<Element<'_>> = host.children().collect();
    let from = below(children.len() + 1);
    let to = from + below(3).min(children.len() - from);
    let place =
        |index: Option<usize>| index.and_then(|index| children.get(index)).map(|child| address(*child));
    let text = ["", "\n", "<!-- # -->", "\r\n  <!---->\t"][below(4)].replace('#', &step.to_string());
    let kept = if below(2) == 0 { from..to } else { from..from };
    let mut content = text.clone();
    for child in &children[kept] {
        content.push_str(&child.source());
        content.push_str(&text);
    }
    if below(4) == 0 {
        content.push_str(&fragment(below, step));
    }
    Edit::Splice {
        parent: address(host),
        after: place(from.checked_sub(1)),
        before: place(Some(to)),
        content,
        policy: policy(below),
    }
}

/// A start tag with one more attribute, or with another name.
fn retag(document: &Document, below: Below<'_>, step: usize) -> Edit {
    let element = any_of(document, below, |_| true).unwrap_or(document.root());
    let source = element.source();
    let start = &source[..source.find('>').map_or(source.len(), |at| at + 1)];
    let end = source.rfind("</").filter(|_| !start.ends_with("/>")).map_or("", |at| &source[at..]);
    let with = format!(" ChangeMode='Create' x-{step}='{step}'");
    let start = match (below(3), element.name()) {
        (0, Some(name)) => start.replacen(&format!("\"{name}\""), &format!("\"{name}-{step}\""), 1),
        _ if start.ends_with("/>") => format!("{}{with}/>", &start[..start.len() - 2]),
        _ => format!("{}{with}>", &start[..start.len() - 1]),
    };
    Edit::Retag { address: address(element), start, end: end.to_owned(), policy: policy(below) }
}

fn policy(below: Below<'_>) -> RemovePolicy {
    [RemovePolicy::Restrict, RemovePolicy::OpenLinks, RemovePolicy::Cascade][below(3)]
}

/// The address of an element far enough down that not half the document goes with it.
fn spare(document: &Document, below: Below<'_>) -> String {
    any_of(document, below, |element| element.ancestors().count() >= 4).map_or("/".to_owned(), address)
}

fn any_of<'d>(
    document: &'d Document,
    below: Below<'_>,
    wanted: impl Fn(Element<'_>) -> bool,
) -> Option<Element<'d>> {
    let found: Vec<Element<'d>> = document.elements().filter(|element| wanted(*element)).collect();
    found.get(below(found.len().max(1))).copied()
}

fn any_child(host: Element<'_>, below: Below<'_>) -> Option<String> {
    let children: Vec<Element<'_>> = host.children().collect();
    if children.is_empty() || below(2) == 0 { None } else { Some(address(children[below(children.len())])) }
}

fn address(element: Element<'_>) -> String {
    element.address().unwrap_or_else(|| "/".to_owned())
}
