//! The graph of a playbook's steps: pure, ids and references in, findings out. Knows nothing of YAML or of
//! what a step does.
//!
//! After a step comes the one that `next_true` or `next_false` names; where one of them is left out, the
//! next in the list may come. A step with `depends_on` comes once those have run. The first step and every
//! step that depends on nothing it could wait for are reached from there. Steps nested in another come with
//! it, one after the other or all at once, and what follows it may follow each of them.

use std::collections::{BTreeSet, HashMap};

use super::finding::Severity;
use crate::nearest::question;

/// What a step says of its place in the graph.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// `next_true`.
    pub next_true: Option<String>,
    /// `next_false`.
    pub next_false: Option<String>,
    /// `depends_on`.
    pub depends_on: Vec<String>,
    /// The steps that its condition names.
    pub condition: Vec<String>,
    /// The step that it is nested in, which stands before it, from zero.
    pub parent: Option<usize>,
    /// How the steps that are nested in it run.
    pub body: Body,
}

/// How nested steps run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Body {
    /// One after the other.
    #[default]
    InOrder,
    /// All at once.
    AtOnce,
    /// One after the other, again and again.
    Repeated,
}

/// Where in a step a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The step as a whole, or its id.
    Id,
    /// The value of this key.
    Key(&'static str),
    /// An item of `depends_on`.
    DependsOn(usize),
}

/// Something wrong with the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which step, from zero.
    pub step: usize,
    /// Where in it.
    pub place: Place,
    /// The rule.
    pub rule: &'static str,
    /// How grave.
    pub severity: Severity,
    /// In the user's words.
    pub message: String,
}

/// Everything that is wrong with the graph.
pub fn faults(steps: &[Step]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(id) = &step.id else { continue };
        if let Some(first) = ids.get(id.as_str()) {
            faults.push(Fault {
                step: index,
                place: Place::Id,
                rule: "repeated_step_id",
                severity: Severity::Error,
                message: format!(
                    "the step id `{id}` appears twice: step {} has it too",
                    number(steps, *first)
                ),
            });
        } else {
            ids.insert(id, index);
        }
    }
    let graph = Graph {
        steps,
        ids,
        following: following(steps),
        links: links(steps),
    };
    graph.unknown(&mut faults);
    graph.cycles(&mut faults);
    graph.unreached(&mut faults);
    graph.conditions(&mut faults);
    faults
}

/// A step's number as people count, `3`; of one that is nested, `3.1`.
fn number(steps: &[Step], index: usize) -> String {
    let parent = steps[index].parent;
    let before = steps[..=index].iter().filter(|step| step.parent == parent);
    let own = before.count();
    match parent {
        Some(parent) => format!("{}.{own}", number(steps, parent)),
        None => own.to_string(),
    }
}

/// The step that follows each in its list, if it does not run beside it.
fn following(steps: &[Step]) -> Vec<Option<usize>> {
    let mut following = vec![None; steps.len()];
    let mut last: HashMap<Option<usize>, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        let at_once = |parent: usize| steps[parent].body == Body::AtOnce;
        if step.parent.is_some_and(at_once) {
            continue;
        }
        if let Some(before) = last.insert(step.parent, index) {
            following[before] = Some(index);
        }
    }
    following
}

/// Every reference of a step, with its place.
fn links(steps: &[Step]) -> Vec<Vec<(Place, String)>> {
    let of = |step: &Step| {
        let next = [
            ("next_true", &step.next_true),
            ("next_false", &step.next_false),
        ];
        let next = next
            .into_iter()
            .filter_map(|(key, id)| Some((Place::Key(key), id.clone()?)));
        let depends = step.depends_on.iter().enumerate();
        let depends = depends.map(|(at, id)| (Place::DependsOn(at), id.clone()));
        next.chain(depends).collect()
    };
    steps.iter().map(of).collect()
}

struct Graph<'a> {
    steps: &'a [Step],
    ids: HashMap<&'a str, usize>,
    links: Vec<Vec<(Place, String)>>,
    following: Vec<Option<usize>>,
}

