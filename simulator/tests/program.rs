//! The program and the ways to start the library: its line on stdout, TLS that a client can verify, its end.

#![allow(missing_docs, reason = "tests")]

mod client;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use osquery_simulator::{FLEET_ADMIN_TOKEN, HostSpec, Scenario, Simulator};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

/// Ends the program when a test ends early.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scenario_file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!(
        "osquery-simulator-{}-{name}.yaml",
        std::process::id()
    ));
    std::fs::write(&path, text).expect("written");
    path
}

fn program(arguments: &[&str]) -> Program {
    let child = Command::new(env!("CARGO_BIN_EXE_osquery-simulator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    Program(child)
}

fn first_line(program: &mut Program) -> String {
    let mut line = String::new();
    let stdout = program.0.stdout.take().expect("stdout");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// `GET /me` over TLS, verified against the authority's certificate.
async fn me_over_tls(address: &str, ca_pem: &str, name: &'static str) -> std::io::Result<u16> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
    roots.add(ca).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).expect("a name");
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let bearer = format!("Bearer {FLEET_ADMIN_TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let answer = client::request_over(stream, "GET", "/api/v1/fleet/me", &headers, None).await;
    Ok(answer.expect("an answer").status)
}

#[tokio::test]
async fn the_program_says_where_it_listens_and_ends_at_a_signal() {
    let path = scenario_file("plain", "hosts: [{hostname: web}]\n");
    let mut program = program(&[path.to_str().expect("a path")]);
    let line = first_line(&mut program);
    let address = line
        .strip_prefix("http://")
        .expect("a URL")
        .parse()
        .expect("an address");
    let me = client::get(address, "/api/v1/fleet/me", FLEET_ADMIN_TOKEN).await;
    assert_eq!(me.status, 200);
    let killed = Command::new("kill")
        .arg(program.0.id().to_string())
        .status()
        .expect("kill");
    assert!(killed.success());
    let status = tokio::task::spawn_blocking(move || program.0.wait().expect("ended"));
    let status = tokio::time::timeout(Duration::from_secs(20), status).await;
    assert!(status.expect("it ends").expect("waited").success());
    let _ = std::fs::remove_file(path);
}

#[tokio::test]
async fn its_certificate_is_good_for_every_name_of_loopback() {
    let path = scenario_file("tls", "hosts: [{hostname: web}]\n");
    let mut program = program(&[path.to_str().expect("a path"), "--tls", "--wire", "fleet"]);
    let line = first_line(&mut program);
    let (url, ca) = line.split_once(' ').expect("a URL and a path");
    let address = url.strip_prefix("https://").expect("a URL");
    let ca = std::fs::read_to_string(ca).expect("the authority's certificate");
    for name in ["127.0.0.1", "localhost", "::1"] {
        assert_eq!(
            me_over_tls(address, &ca, name).await.ok(),
            Some(200),
            "{name}"
        );
    }
    assert!(me_over_tls(address, &ca, "example.com").await.is_err());
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_wrong_scenario_is_an_error_with_its_place() {
    let path = scenario_file("wrong", "hosts:\n  - {hostname: web, colour: red}\n");
    let mut program = program(&[path.to_str().expect("a path")]);
    let status = program.0.wait().expect("ended");
    let mut text = String::new();
    let stderr = program.0.stderr.as_mut().expect("stderr");
    stderr.read_to_string(&mut text).expect("read");
    assert_eq!(status.code(), Some(1));
    let start = format!("error: {}: line 2, column ", path.display());
    assert!(
        text.starts_with(&start) && text.contains("colour"),
        "{text}"
    );
    let _ = std::fs::remove_file(path);
}

#[test]
fn dropping_a_simulator_ends_it_and_removes_its_file() {
    let scenario = Scenario::of([HostSpec::named("web")]).with_tls();
    let simulator = Simulator::spawn(scenario).expect("a simulator");
    let address = simulator.addr();
    let ca = simulator.ca_path().expect("a path").to_owned();
    assert!(
        simulator
            .ca_pem()
            .is_some_and(|pem| std::fs::read_to_string(&ca).is_ok_and(|file| file == pem))
    );
    // A connection that says nothing must not keep it alive.
    let open = std::net::TcpStream::connect(address).expect("connected");
    assert!(simulator.wait_until(|seen| seen.connections == 1, Duration::from_secs(20)));
    drop(simulator);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(!ca.exists());
    drop(open);
}

#[test]
fn waiting_for_what_does_not_happen_ends_with_the_time() {
    let simulator = Simulator::spawn(Scenario::default()).expect("a simulator");
    assert!(!simulator.wait_until(|seen| seen.connections > 0, Duration::from_millis(20)));
    assert_eq!(
        (simulator.connections(), simulator.requests().len()),
        (0, 0)
    );
}
