//! The part of the story that the plant's parties do: documents, feeds, edits, rules, and calls of programs.

use dt_aml::{Edit, RemovePolicy};
use dt_ledger::safety::{Comparison, Condition, Operand, Relation, SafetyRule};
use dt_ledger::store::{Table, scan_prefix};
use dt_ledger::{Argument, CallResult, ProgramCall, Provenance, State as _, TwinCall};
use dt_model::{Identity, Text, Timestamp};

use super::story::Story;
use crate::safety::{constant, is, mode, parameter, variable};
use crate::support::*;

impl Story {
    /// Documents, sources, feeds, anchors.
    pub(super) fn data(&self) {
        let Plant { owner, maintainer, auditor, agent, .. } = &self.plant;
        let document = self.plant.added(&self.does(maintainer, add_document(Some("line"))));
        self.fails(auditor, add_document(Some("line")), "authorization.not-permitted");
        let add = |version| TwinCall::AddDocumentVersion { document, version };
        self.does(owner, add(version(2)));
        let mut long = version(3);
        let (specification, method) = (self.plant.specification_root(), name("analysis"));
        long.provenance = Some(Provenance { specification, feeds: vec![(digest(1), 0, 9); 65], method });
        self.fails(owner, add(long), "limits.full");
        self.does(owner, TwinCall::RemoveDocument { document });
        self.fails(owner, TwinCall::RemoveDocument { document }, "document.unknown");

        let source = || TwinCall::AddExternalSource { uri: uri("https://erp.example/line"), component: None };
        let gone = || TwinCall::RemoveExternalSource { uri: uri("https://erp.example/line") };
        self.does(maintainer, source());
        self.fails(maintainer, source(), "source.exists");
        self.does(maintainer, gone());
        self.fails(maintainer, gone(), "source.unknown");

        self.does(agent, add_feed("line", agent));
        self.fails(agent, add_feed("line", agent), "feed.exists");
        let head = |size| TwinCall::AnchorHead { component: component("line"), size, root: digest(5) };
        self.does(agent, head(256));
        self.fails(agent, head(256), "anchor.goes-back");
        self.fails(owner, head(300), "authorization.not-yours");
        self.fails(maintainer, edit([remove("line")]), "feed.attached");
        self.does(maintainer, remove_feed("line"));
        self.fails(maintainer, remove_feed("line"), "feed.none");
        let anchor = |version| TwinCall::AnchorAcl { item: digest(6), version, digest: digest(7) };
        self.does(owner, anchor(3));
        self.fails(owner, anchor(3), "anchor.goes-back");
    }

