//! Running the program, and a network of one organisation, whose node is stopped when a test ends, however it ends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The program with these words.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twin-node"));
    command.args(words);
    command
}

pub(crate) fn run(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Both outputs, for messages.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Ports that are free now.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// `init` for `name` in `folder`, at ports that are free; the card.
pub(crate) fn init(folder: &Path, name: &str) -> PathBuf {
    let ports = free_ports(4);
    let flags = ["--ledger-port", "--exchange-port", "--storage-port", "--api-port"];
    let mut init = command(&["init", "--name", name, "--folder", text(folder)]);
    for (flag, port) in flags.iter().zip(&ports) {
        init.args([*flag, &port.to_string()]);
    }
    let output = init.output().unwrap();
    assert_eq!(code(&output), 0, "{}", said(&output));
    folder.join(format!("{name}.card"))
}

/// Where a node's users ask, by its configuration.
pub(crate) fn api_address(home: &Path) -> String {
    let config = std::fs::read_to_string(home.join("config.toml")).unwrap();
    let (_, api) = config.split_once("[api]").unwrap();
    api.split("listen = \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// A network of one organisation: one validator, one DHT node, nobody else needed.
pub(crate) struct Single {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Single {
    /// It takes small documents only, and makes blocks often.
    pub(crate) fn found() -> Self {
        let house = Self::found_as_configured();
        let config = house.home().join("config.toml");
        let quick = std::fs::read_to_string(&config).unwrap();
        let quick = quick.replace("max-document-bytes = 67108864", "max-document-bytes = 100000");
        std::fs::write(&config, quick.replace("idle-ms = 1000", "idle-ms = 300")).unwrap();
        house
    }

    /// With what `init` writes.
    pub(crate) fn found_as_configured() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("owner");
        let card = init(&home, "owner");
        let founding = home.join("founding.json");
        let output = run(&["genesis", text(&card), "--faulty", "0", "--out", text(&founding)]);
        assert_eq!(code(&output), 0, "{}", said(&output));
        Self { folder, child: None }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("owner")
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Starts the node, and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let home = self.home();
        let log = std::fs::File::options().create(true).append(true).open(home.join("node.log")).unwrap();
        let child = command(&["run", "--while-stdin", "--folder", text(&home)])
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        for _ in 0..600 {
            if self.http("GET /ready", None).starts_with("HTTP/1.1 200") {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not become ready:\n{}", std::fs::read_to_string(home.join("node.log")).unwrap());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What the node's process has of this kind of memory, in bytes (proc(5)).
    pub(crate) fn memory(&self, kind: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits for the end; the exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.take().unwrap().wait().unwrap().code()
    }

    /// Tells it to stop, by the end of its standard input.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        drop(self.child.as_mut().unwrap().stdin.take());
        self.ended()
    }

    /// A command to the node.
    pub(crate) fn ask(&self, words: &[&str]) -> Output {
        let home = self.home();
        command(words).args(["--folder", text(&home)]).output().unwrap()
    }

    /// The same, which must succeed; what it prints.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let output = self.ask(words);
        assert_eq!(code(&output), 0, "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A request by hand, such as `GET /ready`; the whole answer, or nothing where nobody answers.
    pub(crate) fn http(&self, request: &str, token: Option<&str>) -> String {
        let Ok(mut stream) = TcpStream::connect(api_address(&self.home())) else { return String::new() };
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!(
            "{request} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{token}Content-Length: 0\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
