//! Digests, packages and free text.

use serde_json::json;

use super::{ALL, Forms, UNIX, WINDOWS, of, refused, text};

pub(super) fn digests() -> Vec<Forms> {
    vec![
        of(
            "type: hash\n example: d41d8cd98f00b204e9800998ecf8427e",
            ALL,
            vec![
                text(
                    "d41d8cd98f00b204e9800998ecf8427e",
                    &[
                        "d41d8cd98f00b204e9800998ecf8427e",
                        "D41D8CD98F00B204E9800998ECF8427E",
                        "md5:d41d8cd98f00b204e9800998ecf8427e",
                        "MD5=D41D8CD98F00B204E9800998ECF8427E",
                        "md5: d41d8cd98f00b204e9800998ecf8427e",
                        "\"d41d8cd98f00b204e9800998ecf8427e\"",
                    ],
                ),
                text(
                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                    &["sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"],
                ),
            ],
            refused(&[
                ("sha256:d41d8cd98f00b204e9800998ecf8427e", "as many digits"),
                ("d41d8cd98f00b204e9800998ecf8427", "a hash: md5"),
                ("g41d8cd98f00b204e9800998ecf8427e", "a hash: md5"),
                (
                    "MD5=d41d8cd98f00b204e9800998ecf8427e,SHA1=da39a3ee5e6b4b0d3255bfef95601890afd80709",
                    "a hash: md5",
                ),
            ]),
        ),
        of(
            "type: hash\n algorithms: [sha1]\n example: da39a3ee5e6b4b0d3255bfef95601890afd80709",
            ALL,
            vec![text(
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                &[
                    "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09",
                    "da 39 a3 ee 5e 6b 4b 0d 32 55 bf ef 95 60 18 90 af d8 07 09",
                    "da-39-a3-ee-5e-6b-4b-0d-32-55-bf-ef-95-60-18-90-af-d8-07-09",
                    "sha1:DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
                ],
            )],
            refused(&[
                ("d41d8cd98f00b204e9800998ecf8427e", "a hash: sha1"),
                ("DA:39:A3", "a hash: sha1"),
            ]),
        ),
    ]
}

