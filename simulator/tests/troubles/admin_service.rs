//! osctrl's admin service, which ends queries by their counters.

use std::collections::BTreeSet;
use std::time::Duration;

use osquery_simulator::{AdminService, CampaignState, HostSpec, Scenario};
use proptest::prelude::*;
use serde_json::Value;

use super::site::{Site, after};

fn with_admin_service(hosts: Vec<HostSpec>, every: u64, meets_new: usize) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.osctrl.admin_service = Some(AdminService {
        every: Duration::from_millis(every),
        meets_new,
    });
    scenario
}

/// A host that is handed a query twice and answers twice.
fn twice(name: &str) -> HostSpec {
    let mut host = HostSpec::named(name);
    host.behaviour.times = 2;
    host
}

/// A host that checks in too seldom to see anything here.
fn rare(name: &str) -> HostSpec {
    let mut host = HostSpec::named(name);
    host.check_in = Some(Duration::from_secs(3_600));
    host
}

fn uuids(items: &[Value]) -> BTreeSet<String> {
    let uuids = items.iter().filter_map(|item| item["uuid"].as_str());
    uuids.map(str::to_owned).collect()
}

#[tokio::test]
async fn repeated_answers_end_a_query_that_others_never_saw() {
    let hosts = vec![twice("a"), twice("b"), rare("c"), rare("d")];
    let site = Site::new(with_admin_service(hosts, 20, 0)).await;
    let name = site.osctrl_run(&[]).await;
    site.until("its end", |seen| {
        seen.campaigns[0].state == CampaignState::Completed
    })
    .await;
    let state = site.osctrl_state(&name).await;
    assert_eq!(
        (&state["expected"], &state["executions"], &state["errors"]),
        (&4.into(), &4.into(), &0.into())
    );
    assert_eq!(
        (&state["completed"], &state["active"]),
        (&true.into(), &false.into())
    );
    let campaign = site.0.campaigns().remove(0);
    let handed: BTreeSet<String> = campaign.handed_out.iter().cloned().collect();
    assert_eq!((campaign.handed_out.len(), handed.len()), (4, 2));
    assert_eq!(uuids(&site.osctrl_items(&name).await), handed);
}

#[tokio::test]
async fn without_the_service_a_query_goes_on_whatever_the_counters_say() {
    let hosts = vec![twice("a"), after("b", 300)];
    let site = Site::new(Scenario::of(hosts)).await;
    let name = site.osctrl_run(&[]).await;
    site.until("both answers of the first", |seen| {
        seen.campaigns[0].answers == 2
    })
    .await;
    assert_eq!(site.osctrl_state(&name).await["completed"], false);
    site.until("the other's", |seen| {
        seen.campaigns[0].state == CampaignState::Completed
    })
    .await;
    assert_eq!(uuids(&site.osctrl_items(&name).await).len(), 2);
}

#[tokio::test]
async fn a_query_met_while_its_targets_are_written_reaches_nobody() {
    let mut scenario = with_admin_service(vec![HostSpec::named("a")], 3_600_000, 1);
    scenario.osctrl.writing_targets = Duration::from_millis(50);
    let site = Site::new(scenario).await;
    let met = site.osctrl_run(&[]).await;
    let state = site.osctrl_state(&met).await;
    assert_eq!(
        (&state["expected"], &state["completed"], &state["active"]),
        (&0.into(), &true.into(), &false.into())
    );
    let second = site.osctrl_run(&[]).await;
    assert_eq!(site.osctrl_state(&second).await["expected"], 1);
    site.until("the second's answer", |seen| seen.campaigns[1].answers == 1)
        .await;
    let campaign = site.0.campaigns().remove(0);
    assert_eq!((campaign.handed_out.len(), campaign.answers), (0, 0));
    assert!(site.osctrl_items(&met).await.is_empty());
}

#[tokio::test]
async fn its_loop_meets_new_queries_by_itself() {
    let mut scenario = with_admin_service(vec![HostSpec::named("a")], 10, 0);
    scenario.osctrl.writing_targets = Duration::from_millis(500);
    let site = Site::new(scenario).await;
    let name = site.osctrl_run(&[]).await;
    let state = site.osctrl_state(&name).await;
    assert_eq!(
        (&state["expected"], &state["completed"]),
        (&0.into(), &true.into())
    );
    assert!(site.0.campaigns()[0].handed_out.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the counters say, only hosts that were handed the query have answered it.
    #[test]
    fn nobody_answers_what_they_were_not_handed(
        hosts in proptest::collection::vec((1_u32..4, 0_u64..30, any::<bool>()), 1..12),
        every in 1_u64..40,
        writing in 0_u64..20,
        meets_new in 0_usize..2,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let specs = hosts.iter().enumerate().map(|(index, (times, delay, rarely))| {
                let name = format!("h{index}");
                let mut host = if *rarely { rare(&name) } else { after(&name, *delay) };
                host.behaviour.times = *times;
                host
            });
            let mut scenario = with_admin_service(specs.collect(), every, meets_new);
            scenario.osctrl.writing_targets = Duration::from_millis(writing);
            let site = Site::new(scenario).await;
            let name = site.osctrl_run(&[]).await;
            // What is handed out is answered; a query that nobody is handed may go on for ever.
            tokio::time::sleep(Duration::from_millis(60)).await;
            let campaign = site.0.campaigns().remove(0);
            let handed: BTreeSet<String> = campaign.handed_out.iter().cloned().collect();
            let answered = uuids(&site.osctrl_items(&name).await);
            prop_assert!(answered.is_subset(&handed), "{answered:?} {handed:?}");
            if meets_new == 1 {
                prop_assert!(handed.is_empty());
            }
            Ok(())
        })?;
    }
}

#[test]
fn the_service_can_be_written() {
    let scenario = Scenario::from_yaml(
        "osctrl: {writing_targets_ms: 800, admin_service: {every_ms: 1000, meets_new: 2}}",
    )
    .expect("a scenario");
    let service = scenario.osctrl.admin_service.expect("a service");
    assert_eq!(
        (service.every, service.meets_new),
        (Duration::from_secs(1), 2)
    );
    let error = Scenario::from_yaml("osctrl: {admin_service: {every_ms: 0}}").expect_err("none");
    assert_eq!(
        error.to_string(),
        "osctrl.admin_service.every_ms must be at least 1"
    );
}
