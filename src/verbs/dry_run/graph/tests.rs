//! Small graphs by hand, and what holds for any.

use super::*;
use proptest::prelude::*;

fn step(id: &str) -> Step {
    Step {
        id: Some(id.into()),
        ..Step::default()
    }
}

fn next(id: &str, next_true: &str, next_false: &str) -> Step {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Step {
        next_true: some(next_true),
        next_false: some(next_false),
        ..step(id)
    }
}

fn after(id: &str, depends_on: &[&str]) -> Step {
    Step {
        depends_on: depends_on.iter().map(|id| (*id).into()).collect(),
        ..step(id)
    }
}

fn when(id: &str, condition: &[&str]) -> Step {
    Step {
        condition: condition.iter().map(|id| (*id).into()).collect(),
        ..step(id)
    }
}

/// Step, rule and severity of each fault.
fn faults(steps: &[Step]) -> Vec<(usize, &'static str, &'static str)> {
    let faults = super::faults(steps).into_iter();
    faults
        .map(|fault| (fault.step, fault.rule, fault.severity.name()))
        .collect()
}

#[test]
fn sound_graphs_have_no_faults() {
    for steps in [
        vec![],
        vec![step("a"), step("b"), step("c")],
        vec![
            next("a", "b", "c"),
            next("b", "d", "d"),
            step("c"),
            step("d"),
        ],
        vec![after("c", &["b"]), after("b", &[]), after("d", &["b", "c"])],
        vec![step("a"), when("b", &["a"]), when("c", &["a", "b"])],
        // The condition is asked after the step, to choose what is next.
        vec![
            Step {
                condition: vec!["a".into()],
                ..next("a", "b", "")
            },
            step("b"),
        ],
        vec![Step::default(), Step::default()],
    ] {
        assert_eq!(faults(&steps), [], "{steps:?}");
    }
}

#[test]
fn faults_are_found() {
    for (steps, expected) in [
        (
            vec![step("a"), step("a")],
            vec![(1, "repeated_step_id", "error")],
        ),
        (vec![next("a", "x", "")], vec![(0, "unknown_step", "error")]),
        (
            vec![after("a", &["a2", "x"])],
            vec![(0, "unknown_step", "error"); 2],
        ),
        (
            vec![step("a"), when("b", &["x", "x"])],
            vec![(1, "unknown_step", "error")],
        ),
        (
            vec![next("a", "c", "c"), step("b"), step("c")],
            vec![(1, "unreached_step", "error")],
        ),
        (vec![next("a", "a", "")], vec![(0, "cycle", "error")]),
        (
            vec![next("a", "b", "b"), next("b", "a", "a"), step("c")],
            vec![(0, "cycle", "error"), (2, "unreached_step", "error")],
        ),
        (
            vec![after("a", &["b"]), after("b", &["a"])],
            vec![(0, "cycle", "error")],
        ),
        // Only if the engine goes on with the list.
        (
            vec![step("a"), step("b"), next("c", "b", "d"), step("d")],
            vec![(1, "cycle", "warning")],
        ),
        (
            vec![when("a", &["b"]), step("b")],
            vec![(0, "step_order", "warning")],
        ),
        (vec![when("a", &["a"])], vec![(0, "step_order", "warning")]),
    ] {
        assert_eq!(faults(&steps), expected, "{steps:?}");
    }
}

/// A step in another, which runs what is in it so.
fn within(parent: usize, body: Body, step: Step) -> Step {
    Step {
        parent: Some(parent),
        body,
        ..step
    }
}