pub(super) fn packages() -> Vec<Forms> {
    vec![
        of(
            "type: package_name\n example: openssl",
            ALL,
            vec![
                text("openssl", &["openssl", " openssl "]),
                text("g++", &["g++"]),
                text("@babel/core", &["@babel/core"]),
            ],
            refused(&[
                ("pkg:npm/lodash@4.17.21", "not a package URL"),
                ("PKG:deb/openssl", "not a package URL"),
                ("cpe:2.3:a:openssl:openssl:3.0.0", "not a CPE"),
                ("swid:x", "not a SWID tag"),
                ("-x", "the name of a package"),
                ("a b", "the name of a package"),
                ("a%", "the name of a package"),
                ("ä", "the name of a package"),
            ]),
        ),
        of(
            "type: package_name\n ecosystem: deb\n example: openssl",
            ALL,
            vec![
                text(
                    "openssl",
                    &["openssl", "OpenSSL", "openssl:amd64", "openssl:any"],
                ),
                text("g++", &["g++"]),
                text(
                    "linux-image-6.1.0-18-amd64",
                    &["linux-image-6.1.0-18-amd64"],
                ),
            ],
            refused(&[
                ("openssl=3.0.2", "without version"),
                ("openssl_3.0.2_amd64.deb", "without version"),
                ("openssl:3.0.2", "without version"),
                ("pkg:deb/debian/openssl", "not a package URL"),
            ]),
        ),
        of(
            "type: package_name\n ecosystem: rpm\n example: openssl",
            ALL,
            vec![
                text("openssl", &["openssl", "'openssl'"]),
                text("NetworkManager", &["NetworkManager"]),
                text("java-1.8.0-openjdk", &["java-1.8.0-openjdk"]),
                text("gcc-toolset-12", &["gcc-toolset-12"]),
                text("python3.11", &["python3.11"]),
            ],
            refused(&[
                ("openssl-3.0.7-27.el9", "without version and architecture"),
                (
                    "openssl-3.0.7-27.el9.x86_64",
                    "without version and architecture",
                ),
                ("openssl.x86_64", "without version and architecture"),
                ("1:openssl", "without version and architecture"),
                ("cpe:/a:openssl", "not a CPE"),
            ]),
        ),
        of(
            "type: package_name\n ecosystem: homebrew\n example: wget",
            ALL,
            vec![text(
                "openssl@3",
                &["openssl@3", "OpenSSL@3", "homebrew/core/openssl@3"],
            )],
            refused(&[
                ("core/openssl", "a Homebrew formula"),
                ("pkg:brew/openssl", "not a package URL"),
            ]),
        ),
        of(
            "type: package_name\n ecosystem: npm\n example: lodash",
            ALL,
            vec![
                text("lodash", &["lodash", "\"lodash\""]),
                text("@babel/core", &["@babel/core"]),
                text("JSONStream", &["JSONStream"]),
            ],
            refused(&[
                ("lodash@4.17.21", "without version"),
                ("@babel/core@7", "without version"),
                ("babel/core", "`@babel/core`"),
                ("@babel%2Fcore", "`@babel/core`"),
                ("@babel", "`@babel/core`"),
                ("npm:lodash", "without version"),
                ("pkg:npm/lodash", "not a package URL"),
            ]),
        ),
        of(
            "type: package_name\n ecosystem: python\n example: requests",
            ALL,
            vec![
                text(
                    "typing-extensions",
                    &[
                        "typing-extensions",
                        "typing_extensions",
                        "Typing.Extensions",
                        "TYPING--EXTENSIONS",
                        "typing-_.extensions",
                    ],
                ),
                text("ruamel-yaml", &["ruamel.yaml"]),
            ],
            refused(&[
                ("requests==2.31.0", "without version"),
                ("requests[security]", "and extras"),
                ("requests-", "without version"),
                ("pkg:pypi/requests", "not a package URL"),
            ]),
        ),
        of(
            "type: version\n example: 1.2.3",
            ALL,
            vec![
                text("1.2.3", &["1.2.3", "v1.2.3", "V1.2.3", " 1.2.3"]),
                text("1:1.1.1-1ubuntu2~22.04", &["1:1.1.1-1ubuntu2~22.04"]),
                text("2.0.0-rc.1+build", &["2.0.0-rc.1+build"]),
                text("1.0.0~rc2^2021", &["1.0.0~rc2^2021"]),
                text("vim9", &["vim9"]),
            ],
            refused(&[
                ("v 1", "one version"),
                ("-1", "one version"),
                (">=1.2", "not a range"),
                ("^1.2", "not a range"),
                ("1.2, 1.3", "not a range"),
                ("1%", "one version"),
            ]),
        ),
        of(
            "type: hotfix\n example: KB5034441",
            WINDOWS,
            vec![(
                "'KB5034441'".into(),
                vec![
                    json!("KB5034441"),
                    json!("kb5034441"),
                    json!("5034441"),
                    json!(5_034_441),
                    json!("KB 5034441"),
                    json!("KB-5034441"),
                    json!("\"KB5034441\""),
                ],
            )],
            vec![
                (json!("KB"), "such as `KB5034441`"),
                (json!("MS17-010"), "such as `KB5034441`"),
                (json!("CVE-2024-20666"), "such as `KB5034441`"),
                (json!(12), "such as `KB5034441`"),
                (json!(5.5), "not a number with a fraction"),
            ],
        ),
        of(
            "type: chrome_extension\n example: cjpalhdlnbpafiamejdnhcphjbkeiagm",
            ALL,
            vec![text(
                "cjpalhdlnbpafiamejdnhcphjbkeiagm",
                &[
                    "cjpalhdlnbpafiamejdnhcphjbkeiagm",
                    "CJPALHDLNBPAFIAMEJDNHCPHJBKEIAGM",
                    "chrome-extension://cjpalhdlnbpafiamejdnhcphjbkeiagm/",
                    "chrome-extension://cjpalhdlnbpafiamejdnhcphjbkeiagm/page.html",
                ],
            )],
            refused(&[
                ("uBlock0@raymondhill.net", "32 letters from a to p"),
                ("cjpalhdlnbpafiamejdnhcphjbkeiag", "32 letters from a to p"),
                ("zjpalhdlnbpafiamejdnhcphjbkeiagm", "32 letters from a to p"),
            ]),
        ),
        of(
            "type: container\n example: web",
            UNIX,
            vec![
                text("web", &["web", "/web", " web"]),
                text("4c01db0b339c", &["4c01db0b339c", "docker://4c01db0b339c"]),
            ],
            refused(&[
                ("containerd://4c01db0b339c", "a Docker container"),
                ("a/b", "a Docker container"),
                ("a b", "a Docker container"),
            ]),
        ),
        of(
            "type: systemd_unit\n example: sshd.service",
            UNIX,
            vec![
                text("sshd.service", &["sshd.service", "sshd"]),
                text("apt-daily.timer", &["apt-daily.timer"]),
                text("getty@tty1.service", &["getty@tty1", "getty@tty1.service"]),
                text(
                    "dbus-org.freedesktop.login1.service",
                    &["dbus-org.freedesktop.login1"],
                ),
            ],
            refused(&[
                ("/lib/systemd/sshd.service", "the name of a unit"),
                ("a b", "the name of a unit"),
            ]),
        ),
    ]
}

pub(super) fn texts() -> Vec<Forms> {
    vec![
        of(
            "type: text\n opened: false\n maximum_length: 40\n example: a",
            ALL,
            vec![
                text("a b", &["a b"]),
                text(" -enc ", &[" -enc "]),
                text("\"a\"", &["\"a\""]),
                text(r"\\host\share", &[r"\\host\share"]),
            ],
            vec![(json!(5), "put it in quotes")],
        ),
        of(
            "type: text\n maximum_length: 40\n example: a",
            ALL,
            vec![text("a b", &["a b"])],
            refused(&[
                (r"\\host\share", "UNC or device path"),
                ("//host/share", "UNC or device path"),
                (r" '\\host\share'", "UNC or device path"),
                (r"\??\UNC\host\share", "UNC or device path"),
            ]),
        ),
        of(
            "type: text\n alphabet: identifier\n maximum_length: 9\n example: a",
            ALL,
            vec![text("a@b:c", &["a@b:c"])],
            refused(&[("a b", "ASCII letters"), ("aaaaaaaaaa", "1 to 9")]),
        ),
        of(
            "type: pattern\n example: abc%",
            ALL,
            vec![text("chrom%", &["chrom%"]), text("ab", &["ab"])],
            refused(&[
                ("%a", "begin with"),
                ("ab%", "begin with"),
                ("abc%%", "two `%`"),
                ("a_bc%", "begin with"),
                ("abcd%a%b%c%d%", "more than 4"),
                (r"\\host\share\%", "UNC or device path"),
            ]),
        ),
    ]
}
