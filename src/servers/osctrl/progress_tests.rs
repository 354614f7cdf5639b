//! Whatever order results are stored in, every host's first answer is read once.

use super::super::wire::Unread;
use super::*;
use proptest::prelude::*;
use serde_json::json;

/// A server's stored results, in its order: (time, id, uuid).
#[derive(Debug, Clone, Default)]
struct Stored(Vec<(u64, u64, u64)>);

impl Stored {
    /// Answers as the server does: sorted by time, `size` at most 1,000.
    fn page(&self, window: Window) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        assert!(window.size <= PAGE_SIZE && window.page >= 1);
        let start = (window.page - 1) * window.size;
        let items: Vec<_> = sorted
            .iter()
            .skip(start as usize)
            .take(window.size as usize)
            .map(|(_, id, uuid)| json!({"id": id, "uuid": format!("u{uuid}"), "status": 0, "data": "{}"}))
            .collect();
        json!({"items": items, "total_items": sorted.len()}).to_string()
    }
}

/// What a page brought.
struct Absorbed {
    fresh: Vec<HostId>,
    moved: bool,
    next: Option<Window>,
}

/// Takes a page as it is read.
fn absorb(progress: &mut Progress, body: &str) -> Absorbed {
    let page: serde_json::Value = serde_json::from_str(body).unwrap();
    let items = page.as_array().or_else(|| page["items"].as_array());
    let mut absorbed = Absorbed {
        fresh: Vec::new(),
        moved: false,
        next: None,
    };
    for item in items.unwrap() {
        let json = item.to_string();
        let bytes = json.len();
        let named = Unread::of(json.into_bytes(), true).unwrap().named;
        let known = progress.knows(&named.id);
        let taken = progress.take(&named, bytes);
        assert_eq!(known, taken == Taken::Known);
        absorbed.moved |= !known;
        if let Taken::Fresh(host) = taken {
            absorbed.fresh.push(host);
        }
    }
    let total = page.get("total_items").and_then(serde_json::Value::as_u64);
    absorbed.next = progress.end_of_page(total, absorbed.moved);
    absorbed
}

/// One round of reading; the hosts whose answers came, and how many requests it took.
fn round(progress: &mut Progress, server: &Stored) -> (Vec<HostId>, usize) {
    let mut hosts = Vec::new();
    let mut requests = 0;
    let mut next = Some(progress.poll());
    while let Some(window) = next {
        requests += 1;
        let body = server.page(window);
        let absorbed = absorb(progress, &body);
        hosts.extend(absorbed.fresh);
        next = absorbed.next;
    }
    (hosts, requests)
}

fn named(uuids: impl IntoIterator<Item = u64>) -> Vec<HostId> {
    let mut hosts: Vec<HostId> = uuids
        .into_iter()
        .map(|uuid| HostId::from(&*format!("U{uuid}")))
        .collect();
    hosts.sort();
    hosts
}

#[test]
fn a_page_begins_where_the_known_end() {
    let at = |from, wanted| window(from, wanted, PAGE_SIZE);
    assert_eq!(
        at(0, 1),
        Window {
            page: 1,
            size: 1000
        }
    );
    assert_eq!(at(1, 1), Window { page: 2, size: 1 });
    assert_eq!(at(40, 1), Window { page: 2, size: 40 });
    assert_eq!(at(1000, 9000).page, 2);
    // A prime has no divisor: one result at the end, or a few that are known already.
    assert_eq!(
        at(1009, 1),
        Window {
            page: 1010,
            size: 1
        }
    );
    let some = at(1009, 300);
    assert!((1009 % some.size) < 20 && some.size >= 300, "{some:?}");
    assert!(window(5_000, 5_000, 7).size <= 7);
}

#[test]
fn ten_thousand_at_once_take_ten_requests() {
    let server = Stored((0..10_000).map(|n| (n, n, n)).collect());
    let mut progress = Progress::new(10_000);
    let (hosts, requests) = round(&mut progress, &server);
    assert_eq!((hosts.len(), requests), (10_000, 10));
    let (hosts, requests) = round(&mut progress, &server);
    assert_eq!((hosts.len(), requests), (0, 1));
}

#[test]
fn a_late_item_is_found_further_up() {
    let mut server = Stored((0..2_500).map(|n| (10 * n, n, n)).collect());
    let mut progress = Progress::new(3_000);
    round(&mut progress, &server);
    server.0.push((24_985, 9_999, 2_999));
    let (hosts, requests) = round(&mut progress, &server);
    assert_eq!(hosts, named([2_999]));
    // The place where it belongs, then the last page: not all of them.
    assert!(requests <= 2, "{requests}");
}

