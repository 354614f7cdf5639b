//! The cases of `tests/cases/` against servers of other ages: the same comes out, but for what is said here.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::cases::{Came, each, run_changed, steps};

/// osctrl's ages that behave differently; the recorded one first.
const OSCTRL: [&str; 3] = ["0.5.4", "0.5.5", "0.5.6"];

/// What comes out instead of what the case says: exit status, and a part of stderr.
struct Differs {
    case: &'static str,
    age: &'static str,
    status: i32,
    says: &'static str,
}

/// Fleet's: the recorded one has both spellings of the paths, for its sake; what it had not got is not here.
const FLEET: [&str; 4] = ["4.69", "4.82", "4.90", "4.93"];

const OSCTRL_DIFFERS: [Differs; 1] = [Differs {
    case: "target-tag",
    age: "0.5.4",
    status: 21,
    says: "does not say which hosts have a tag: it is older than osctrl 0.5.5",
}];

fn of_age(scenario: &mut Value, server: &str, age: &str) {
    if scenario.is_null() {
        *scenario = json!({});
    }
    scenario[server]["version"] = age.into();
}

#[test]
fn fleet_answers_the_same_at_every_age() {
    let cases: Vec<_> = steps()
        .into_iter()
        .filter(|(_, path)| {
            let step = std::fs::read(path).expect("a step");
            let step = String::from_utf8_lossy(&step).into_owned();
            step.contains("fleet")
        })
        .flat_map(|(name, path)| FLEET.map(|age| (name.clone(), path.clone(), age)))
        .collect();
    let ran = AtomicUsize::new(0);
    each(cases, |(name, path, age)| {
        let has_servers = run_changed(name, path, |scenario| of_age(scenario, "fleet", age), None)
            .map_err(|message| format!("{name} at {age}: {message}"))?;
        ran.fetch_add(usize::from(has_servers), Ordering::Relaxed);
        Ok(())
    });
    let ran = ran.into_inner();
    assert!(ran > 4 * 20, "{ran} runs against a server");
}

#[test]
fn osctrl_answers_the_same_at_every_age() {
    let cases: Vec<_> = steps()
        .into_iter()
        .filter(|(_, path)| {
            let step = std::fs::read(path).expect("a step");
            String::from_utf8_lossy(&step).contains("backend: osctrl")
        })
        .flat_map(|(name, path)| OSCTRL.map(|age| (name.clone(), path.clone(), age)))
        .collect();
    assert!(cases.len() > 3 * 30, "{} runs", cases.len());
    each(cases, |(name, path, age)| {
        let differs = OSCTRL_DIFFERS
            .iter()
            .find(|differs| differs.case == name && differs.age == *age);
        let instead = |(status, _, stderr, _): &Came| {
            differs
                .is_some_and(|differs| *status == differs.status && stderr.contains(differs.says))
        };
        let instead: Option<&dyn Fn(&Came) -> bool> = match differs {
            Some(_) => Some(&instead),
            None => None,
        };
        run_changed(
            name,
            path,
            |scenario| of_age(scenario, "osctrl", age),
            instead,
        )
        .map(drop)
        .map_err(|message| format!("{name} at {age}: {message}"))
    });
    for differs in &OSCTRL_DIFFERS {
        let known = steps().iter().any(|(name, _)| name == differs.case);
        assert!(known && OSCTRL.contains(&differs.age), "{}", differs.case);
    }
}