impl Graph<'_> {
    fn unknown(&self, faults: &mut Vec<Fault>) {
        for (index, links) in self.links.iter().enumerate() {
            for (place, id) in links {
                if self.ids.contains_key(id.as_str()) {
                    continue;
                }
                let key = match place {
                    Place::Key(key) => key,
                    _ => "depends_on",
                };
                faults.push(Fault {
                    step: index,
                    place: *place,
                    rule: "unknown_step",
                    severity: Severity::Error,
                    message: format!("`{key}` names no step of this playbook{}", self.likely(id)),
                });
            }
        }
    }

    fn likely(&self, name: &str) -> String {
        let mut ids: Vec<&str> = self.ids.keys().copied().collect();
        ids.sort_unstable();
        question(name, ids)
            .map(|question| format!(": {question}"))
            .unwrap_or_default()
    }

    /// Steps that follow by what is written.
    fn written(&self) -> Vec<BTreeSet<usize>> {
        let mut edges = vec![BTreeSet::new(); self.steps.len()];
        for (index, links) in self.links.iter().enumerate() {
            for (place, id) in links {
                match (self.ids.get(id.as_str()), place) {
                    (Some(other), Place::DependsOn(_)) => edges[*other].insert(index),
                    (Some(other), _) => edges[index].insert(*other),
                    (None, _) => false,
                };
            }
        }
        edges
    }

    /// The next in the list, where a step may go on to it.
    fn falls_through(&self, index: usize) -> Option<usize> {
        let step = &self.steps[index];
        let open = step.next_true.is_none() || step.next_false.is_none();
        self.following[index].filter(|_| open)
    }

    fn cycles(&self, faults: &mut Vec<Fault>) {
        let written = self.written();
        let mut in_cycle = BTreeSet::new();
        for members in components(&written) {
            in_cycle.extend(members.iter().copied());
            faults.push(self.cycle(&members, Severity::Error, ""));
        }
        let mut all = written;
        for (index, edges) in all.iter_mut().enumerate() {
            // Where dependencies order the steps, the list does not.
            if let Some(next) = self.falls_through(index)
                && self.steps[index].depends_on.is_empty()
                && self.steps[next].depends_on.is_empty()
            {
                edges.insert(next);
            }
        }
        for members in components(&all) {
            if members.iter().any(|member| in_cycle.contains(member)) {
                continue;
            }
            let unless = ", if the engine goes on with the next step of the list where `next_true` or `next_false` is left out";
            faults.push(self.cycle(&members, Severity::Warning, unless));
        }
    }

    fn cycle(&self, members: &[usize], severity: Severity, unless: &str) -> Fault {
        let names: Vec<String> = members
            .iter()
            .take(8)
            .map(|member| match &self.steps[*member].id {
                Some(id) => format!("`{id}`"),
                None => format!("step {}", number(self.steps, *member)),
            })
            .collect();
        let more = if members.len() > 8 { " …" } else { "" };
        let first = members.first().copied().unwrap_or_default();
        Fault {
            step: first,
            place: Place::Id,
            rule: "cycle",
            severity,
            message: match members {
                [_] => format!("this step comes back to itself{unless}"),
                _ => format!(
                    "these steps run in a circle: {}{more}{unless}",
                    names.join(", ")
                ),
            },
        }
    }

    /// The steps that come, and those that can come before a step: the most generous reading.
    fn generous(&self) -> Vec<BTreeSet<usize>> {
        let mut edges = self.written();
        for (index, edge) in edges.iter_mut().enumerate() {
            edge.extend(self.falls_through(index));
        }
        let mut leaving = edges.clone();
        let mut ends: HashMap<usize, (usize, usize)> = HashMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            let Some(parent) = step.parent else { continue };
            let (first, last) = ends.entry(parent).or_insert((index, index));
            *last = index;
            if *first == index || self.steps[parent].body == Body::AtOnce {
                edges[parent].insert(index);
            }
            // What follows the step around it follows this one, too.
            let after = leaving[parent].clone();
            edges[index].extend(&after);
            leaving[index].extend(after);
        }
        for (parent, (first, last)) in ends {
            if self.steps[parent].body == Body::Repeated {
                edges[last].insert(first);
            }
        }
        edges
    }

    fn unreached(&self, faults: &mut Vec<Fault>) {
        if self.steps.is_empty() {
            return;
        }
        let reached = walk(&self.generous(), 0);
        for index in 0..self.steps.len() {
            if reached.contains(&index) {
                continue;
            }
            faults.push(Fault {
                step: index,
                place: Place::Id,
                rule: "unreached_step",
                severity: Severity::Error,
                message: "this step is never reached: no step leads to it".into(),
            });
        }
    }

    fn conditions(&self, faults: &mut Vec<Fault>) {
        let edges = self.generous();
        for (index, step) in self.steps.iter().enumerate() {
            let mut told = BTreeSet::new();
            for name in &step.condition {
                let known = |id: &str| self.ids.contains_key(id);
                if !told.insert(name) {
                    continue;
                }
                if !super::conditions::is_known(name, known) {
                    faults.push(Fault {
                        step: index,
                        place: Place::Key("condition"),
                        rule: "unknown_step",
                        severity: Severity::Error,
                        message: format!(
                            "`condition` names a step that this playbook does not have{}",
                            self.likely(name)
                        ),
                    });
                } else if let Some(other) = self.ids.get(name.as_str()) {
                    // A condition may be asked after the step itself has run, to choose what is next.
                    let own =
                        *other == index && (step.next_true.is_some() || step.next_false.is_some());
                    let before = *other != index && walk(&edges, *other).contains(&index);
                    if !own && !before {
                        faults.push(Fault {
                            step: index,
                            place: Place::Key("condition"),
                            rule: "step_order",
                            severity: Severity::Warning,
                            message: format!(
                                "`condition` names the step `{name}`, which can't have run before"
                            ),
                        });
                    }
                }
            }
        }
    }
}

