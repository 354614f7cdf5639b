//! What expressions yield, and every message of rendering, word for word.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

#[test]
fn expressions_give_hosts_labels_parameters_and_numbers() {
    let context = json!({
        "alert": {
            "host": "web-1", "hosts": ["b", "a", "b", 4711, " c "], "serial": 18446744073709551615_u64,
            "n": 5, "seconds": "30", "sneaky": "{{ secrets.token }} {% x %}\n- y: *z", "empty": "", "nothing": null,
            "tags": ["X", "Y"], "nested": {"a b": ["deep"]}, "none": [], "flag": true, "part": 1.5,
            // What is not taken counts neither in size nor in items.
            "objects": [{"hostname": "a", "host name": "c d", "log": "m".repeat(100_000)}, {"hostname": "b", "host name": "e", "more": vec![1; 20_000]}],
            "wrapped": [{"n": 1}, {"n": 2}]
        }
    });
    let hosts = |hosts: Value| {
        rendered(&with(json!({"target_hosts": hosts})), &context)
            .targets
            .hosts
    };
    assert_eq!(hosts(json!("{{ alert.hosts }}")), ["b", "a", "4711", "c"]);
    assert_eq!(
        hosts(json!("\n{{ alert.hosts }}\n")),
        ["b", "a", "4711", "c"]
    );
    assert_eq!(hosts(json!("{{ alert.host }}")), ["web-1"]);
    assert_eq!(hosts(json!(" web-9 ")), ["web-9"]);
    assert_eq!(
        hosts(json!([
            "x",
            "{{ alert.host }}.corp",
            "{{ alert.serial }}",
            "x",
            " x "
        ])),
        ["x", "web-1.corp", "18446744073709551615"]
    );
    assert_eq!(
        hosts(json!([
            "{{ alert.tags | first | lower }}",
            "{{ alert.tags|join('-') }}",
            "{{ alert.nested['a b'][0] | upper }}"
        ])),
        ["x", "X-Y", "DEEP"]
    );
    assert_eq!(
        hosts(json!("{{ alert.objects | pluck('hostname') }}")),
        ["a", "b"]
    );
    assert_eq!(
        hosts(json!([
            "{{ alert.objects | pluck('host name') | first }}",
            "{{ alert.objects | pluck('missing') | default('none') }}",
            "{{ alert.wrapped | default('x') | pluck('n') | join('-') }}"
        ])),
        ["c d", "none", "1-2"]
    );
    assert_eq!(
        hosts(json!([
            "{{ alert.hots | default('fallback') }}",
            "{{ alert.nothing | default('n', true) }}",
            "{{ alert.none | last | default('l') }}"
        ])),
        ["fallback", "n", "l"]
    );
    assert_eq!(
        hosts(json!(["{{ alert.host }}{{ alert.n }}{{ alert.flag }}"])),
        ["web-15true"]
    );

    let step = rendered(
        &with(json!({
            "template_params": {
                "limit": "{{ alert.n }}", "text": "n={{ alert.n }}", "list": "{{ alert.tags }}", "deep": [{"x": "{{ alert.seconds | int }}"}],
                "sneaky": "{{ alert.sneaky }}", "{{ alert.n }}": 1, "flag": "{{ alert.flag }}", "part": "{{ alert.part }}"
            },
            "timeout_seconds": "{{ alert.seconds }}", "max_hosts": "{{ alert.n }}0"
        })),
        &context,
    );
    assert_eq!(
        Value::Object(step.template.params),
        json!({
            "limit": 5, "text": "n=5", "list": ["X", "Y"], "deep": [{"x": 30}],
            "sneaky": "{{ secrets.token }} {% x %}\n- y: *z", "{{ alert.n }}": 1, "flag": true, "part": 1.5
        })
    );
    assert_eq!(
        (
            step.limits.timeout.value.as_secs(),
            step.limits.max_hosts.value
        ),
        (30, 50)
    );
    let fleet = with(
        json!({"backend": "fleet", "environment": null, "target_labels": ["{{ alert.tags[1] }}"]}),
    );
    assert_eq!(rendered(&fleet, &context).targets.labels, ["Y"]);
}

