//! One organisation's node: who may ask, what is refused, and that it stops and goes on in order.

use std::process::Command;

use crate::house::{Single, code, run, said, text};

const AML: &str = r#"<CAEXFile SchemaVersion="3.0" FileName="pump.aml"><InstanceHierarchy Name="Site"><InternalElement Name="Pump" ID="pump">
    <Attribute Name="Colour" AttributeDataType="xs:string"><Value>red</Value></Attribute></InternalElement></InstanceHierarchy></CAEXFile>"#;

#[test]
fn asked_stopped_and_started_again() {
    let mut house = Single::found();
    let stopped = house.ask(&["status"]);
    assert_eq!(code(&stopped), 4, "nobody answers: {}", said(&stopped));
    house.start();
    who_may_ask(&house);

    // A second process does not get the folder.
    let second = run(&["run", "--while-stdin", "--folder", text(&house.home())]);
    assert_eq!((code(&second), said(&second).contains("another process")), (5, true), "{}", said(&second));

    let aml = house.file("pump.aml", AML.as_bytes());
    let twin = house.must(&["create", text(&aml), "--device-id", "pump-1"]);
    let again = house.ask(&["create", text(&aml), "--device-id", "pump-1"]);
    assert_eq!((code(&again), said(&again).contains("twin.exists")), (3, true), "{}", said(&again));
    house.must(&["edit", &twin, "pump/Attribute[Colour]", "blue"]);
    assert!(house.must(&["show", &twin, "pump"]).contains("<Value>blue</Value>"));
    let content = b"The bearing is worn.\n";
    let report = house.file("report.txt", content);
    let put = house.must(&["put", &twin, text(&report), "--component", "pump", "--json"]);
    let put: serde_json::Value = serde_json::from_str(&put).unwrap();
    let document = put["document"].as_str().unwrap().to_owned();
    let out = house.file("out", b"");
    house.must(&["get", &twin, &document, "--out", text(&out)]);
    assert_eq!(std::fs::read(&out).unwrap(), content);
    what_is_refused(&house, &twin);
    following(&house);
    let history = house.must(&["history", "--twin", &twin, "--element", "pump", "--limit", "2"]);
    assert!(history.contains("applied") && history.contains("more: --after"), "{history}");
    let metrics = house.http("GET /metrics", None);
    for name in [
        "twin_ledger_height",
        "twin_requests_total{verb=\"put\",outcome=\"done\"}",
        "twin_storage_answers_total",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }

    // It stops in order, and goes on where it was: with all that was acknowledged, and votes under the same key.
    let before = height(&house);
    assert_eq!(house.stop(), Some(0));
    house.start();
    assert!(height(&house) >= before);
    house.must(&["get", &twin, &document, "--out", text(&out)]);
    assert_eq!(std::fs::read(&out).unwrap(), content);
    let audited: serde_json::Value = serde_json::from_str(&house.must(&["audit", "--json"])).unwrap();
    assert!(audited["height"].as_u64().unwrap() >= before);
    // So it does when the system tells it to.
    Command::new("kill").args(["-TERM", &house.pid().to_string()]).status().unwrap();
    assert_eq!(house.ended(), Some(0));

    // Without its journal it might vote twice, so it does not start.
    std::fs::remove_file(house.home().join("ledger/journal/wal")).unwrap();
    let lost = run(&["run", "--while-stdin", "--folder", text(&house.home())]);
    assert_eq!((code(&lost), said(&lost).contains("journal")), (6, true), "{}", said(&lost));
}

fn height(house: &Single) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&house.must(&["status", "--json"])).unwrap();
    status["height"].as_u64().unwrap()
}

