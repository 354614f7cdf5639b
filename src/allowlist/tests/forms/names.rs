//! Accounts, processes, and the names and addresses of the network.

use super::{ALL, Forms, UNIX, of, refused, text};

pub(super) fn accounts() -> Vec<Forms> {
    vec![
        of(
            "type: user_name\n example: root",
            ALL,
            vec![
                text("root", &["root", " root ", "\"root\"", "'root'"]),
                text("_www", &["_www"]),
                text("josé", &["josé"]),
                text("jose\u{301}", &["jose\u{301}"]),
                text("Anna Schmidt", &["Anna Schmidt"]),
                text("svc$", &["svc$"]),
                text("o'brien", &["o'brien"]),
                text(
                    "svc-web",
                    &[
                        "svc-web",
                        r"CORP\svc-web",
                        r"CORP\\svc-web",
                        r".\svc-web",
                        r"corp.example.com\svc-web",
                    ],
                ),
                text("SYSTEM", &[r"NT AUTHORITY\SYSTEM"]),
                text("1000", &["1000"]),
            ],
            refused(&[
                ("svc-web@corp.example.com", "without `@domain`"),
                ("S-1-5-21-1-2-3-500", "not its SID"),
                (r"a\b\c", r"`DOMAIN\name`"),
                (r"\a", r"`DOMAIN\name`"),
                (r"CORP\", r"`DOMAIN\name`"),
                ("-x", "must be a user name"),
                ("a;b", "must be a user name"),
                ("a%", "must be a user name"),
                ("a\"b", "must be a user name"),
                ("CORP/a", "must be a user name"),
                (
                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                    "must be a user name",
                ),
            ]),
        ),
        of(
            "type: user_name\n example: root",
            UNIX,
            vec![text("anna", &["anna", " anna"])],
            refused(&[
                (r"CORP\anna", r"without a domain and `\`"),
                (r".\anna", r"without a domain and `\`"),
                ("anna@corp.example.com", "without `@domain`"),
            ]),
        ),
        of(
            "type: group_name\n example: docker",
            ALL,
            vec![
                text("docker", &["docker", " docker"]),
                text(
                    "Administrators",
                    &[
                        "Administrators",
                        r"BUILTIN\Administrators",
                        r"BUILTIN\\Administrators",
                    ],
                ),
                text(
                    "Remote Desktop Users",
                    &["Remote Desktop Users", r"HOST\Remote Desktop Users"],
                ),
                text("R&D (Berlin)", &["R&D (Berlin)"]),
            ],
            refused(&[
                ("S-1-5-32-544", "not its SID"),
                ("admins@corp.example.com", "without `@domain`"),
                ("a;b", "must be the name of a group"),
                ("a%", "must be the name of a group"),
            ]),
        ),
        of(
            "type: group_name\n example: docker",
            UNIX,
            vec![text("sudo", &["sudo", "'sudo'"])],
            refused(&[(r"CORP\admins", r"without a domain and `\`")]),
        ),
        of(
            "type: process_name\n example: bash",
            ALL,
            vec![
                text("bash", &["bash"]),
                text("kworker/0:1H-kblockd", &["kworker/0:1H-kblockd"]),
                text("(sd-pam)", &["(sd-pam)"]),
                text(
                    "Google Chrome Helper (Renderer)",
                    &["Google Chrome Helper (Renderer)"],
                ),
            ],
            refused(&[
                ("/usr/bin/ssh", "without the path"),
                (r"C:\Windows\x.exe", r"without `\`"),
                (" bash", "begin or end with a blank"),
                ("bash ", "begin or end with a blank"),
                ("\"bash\"", "without `\"`"),
                ("%", "without `%`"),
                ("a*", "without `*`"),
            ]),
        ),
    ]
}

pub(super) fn network() -> Vec<Forms> {
    vec![
        of(
            "type: host_name\n example: web-01",
            ALL,
            vec![
                text("web-01", &["web-01", " web-01 "]),
                text(
                    "web_01.corp.example.com",
                    &["web_01.corp.example.com", "web_01.corp.example.com."],
                ),
                text("1.example", &["1.example"]),
            ],
            refused(&[
                ("a..b", "a host name of"),
                (".a", "a host name of"),
                ("-a", "a host name of"),
                ("a-", "a host name of"),
                ("a b", "a host name of"),
                ("é.example", "a host name of"),
                ("a%", "a host name of"),
            ]),
        ),
        of(
            "type: domain\n example: example.com",
            ALL,
            vec![text(
                "evil.example.com",
                &[
                    "evil.example.com",
                    "Evil.Example.COM",
                    "evil.example.com.",
                    "evil[.]example[.]com",
                    "evil(.)example.com",
                    "\"evil.example.com\"",
                ],
            )],
            refused(&[
                ("com", "a domain name such as"),
                ("192.0.2.1", "a domain name such as"),
                ("a.b..", "a domain name such as"),
                ("пример.example", "`xn--`"),
                ("https://a.example", "without scheme and path"),
                ("a.example/x", "without scheme and path"),
                ("*.a.example", "without a wildcard"),
                (".a.example", "without a wildcard"),
            ]),
        ),
        of(
            "type: ip_address\n example: 192.0.2.1",
            ALL,
            vec![
                text(
                    "192.0.2.10",
                    &[
                        "192.0.2.10",
                        "192.0.2[.]10",
                        "::ffff:192.0.2.10",
                        "::FFFF:c000:20a",
                        " 192.0.2.10",
                    ],
                ),
                text(
                    "2001:db8::1",
                    &[
                        "2001:db8::1",
                        "2001:DB8:0::1",
                        "2001:0db8:0000:0000:0000:0000:0000:0001",
                        "[2001:db8::1]",
                    ],
                ),
                text(
                    "2001:db8:0:1:1:1:1:1",
                    &["2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
                ),
                text("::1", &["::1", "0:0:0:0:0:0:0:1"]),
                text("::", &["::"]),
            ],
            refused(&[
                ("192.0.2.1/24", "without port, prefix or zone"),
                ("192.0.2.01", "without port, prefix or zone"),
                ("fe80::1%eth0", "without port, prefix or zone"),
                ("192.0.2.1:80", "without port, prefix or zone"),
                ("[2001:db8::1]:443", "without port, prefix or zone"),
                ("3221225985", "without port, prefix or zone"),
                ("::192.0.2.1", "by itself"),
            ]),
        ),
        of(
            "type: mac_address\n example: 00:1a:2b:3c:4d:5e",
            ALL,
            vec![text(
                "00:1a:2b:3c:4d:5e",
                &[
                    "00:1a:2b:3c:4d:5e",
                    "00-1A-2B-3C-4D-5E",
                    "001a.2b3c.4d5e",
                    "001A2B3C4D5E",
                    "00:1A:2b:3C:4d:5E",
                ],
            )],
            refused(&[
                ("10:1a:2b:3c:4d", "six pairs"),
                ("00:1a:2b:3c:4d:5e:6f", "six pairs"),
                ("1:1a:2b:3c:4d:5e", "six pairs"),
                ("00:1a-2b:3c-4d:5e", "six pairs"),
                ("00 1a 2b 3c 4d 5e", "six pairs"),
                ("00:1a:2b:3c:4d:5g", "six pairs"),
            ]),
        ),
    ]
}