#[test]
fn rendering_messages_word_for_word() {
    let context = json!({
        "alert": {
            "host": "m4rk3r", "hosts": ["a", null], "fractions": [1.5], "nothing": null, "empty": " ", "none": [], "flag": true,
            "control": "m4rk3r\u{1}", "map": {"m": "m4rk3r"}, "sneaky": "{{ 1 }}", "words": "m4rk3r", "long": "m4rk3r".repeat(20_000),
            "many": vec!["m"; 10_001], "odd": [["m4rk3r"]], "huge": "1e300",
            "objects": [{"hostname": "m4rk3r", "ip": "m4rk3r", "odd": null}, {"hostname": "m4rk3r", "odd": "m4rk3r"}],
            "many_objects": vec![json!({"a": "m4rk3r"}); 10_001]
        }
    });
    let only_context = "takes no expression: an alert must not choose the server, the template or how the step runs; the context is for `target_hosts`, `target_host_ids`, `target_labels`, `template_params`, `timeout_seconds` and `max_hosts`";
    let meant = "must be exactly `{{ secrets.NAME }}`: did you mean `{{ secrets.token }}`?";
    let reference = "must be exactly `{{ secrets.NAME }}` (NAME: letters, digits, `_`, `-`): no other expression, filter or text beside it";
    for (changes, problem) in [
        (json!({"target_hosts": ["a", "{{ alert.hots }}"]}), "target_hosts[1]: undefined: `target_hosts[1]` names `alert.hots`, which is not in the context (did you mean `alert.host`?)".to_owned()),
        (json!({"target_hosts": "{{ alrt.host }}"}), "target_hosts: undefined: `target_hosts` names `alrt`, which is not in the context (did you mean `alert`?)".into()),
        (json!({"target_hosts": "{{ alrt.host | default('x') }}"}), "target_hosts: undefined: `target_hosts` names `alrt`, which is not in the context (did you mean `alert`?)".into()),
        (json!({"target_hosts": "{{ alert.hosts[7] }}"}), "target_hosts: undefined: `target_hosts` names `alert.hosts[7]`, which is not in the context: the list has 2 items".into()),
        (json!({"target_hosts": "{{ alert.host.name }}"}), "target_hosts: undefined: `target_hosts` names `alert.host.name`, but `alert.host` is text".into()),
        (json!({"target_hosts": "{{ alert.none | first }}"}), "target_hosts: undefined: `target_hosts` uses `first` on `alert.none`, which is empty".into()),
        (json!({"target_hosts": "{{ alert.nothing }}"}), "target_hosts: null: `target_hosts` names `alert.nothing`, which is null: `default('…', true)` gives a value for that".into()),
        (json!({"target_hosts": "{{ alert.hosts }}"}), "target_hosts[1]: type: `target_hosts[1]` yields nothing (null): a name is expected".into()),
        (json!({"target_hosts": "{{ alert.fractions }}"}), "target_hosts[0]: type: `target_hosts[0]` yields a fraction: a name is expected".into()),
        (json!({"target_hosts": "{{ alert.flag }}"}), "target_hosts: type: `target_hosts` yields true or false: a name is expected".into()),
        (json!({"target_hosts": "{{ alert.none }}"}), "target_hosts: empty_target: `target_hosts` yields an empty list: no host or label is named".into()),
        (json!({"target_hosts": "{{ alert.none }}", "target_platforms": ["linux"]}), "target_hosts: empty_target: `target_hosts` yields an empty list: no host or label is named".into()),
        (json!({"target_hosts": ["{{ alert.hosts }}"]}), "target_hosts[0]: structure: `target_hosts[0]` yields a list inside a list: write the one expression in place of the whole list".into()),
        (json!({"target_hosts": ["{{ alert.empty }}"]}), "target_hosts[0]: target_name: `target_hosts[0]` yields a name that is empty: an empty name would address hosts that nobody meant".into()),
        (json!({"target_hosts": ["a{{ alert.control }}"]}), "target_hosts[0]: target_name: `target_hosts[0]` yields a name that holds a control character: no host or label is named so".into()),
        (json!({"target_hosts": ["x{{ alert.map }}"]}), "target_hosts[0]: structure: `target_hosts[0]` names `alert.map` inside other text, but it is a mapping: take one item, or use `join`".into()),
        (json!({"target_hosts": "{{ alert.many }}"}), "target_hosts: size: `target_hosts` yields a list of more than 10000 items".into()),
        (json!({"target_hosts": "{{ alert.long }}"}), "target_hosts: size: `target_hosts` yields text of more than 64 KiB".into()),
        (json!({"target_hosts": "{{ alert.host | lower | int }}"}), "target_hosts: filter: `target_hosts` uses `int` on `alert.host`, which is not a whole number of 64 bits".into()),
        (json!({"target_hosts": "{{ alert.huge | int }}"}), "target_hosts: filter: `target_hosts` uses `int` on `alert.huge`, which is not a whole number of 64 bits".into()),
        (json!({"target_hosts": "{{ alert.hosts | join(',') }}"}), "target_hosts: filter: `target_hosts` uses `join` on `alert.hosts`: it takes a list of texts and numbers, not a list with other things in it".into()),
        (json!({"target_hosts": "{{ alert.objects | pluck('hostnam') }}"}), "target_hosts: undefined: `target_hosts` takes `hostnam` of each item of `alert.objects`, which item 0 does not have (did you mean `hostname`?)".into()),
        (json!({"target_hosts": "{{ alert.objects | pluck('ip') }}"}), "target_hosts: undefined: `target_hosts` takes `ip` of each item of `alert.objects`, which item 1 does not have".into()),
        (json!({"target_hosts": "{{ alert.hosts | pluck('a') }}"}), "target_hosts: filter: `target_hosts` uses `pluck` on `alert.hosts`: it takes a list of mappings, not a list with other things in it".into()),
        (json!({"target_hosts": "{{ alert.map | pluck('a') }}"}), "target_hosts: filter: `target_hosts` uses `pluck` on `alert.map`: it takes a list of mappings, not a mapping".into()),
        (json!({"target_hosts": "{{ alert.host | pluck }}"}), "target_hosts: filter: `target_hosts` uses `pluck` wrongly: it takes one text, the key that is taken of each item".into()),
        (json!({"target_hosts": "{{ alert.many_objects | pluck('a') }}"}), "target_hosts: size: `target_hosts` yields a list of more than 10000 items".into()),
        (json!({"target_hosts": "{{ alert.objects | pluck('odd') }}"}), "target_hosts[0]: type: `target_hosts[0]` yields nothing (null): a name is expected".into()),
        (json!({"target_hosts": "{{ alert.nothing | lower }}"}), "target_hosts: filter: `target_hosts` uses `lower` on `alert.nothing`: it takes text or a number, not nothing (null)".into()),
        (json!({"target_hosts": "{{ alert.flag | int }}"}), "target_hosts: filter: `target_hosts` uses `int` on `alert.flag`: it takes text or a number, not true or false".into()),
        (json!({"target_hosts": "{{ alert.map | first }}"}), "target_hosts: filter: `target_hosts` uses `first` on `alert.map`: it takes a list or text, not a mapping".into()),
        (json!({"target_hosts": "{{ secrets.token }}"}), "target_hosts: secret_field: `target_hosts` may not name `secrets`: a secret is allowed only in `api_token`, `username` and `password`, as exactly `{{ secrets.NAME }}`".into()),
        (json!({"target_hosts": "{{ alert.host"}), "target_hosts: expression: `target_hosts` holds a `{{` without its `}}`".into()),
        (json!({"timeout_seconds": "{{ alert.hosts }}"}), "timeout_seconds: structure: `timeout_seconds` yields a list: a single value is expected".into()),
        (json!({"template_params": {"a b": ["{{ alert.map }}"]}}), "template_params['a b'][0]: structure: `template_params['a b'][0]` yields a mapping: a single value or a list is expected".into()),
        (json!({"template_params": {"a": "{{ alert.odd }}"}}), "template_params.a: structure: `template_params.a` yields a list with null, lists or mappings in it: single values are expected".into()),
        (json!({"base_url": "https://{{ alert.host }}"}), format!("base_url: context_field: `base_url` {only_context}")),
        (json!({"base_url": "{{ alert.url }}"}), format!("base_url: context_field: `base_url` {only_context}")),
        (json!({"environment": "{{ alert.env }}"}), format!("environment: context_field: `environment` {only_context}")),
        (json!({"backend": "{{ alert.b }}"}), format!("backend: context_field: `backend` {only_context}")),
        (json!({"template": "{{ alert.t }}"}), format!("template: context_field: `template` {only_context}")),
        (json!({"verify_tls": "{{ alert.v }}"}), format!("verify_tls: context_field: `verify_tls` {only_context}")),
        (json!({"ca_file": "{# x #}"}), format!("ca_file: context_field: `ca_file` {only_context}")),
        (json!({"max_rows_per_host": "{{ alert.n }}"}), format!("max_rows_per_host: context_field: `max_rows_per_host` {only_context}")),
        (json!({"offline_hosts": "{{ alert.n }}"}), format!("offline_hosts: context_field: `offline_hosts` {only_context}")),
        (json!({"target_platforms": ["{{ alert.n }}"]}), format!("target_platforms[0]: context_field: `target_platforms[0]` {only_context}")),
        (json!({"base_url": "https://{{ secrets.token }}"}), "base_url: secret_field: `base_url` takes no secret: a secret is allowed only in `api_token`, `username` and `password`".into()),
        (json!({"api_token": "{{ alert.host }}"}), format!("api_token: secret_reference: `api_token` {reference}")),
        (json!({"api_token": "{{secrets['token']}}"}), format!("api_token: secret_reference: `api_token` {meant}")),
        (json!({"api_token": "{ secrets.token }}"}), format!("api_token: secret_reference: `api_token` {meant}")),
        (json!({"api_token": "{{ secrets.token | trim }}"}), format!("api_token: secret_reference: `api_token` {meant}")),
        (json!({"api_token": null, "username": "u", "password": "m4rk3r{{"}), format!("password: secret_reference: `password` {reference}")),
        (json!({"api_token": "{{ secrets.gone-1 }}"}), "api_token: secret_missing: `api_token`: the secret `gone-1` is missing: neither the invocation's `secrets` nor a secrets directory (`--secrets-dir`) nor the variable OSQUERY_LIVE_QUERY_SECRET_GONE_1 has it".into()),
        (json!({"api_token": "{{ secrets.empty }}"}), "api_token: secret_value: `api_token`: the secret `empty` can't be used: it is empty in the invocation's `secrets`".into()),
        (json!({"api_token": "{{ secrets.blank }}"}), "api_token: secret_value: `api_token` names the secret `blank`, which is not a token: a header can't hold blanks, line breaks or characters beyond ASCII".into()),
        (json!({"api_token": null, "username": "u", "password": "{{ secrets.two }}"}), "password: secret_value: `password` names the secret `two`, which holds line breaks or other control characters".into()),
    ] {
        let (code, problems) = refused(&with(changes.clone()), context.clone());
        assert_eq!((code, problems), ("render", vec![format!("params.{problem}")]), "{changes}");
    }
    assert_eq!(
        refused(
            &with(json!({"target_hosts": "{{ alert.host }}"})),
            json!(null)
        )
        .1,
        [
            "params.target_hosts: undefined: `target_hosts` names `alert.host`, but there is no context: give it in the invocation or with `--context`"
        ]
    );
}

