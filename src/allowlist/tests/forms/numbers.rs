//! Numbers, moments, truth values and choices.

use serde_json::json;

use super::{ALL, Forms, number, of, refused, text};
use crate::allowlist::tests::NOW;

pub(super) fn numbers() -> Vec<Forms> {
    vec![
        of(
            "type: integer\n minimum: 1\n maximum: 10\n default: 1",
            ALL,
            vec![number(5, &[json!(5), json!("5")])],
            vec![
                (json!("0x5"), "not other text"),
                (json!("5.0"), "without a fraction"),
                (json!("05"), "without leading zeros"),
                (json!(true), "not true or false"),
            ],
        ),
        of(
            "type: port\n example: 443",
            ALL,
            vec![number(443, &[json!(443), json!("443")])],
            vec![
                (json!("tcp/443"), "a port from 1"),
                (json!("0x1bb"), "a port from 1"),
                (json!(0), "a port from 1"),
            ],
        ),
        of(
            "type: pid\n example: 1",
            ALL,
            vec![
                number(
                    6_700,
                    &[
                        json!(6_700),
                        json!("6700"),
                        json!("0x1a2c"),
                        json!("0x1A2C"),
                        json!("0X1a2c"),
                        json!("0x00001a2c"),
                    ],
                ),
                number(i64::from(u32::MAX), &[json!("0xffffffff")]),
            ],
            vec![
                (json!("1a2c"), "hexadecimal as `0x1a2c`"),
                (json!("0x"), "hexadecimal as `0x1a2c`"),
                (json!("0x100000000"), "to 4294967295"),
                (json!("0xfffffffffffffffffff"), "to 4294967295"),
                (json!("-0x1"), "hexadecimal as `0x1a2c`"),
            ],
        ),
        of(
            "type: since\n default: -1h",
            ALL,
            vec![number(
                NOW - 3_600,
                &[
                    json!("-1h"),
                    json!("-60m"),
                    json!(NOW - 3_600),
                    json!((NOW - 3_600).to_string()),
                    json!((NOW - 3_600) * 1_000),
                    json!(((NOW - 3_600) * 1_000 + 250).to_string()),
                    json!("2026-11-18T10:06:40Z"),
                    json!("2026-11-18T12:06:40.123+02:00"),
                ],
            )],
            vec![
                (json!("2026-11-18T10:06:40"), "needs its zone"),
                (json!("2026-11-18"), "needs its time and zone"),
                (json!("1h"), "begins with `-`"),
                (json!("yesterday"), "not other text"),
            ],
        ),
        of(
            "type: boolean\n default: false",
            ALL,
            vec![number(1, &[json!(true), json!("true")])],
            vec![(json!(1), "not a number"), (json!("yes"), "not other text")],
        ),
        of(
            "type: choice\n choices: [tcp, udp, A, a]\n default: tcp",
            ALL,
            vec![
                text("tcp", &["tcp", "TCP", " tcp ", "'Tcp'"]),
                text("A", &["A"]),
                text("a", &["a"]),
            ],
            refused(&[("icmp", "one of `tcp`")]),
        ),
    ]
}
