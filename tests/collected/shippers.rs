//! The configurations in `packaging/`: they can be read, they read what the units write, and every field that
//! they name is one that events have. `tests/tools/run` has the tools of others look at them, too.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::here;

/// Where the units and the cron table write.
const LOGS: &str = "/var/log/osquery-live-query/";

fn packaging(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&packaging(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The events of a format, as the golden file has them.
fn events(format: &str) -> Vec<Value> {
    let golden = here("golden").join(format!("{format}.ndjson"));
    let golden = std::fs::read_to_string(golden).expect("the golden file");
    let events = golden
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    events.collect()
}

/// Whether all events have the field, and whether any has.
fn have(events: &[Value], field: &str) -> (bool, bool) {
    let pointer = format!("/{}", field.replace('.', "/"));
    let has = |event: &Value| event.pointer(&pointer).is_some();
    (events.iter().all(has), events.iter().any(has))
}

#[test]
fn what_is_written_is_what_is_read() {
    let service = packaging("systemd/osquery-live-query-collect@.service");
    assert!(service.contains(&format!("StandardOutput=append:{LOGS}%i.ndjson\n")));
    assert!(packaging("cron/osquery-live-query").contains(&format!(">> {LOGS}fleetdm.ndjson ")));
    let reads = format!("{LOGS}*.ndjson");
    assert_eq!(
        yaml("shippers/filebeat.yml")["filebeat.inputs"][0]["paths"][0],
        *reads
    );
    for name in ["shippers/vector-splunk.yaml", "shippers/vector-lake.yaml"] {
        assert_eq!(
            yaml(name)["sources"]["osquery"]["include"][0],
            *reads,
            "{name}"
        );
    }
    assert!(packaging("shippers/loki.alloy").contains(&format!("\"{reads}\"")));
}

#[test]
fn every_field_that_is_named_is_one() {
    let plain = events("events");
    // Of Alloy's stages, the JSON paths.
    let alloy = packaging("shippers/loki.alloy");
    let (_, stage) = alloy.split_once("expressions = {").expect("the stage");
    let (stage, _) = stage.split_once('}').expect("its end");
    let named = stage.lines().filter_map(|line| line.split('"').nth(1));
    let named: BTreeMap<&str, (bool, bool)> =
        named.map(|field| (field, have(&plain, field))).collect();
    assert_eq!(named.len(), 7, "{named:?}");
    for (field, (all, any)) in named {
        assert!(any, "{field}");
        assert_eq!(
            all,
            !["hostname", "osquery_table"].contains(&field),
            "{field}"
        );
    }
    let splunk = &yaml("shippers/vector-splunk.yaml")["sinks"]["splunk"];
    let fields = splunk["indexed_fields"].as_array().expect("fields").iter();
    for field in fields.filter_map(Value::as_str) {
        assert_eq!(have(&plain, field), (true, true), "{field}");
    }
    assert!(have(&plain, splunk["host_key"].as_str().expect("a field")).1);
    let parser = &yaml("shippers/filebeat.yml")["filebeat.inputs"][0]["parsers"][0]["ndjson"];
    let id = parser["document_id"].as_str().expect("a field");
    assert_eq!(have(&events("ecs"), id), (true, true));
    let lake = &yaml("shippers/vector-lake.yaml")["sinks"]["lake"]["key_prefix"];
    assert!(lake.as_str().expect("a prefix").contains("{{ class_uid }}"));
    assert_eq!(have(&events("ocsf"), "class_uid"), (true, true));
    assert_eq!(have(&events("ocsf"), "time"), (true, true));
    assert_eq!(have(&plain, "no_such_field"), (false, false));
}

/// A sink's input is there, in each of Vector's configurations.
#[test]
fn the_parts_of_a_pipeline_fit() {
    for name in ["shippers/vector-splunk.yaml", "shippers/vector-lake.yaml"] {
        let all = yaml(name);
        let mut inputs = 0;
        for kind in ["transforms", "sinks"] {
            for part in all[kind].as_object().expect("parts").values() {
                for input in part["inputs"].as_array().expect("inputs") {
                    let input = input.as_str().expect("a name");
                    let is = |kind: &str| all[kind].get(input).is_some();
                    assert!(is("sources") || is("transforms"), "{name}: {input}");
                    inputs += 1;
                }
            }
        }
        assert_eq!(inputs, 2, "{name}");
    }
}

/// Whatever is packaged is told of, and no more.
#[test]
fn the_guide_names_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/events.md")).expect("the guide");
    let mut files = 0;
    for folder in ["systemd", "cron", "kubernetes", "shippers"] {
        for entry in std::fs::read_dir(root.join("packaging").join(folder)).expect("a folder") {
            let name = entry
                .expect("a file")
                .file_name()
                .into_string()
                .expect("a name");
            let link = format!("../packaging/{folder}/{name}");
            assert!(guide.contains(&link), "docs/events.md does not name {link}");
            files += 1;
        }
    }
    assert_eq!(guide.matches("../packaging/").count(), files);
}
