//! The document against a naive model: a tree of owned nodes that is searched from the top for everything.

use dt_aml::{Document, Edit, RemovePolicy};
use proptest::prelude::*;

use crate::support::{assert_consistent, parse};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Attribute,
    InternalElement,
    InternalLink,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Naive {
    tag: Tag,
    /// The number that makes name and ID.
    number: u8,
    /// The elements that a link refers to.
    ends: [u8; 2],
    children: Vec<Naive>,
}

impl Naive {
    fn address(&self, parent: u8) -> String {
        match self.tag {
            Tag::InternalElement => format!("e{}", self.number),
            tag => format!("e{parent}/{tag:?}[n{}]", self.number),
        }
    }

    fn xml(&self) -> String {
        let (tag, number) = (self.tag, self.number);
        let more = match tag {
            Tag::Attribute => String::new(),
            Tag::InternalElement => format!(" ID='e{number}'"),
            Tag::InternalLink => {
                format!(" RefPartnerSideA='e{}:p' RefPartnerSideB='{{e{}}}:p'", self.ends[0], self.ends[1])
            }
        };
        let children: String = self.children.iter().map(Naive::xml).collect();
        match children.as_str() {
            "" => format!("<{tag:?} Name='n{number}'{more}/>"),
            _ => format!("<{tag:?} Name='n{number}'{more}>{children}</{tag:?}>"),
        }
    }

    fn elements(&self) -> Vec<u8> {
        let own = (self.tag == Tag::InternalElement).then_some(self.number);
        own.into_iter().chain(self.children.iter().flat_map(Naive::elements)).collect()
    }

    fn targets(&self) -> Vec<u8> {
        let own = if self.tag == Tag::InternalLink { self.ends.to_vec() } else { Vec::new() };
        own.into_iter().chain(self.children.iter().flat_map(Naive::targets)).collect()
    }

    fn element_mut(&mut self, number: u8) -> Option<&mut Naive> {
        if self.tag == Tag::InternalElement && self.number == number {
            return Some(self);
        }
        self.children.iter_mut().find_map(|child| child.element_mut(number))
    }

    /// Inserts if a strict reader of the rules would.
    fn insert(&mut self, fragment: &Naive, parent: u8, after: Option<&str>) -> bool {
        let existing = self.elements();
        let new = fragment.elements();
        let mut unique = new.clone();
        unique.sort_unstable();
        unique.dedup();
        if unique.len() < new.len() || new.iter().any(|number| existing.contains(number)) {
            return false;
        }
        let Some(host) = self.element_mut(parent) else { return false };
        let same = |child: &Naive| child.tag == fragment.tag && child.number == fragment.number;
        if fragment.tag == Tag::Attribute && host.children.iter().any(same) {
            return false;
        }
        let at = match after {
            None => {
                host.children.iter().rposition(|child| child.tag <= fragment.tag).map_or(0, |last| last + 1)
            }
            Some(after) => {
                let mut named =
                    host.children.iter().enumerate().filter(|(_, child)| child.address(parent) == after);
                let (Some((index, _)), None) = (named.next(), named.next()) else { return false };
                index + 1
            }
        };
        let ordered = at.checked_sub(1).is_none_or(|prev| host.children[prev].tag <= fragment.tag)
            && host.children.get(at).is_none_or(|next| fragment.tag <= next.tag);
        if ordered {
            host.children.insert(at, fragment.clone());
        }
        ordered
    }

    /// Puts one element in the place of another if a strict reader of the rules would.
    fn replace(&mut self, parent: u8, victim: &Naive, fragment: &Naive) -> bool {
        let Some(host) = self.element_mut(parent) else { return false };
        let Some(index) = host.only(victim) else { return false };
        let before = host.clone();
        // Whatever refers to it may stay open, so it goes in any case.
        host.children.remove(index);
        let mut others = host.children.iter().filter(|child| child.tag == Tag::Attribute);
        let is_double = fragment.tag == Tag::Attribute && others.any(|child| child.number == fragment.number);
        let ordered = index.checked_sub(1).is_none_or(|prev| host.children[prev].tag <= fragment.tag)
            && host.children.get(index).is_none_or(|next| fragment.tag <= next.tag);
        let new = fragment.elements();
        let unique: std::collections::BTreeSet<_> = new.iter().collect();
        let is_new = unique.len() == new.len() && !self.elements().iter().any(|number| new.contains(number));
        let Some(host) = self.element_mut(parent) else { return false };
        if ordered && is_new && !is_double {
            host.children.insert(index, fragment.clone());
            true
        } else {
            *host = before;
            false
        }
    }