fn who_may_ask(house: &Single) {
    assert!(house.http("GET /health", None).starts_with("HTTP/1.1 200"));
    let token = std::fs::read_to_string(house.home().join("token")).unwrap();
    let wrong = format!("{}0", &token[..token.len() - 1]);
    for refused in [None, Some(""), Some(wrong.as_str()).filter(|wrong| *wrong != token)] {
        for request in ["GET /v1/status", "POST /v1/audit", "POST /v1/twins?device_id=a&device_name=a"] {
            let answer = house.http(request, refused);
            assert!(
                answer.starts_with("HTTP/1.1 401") && answer.contains("unauthorized"),
                "{request}: {answer}"
            );
        }
    }
    assert!(house.http("GET /v1/status", Some(&token)).starts_with("HTTP/1.1 200"));
    // What makes no sense is a typed failure too.
    for (request, status, kind) in [
        ("GET /v1/twins/nonsense", 400, "bad-input"),
        ("GET /v1/nothing", 404, "not-found"),
        ("DELETE /v1/status", 400, "bad-input"),
        ("GET /v1/history?limit=x", 400, "bad-input"),
        ("POST /v1/device", 400, "bad-input"),
    ] {
        let answer = house.http(request, Some(&token));
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected) && answer.contains(kind), "{request}: {answer}");
    }
}

fn what_is_refused(house: &Single, twin: &str) {
    let large = house.file("large", &vec![7; 300_000]);
    let refused = house.ask(&["put", twin, text(&large)]);
    assert_eq!((code(&refused), said(&refused).contains("100000 bytes")), (2, true), "{}", said(&refused));
    let nowhere = house.ask(&["show", twin, "nothing"]);
    assert_eq!(code(&nowhere), 2, "{}", said(&nowhere));
    let broken = house.file("broken.aml", b"<CAEXFile>");
    let refused = house.ask(&["create", text(&broken), "--device-id", "pump-2"]);
    assert_eq!(
        (code(&refused), said(&refused).contains("specification.malformed")),
        (3, true),
        "{}",
        said(&refused)
    );
    let nobody = house.ask(&["grant", twin, "nobody", "auditor"]);
    assert_eq!(code(&nobody), 2, "{}", said(&nobody));
    let unknown = house.ask(&["call", twin, "pump", "Speed=3:rpm"]);
    assert_eq!((code(&unknown), said(&unknown).contains("program.unknown")), (3, true), "{}", said(&unknown));
}

/// Followed in two parts, the second from where the first one ended, each event is told once.
fn following(house: &Single) {
    let cursor = house.home().join("cursor");
    let all = house.must(&["follow", "--from", "0.0", "--count", "4"]);
    std::fs::write(&cursor, "0.0").unwrap();
    let first = house.must(&["follow", "--cursor", text(&cursor), "--count", "1"]);
    let rest = house.must(&["follow", "--cursor", text(&cursor), "--count", "3"]);
    assert_eq!(format!("{first}\n{rest}"), all);
}

/// Whatever a document's size, the node holds a few pieces of it. (Held whole, it would be there three times when it is got: sealed, opened, and as
/// the answer's body.)
#[test]
fn a_large_document_is_never_held_whole() {
    const BYTES: usize = 64_000_000;
    /// What the node's store keeps of its file, 64 MiB, and some stripes on their way in and out.
    const GROWTH: u64 = 160_000_000;
    let mut house = Single::found_as_configured();
    house.start();
    let aml = house.file("pump.aml", AML.as_bytes());
    let twin = house.must(&["create", text(&aml), "--device-id", "pump-1"]);
    let small = house.file("small", b"warms up");
    house.must(&["put", &twin, text(&small)]);
    let content: Vec<u8> = (0..BYTES).map(|at| (at * at % 251) as u8).collect();
    let large = house.file("large", &content);
    let before = house.memory("VmRSS");
    let put: serde_json::Value =
        serde_json::from_str(&house.must(&["put", &twin, text(&large), "--json"])).unwrap();
    assert_eq!(put["size"].as_u64(), Some(BYTES as u64));
    let out = house.file("out", b"");
    house.must(&["get", &twin, put["document"].as_str().unwrap(), "--out", text(&out)]);
    assert!(std::fs::read(&out).unwrap() == content);
    let growth = house.memory("VmHWM").saturating_sub(before);
    println!("{} MB before, {} MB more at the most", before / 1_000_000, growth / 1_000_000);
    assert!(growth < GROWTH, "{growth} bytes more than {before}");
    assert_eq!(house.stop(), Some(0));
}