#[test]
fn what_was_rendered_is_checked_again() {
    let context =
        json!({"n": 901, "text": "soon", "part": 60.0, "sneaky": "{{ 60 }}", "t": "61.5"});
    for (expression, rule) in [
        ("{{ n }}", "maximum"),
        ("{{ text }}", "pattern"),
        ("{{ sneaky }}", "pattern"),
        ("{{ t }}", "pattern"),
        ("0{{ part }}", "pattern"),
    ] {
        let problem = format!(
            "params.timeout_seconds: {rule}: `timeout_seconds` must be a whole number from 1 to 900"
        );
        assert_eq!(
            refused(
                &with(json!({"timeout_seconds": expression})),
                context.clone()
            ),
            ("schema", vec![problem]),
            "{expression}"
        );
    }
    let step = examined_with(&with(json!({"timeout_seconds": "{{ part }}"})), context).unwrap();
    assert_eq!(step.limits.timeout.value.as_secs(), 60);
}

#[test]
fn rendering_is_bounded_in_work() {
    let context = json!({"a": "x".repeat(60_000), "l": vec!["y".repeat(300); 10_000]});
    let start = Instant::now();
    let hosts = vec!["{{ l | join('') | lower }}"; 5_000];
    let (code, problems) = refused(&with(json!({"target_hosts": hosts})), context.clone());
    assert_eq!(code, "render");
    assert_eq!(problems.len(), 101);
    assert_eq!(
        problems[100],
        ": more: and 4900 more problems, which are left out here"
    );
    let hosts = vec!["{{ a | lower | upper | trim | lower }}"; 9_000];
    let (_, problems) = refused(&with(json!({"target_hosts": hosts})), context.clone());
    assert!(
        problems[0].ends_with("can't be rendered: the step's expressions yield more than 64 MiB"),
        "{}",
        problems[0]
    );
    let text = "{{ a }}".repeat(9_000);
    assert_eq!(
        refused(&with(json!({"template_params": {"x": text}})), context).1,
        ["params.template_params.x: size: `template_params.x` yields text of more than 64 KiB"]
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_partial_context_leaves_what_it_does_not_know() {
    let step = with(json!({
        "target_hosts": ["{{ alert.host }}", "{{ alert.later }}"], "timeout_seconds": "{{ later.t }}",
        "template_params": {"known": "{{ alert.host }}", "later": ["{{ alert.later }}"]}
    }));
    let context = json!({"alert": {"host": "h"}});
    let secrets = SecretUse::CheckFormOnly;
    let rendering = render::render(&step, context.as_object(), ContextIs::Partial, secrets);
    assert_eq!(rendering.problems, []);
    let open: Vec<&str> = rendering
        .open_parameters
        .iter()
        .map(|name| &**name)
        .collect();
    assert_eq!(open, ["later"]);
    assert_eq!(
        rendering.step["params"]["target_hosts"],
        json!(["h", "{{ alert.later }}"])
    );
    let unknown: Vec<String> = rendering
        .unknown
        .iter()
        .map(|unknown| unknown.path.to_string())
        .collect();
    assert_eq!(
        unknown,
        [
            "params.target_hosts[1]",
            "params.timeout_seconds",
            "params.template_params.later[0]"
        ]
    );
    assert!(rendering.credentials.is_empty());
}
