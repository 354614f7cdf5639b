//! The manifest in `packaging/kubernetes` is one for the image that `packaging/container` makes: it starts the
//! image's program, by its own flags, and what they name is mounted. What it starts polls.

use std::fs;
use std::path::Path;

use osquery_simulator::{FLEET_OBSERVER_TOKEN, HostSpec, Scenario};
use serde_json::Value;

use super::{Polled, fleet, told};
use crate::harness::args;
use crate::harness::folder::Folder;

fn packaging(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    fs::read_to_string(path.join(name)).expect(name)
}

/// The manifest's documents by their kind.
fn manifest(kind: &str) -> Value {
    let text = packaging("kubernetes/collect.yaml");
    let mut documents = text
        .split("\n---\n")
        .map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    documents
        .find(|document| document["kind"] == kind)
        .expect(kind)
}

fn pod() -> Value {
    manifest("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"].clone()
}

/// What an instruction of the Containerfile says.
fn instruction(name: &str) -> String {
    let text = packaging("container/Containerfile");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let said = lines.next().expect(name).trim().to_owned();
    assert_eq!(lines.next(), None, "{name}");
    said
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn the_image_has_all_that_the_manifest_starts() {
    let pod = pod();
    let [container] = list(&pod["containers"]) else {
        panic!("several containers: {pod:#}")
    };
    assert_eq!(pod.get("initContainers"), None);
    // The image's own entry, which is the only program in it.
    assert_eq!(instruction("FROM"), "scratch");
    let entry = "/usr/bin/osquery-live-query";
    assert_eq!(instruction("ENTRYPOINT"), format!("[{entry:?}]"));
    let command = container.get("command");
    assert!(
        command.is_none_or(|command| *command == serde_json::json!([entry])),
        "{command:?} is not in the image"
    );
    let security = &pod["securityContext"];
    let user = format!("{}:{}", security["runAsUser"], security["runAsGroup"]);
    assert_eq!(instruction("USER"), user);

    let volumes: Vec<&str> = list(&pod["volumes"])
        .iter()
        .map(|volume| text(&volume["name"]))
        .collect();
    let mounts = list(&container["volumeMounts"]);
    for mount in mounts {
        assert!(volumes.contains(&text(&mount["name"])), "{mount}");
    }
    assert_eq!(mounts.len(), volumes.len());
    let mount_of = |path: &str| {
        let inside = |mount: &&Value| Path::new(path).starts_with(text(&mount["mountPath"]));
        let mount = mounts.iter().find(inside);
        mount.unwrap_or_else(|| panic!("nothing is mounted at {path}"))
    };
    let args: Vec<&str> = list(&container["args"]).iter().map(text).collect();
    let paths: Vec<&str> = args.iter().copied().filter(|it| it.contains('/')).collect();
    assert_eq!(paths.len(), 3, "{args:?}");
    for path in paths {
        mount_of(path);
    }
    // The state is written, and so is what SQLite can't hold in memory.
    let state = args.iter().position(|arg| *arg == "--state").expect("it") + 1;
    for path in [args[state], "/tmp"] {
        assert_eq!(mount_of(path).get("readOnly"), None, "{path}");
    }
}

#[test]
fn what_the_manifest_starts_polls() {
    let site = fleet(Scenario::of([HostSpec::named("web-01")]));
    let folder = Folder::new();
    let pod = pod();
    let container = &pod["containers"][0];
    // The volumes are folders, and the cluster's Fleet is the simulator.
    let config = manifest("ConfigMap");
    for (name, written) in config["data"].as_object().expect("files") {
        let written =
            text(written).replace("https://fleet.example.com", &site.simulator.base_url());
        folder.file(&format!("config/{name}"), written);
    }
    folder.file("secrets/fleetdm_token", FLEET_OBSERVER_TOKEN);
    folder.folder("state");
    let mut binary = args([]);
    for arg in list(&container["args"]).iter().map(text) {
        binary = binary.arg(match arg.strip_prefix('/') {
            Some(path) => folder.name(path),
            None => arg.to_owned(),
        });
    }
    let polled = Polled::of(binary.run()).whole();
    assert_eq!(polled.told(), told(["host web-01 online"]));
    assert!(folder.at("state/fleetdm.db").exists());
}