/// Everything that can be reached from a step, itself included.
fn walk(edges: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(index) = open.pop() {
        for next in &edges[index] {
            if reached.insert(*next) {
                open.push(*next);
            }
        }
    }
    reached
}

/// The strongly connected components that are cycles, each in order, by Tarjan without recursion.
fn components(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let count = edges.len();
    let (mut order, mut low) = (vec![UNSEEN; count], vec![0; count]);
    let (mut stack, mut on_stack) = (Vec::new(), vec![false; count]);
    let mut cycles = Vec::new();
    let mut clock = 0;
    for root in 0..count {
        if order[root] != UNSEEN {
            continue;
        }
        let mut calls = vec![(root, edges[root].iter())];
        (order[root], low[root], on_stack[root]) = (clock, clock, true);
        stack.push(root);
        clock += 1;
        while let Some((node, rest)) = calls.last_mut() {
            let node = *node;
            match rest.next() {
                Some(&next) if order[next] == UNSEEN => {
                    (order[next], low[next], on_stack[next]) = (clock, clock, true);
                    stack.push(next);
                    clock += 1;
                    calls.push((next, edges[next].iter()));
                }
                Some(&next) if on_stack[next] => low[node] = low[node].min(order[next]),
                Some(_) => {}
                None => {
                    calls.pop();
                    if let Some((parent, _)) = calls.last() {
                        low[*parent] = low[*parent].min(low[node]);
                    }
                    if low[node] == order[node] {
                        let mut members = Vec::new();
                        while let Some(member) = stack.pop() {
                            on_stack[member] = false;
                            members.push(member);
                            if member == node {
                                break;
                            }
                        }
                        members.sort_unstable();
                        if members.len() > 1 || edges[node].contains(&node) {
                            cycles.push(members);
                        }
                    }
                }
            }
        }
    }
    cycles.sort();
    cycles
}

#[cfg(test)]
mod tests;