    /// Every edit.
    pub(super) fn edits(&self) {
        let Plant { owner, agent, auditor, .. } = &self.plant;
        let element = |id: &str| format!(r#"<InternalElement Name="{id}" ID="{id}"/>"#);
        self.does(owner, edit([insert("cell", "line"), insert("robot", "cell"), insert("gripper", "robot")]));
        let value = r#"<Attribute Name="Value" AttributeDataType="xs:decimal"><Value>40</Value></Attribute>"#;
        let mode = r#"<Attribute Name="Mode"><Value>automatic</Value></Attribute>"#;
        let attribute = |parent: &str, fragment: &str| Edit::Insert {
            fragment: fragment.into(),
            parent: parent.into(),
            after: None,
        };
        self.does(owner, edit([attribute("robot", value), attribute("line", mode)]));
        let set = |address: &str| Edit::SetValue { address: address.into(), value: "41".into() };
        let moved =
            |address: &str| Edit::Move { address: address.into(), parent: "cell".into(), after: None };
        let replace = |address: &str| Edit::Replace {
            address: address.into(),
            fragment: element("gripper-2"),
            policy: RemovePolicy::OpenLinks,
        };
        let splice = |parent: &str| Edit::Splice {
            parent: parent.into(),
            after: None,
            before: None,
            content: format!("\n<!-- {} -->\n", "spare parts"),
            policy: RemovePolicy::Cascade,
        };
        let retag = |address: &str| Edit::Retag {
            address: address.into(),
            start: r#"<InternalElement Name="Gripper" ID="gripper-3"/>"#.into(),
            end: String::new(),
            policy: RemovePolicy::Restrict,
        };
        self.does(owner, edit([set("robot/Attribute[Value]")]));
        self.does(
            owner,
            edit([moved("gripper"), replace("gripper"), insert("spare", "cell"), splice("spare")]),
        );
        self.does(owner, edit([retag("gripper-2")]));
        self.does(owner, edit([remove("gripper-3")]));
        for unknown in
            [set("x"), moved("x"), replace("x"), splice("x"), retag("x"), remove("x"), insert("y", "x")]
        {
            self.fails(owner, edit([unknown]), "specification.unknown-component");
        }
        self.fails(owner, edit([insert("robot", "cell")]), "specification.bad-edit");
        self.fails(auditor, edit([insert("extra", "cell")]), "authorization.not-permitted");
        let stale = TwinCall::EditAml { edits: vec![insert("z", "cell")], expected: Some(digest(1)) };
        self.fails(owner, stale, "specification.changed");
        self.does(agent, add_feed("robot", agent));
        self.fails(owner, edit([remove("robot")]), "feed.attached");
        self.outweighs();
    }

    /// So many bytes of edits that the specification's base is written anew, and a few more.
    fn outweighs(&self) {
        let bases = || {
            let view = self.plant.chain.replica().store().view().unwrap();
            scan_prefix(&*view, Table::Specifications, &[], usize::MAX).unwrap().len()
        };
        let before = bases();
        for letter in ["a", "b", "c", "d", "automatic"] {
            let value = if letter.len() == 1 { letter.repeat(20_000) } else { letter.to_owned() };
            let set = Edit::SetValue { address: "line/Attribute[Mode]".into(), value };
            self.does(&self.plant.owner, edit([set]));
        }
        assert!(bases() < before, "the edits before went with the old base");
    }

    fn sets(&self, rules: impl IntoIterator<Item = SafetyRule>) {
        let expected = self.plant.chain.state().safety_rules(&self.plant.twin).unwrap().version;
        let rules = rules.into_iter().collect();
        self.does(&self.plant.owner, TwinCall::SetSafetyRules { rules, expected });
    }

    fn speed(&self, speed: &str, rule: &str) {
        self.fails(&self.plant.maintainer, TwinCall::CallProgram(set_speed(speed, "slow")), rule);
    }

    /// Safety rules: each fault, and each refusal.
    pub(super) fn rules(&self) {
        let Plant { owner, maintainer, .. } = &self.plant;
        let program = || Some("set-speed");
        let bad = |condition: Condition, program: Option<&str>| {
            let rules = vec![rule("bad", program, condition)];
            let expected = self.plant.chain.state().safety_rules(&self.plant.twin).unwrap().version;
            self.fails(owner, TwinCall::SetSafetyRules { rules, expected }, "safety.bad-rule");
        };
        let always = || is(constant("1"), Relation::Equal, constant("1"));
        let interlock = |then: Comparison| Condition::Interlock { when: always(), then };
        let at_most = |side: Operand| is(parameter("Speed"), Relation::AtMost, side);
        bad(max_step("Speed", "-1", None), program());
        bad(max_step("Speed", "1", None), Some("nowhere"));
        bad(max_step("Warp", "1", None), program());
        bad(interlock(at_most(variable("nowhere"))), program());
        bad(interlock(at_most(constant("fast"))), program());
        bad(Condition::MaxRate { starts: 0, period: 1 }, program());
        bad(Condition::RequiredMode { variable: component("nowhere"), values: [].into() }, None);
        let twice = || rule("twice", program(), max_step("Speed", "1", None));
        let expected = self.plant.chain.state().safety_rules(&self.plant.twin).unwrap().version;
        let rules = vec![twice(), twice()];
        self.fails(owner, TwinCall::SetSafetyRules { rules, expected }, "safety.bad-rule");
        let stale = TwinCall::SetSafetyRules { rules: vec![], expected: 99 };
        self.fails(owner, stale, "safety.rules-changed");

        self.sets([rule("step", program(), max_step("Speed", "10", Some("30")))]);
        self.speed("50", "safety.max-step");
        self.sets([rule("step", program(), max_step("Speed", "10", None))]);
        self.speed("30", "safety.not-judged");
        self.sets([rule("limit", program(), interlock(at_most(constant("40"))))]);
        self.speed("50", "safety.interlock");
        self.sets([rule("mode", program(), mode(&["manual"]))]);
        self.speed("30", "safety.required-mode");
        self.sets([rule("rate", program(), Condition::MaxRate { starts: 1, period: 1000 })]);
        let void = ProgramCall { valid_until: Timestamp::from_millis(1), ..set_speed("30", "slow") };
        self.fails(maintainer, TwinCall::CallProgram(void), "call.expired");
        self.sets([]);
    }

    /// Every edge of a call's life, and every refusal of a call.
    pub(super) fn calls(&self) {
        let Plant { maintainer, auditor, .. } = &self.plant;
        let call = TwinCall::CallProgram;
        let refused = |change: &dyn Fn(&mut ProgramCall), rule: &str| {
            let mut asked = set_speed("30", "slow");
            change(&mut asked);
            self.fails(maintainer, call(asked), rule);
        };
        self.speed("61", "program.parameter-limit");
        refused(&|asked| asked.program = component("nowhere"), "program.unknown");
        refused(&|asked| drop(asked.parameters.remove("Mode")), "program.parameter-missing");
        refused(
            &|asked| {
                let extra = asked.parameters["Mode"].clone();
                asked.parameters.insert(name("Warp"), extra);
            },
            "program.parameter-unknown",
        );
        refused(
            &|asked| asked.parameters.values_mut().for_each(|argument| argument.unit = Some(name("knot"))),
            "program.parameter-unit",
        );
        refused(
            &|asked| {
                let load = Argument { value: Text::new("1").unwrap(), unit: None };
                (asked.program, asked.parameters) = (component("weigh"), [(name("Load"), load)].into());
            },
            "program.parameter-not-checkable",
        );
        refused(&|asked| asked.guard = Some(digest(1)), "specification.changed");
        self.fails(auditor, call(set_speed("30", "slow")), "authorization.not-permitted");
        self.life();
    }

    fn queue(&self, call: ProgramCall) -> u64 {
        self.does(&self.plant.maintainer, TwinCall::CallProgram(call));
        self.plant.chain.state().twin(&self.plant.twin).unwrap().calls
    }

    fn claim(&self) -> u64 {
        let epoch = self.plant.chain.state().twin(&self.plant.twin).unwrap().epoch + 1;
        self.does(&self.plant.agent, TwinCall::ClaimCalls { epoch });
        epoch
    }

    fn life(&self) {
        let Plant { chain, owner, maintainer, agent, auditor, .. } = &self.plant;
        // What the dice have queued.
        let epoch = self.claim();
        for call in chain.state().twin(&self.plant.twin).unwrap().queue {
            self.does(agent, TwinCall::RejectCall { call, epoch, rule: name("not today") });
        }
        let cancelled = self.queue(set_speed("30", "slow"));
        self.fails(auditor, TwinCall::CancelCall { call: cancelled }, "authorization.not-the-owner");
        self.does(maintainer, TwinCall::CancelCall { call: cancelled });
        self.fails(owner, TwinCall::CancelCall { call: cancelled }, "call.state");

        let soon = Timestamp::from_millis(chain.now().as_millis() + 5);
        let _ = self.queue(ProgramCall { valid_until: soon, ..set_speed("30", "slow") });
        chain.wait(5);
        let (rejected, _) = (self.queue(set_speed("30", "slow")), self.queue(set_speed("31", "fast")));
        let epoch = self.claim();
        self.fails(agent, TwinCall::ClaimCalls { epoch }, "call.fenced");
        self.fails(owner, TwinCall::ClaimCalls { epoch: epoch + 1 }, "authorization.not-the-agent");
        let start = |call| TwinCall::StartCall { call, epoch };
        self.fails(agent, start(rejected + 1), "call.out-of-order");
        let reject = |call| TwinCall::RejectCall { call, epoch, rule: name("no") };
        self.fails(agent, reject(99_999), "call.unknown");
        self.does(agent, reject(rejected));
        self.does(agent, start(rejected + 1));
        let text = |text: &str| Text::new(text).unwrap();
        let complete = |call, epoch, result| TwinCall::CompleteCall { call, epoch, result };
        self.does(agent, complete(rejected + 1, epoch, CallResult::Succeeded(text("done"))));
        self.fails(agent, complete(rejected + 1, epoch, CallResult::Unknown), "call.state");

        self.sets([rule("rate", Some("set-speed"), Condition::MaxRate { starts: 1, period: 1000 })]);
        self.speed("30", "safety.max-rate");
        self.sets([]);
        for result in [CallResult::Failed(text("jammed")), CallResult::Unknown] {
            let call = self.queue(set_speed("20", "fast"));
            let epoch = self.claim();
            self.does(agent, TwinCall::StartCall { call, epoch });
            self.does(agent, complete(call, epoch, result));
        }
        self.reports(agent, owner);
    }

    fn reports(&self, agent: &Identity, owner: &Identity) {
        let epoch = self.plant.chain.state().twin(&self.plant.twin).unwrap().epoch;
        let report = |epoch| TwinCall::ReportValues {
            program: component("set-speed"),
            epoch,
            values: set_speed("20", "fast").parameters,
        };
        self.does(agent, report(epoch));
        self.fails(agent, report(epoch + 1), "call.fenced");
        self.fails(owner, report(epoch), "authorization.not-the-agent");
    }
}