#[test]
fn nested_steps_come_with_the_one_around_them() {
    let outer = |id: &str, body| Step { body, ..step(id) };
    let inner = |parent, step| within(parent, Body::InOrder, step);
    for (steps, expected) in [
        // All branches are reached, and what follows may ask for each.
        (
            vec![
                outer("p", Body::AtOnce),
                inner(0, step("a")),
                inner(0, step("b")),
                when("c", &["a", "b"]),
            ],
            vec![],
        ),
        // A branch runs beside the others, not after them.
        (
            vec![
                outer("p", Body::AtOnce),
                inner(0, step("a")),
                inner(0, when("b", &["a"])),
            ],
            vec![(2, "step_order", "warning")],
        ),
        // In a loop the last round has run before this one.
        (
            vec![
                outer("l", Body::Repeated),
                inner(0, when("a", &["b"])),
                inner(0, step("b")),
            ],
            vec![],
        ),
        (
            vec![
                outer("g", Body::InOrder),
                inner(0, when("a", &["b"])),
                inner(0, step("b")),
            ],
            vec![(1, "step_order", "warning")],
        ),
        // Three levels, and ids of all of them are one playbook's.
        (
            vec![
                outer("p", Body::AtOnce),
                within(0, Body::Repeated, step("l")),
                within(1, Body::AtOnce, step("q")),
                inner(2, when("a", &["before"])),
                inner(2, step("p")),
            ],
            vec![
                (4, "repeated_step_id", "error"),
                (3, "unknown_step", "error"),
            ],
        ),
        // What is jumped over is never reached, with all that is in it.
        (
            vec![
                next("a", "c", "c"),
                outer("p", Body::AtOnce),
                inner(1, step("b")),
                step("c"),
            ],
            vec![
                (1, "unreached_step", "error"),
                (2, "unreached_step", "error"),
            ],
        ),
    ] {
        assert_eq!(faults(&steps), expected, "{steps:?}");
    }
    let twice = super::faults(&[
        step("x"),
        outer("p", Body::AtOnce),
        inner(1, step("a")),
        inner(1, step("b")),
        step("b"),
    ]);
    assert_eq!(
        twice[0].message,
        "the step id `b` appears twice: step 2.2 has it too"
    );
}

#[test]
fn faults_name_their_place_and_the_likely_step() {
    let found = super::faults(&[
        next("enrich-alert", "isolate", ""),
        after("isolate-host", &["enrich-alert", "enrich-alrt"]),
    ]);
    let found: Vec<(Place, &str)> = found
        .iter()
        .map(|fault| (fault.place, fault.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                Place::Key("next_true"),
                "`next_true` names no step of this playbook"
            ),
            (
                Place::DependsOn(1),
                "`depends_on` names no step of this playbook: did you mean `enrich-alert`?"
            ),
        ]
    );
}

/// Whether a walk along what is written comes back to its start, the slow way.
fn returns(steps: &[Step], start: usize) -> bool {
    let index = |id: &str| steps.iter().position(|step| step.id.as_deref() == Some(id));
    let edges = |from: usize| -> Vec<usize> {
        let step = &steps[from];
        let next = [&step.next_true, &step.next_false];
        let next = next.into_iter().flatten().filter_map(|id| index(id));
        let waiting = steps
            .iter()
            .enumerate()
            .filter(|(_, other)| other.depends_on.iter().any(|id| index(id) == Some(from)));
        next.chain(waiting.map(|(at, _)| at)).collect()
    };
    let (mut seen, mut open) = (vec![false; steps.len()], edges(start));
    while let Some(at) = open.pop() {
        if at == start {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(edges(at));
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn cycles_are_those_that_a_slow_search_finds(
        links in proptest::collection::vec((0usize..9, 0usize..9, 0usize..12), 1..9)
    ) {
        let count = links.len();
        let name = |at: usize| (at < count).then(|| format!("s{at}"));
        let steps: Vec<Step> = links.iter().enumerate().map(|(at, (yes, no, wait))| Step {
            id: name(at),
            next_true: name(*yes),
            next_false: name(*no),
            depends_on: name(*wait).into_iter().collect(),
            ..Step::default()
        }).collect();
        let found = super::faults(&steps);
        let told = found.iter().any(|fault| fault.rule == "cycle" && fault.severity == Severity::Error);
        prop_assert_eq!(told, (0..count).any(|at| returns(&steps, at)));
        // Nothing is said twice, and every fault is in a step.
        for (at, fault) in found.iter().enumerate() {
            prop_assert!(fault.step < count);
            prop_assert!(!found[..at].contains(fault));
        }
        // The first step is always reached.
        prop_assert!(!found.iter().any(|fault| fault.step == 0 && fault.rule == "unreached_step"));
    }
}
