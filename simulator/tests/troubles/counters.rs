//! What a test can see of a client's manners.

use std::collections::BTreeMap;
use std::time::Duration;

use osquery_simulator::{
    Answer, EndedBy, Fault, HostSpec, Scenario, Server, SocketClose, SocketEnd, SocketFault,
};

use super::client;
use super::site::{Site, next_of};

#[tokio::test]
async fn sockets_that_end_say_who_ended_them() {
    let cut = SocketFault {
        close: Some(SocketClose::Cut),
        ..SocketFault::default()
    };
    let fault = Fault::on("results/websocket").skipping(2).socket(cut);
    let site = Site::new(Scenario::of([HostSpec::named("web")]).with_fault(fault)).await;
    let mut closing = site.fleet_listen(&[1]).await;
    next_of(&mut closing, "result").await;
    closing.close().await;
    site.until("the first end", |seen| seen.socket_ends.len() == 1)
        .await;
    let mut leaving = site.fleet_listen(&[1]).await;
    next_of(&mut leaving, "result").await;
    drop(leaving);
    site.until("the second end", |seen| seen.socket_ends.len() == 2)
        .await;
    let _cut = site.fleet_listen(&[1]).await;
    site.until("the third end", |seen| seen.socket_ends.len() == 3)
        .await;
    let end = |campaign: &str, by| SocketEnd {
        campaign: campaign.into(),
        by,
    };
    assert_eq!(
        site.0.observations().socket_ends,
        [
            end("1", EndedBy::ClientClosed),
            end("2", EndedBy::ClientGone),
            end("3", EndedBy::Server),
        ]
    );
}

#[tokio::test]
async fn campaigns_are_counted_while_they_run_and_at_most() {
    let silent = HostSpec::named("mute").answering(Answer::Silent);
    let mut scenario = Scenario::of([silent, HostSpec::named("web")]);
    scenario.fleet.tick = Duration::from_millis(20);
    let site = Site::new(scenario).await;
    for _ in 0..2 {
        let (first, second) = (
            site.fleet_listen(&[1]).await,
            site.fleet_listen(&[1, 2]).await,
        );
        let running = site.0.observations().running(Server::Fleet);
        assert_eq!(running, 2);
        drop((first, second));
        site.until("their ends", |seen| seen.running(Server::Fleet) == 0)
            .await;
    }
    let seen = site.0.observations();
    assert_eq!(
        (seen.ended(Server::Fleet), seen.most_at_once(Server::Fleet)),
        (4, 2)
    );
    assert_eq!(
        (
            seen.ended(Server::Osctrl),
            seen.most_at_once(Server::Osctrl)
        ),
        (0, 0)
    );
    assert_eq!(seen.handed_out(Server::Fleet).len(), 2);
    assert_eq!(seen.handed_out(Server::Osctrl).len(), 0);
}

#[tokio::test]
async fn requests_are_counted_by_path_and_connections_while_they_are_open() {
    let site = Site::new(Scenario::of([HostSpec::named("web")])).await;
    for page in 0..3 {
        site.fleet_get(&format!("/hosts?page={page}")).await;
    }
    site.fleet_run(&[1]).await;
    let seen = site.0.observations();
    assert_eq!(
        seen.requests_by_path(),
        BTreeMap::from([
            (("GET", "/api/v1/fleet/hosts"), 3),
            (("POST", "/api/v1/fleet/queries/run"), 1),
        ])
    );
    site.until("every connection's end", |seen| seen.open_connections == 0)
        .await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(client::ask(site.0.addr(), "/api/v1/fleet/me", "none").await);
    }
    site.until("three connections", |seen| seen.open_connections == 3)
        .await;
    drop(kept);
    site.until("their ends", |seen| seen.open_connections == 0)
        .await;
    let seen = site.0.observations();
    assert_eq!((seen.connections, seen.most_connections), (7, 3));
}