    /// Moves if a strict reader of the rules would.
    fn move_to(&mut self, from: u8, victim: &Naive, parent: u8, after: Option<&str>) -> bool {
        let before = self.clone();
        let Some(index) = self.element_mut(from).and_then(|host| host.only(victim)) else { return false };
        let Some(host) = self.element_mut(from) else { return false };
        let address = host.children[index].address(from);
        let moved = host.children.remove(index);
        let is_into_itself = moved.elements().contains(&parent) || after == Some(address.as_str());
        // What goes is no duplicate of itself.
        let done = !is_into_itself && self.insert(&moved, parent, after);
        if !done {
            *self = before;
        }
        done
    }

    /// The place of the only child with the address of `wanted`.
    fn only(&self, wanted: &Naive) -> Option<usize> {
        let is_it = |child: &Naive| child.tag == wanted.tag && child.number == wanted.number;
        let mut found = (0..self.children.len()).filter(|index| is_it(&self.children[*index]));
        found.next().filter(|_| found.next().is_none())
    }

    /// Removes if a strict reader of the rules would.
    fn remove(&mut self, parent: u8, victim: &Naive, policy: RemovePolicy) -> bool {
        let whole = self.targets();
        let Some(host) = self.element_mut(parent) else { return false };
        let address = victim.address(parent);
        let found: Vec<usize> = (0..host.children.len())
            .filter(|index| {
                host.children[*index].tag == victim.tag && host.children[*index].address(parent) == address
            })
            .collect();
        let [index] = found.as_slice() else { return false };
        let going = &host.children[*index];
        let (ids, inner) = (going.elements(), going.targets());
        let times = |targets: &[u8]| targets.iter().filter(|target| ids.contains(target)).count();
        if policy == RemovePolicy::Restrict && times(&whole) > times(&inner) {
            return false;
        }
        host.children.remove(*index);
        true
    }
}

/// What the document shows of the same tree.
fn shown(document: &Document) -> Vec<(usize, String, String)> {
    let element = |element: dt_aml::Element<'_>| {
        (
            element.ancestors().count(),
            element.tag().to_owned(),
            element.name().unwrap_or_default().into_owned(),
        )
    };
    document.elements().skip(2).map(element).collect()
}

fn flattened(naive: &Naive, depth: usize, out: &mut Vec<(usize, String, String)>) {
    out.push((depth, format!("{:?}", naive.tag), format!("n{}", naive.number)));
    naive.children.iter().for_each(|child| flattened(child, depth + 1, out));
}

#[derive(Clone, Debug)]
enum Step {
    Insert { fragment: Naive, parent: u8, after: Option<(Tag, u8)> },
    Remove { victim: (Tag, u8), parent: u8, policy: RemovePolicy },
    Replace { victim: (Tag, u8), parent: u8, fragment: Naive },
    Move { victim: (Tag, u8), from: u8, parent: u8, after: Option<(Tag, u8)> },
}

fn tags() -> impl Strategy<Value = Tag> {
    prop_oneof![
        Just(Tag::Attribute),
        Just(Tag::InternalElement),
        Just(Tag::InternalElement),
        Just(Tag::InternalLink)
    ]
}

fn leaf(tag: Tag, number: u8, ends: [u8; 2]) -> Naive {
    Naive { tag, number, ends, children: Vec::new() }
}

