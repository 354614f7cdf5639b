//! What hosts answer, and how soon the campaign knows.

use osquery_simulator::{
    Answer as Says, Behaviour, CampaignState, HostSpec, Huge, OSCTRL_PLUGIN_TOKEN, TableSpec,
};
use serde_json::{Value, json};

use super::*;

fn cells(cells: Value) -> Map<String, Value> {
    cells.as_object().cloned().unwrap()
}

/// A host of this number, whose uuid ends in it.
fn numbered(number: usize) -> HostSpec {
    HostSpec {
        uuid: Some(format!("00000000-0000-4000-8000-{number:012}")),
        ..HostSpec::named(format!("host-{number}"))
    }
}

fn uuid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn behaving(number: usize, behaviour: Behaviour) -> HostSpec {
    HostSpec {
        behaviour,
        ..numbered(number)
    }
}

#[tokio::test]
async fn every_kind_of_answer_comes_and_silence_stays_silent() {
    // As in transcript `query-mixed`.
    let row = cells(json!({"pid": "1", "user": "a\"b<é>"}));
    let mut bench = Bench::new(Scenario::of([
        numbered(0).answering(Says::Rows(vec![row])),
        numbered(1).answering(Says::None),
        numbered(2).answering(Says::Error("no such table: nope".into())),
        numbered(3).delayed(Duration::from_millis(500)),
        numbered(4).answering(Says::Silent),
    ]));
    bench
        .ask(&["host-0", "host-1", "host-2", "host-3", "host-4"])
        .await;
    let id = bench.osctrl.campaign_id().unwrap();
    assert_eq!(id, bench.simulator.campaigns()[0].id);
    let mut answers = bench.answers(4).await;
    assert_eq!(
        answers[&uuid(0)],
        Ok(r#"[{"pid":"1","user":"a\"b<é>"}]"#.into())
    );
    assert_eq!(answers[&uuid(1)], Ok("[]".into()));
    assert_eq!(answers[&uuid(2)], Err("no such table: nope".into()));
    let rows = answers.remove(&uuid(3)).unwrap().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&rows)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(bench.osctrl.may_be_running(false));
    let asked = bench.simulator.requests();
    let dispatch = asked.iter().find(|one| one.method == "POST").unwrap();
    let body: Value = serde_json::from_str(&dispatch.body).unwrap();
    assert_eq!(body["query"], "SELECT * FROM logged_in_users");
    assert_eq!(body["exp_hours"], 1);
    assert_eq!(body["uuid_list"].as_array().unwrap().len(), 5);
    assert!(body.get("host_list").is_none());
}

#[tokio::test]
async fn the_last_answer_is_known_within_one_poll() {
    let hosts = (0..8).map(|n| numbered(n).delayed(Duration::from_millis(60 * n as u64)));
    let mut bench = Bench::new(Scenario::of(hosts));
    let hosts = bench
        .resolve(&[
            "host-0", "host-1", "host-2", "host-3", "host-4", "host-5", "host-6", "host-7",
        ])
        .await;
    bench.start(&hosts).await.unwrap();
    bench.answers(8).await;
    let last = bench.simulator.last_answer_at().unwrap();
    let asked = bench.simulator.requests();
    let after = asked.iter().filter(|request| request.at > last);
    // The poll that brings it; another one may have been on its way.
    assert!(after.count() <= 2);
    let campaign = &bench.simulator.campaigns()[0];
    assert_eq!(campaign.state, CampaignState::Completed);
    // Nothing is left to stop.
    let before = bench.requests().len();
    bench.osctrl.stop(true).await;
    assert_eq!(bench.requests().len(), before);
}

#[tokio::test]
async fn a_host_that_answers_twice_is_told_once_while_another_is_silent() {
    let twice = Behaviour {
        times: 3,
        again: Duration::from_millis(60),
        ..Behaviour::default()
    };
    let hosts = [
        behaving(0, twice),
        numbered(1).delayed(Duration::from_millis(700)),
    ];
    let mut bench = Bench::new(Scenario::of(hosts));
    bench.ask(&["host-0", "host-1"]).await;
    assert_eq!(bench.answers(2).await.len(), 2);
}

#[tokio::test]
async fn an_answer_of_nobody_that_was_asked_is_told_as_it_is() {
    let stranger = Behaviour {
        answers_as: Some("feed-beef".into()),
        ..Behaviour::default()
    };
    let mut bench = Bench::new(Scenario::of([behaving(0, stranger)]));
    bench.ask(&["host-0"]).await;
    assert_eq!(bench.answer().await.0, HostId::from("FEED-BEEF"));
}