#[test]
fn an_item_that_is_repeated_counts_but_brings_nothing() {
    // Transcript `query-answered-twice`: one node twice, the other silent.
    let mut server = Stored(vec![(1, 1044, 4)]);
    let mut progress = Progress::new(2);
    assert_eq!(round(&mut progress, &server).0, named([4]));
    server.0.push((2, 1045, 4));
    assert_eq!(round(&mut progress, &server).0, named([]));
    server.0.push((3, 1046, 5));
    assert_eq!(round(&mut progress, &server), (named([5]), 1));
}

#[test]
fn servers_that_lie_about_their_number_are_not_followed() {
    let mut progress = Progress::new(10);
    let mut requests = 0;
    for _poll in 0..50 {
        let mut next = Some(progress.poll());
        while next.is_some() {
            requests += 1;
            let body = json!({"items": [], "total_items": u64::MAX}).to_string();
            next = absorb(&mut progress, &body).next;
        }
    }
    // One for each poll, and everything that could be there three times.
    assert!(requests <= 50 + 3 * 2, "{requests}");
    assert!(!progress.is_too_much());
}

#[test]
fn endless_results_end() {
    let mut progress = Progress::new(10);
    let mut id = 0;
    let mut next = Some(progress.poll());
    while let Some(window) = next {
        let items: Vec<_> = (0..window.size)
            .map(|_| {
                id += 1;
                json!({"id": id, "uuid": format!("u{id}")})
            })
            .collect();
        let body = json!({"items": items, "total_items": i64::MAX}).to_string();
        next = absorb(&mut progress, &body).next;
    }
    assert!(progress.is_too_much());
}

#[test]
fn pages_are_smaller_where_answers_are_large() {
    let big = "x".repeat(1_000_000);
    let body =
        json!({"items": [{"id": 1, "uuid": "a", "data": big}], "total_items": 1}).to_string();
    let mut progress = Progress::new(5_000);
    absorb(&mut progress, &body);
    assert!(progress.page_size() <= 8);
}

#[test]
fn items_of_no_host_are_counted() {
    let body =
        r#"{"items": [{"id": 1}, {"id": 2, "uuid": ""}, 7, {"uuid": "a"}], "total_items": 4}"#;
    let mut progress = Progress::new(5);
    let absorbed = absorb(&mut progress, body);
    assert!(progress.has_unnamed() && absorbed.moved);
    assert_eq!(absorbed.next, None);
    assert_eq!(absorbed.fresh.len(), 1);
    assert!(progress.has_answered(&HostId::from("A")));
    let again = absorb(&mut progress, body);
    assert!(!again.moved && again.fresh.is_empty());
}

#[test]
fn without_pages_everything_is_read_each_time_and_told_once() {
    let body = r#"[{"id": 1, "uuid": "a"}, {"id": 2, "uuid": "b"}]"#;
    let mut progress = Progress::new(5);
    let absorbed = absorb(&mut progress, body);
    assert_eq!((absorbed.fresh.len(), absorbed.next), (2, None));
    let again = absorb(&mut progress, body);
    assert_eq!(
        (again.fresh.len(), again.next, again.moved),
        (0, None, false)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_window_holds_the_place_it_is_for(from in 0u64..20_000, wanted in 1u64..20_000, largest in 1u64..=1_000) {
        let window = window(from, wanted, largest);
        prop_assert!((1..=largest).contains(&window.size));
        prop_assert!((window.page - 1) * window.size <= from);
        prop_assert!(window.page * window.size > from);
    }

    /// Items stored in any order of times, in any portions, some nodes more than once: after each round
    /// every node that has an item was told exactly once.
    #[test]
    fn every_first_answer_is_told_once(
        portions in prop::collection::vec(prop::collection::vec((0u64..500, 0u64..60), 0..90), 1..8),
    ) {
        let mut server = Stored::default();
        let mut progress = Progress::new(60);
        let mut told: Vec<HostId> = Vec::new();
        let mut stored: HashSet<u64> = HashSet::new();
        for (number, portion) in portions.iter().enumerate() {
            for (at, (time, uuid)) in portion.iter().enumerate() {
                server.0.push((*time, (number * 1_000 + at) as u64, *uuid));
                stored.insert(*uuid);
            }
            told.extend(round(&mut progress, &server).0);
        }
        told.sort();
        prop_assert_eq!(told, named(stored));
    }
}
