//! Floods on the results socket.

use std::time::Duration;

use osquery_simulator::{Fault, Flood, FloodOf, HostSpec, Scenario, SocketFault};

use super::client::{Frame, Socket};
use super::site::{Program, Site, after, fleet_listen, in_time, next, next_of};

fn flooding(hosts: Vec<HostSpec>, flood: Flood) -> Scenario {
    let socket = SocketFault {
        flood: Some(flood),
        ..SocketFault::default()
    };
    Scenario::of(hosts).with_fault(Fault::on("results/websocket").socket(socket))
}

/// What a flood has begun with, once totals and status have come.
async fn flooded(site: &Site) -> Socket {
    let mut socket = site.fleet_listen(&[1]).await;
    for kind in ["totals", "status"] {
        assert_eq!(next(&mut socket).await.json()["type"], kind);
    }
    socket
}

#[tokio::test]
async fn every_flood_goes_on_without_end() {
    for of in FloodOf::ALL {
        let hosts = vec![HostSpec::named("web")];
        let site = Site::new(flooding(hosts, Flood::of(of, 1_000))).await;
        let mut socket = flooded(&site).await;
        let came = in_time(socket.swallow(8 << 20)).await;
        assert!(came.is_ok(), "{of:?}: {came:?}");
        site.until("frames are counted", |seen| seen.frames_sent > 100)
            .await;
    }
}

#[tokio::test]
async fn a_flood_of_gigabytes_costs_no_memory() {
    let program = Program::new(
        "flood",
        "hosts: [{hostname: web}]\nfaults: [{path: results/websocket, socket: {flood: {of: pings}}}]\n",
    );
    let mut socket = fleet_listen(program.address, &[1]).await;
    in_time(socket.swallow(1 << 30)).await.expect("a flood");
    let peak = program.peak();
    assert!(peak < 64 << 20, "the simulator held {peak} bytes");
}

#[tokio::test]
async fn floods_are_made_of_the_frames_that_they_are_called_after() {
    let text = |text: &str| (0x81, text.as_bytes().to_vec());
    for (of, bytes, expected) in [
        (FloodOf::Pings, 3, (0x89, b"xxx".to_vec())),
        (FloodOf::Pings, 900, (0x89, vec![b'x'; 125])),
        (FloodOf::Pongs, 0, (0x8a, Vec::new())),
        (FloodOf::Empty, 7, text("")),
        (FloodOf::Binary, 2, (0x82, vec![0xfe; 2])),
        (FloodOf::Junk, 4, text("xxxx")),
        (
            FloodOf::Unknown,
            1,
            text("{\"type\":\"news\",\"data\":\"x\"}"),
        ),
        (FloodOf::Fragments, 5, (0x00, b"xxxxx".to_vec())),
    ] {
        let silent = HostSpec::named("web").answering(osquery_simulator::Answer::Silent);
        let site = Site::new(flooding(vec![silent], Flood::of(of, bytes))).await;
        let mut socket = flooded(&site).await;
        if of == FloodOf::Fragments {
            let begun = in_time(socket.raw_frame()).await.expect("a frame");
            assert_eq!(begun.0, 0x01, "a message begins, and does not end");
        }
        for _ in 0..200 {
            let frame = in_time(socket.raw_frame()).await.expect("a frame");
            assert_eq!(frame, expected, "{of:?}");
        }
    }
}

#[tokio::test]
async fn one_frame_announces_more_than_any_memory_holds() {
    let hosts = vec![HostSpec::named("web")];
    let site = Site::new(flooding(hosts, Flood::of(FloodOf::OneFrame, 0))).await;
    let mut socket = flooded(&site).await;
    let (first, length) = in_time(socket.raw_head()).await.expect("a head");
    assert_eq!((first, length), (0x81, 1 << 62));
}

#[tokio::test]
async fn results_come_through_a_flood() {
    for (of, deaf) in [
        (FloodOf::Pings, false),
        (FloodOf::Status, true),
        (FloodOf::Strangers, false),
    ] {
        let hosts = vec![after("one", 20), after("two", 60)];
        let mut flood = Flood::of(of, 50);
        flood.deaf = deaf;
        let site = Site::new(flooding(hosts, flood)).await;
        let mut socket = site.fleet_listen(&[1, 2]).await;
        let mut named = Vec::new();
        let all = async {
            while named.len() < 2 {
                let result = next_of(&mut socket, "result").await;
                let name = result["host"]["hostname"].as_str().expect("a name");
                if name != "stranger" {
                    named.push(name.to_owned());
                }
            }
        };
        in_time(all).await;
        assert_eq!(named, ["one", "two"], "{of:?}");
    }
}

#[tokio::test]
async fn a_flood_that_ends_leaves_a_stream_as_ever() {
    let mut flood = Flood::of(FloodOf::Pongs, 10);
    flood.times = Some(100_003);
    let mut scenario = flooding(vec![after("web", 300)], flood);
    scenario.fleet.tick = Duration::from_millis(100);
    let site = Site::new(scenario).await;
    let mut socket = flooded(&site).await;
    let mut pongs = 0;
    let result = loop {
        let (first, payload) = in_time(socket.raw_frame()).await.expect("a frame");
        match first {
            0x8a => pongs += 1,
            _ => break payload,
        }
    };
    assert_eq!(pongs, 100_003);
    let result: serde_json::Value = serde_json::from_slice(&result).expect("JSON");
    assert_eq!(result["type"], "result");
    socket.close().await;
    site.until("the end of the campaign", |seen| {
        seen.campaigns[0].state == osquery_simulator::CampaignState::Completed
    })
    .await;
}

#[tokio::test]
async fn a_close_frame_is_heard_through_a_flood() {
    let hosts = vec![HostSpec::named("web")];
    let mut scenario = flooding(hosts, Flood::of(FloodOf::Pings, 0));
    scenario.fleet.tick = Duration::from_millis(100);
    let site = Site::new(scenario).await;
    let mut socket = flooded(&site).await;
    in_time(socket.swallow(100_000)).await.expect("a flood");
    socket.close().await;
    let end = async { while socket.swallow(1 << 20).await.is_ok() {} };
    in_time(end).await;
    site.until("the end of the campaign", |seen| {
        seen.campaigns[0].state == osquery_simulator::CampaignState::Completed
    })
    .await;
}

#[tokio::test]
async fn a_slow_flood_is_noise() {
    let mut flood = Flood::of(FloodOf::Empty, 0);
    flood.every = Duration::from_millis(10);
    flood.times = Some(5);
    let site = Site::new(flooding(vec![after("web", 200)], flood)).await;
    let mut socket = flooded(&site).await;
    let (mut empty, mut results) = (0, 0);
    for _ in 0..6 {
        match next(&mut socket).await {
            Frame::Text(text) if text.is_empty() => empty += 1,
            other => results += usize::from(other.json()["type"] == "result"),
        }
    }
    assert_eq!((empty, results), (5, 1));
}

#[test]
fn floods_can_be_written() {
    let scenario = Scenario::from_yaml(
        "faults:\n  - path: results/websocket\n    socket: {after_results: 1, flood: {of: one_frame, \
         bytes: 10, times: 3, every_ms: 2, deaf: true}}\n",
    )
    .expect("a scenario");
    let socket = scenario.faults[0].socket.clone().expect("a socket");
    let flood = socket.flood.expect("a flood");
    assert_eq!(
        (flood.of, flood.bytes, flood.times),
        (FloodOf::OneFrame, 10, Some(3))
    );
    assert!(flood.deaf && flood.every == Duration::from_millis(2));
}