#[tokio::test]
async fn a_status_alone_is_told_soon_after_the_query_has_completed() {
    let hosts = [numbered(0), numbered(1).answering(Says::StatusOnly(1))];
    let mut bench = Bench::new(Scenario::of(hosts));
    bench.ask(&["host-0", "host-1"]).await;
    let answers = bench.answers(2).await;
    assert!(answers[&uuid(0)].is_ok());
    assert_eq!(
        answers[&uuid(1)],
        Err("the host answered without a result: osquery reported an error, and osctrl keeps no text of it".into())
    );
    assert!(matches!(bench.next().await.unwrap(), Event::Exhausted));
    assert!(!bench.osctrl.may_be_running(false));
}

#[tokio::test]
async fn items_and_counters_may_run_ahead_of_each_other() {
    let late_item = Behaviour {
        item_lag: Duration::from_millis(400),
        ..Behaviour::default()
    };
    let late_counter = Behaviour {
        counter_lag: Duration::from_millis(400),
        ..Behaviour::default()
    };
    let hosts = [behaving(0, late_item), behaving(1, late_counter)];
    let mut bench = Bench::new(Scenario::of(hosts));
    bench.ask(&["host-0", "host-1"]).await;
    let answers = bench.answers(2).await;
    assert!(answers.values().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn rows_that_are_none_are_that_hosts_error() {
    let raw = |text: &str| Says::RawRows(text.into());
    let hosts = [
        numbered(0).answering(raw("null")),
        numbered(1).answering(raw("[1]")),
        numbered(2).answering(raw(r#"[{"a":{"secret":1}}]"#)),
        numbered(3).answering(raw("[{\"a\":")),
        numbered(4),
    ];
    let mut bench = Bench::new(Scenario::of(hosts));
    bench
        .ask(&["host-0", "host-1", "host-2", "host-3", "host-4"])
        .await;
    let answers = bench.answers(5).await;
    assert!(answers[&uuid(4)].is_ok());
    for number in 0..=3 {
        let error = answers[&uuid(number)].as_ref().unwrap_err();
        assert!(
            error.starts_with("the answer could not be read: "),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn thousands_at_once_are_each_told_once_and_read_in_pages() {
    let scenario = Scenario {
        tables: [("logged_in_users".to_owned(), TableSpec::generate(3))].into(),
        ..Scenario::of([HostSpec::many(2_100, "pod-{n:04}")])
    };
    let mut bench = Bench::new(scenario);
    let targets = Targets {
        platforms: vec![osquery_live_query::inside::Platform::Linux],
        ..Targets::default()
    };
    let hosts = bench.candidates(&targets).await.unwrap().grouped;
    bench.start(&hosts).await.unwrap();
    let answers = bench.answers(2_100).await;
    for rows in answers.values() {
        assert_eq!(rows.as_ref().unwrap().matches("\"host\"").count(), 3);
    }
    let pages = bench
        .requests()
        .into_iter()
        .filter(|one| one.contains("/results/"));
    // Agents check in over some 50 ms: a few polls, and three pages.
    let pages = pages.count();
    assert!(pages <= 20, "{pages}");
}

#[tokio::test]
async fn a_huge_answer_is_read_once_and_cut_where_the_step_says() {
    let huge = Says::Huge(Huge {
        rows: 20_000,
        row_bytes: 300,
    });
    let hosts = [
        numbered(0).answering(huge),
        numbered(1).delayed(Duration::from_secs(4)),
    ];
    let mut bench = Bench::within(
        Scenario::of(hosts),
        token(OSCTRL_PLUGIN_TOKEN),
        "dev",
        PATIENCE,
    );
    bench.ask(&["host-0", "host-1"]).await;
    let (_, Answer::Rows(rows)) = bench.answer().await else {
        panic!("no rows");
    };
    assert_eq!((rows.received(), rows.kept()), (20_000, 10_000));
    let before = bench.simulator.requests().len();
    bench.answer().await;
    // Once it is known, polls begin behind it: page 1 would bring it again.
    let later = bench.simulator.requests().split_off(before);
    let pages: Vec<_> = later
        .iter()
        .filter(|one| one.path.contains("/results/"))
        .collect();
    assert!(!pages.is_empty());
    for page in pages {
        assert!(!page.path.contains("page=1&"), "{}", page.path);
    }
}

#[tokio::test]
async fn a_query_that_an_administrator_ends_is_over() {
    let silent = numbered(0).answering(Says::Silent);
    let mut bench = Bench::new(Scenario::of([silent]));
    bench.ask(&["host-0"]).await;
    let mut other = backend(&bench.simulator, token(OSCTRL_ADMIN_TOKEN), "dev", PATIENCE);
    let hosts = other
        .resolve(&named(&["host-0"]), &LIMITS)
        .await
        .unwrap()
        .named;
    other.start(&statement(), &hosts).await.unwrap();
    other.stop(false).await;
    assert!(matches!(other.next().await.unwrap(), Event::Exhausted));
    assert!(!other.may_be_running(false));
    assert!(bench.osctrl.may_be_running(false));
}