fn fragments() -> impl Strategy<Value = Naive> {
    let leaves = (tags(), 0..12_u8, [0..12_u8, 0..12_u8])
        .prop_map(|(tag, number, ends)| leaf(tag, number, ends))
        .boxed();
    (leaves.clone(), prop::collection::vec(leaves, 0..3)).prop_map(|(mut top, mut below)| {
        if top.tag == Tag::InternalElement {
            below.sort_by_key(|child| child.tag);
            below.dedup_by_key(|child| (child.tag, child.number));
            top.children = below;
        }
        top
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let insert = (fragments(), 0..12_u8, prop::option::of((tags(), 0..12_u8)))
        .prop_map(|(fragment, parent, after)| Step::Insert { fragment, parent, after });
    let policies = prop_oneof![Just(RemovePolicy::Restrict), Just(RemovePolicy::OpenLinks)];
    let remove = ((tags(), 0..12_u8), 0..12_u8, policies).prop_map(|(victim, parent, policy)| Step::Remove {
        victim,
        parent,
        policy,
    });
    let replace = ((tags(), 0..12_u8), 0..12_u8, fragments())
        .prop_map(|(victim, parent, fragment)| Step::Replace { victim, parent, fragment });
    let place = prop::option::of((tags(), 0..12_u8));
    let moves = ((tags(), 0..12_u8), 0..12_u8, 0..12_u8, place)
        .prop_map(|(victim, from, parent, after)| Step::Move { victim, from, parent, after });
    prop_oneof![4 => insert, 1 => remove, 1 => replace, 2 => moves]
}

fn take(model: &mut Naive, step: &Step) -> (Edit, bool) {
    let start = model.clone();
    let address = |tag: Tag, number: u8, parent: u8| leaf(tag, number, [0, 0]).address(parent);
    let (edit, accepted) = match step {
        Step::Insert { fragment, parent, after } => {
            let after = after.map(|(tag, number)| address(tag, number, *parent));
            let accepted = model.insert(fragment, *parent, after.as_deref());
            (Edit::Insert { fragment: fragment.xml(), parent: format!("e{parent}"), after }, accepted)
        }
        Step::Remove { victim: (tag, number), parent, policy } => {
            let parent = home(model, *tag, *number, *parent);
            let accepted = model.remove(parent, &leaf(*tag, *number, [0, 0]), *policy);
            (Edit::Remove { address: address(*tag, *number, parent), policy: *policy }, accepted)
        }
        Step::Replace { victim: (tag, number), parent, fragment } => {
            let parent = home(model, *tag, *number, *parent);
            let accepted = model.replace(parent, &leaf(*tag, *number, [0, 0]), fragment);
            let address = address(*tag, *number, parent);
            (Edit::Replace { address, fragment: fragment.xml(), policy: RemovePolicy::OpenLinks }, accepted)
        }
        Step::Move { victim: (tag, number), from, parent, after } => {
            let from = home(model, *tag, *number, *from);
            let after = after.map(|(tag, number)| address(tag, number, *parent));
            let accepted = model.move_to(from, &leaf(*tag, *number, [0, 0]), *parent, after.as_deref());
            (
                Edit::Move { address: address(*tag, *number, from), parent: format!("e{parent}"), after },
                accepted,
            )
        }
    };
    if !accepted {
        assert_eq!(*model, start, "{step:?}");
    }
    (edit, accepted)
}

/// An ID finds its element wherever it is; the model is told where.
fn home(model: &Naive, tag: Tag, number: u8, given: u8) -> u8 {
    match tag {
        Tag::InternalElement => parent_of(model, number).unwrap_or(given),
        _ => given,
    }
}

fn parent_of(model: &Naive, number: u8) -> Option<u8> {
    let here = |child: &Naive| child.tag == Tag::InternalElement && child.number == number;
    if model.children.iter().any(here) {
        return Some(model.number);
    }
    model.children.iter().find_map(|child| parent_of(child, number))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_document_does_what_the_model_does(
        steps in prop::collection::vec(steps(), 1..40),
        line in prop::sample::select(vec!["", "\n  ", "\r\n\t", "\n<!-- c -->\n  "]),
    ) {
        // Element 200 stands above all and cannot be the target of a step.
        let mut model = leaf(Tag::InternalElement, 200, [0, 0]);
        model.children.push(leaf(Tag::InternalElement, 0, [0, 0]));
        let start = format!(
            "<CAEXFile>{line}<InstanceHierarchy Name='H'>{line}<InternalElement Name='n200' ID='e200'>{line}<InternalElement Name='n0' ID='e0'/></InternalElement></InstanceHierarchy></CAEXFile>"
        );
        let mut document = parse(start);
        for step in steps {
            let (edit, accepted) = take(&mut model, &step);
            let before = document.to_bytes();
            let mut fresh = parse(&before);
            let answer = document.apply(std::slice::from_ref(&edit));
            prop_assert_eq!(answer.is_ok(), accepted, "{:?}: {:?}", edit, answer);
            // Whoever has just parsed the bytes edits alike.
            prop_assert_eq!(&fresh.apply(std::slice::from_ref(&edit)), &answer);
            prop_assert_eq!(fresh.to_bytes(), document.to_bytes());
            prop_assert_eq!(fresh.root_hash(), document.root_hash());
            let mut expected = Vec::new();
            flattened(&model, 3, &mut expected);
            prop_assert_eq!(shown(&document), expected);
            if let Ok(outcome) = answer {
                // What takes the edit back does so to the byte.
                fresh.apply_patch(&outcome.inverse).expect("the inverse");
                prop_assert_eq!(fresh.to_bytes(), before);
                let inserted: Vec<String> = match &step {
                    Step::Insert { fragment, .. } => fragment.elements().iter().map(|number| format!("e{number}")).collect(),
                    Step::Replace { .. } => outcome.changes[0].inserted.clone(),
                    Step::Remove { .. } | Step::Move { .. } => Vec::new(),
                };
                prop_assert_eq!(&outcome.changes[0].inserted, &inserted);
            } else {
                prop_assert_eq!(document.to_bytes(), before);
            }
        }
        assert_consistent(&document);
    }

    #[test]
    fn a_batch_is_all_or_nothing(steps in prop::collection::vec(steps(), 1..12)) {
        let mut document = parse("<CAEXFile><InstanceHierarchy Name='H'>\n <InternalElement Name='n0' ID='e0'/></InstanceHierarchy></CAEXFile>");
        let mut model = leaf(Tag::InternalElement, 0, [0, 0]);
        let mut one_by_one = document.clone();
        let mut all = true;
        let mut edits = Vec::new();
        for step in &steps {
            let (edit, _) = take(&mut model, step);
            all &= one_by_one.apply(std::slice::from_ref(&edit)).is_ok();
            edits.push(edit);
        }
        let before = document.to_bytes();
        let answer = document.apply(&edits);
        if all {
            prop_assert!(answer.is_ok());
            prop_assert_eq!(document.to_bytes(), one_by_one.to_bytes());
        } else if answer.is_err() {
            prop_assert_eq!(document.to_bytes(), before);
        }
        assert_consistent(&document);
    }

    #[test]
    fn no_text_makes_the_parser_panic(pieces in prop::collection::vec(
        prop::sample::select(vec!["<", ">", "/", "a", "<a>", "</a>", "<a/>", " ", "='", "'", "\"", "<!--", "-->", "<![CDATA[",
            "]]>", "<?", "?>", "&", ";", "&#65;", "<CAEXFile", "</CAEXFile>", "xmlns", ":", "\u{feff}", "\u{e9}", "<!", "[", "]"]),
        0..40))
    {
        let text = pieces.concat();
        if let Ok(document) = Document::parse(&text, &dt_aml::Limits::default()) {
            prop_assert_eq!(document.to_bytes(), text.as_bytes());
        }
        let mut document = parse("<CAEXFile><AdditionalInformation/></CAEXFile>");
        if document.insert(&text, "/AdditionalInformation", None).is_ok() {
            assert_consistent(&document);
        }
        let _found = document.find(&text).is_ok();
    }
}
