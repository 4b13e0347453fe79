//! A synthetic plant in CAEX 3.0, of any size, with the shape of real exports: areas, units, and devices with attributes, signals, links
//! and roles. IDs look random, as real ones do, and follow from numbers, so that every run measures the same bytes.

use dt_model::Domain;

/// Units in an area.
pub const UNITS_PER_AREA: u64 = 8;
/// Devices in a unit: sensors, actuators and their transmitters.
pub const DEVICES_PER_UNIT: u64 = 12;
/// The ID of the element in [`fragment`].
pub const FRAGMENT_ID: &str = "5c0f1f3e-90a4-4e7c-9a0b-6d1f6f0b7c11";

const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<CAEXFile SchemaVersion="3.0" FileName="plant.aml" xmlns="http://www.dke.de/CAEX" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.dke.de/CAEX CAEX_ClassModel_V.3.0.xsd">
  <SuperiorStandardVersion>AutomationML 2.10</SuperiorStandardVersion>
  <SourceDocumentInformation OriginName="Plant generator" OriginID="benches" OriginVersion="1" LastWritingDateTime="2024-01-01T00:00:00Z"/>
  <InstanceHierarchy Name="Plant">
"#;

const TAIL: &str = r#"  </InstanceHierarchy>
  <InterfaceClassLib Name="PlantInterfaces">
    <Version>1.0</Version>
    <InterfaceClass Name="Signal"/>
  </InterfaceClassLib>
  <RoleClassLib Name="PlantRoles">
    <Version>1.0</Version>
    <RoleClass Name="Area"/>
    <RoleClass Name="Unit"/>
    <RoleClass Name="Sensor"/>
  </RoleClassLib>
</CAEXFile>
"#;

/// A plant of at least `bytes` bytes: more by one device and its surroundings at most.
#[must_use]
pub fn plant(bytes: usize) -> String {
    let mut out = String::with_capacity(bytes + 4096);
    out.push_str(HEAD);
    let mut units = 0;
    let mut area = 0;
    while area == 0 || out.len() + TAIL.len() < bytes {
        let id = uuid("area", area);
        out.push_str(&format!("    <InternalElement Name=\"Area {area}\" ID=\"{id}\">\n"));
        for _ in 0..UNITS_PER_AREA {
            push_unit(&mut out, units, bytes);
            units += 1;
            if out.len() + TAIL.len() >= bytes {
                break;
            }
        }
        out.push_str(
            "      <RoleRequirements RefBaseRoleClassPath=\"PlantRoles/Area\"/>\n    </InternalElement>\n",
        );
        area += 1;
    }
    out.push_str(TAIL);
    out
}

/// The ID of unit `number`, counted from 0 through all areas.
#[must_use]
pub fn unit_id(number: u64) -> String {
    uuid("unit", number)
}

/// One more device, to be inserted in a unit.
#[must_use]
pub fn fragment() -> String {
    let mut out = String::new();
    push_device(&mut out, FRAGMENT_ID, &uuid("signal", u64::MAX), u64::MAX);
    out
}

/// The ID of the element with all the children in a [`crowd`].
pub const CROWD_ID: &str = "2f8c4d51-1b7e-4c1f-8a55-0e6f3c9d7a42";

/// A document in which one element has `count` children.
#[must_use]
pub fn crowd(count: u64) -> String {
    let mut out = format!("{HEAD}    <InternalElement Name=\"Crowd\" ID=\"{CROWD_ID}\">\n");
    for number in 0..count {
        out.push_str(&format!("      {}\n", member(number)));
    }
    out.push_str(&format!("    </InternalElement>\n{TAIL}"));
    out
}

/// One child of the element with many.
#[must_use]
pub fn member(number: u64) -> String {
    let id = member_id(number);
    format!(
        "<InternalElement Name=\"Part {number}\" ID=\"{id}\"><Description>A part like many.</Description></InternalElement>"
    )
}

/// The ID of the child with this number.
#[must_use]
pub fn member_id(number: u64) -> String {
    uuid("member", number)
}

