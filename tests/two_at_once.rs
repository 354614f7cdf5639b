//! Executions side by side in one process: each outcome is its own, no secret of one is in what another
//! tells, and every campaign is stopped. This is what shows that nothing process-wide is left below the
//! process.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use osquery_live_query::{
    Campaign, Cancel, Cancelled, Canceller, CheckedStep, End, Format, Gone, Level, Mode, Notices,
    Outcome, Run, Session, Sink, Sources, execute, prepare as check,
};
use osquery_simulator::{
    Answer, CampaignState, FleetUser, HostSpec, OsctrlUser, Scenario, Simulator,
};
use serde_json::{Value, json};

use crate::harness::site::{host, silent};

/// What an execution of the test has: its server, its secret, and what it told.
struct Side {
    simulator: Simulator,
    secret: &'static str,
    told: Arc<Mutex<Vec<String>>>,
}

impl Side {
    fn fleet(secret: &'static str, hosts: Vec<HostSpec>) -> Self {
        let mut scenario = Scenario::of(hosts);
        scenario.fleet.tick = Duration::from_millis(200);
        let mut users = FleetUser::defaults();
        users[0].token = Some(secret.into());
        scenario.fleet.users = users;
        Self::of(secret, scenario)
    }

    fn osctrl(secret: &'static str, hosts: Vec<HostSpec>) -> Self {
        let mut scenario = Scenario::of(hosts);
        let mut users = OsctrlUser::defaults();
        users[0].token = Some(secret.into());
        scenario.osctrl.users = users;
        Self::of(secret, scenario)
    }

    fn of(secret: &'static str, scenario: Scenario) -> Self {
        Self {
            simulator: Simulator::spawn(scenario).expect("a simulator"),
            secret,
            told: Arc::default(),
        }
    }

    fn step(&self, backend: &str, hosts: &[&str], timeout: u32) -> CheckedStep {
        let mut step = json!({
            "id": "ask",
            "type": "osquery_live_query",
            "params": {
                "backend": backend,
                "base_url": self.simulator.base_url(),
                "api_token": "{{ secrets.token }}",
                "template": "running_processes",
                "target_hosts": hosts,
                "timeout_seconds": timeout,
            },
        });
        if backend == "osctrl" {
            step["params"]["environment"] = "dev".into();
        }
        let invocation = json!({
            "protocol": 1, "step": step, "secrets": {"token": self.secret},
        });
        check(invocation.to_string().as_bytes(), &Sources::default()).expect("a good step")
    }

    fn notices(&self) -> Notices {
        let told = Arc::clone(&self.told);
        Notices::new(Level::Debug, move |_, text| {
            told.lock().unwrap().push(text.to_owned());
        })
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }
}

/// What happens once a host has answered.
enum Then {
    GoesOn,
    Cancels(Canceller),
    Panics,
}

impl Sink for Then {
    fn answered(&mut self, _: &mut Campaign, _: usize) -> ControlFlow<Gone> {
        match self {
            Self::GoesOn => {}
            Self::Cancels(canceller) => canceller.cancel(Cancelled::Withdrawn),
            Self::Panics => panic!("a bug with a value in it"),
        }
        ControlFlow::Continue(())
    }
}

async fn executed(
    side: &Side,
    step: CheckedStep,
    cancel: Cancel,
    mut then: Then,
) -> (Run, Outcome) {
    let mut session = Session {
        run: Run::begin(),
        cancel,
        notices: side.notices(),
        sink: &mut then,
    };
    let (outcome, aftermath) = execute(step, Mode::Run, &mut session).await;
    aftermath.finish().await;
    (session.run, outcome)
}

fn document((run, outcome): &(Run, Outcome)) -> Value {
    let mut bytes = Vec::new();
    Format::Json
        .write(run, outcome, &mut bytes)
        .expect("memory takes all");
    serde_json::from_slice(&bytes).expect("a document")
}

#[test]
fn each_execution_is_its_own() {
    const SECRETS: [&str; 4] = [
        "first-secret-0a1b2c",
        "second-secret-3d4e5f",
        "third-secret-6a7b8c",
        "fourth-secret-9d0e1f",
    ];
    // The first server knows the second one's secret, and says it.
    let echo = HostSpec::named("echo").answering(Answer::Error(SECRETS[1].into()));
    let complete = Side::fleet(SECRETS[0], vec![host("web-01"), echo]);
    let echoing_itself = HostSpec::named("echo").answering(Answer::Error(SECRETS[1].into()));
    let other = Side::osctrl(SECRETS[1], vec![host("db-01"), echoing_itself]);
    let cancelled = Side::osctrl(SECRETS[2], vec![host("db-02"), silent("db-03")]);
    let panicking = Side::fleet(SECRETS[3], vec![host("web-02"), silent("web-03")]);
    let sides = [&complete, &other, &cancelled, &panicking];
    let steps = (
        complete.step("fleetdm", &["web-01", "echo"], 30),
        other.step("osctrl", &["db-01", "echo"], 30),
        cancelled.step("osctrl", &["db-02", "db-03"], 30),
        panicking.step("fleetdm", &["web-02", "web-03"], 30),
    );
    let (canceller, cancel) = Cancel::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let outcomes = runtime.block_on(async {
        let never = Cancel::never;
        let (one, two, three, four) = tokio::join!(
            executed(&complete, steps.0, never(), Then::GoesOn),
            executed(&other, steps.1, never(), Then::GoesOn),
            executed(&cancelled, steps.2, cancel, Then::Cancels(canceller)),
            executed(&panicking, steps.3, never(), Then::Panics),
        );
        [one, two, three, four]
    });
    let [one, two, three, four] = outcomes.each_ref().map(|(_, outcome)| outcome);
    let documents = outcomes.each_ref().map(document);
    let ids: HashSet<&str> = outcomes.iter().map(|(run, _)| run.id()).collect();
    assert_eq!(ids.len(), outcomes.len(), "two runs of one id");
    assert_eq!(*one.end(), End::Complete);
    assert_eq!(documents[0]["hosts"]["web-01"]["status"], "ok");
    // Another session's secret is none of this one's; its own is masked.
    assert_eq!(documents[0]["hosts"]["echo"]["error"], SECRETS[1]);
    assert_eq!(*two.end(), End::Complete);
    assert_eq!(documents[1]["hosts"]["echo"]["error"], "[redacted]");
    assert_eq!(*three.end(), End::Cancelled(Cancelled::Withdrawn));
    assert_eq!(documents[2]["hosts"]["db-02"]["status"], "ok");
    assert_eq!(documents[2]["timed_out_hosts"], json!(["db-03"]));
    let End::Failed(bug) = four.end() else {
        panic!("{four:?}");
    };
    assert!(
        bug.message.starts_with("a bug in osquery-live-query"),
        "{bug:?}"
    );
    assert_eq!(documents[3]["timed_out_hosts"], json!(["web-03"]));
    for (index, side) in sides.iter().enumerate() {
        let told = side.told();
        assert!(!told.is_empty(), "nothing was told of {index}");
        for secret in SECRETS {
            assert!(!told.contains(secret), "{index}: {told}");
        }
        for (other, document) in documents.iter().enumerate() {
            let text = document.to_string();
            assert!(other == 0 || !text.contains(side.secret), "{text}");
        }
        let ended = side.simulator.wait_until(
            |seen| {
                let mut campaigns = seen.campaigns.iter();
                campaigns.all(|campaign| campaign.state != CampaignState::Running)
            },
            Duration::from_secs(20),
        );
        assert!(ended, "the campaign of {index} runs on");
    }
}
