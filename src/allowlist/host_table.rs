//! A table as hosts have it, and what osquery's `xBestIndex` answers to SQLite's planner about it
//! (osquery/sql/virtual_table.cpp), so that a plan that is made here is the plan that a host makes. Pure.

use super::template::Table;

/// A table of osquery with the columns that a template may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostTable {
    /// Its name.
    pub(super) name: String,
    /// Its columns; SQLite knows them by their places.
    pub(super) columns: Vec<HostColumn>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostColumn {
    /// Its name.
    pub(super) name: String,
    /// Whether `SELECT *` leaves it out.
    pub(super) hidden: bool,
    /// What it holds, as far as that is known.
    pub(super) content: Content,
    /// What the table does with a comparison.
    pub(super) lookup: Lookup,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nobody has said.
    Unknown,
    /// Text: osquery hands no range of it to a table.
    Text,
    /// Numbers.
    Numbers,
}

/// What a table does with a comparison of one of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Nothing: SQLite compares the rows that the table gives.
    None,
    /// It looks for just those rows (osquery's `index` and `additional`).
    Index,
    /// It has no rows without (osquery's `required`).
    Required,
}

/// How a column is compared, as SQLite tells a virtual table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `=` and `IN`.
    Equal,
    /// `LIKE`, without `ESCAPE`: with it, SQLite tells the table nothing.
    Like,
    /// `GLOB`.
    Glob,
    /// `<`, `<=`, `>`, `>=` and `BETWEEN`.
    Range,
    /// Anything else: `!=`, `IS`, `IS NOT NULL`, `MATCH` and so on.
    Other,
}

/// A comparison that SQLite offers to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// The column by its place; none for the row's id.
    pub(super) column: Option<usize>,
    /// How it is compared.
    pub(super) comparison: Comparison,
    /// Whether what it is compared with is known when the table is asked.
    pub(super) usable: bool,
}

/// What osquery answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// The offers that are handed to the table, by their places.
    pub(super) taken: Vec<usize>,
    /// What it costs.
    pub(super) cost: f64,
}

/// osquery's `kMaxIndexCost`.
const MOST: f64 = 1_000_000.0;

impl HostTable {
    /// The table as far as a template says what it is: enough to read SQL, not to plan it.
    pub(super) fn declared(name: &str, table: &Table) -> Self {
        let column = |name: &String, hidden: bool| HostColumn {
            name: name.clone(),
            hidden,
            content: Content::Unknown,
            lookup: Lookup::None,
        };
        let shown = table.columns.iter().map(|name| column(name, false));
        let hidden = table.hidden.iter().map(|name| column(name, true));
        Self {
            name: name.to_owned(),
            columns: shown.chain(hidden).collect(),
        }
    }

    /// Makes a column one without which the table has no rows, though the template may not read it.
    pub(super) fn require(&mut self, column: &str) {
        match self.columns.iter_mut().find(|known| known.name == column) {
            Some(known) => known.lookup = Lookup::Required,
            None => self.columns.push(HostColumn {
                name: column.to_owned(),
                hidden: true,
                content: Content::Unknown,
                lookup: Lookup::Required,
            }),
        }
    }

    /// The names of the columns in SQLite's mask of those that a statement uses.
    pub(super) fn used(&self, mask: u64) -> impl Iterator<Item = &str> {
        let is_used = move |place: usize| mask & bit(place) != 0;
        let columns = self.columns.iter().enumerate();
        columns
            .filter(move |(place, _)| is_used(*place))
            .map(|(_, column)| column.name.as_str())
    }

    /// osquery's answer to the planner: which comparisons it takes, and at what cost.
    pub(super) fn answer(&self, used: u64, offers: &[Offer]) -> Answer {
        let mut cost = MOST;
        let mut taken = Vec::new();
        let mut has_required = false;
        for (place, offer) in offers.iter().enumerate() {
            let Some(column) = offer.column.and_then(|column| self.columns.get(column)) else {
                continue;
            };
            if !offer.usable {
                continue;
            }
            if column.content == Content::Text && offer.comparison == Comparison::Range {
                cost += 10.0;
                continue;
            }
            match column.lookup {
                Lookup::None => continue,
                Lookup::Index => {}
                Lookup::Required => has_required = true,
            }
            cost = 1.0;
            taken.push(place);
        }
        let mut used = self
            .columns
            .iter()
            .enumerate()
            .filter(|(place, _)| used & bit(*place) != 0);
        if !has_required && used.any(|(_, column)| column.lookup == Lookup::Required) {
            cost = MOST;
        }
        Answer { taken, cost }
    }
}

/// A column's bit in SQLite's mask; from the 64th on they share one.
fn bit(place: usize) -> u64 {
    1 << place.min(63)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Comparison, Content, HostColumn, HostTable, Lookup, MOST, Offer, bit};

    fn comparisons() -> impl Strategy<Value = Comparison> {
        prop_oneof![
            Just(Comparison::Equal),
            Just(Comparison::Like),
            Just(Comparison::Glob),
            Just(Comparison::Range),
            Just(Comparison::Other),
        ]
    }

    fn tables() -> impl Strategy<Value = HostTable> {
        let lookup = prop_oneof![
            Just(Lookup::None),
            Just(Lookup::Index),
            Just(Lookup::Required)
        ];
        let content = prop_oneof![
            Just(Content::Unknown),
            Just(Content::Text),
            Just(Content::Numbers)
        ];
        let column = (content, lookup).prop_map(|(content, lookup)| HostColumn {
            name: "a".to_owned(),
            hidden: false,
            content,
            lookup,
        });
        proptest::collection::vec(column, 0..70).prop_map(|columns| HostTable {
            name: "t".to_owned(),
            columns,
        })
    }

    fn offers() -> impl Strategy<Value = Vec<Offer>> {
        let offer = (
            proptest::option::of(0..72_usize),
            comparisons(),
            any::<bool>(),
        );
        proptest::collection::vec(
            offer.prop_map(|(column, comparison, usable)| Offer {
                column,
                comparison,
                usable,
            }),
            0..8,
        )
    }

    proptest! {
        #[test]
        fn takes_what_is_usable_and_looked_up_and_nothing_else(
            table in tables(), offers in offers(), used in any::<u64>(),
        ) {
            let answer = table.answer(used, &offers);
            for (place, offer) in offers.iter().enumerate() {
                let column = offer.column.and_then(|column| table.columns.get(column));
                let expected = offer.usable && column.is_some_and(|column| {
                    column.lookup != Lookup::None
                        && !(column.content == Content::Text && offer.comparison == Comparison::Range)
                });
                prop_assert_eq!(answer.taken.contains(&place), expected);
            }
        }

        #[test]
        fn a_table_is_dear_where_it_is_read_through_or_would_be_empty(
            table in tables(), offers in offers(), used in any::<u64>(),
        ) {
            let answer = table.answer(used, &offers);
            let lookup = |place: usize| table.columns[offers[place].column.unwrap()].lookup;
            let required = answer.taken.iter().any(|place| lookup(*place) == Lookup::Required);
            let needs = table.columns.iter().enumerate().any(|(place, column)| {
                column.lookup == Lookup::Required && used & bit(place) != 0
            });
            if answer.taken.is_empty() || (needs && !required) {
                prop_assert!(answer.cost >= MOST);
            } else {
                prop_assert!(answer.cost < 100.0);
            }
        }

        #[test]
        fn what_no_statement_uses_is_not_listed(table in tables()) {
            prop_assert_eq!(table.used(0).count(), 0);
            prop_assert_eq!(table.used(u64::MAX).count(), table.columns.len());
        }
    }
}