fn push_unit(out: &mut String, unit: u64, bytes: usize) {
    let (id, port) = (unit_id(unit), uuid("port", unit));
    out.push_str(&format!(
        r#"      <InternalElement Name="Unit {unit}" ID="{id}">
        <Description>Process unit {unit} with its field devices.</Description>
        <Attribute Name="RatedThroughput" AttributeDataType="xs:decimal" Unit="m3/h">
          <Value>{}.5</Value>
        </Attribute>
        <ExternalInterface Name="Port" ID="{port}" RefBaseClassPath="PlantInterfaces/Signal"/>
"#,
        unit % 90 + 10
    ));
    let first = unit * DEVICES_PER_UNIT;
    let mut end = first;
    while end < first + DEVICES_PER_UNIT && (end == first || out.len() + TAIL.len() < bytes) {
        push_device(out, &uuid("device", end), &uuid("signal", end), end);
        end += 1;
    }
    for device in first..end {
        let signal = uuid("signal", device);
        out.push_str(&format!(
            "        <InternalLink Name=\"Link {device}\" RefPartnerSideA=\"{signal}\" RefPartnerSideB=\"{port}\"/>\n"
        ));
    }
    out.push_str(
        "        <RoleRequirements RefBaseRoleClassPath=\"PlantRoles/Unit\"/>\n      </InternalElement>\n",
    );
}

fn push_device(out: &mut String, id: &str, signal: &str, number: u64) {
    let (low, high) = (number % 20, number % 20 + 60);
    out.push_str(&format!(
        r#"        <InternalElement Name="TT-{number}" ID="{id}">
          <Description>Temperature transmitter {number}, two-wire, in a thermowell.</Description>
          <Attribute Name="Value" AttributeDataType="xs:decimal" Unit="degC">
            <Constraint Name="NormalRange">
              <OrdinalScaledType>
                <RequiredMaxValue>{high}</RequiredMaxValue>
                <RequiredMinValue>{low}</RequiredMinValue>
              </OrdinalScaledType>
            </Constraint>
          </Attribute>
          <Attribute Name="Manufacturer" AttributeDataType="xs:string">
            <Value>Halden Instruments</Value>
          </Attribute>
          <Attribute Name="SerialNumber" AttributeDataType="xs:string">
            <Value>HI-{number}</Value>
          </Attribute>
          <ExternalInterface Name="Signal" ID="{signal}" RefBaseClassPath="PlantInterfaces/Signal">
            <Attribute Name="SignalType" AttributeDataType="xs:string">
              <Value>4-20 mA</Value>
            </Attribute>
          </ExternalInterface>
          <RoleRequirements RefBaseRoleClassPath="PlantRoles/Sensor"/>
        </InternalElement>
"#
    ));
}

/// An ID that looks random and follows from `kind` and `number`.
fn uuid(kind: &str, number: u64) -> String {
    const ID: Domain = Domain::new("dt/benches/id/v1");
    let hex = ID.blake3(&[kind.as_bytes(), &number.to_le_bytes()]).to_string();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

#[cfg(test)]
mod tests {
    use dt_aml::{Document, Limits};

    use super::*;

    #[test]
    fn a_plant_is_sound_and_as_long_as_asked_for() {
        for bytes in [0, 10_000, 300_000] {
            let plant = plant(bytes);
            assert!((bytes..bytes + 8192).contains(&plant.len()), "{} bytes for {bytes}", plant.len());
            let document = Document::parse(&plant, &Limits::default()).unwrap();
            assert_eq!(document.issues(), []);
            assert!(document.find(&unit_id(0)).is_ok());
        }
    }

    #[test]
    fn a_crowd_is_sound_and_takes_one_more() {
        let mut document = Document::parse(crowd(300), &Limits::default()).unwrap();
        assert_eq!(document.issues(), []);
        document.insert(&member(u64::MAX), CROWD_ID, Some(&member_id(150))).unwrap();
        assert_eq!(document.find(CROWD_ID).unwrap().children().count(), 301);
    }

    #[test]
    fn a_fragment_fits_into_a_unit() {
        let mut document = Document::parse(plant(300_000), &Limits::default()).unwrap();
        let root = document.root_hash();
        document.insert(&fragment(), &unit_id(3), None).unwrap();
        assert_ne!(document.root_hash(), root);
        document.remove(FRAGMENT_ID).unwrap();
        assert_eq!(document.root_hash(), root);
    }
}
