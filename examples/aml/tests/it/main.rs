//! The program from outside: what it prints, how it ends, what it leaves on disk.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod asking;
mod colours;
mod editing;
mod packages;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A small plant with a program, a link, and an element without an ID.
const SMALL: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<CAEXFile FileName="small.aml" SchemaVersion="2.15">
  <AdditionalInformation>
    <WriterHeader>
      <WriterName>Editor</WriterName>
      <WriterVersion>4.7</WriterVersion>
      <LastWritingDateTime>2018-05-30T12:25:45</LastWritingDateTime>
    </WriterHeader>
  </AdditionalInformation>
  <InstanceHierarchy Name="Plant">
    <InternalElement Name="Conveyor" ID="c1">
      <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min">
        <DefaultValue>30</DefaultValue>
        <Value>42.5</Value>
        <Constraint Name="Safety">
          <OrdinalScaledType>
            <RequiredMaxValue>60</RequiredMaxValue>
            <RequiredMinValue>0</RequiredMinValue>
          </OrdinalScaledType>
        </Constraint>
      </Attribute>
      <ExternalInterface Name="Out" ID="c1.out"/>
      <InternalElement Name="Motor" ID="m1">
        <ExternalInterface Name="In" ID="m1.in"/>
      </InternalElement>
      <InternalLink Name="Drive" RefPartnerSideA="c1:Out" RefPartnerSideB="m1:In"/>
    </InternalElement>
    <InternalElement Name="SetSpeed" ID="p1">
      <ExternalInterface Name="Speed" ID="p1.speed" RefBaseClassPath="Logic/VariableInterface">
        <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min">
          <Constraint Name="Safety">
            <OrdinalScaledType><RequiredMaxValue>60</RequiredMaxValue></OrdinalScaledType>
          </Constraint>
        </Attribute>
      </ExternalInterface>
      <RoleRequirements RefBaseRoleClassPath="PlantRoles/Program"/>
    </InternalElement>
  </InstanceHierarchy>
  <RoleClassLib Name="PlantRoles">
    <RoleClass Name="Program"/>
  </RoleClassLib>
</CAEXFile>
"#;

/// The bottling plant of the other example: a document as engineers write them.
fn plant() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bottling-plant/plant.aml")
}

/// The program, as if in a pipe.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aml"));
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

/// The program with this on its standard input.
fn run_on(input: impl AsRef<[u8]>, arguments: &[&str]) -> Output {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().expect("the program starts");
    // The program may end without reading it all.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_ref());
    child.wait_with_output().expect("the program ends")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ended by itself")
}

/// What a program said that was expected to end so.
fn out(output: &Output, expected: i32) -> String {
    assert_eq!(code(output), expected, "{}", err(output));
    String::from_utf8(output.stdout.clone()).expect("it speaks UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A folder with the small plant in it, and the plant's path.
fn small() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.aml");
    std::fs::write(&file, SMALL).unwrap();
    (folder, file)
}
