//! Which addresses a server may have, and which base URLs an operator allows. Pure: knows nothing of
//! sockets, names are resolved elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Why no live-query server has such an address, as the end of a sentence; `None` where it may have one.
///
/// Every form in which an IPv6 address carries an IPv4 address counts as that address: what is on the way
/// (a translator, a tunnel) would deliver to it.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => {
            forbidden_v6(address).or_else(|| carried(address).into_iter().find_map(forbidden_v4))
        }
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    /// Metadata services of clouds outside of 169.254.0.0/16: Alibaba, Azure's host, Oracle.
    const METADATA: [Ipv4Addr; 3] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    if METADATA.contains(&address) {
        Some("a cloud's metadata service")
    } else if address.is_link_local() {
        Some("link-local, where clouds keep their metadata service")
    } else if address.is_multicast() {
        Some("multicast")
    } else if address.is_broadcast() {
        Some("broadcast")
    } else if address.octets()[0] == 0 {
        // 0.0.0.0/8 is "this host on this network" (RFC 1122); Linux connects 0.0.0.0 to itself.
        Some("unspecified")
    } else {
        None
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    // AWS answers in fd00:ec2::/32 (metadata at ::254), Google at fd20:ce::254.
    if segments[..2] == [0xfd00, 0x0ec2] || segments == [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] {
        Some("a cloud's metadata service")
    } else if segments[0] & 0xffc0 == 0xfe80 {
        Some("link-local")
    } else if address.is_multicast() {
        Some("multicast")
    } else if address.is_unspecified() {
        Some("unspecified")
    } else {
        None
    }
}

/// The IPv4 addresses that an IPv6 address carries.
fn carried(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let segments = address.segments();
    let octets = address.octets();
    let at = |first: usize| {
        Ipv4Addr::new(
            octets[first],
            octets[first + 1],
            octets[first + 2],
            octets[first + 3],
        )
    };
    match segments {
        // ::1 and :: are addresses of their own, not 0.0.0.1 and 0.0.0.0 in an old form.
        _ if address.is_loopback() || address.is_unspecified() => Vec::new(),
        // IPv4-mapped, IPv4-compatible (RFC 4291, 2.5.5), IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff | 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => vec![at(12)],
        // NAT64: the well-known prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => vec![at(12)],
        // NAT64: the local prefix (RFC 8215), in which a network chooses the length of its own:
        // 48, 56, 64 or 96 bits; octet 8 is left out (RFC 6052, 2.2).
        [0x64, 0xff9b, 1, ..] => vec![
            Ipv4Addr::new(octets[6], octets[7], octets[9], octets[10]),
            Ipv4Addr::new(octets[7], octets[9], octets[10], octets[11]),
            Ipv4Addr::new(octets[9], octets[10], octets[11], octets[12]),
            at(12),
        ],
        // 6to4 (RFC 3056).
        [0x2002, ..] => vec![at(2)],
        // Teredo (RFC 4380): the server, and the client with its bits turned over.
        [0x2001, 0, ..] => vec![at(4), Ipv4Addr::from(!u32::from(at(12)))],
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => vec![at(12)],
        _ => Vec::new(),
    }
}

/// Why text is not the URL of a server, as the end of a sentence that begins with what holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    /// It is no URL at all.
    #[error("must be a URL")]
    NoUrl,
    /// Another scheme.
    #[error("must begin with `https://` or `http://`")]
    Scheme,
    /// A user name or a password, an empty one too.
    #[error("must not hold a user name or password")]
    User,
    /// What requests bring themselves.
    #[error("must not have a query (`?`) or a fragment (`#`)")]
    Query,
    /// Nothing, or a wildcard.
    #[error("must name one server: there are no wildcards")]
    Host,
}

/// The URL of a server, as a step or a policy writes it.
///
/// # Errors
/// Why it is none.
pub fn server(text: &str) -> Result<Url, NoServer> {
    let url = Url::parse(text).map_err(|_| NoServer::NoUrl)?;
    let host = url.host_str().unwrap_or_default();
    if !matches!(url.scheme(), "http" | "https") {
        Err(NoServer::Scheme)
    } else if authority(text).contains('@') {
        Err(NoServer::User)
    } else if url.query().is_some() || url.fragment().is_some() {
        Err(NoServer::Query)
    } else if host.is_empty() || host.contains('*') {
        Err(NoServer::Host)
    } else {
        Ok(url)
    }
}

/// What stands between `//` and the path.
fn authority(url: &str) -> &str {
    let rest = url.split_once("//").map_or(url, |(_, rest)| rest);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest)
}

/// The address that a URL's host is written as, in whatever spelling; `None` where it is a name.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// Whether a name is one of this machine's own (RFC 6761, 6.3).
pub fn is_loopback_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a URL leads to this very machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// The addresses of a name that may be connected to: all of them, for a name of this machine only those
/// that are its own.
///
/// # Errors
/// Where one is an address that no server has, with why, as the end of a sentence: a name that leads
/// there at all is not trusted with the rest.
pub fn permitted(
    name: &str,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<Vec<IpAddr>, &'static str> {
    if is_loopback_name(name) {
        let own: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|address| address.to_canonical().is_loopback())
            .collect();
        return if own.is_empty() {
            Err("not this machine, which such a name stands for")
        } else {
            Ok(own)
        };
    }
    addresses
        .into_iter()
        .map(|address| match forbidden(address) {
            Some(reason) => Err(reason),
            None => Ok(address),
        })
        .collect()
}

/// Whether a base URL is the allowed one or lies under it: the same scheme, host and port, and a path
/// that goes on from the allowed one's, segment by segment.
pub fn lies_under(url: &Url, allowed: &Url) -> bool {
    if url.origin() != allowed.origin() {
        return false;
    }
    let (Some(segments), Some(prefix)) = (url.path_segments(), allowed.path_segments()) else {
        return false;
    };
    // A slash at the end says nothing; one in the middle does.
    let segments: Vec<&str> = segments.collect();
    let prefix: Vec<&str> = prefix.collect();
    let prefix = match prefix.as_slice() {
        [before @ .., ""] => before,
        whole => whole,
    };
    // What a server may take for a step upwards (`%2f..`, `..;`) leads out of the prefix.
    let plain = |segment: &&str| !segment.contains(['%', ';']);
    segments.starts_with(prefix)
        && (prefix.is_empty() || segments[prefix.len()..].iter().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Option<IpAddr> {
        literal(&Url::parse(&format!("https://{text}/")).unwrap())
    }

    #[test]
    fn what_no_server_has_is_forbidden() {
        for text in [
            "169.254.169.254",
            "169.254.0.0",
            "169.254.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "ff02::1",
            "::",
        ] {
            assert!(forbidden(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "169.253.255.255",
            "169.255.0.0",
            "100.100.100.201",
            "168.63.129.17",
            "223.255.255.255",
            "8.8.8.8",
            "::1",
            "fec0::1",
            "fd00:ec3::254",
            "2001:db8::1",
            "2606:4700::1111",
            "::ffff:10.0.0.1",
            "64:ff9b::808:808",
        ] {
            assert_eq!(forbidden(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        let under = |url: &str, allowed: &str| {
            lies_under(&Url::parse(url).unwrap(), &Url::parse(allowed).unwrap())
        };
        for (url, allowed) in [
            ("https://h.example", "https://h.example/"),
            ("https://H.EXAMPLE:443/any/path", "https://h.example"),
            ("https://h.example/prefix", "https://h.example/prefix/"),
            ("https://h.example/prefix/", "https://h.example/prefix"),
            ("https://h.example/prefix/a/b", "https://h.example/prefix"),
            (
                "https://h.example/x/../prefix/a",
                "https://h.example/prefix",
            ),
        ] {
            assert!(under(url, allowed), "{url} {allowed}");
        }
        for (url, allowed) in [
            ("http://h.example", "https://h.example"),
            ("https://h.example:8443", "https://h.example"),
            ("https://h.example.evil.example", "https://h.example"),
            ("https://evil.example/h.example", "https://h.example"),
            ("https://h.example/prefixx", "https://h.example/prefix"),
            ("https://h.example/", "https://h.example/prefix"),
            ("https://h.example/Prefix", "https://h.example/prefix"),
            ("https://h.example//prefix", "https://h.example/prefix"),
            ("https://h.example/prefix/../x", "https://h.example/prefix"),
            (
                "https://h.example/prefix/%2e%2e/x",
                "https://h.example/prefix",
            ),
            (
                "https://h.example/prefix/..%2fx",
                "https://h.example/prefix",
            ),
            ("https://h.example/prefix/..;/x", "https://h.example/prefix"),
        ] {
            assert!(!under(url, allowed), "{url} {allowed}");
        }
    }

    #[test]
    fn a_name_is_worth_its_worst_address() {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(permitted("h.example", parse(&["10.0.0.1", "169.254.169.254"])).is_err());
        assert_eq!(
            permitted("h.example", parse(&["10.0.0.1", "::1"])),
            Ok(parse(&["10.0.0.1", "::1"]))
        );
        assert_eq!(
            permitted("LocalHost.", parse(&["10.0.0.1", "127.0.0.1"])),
            Ok(parse(&["127.0.0.1"]))
        );
        assert!(permitted("a.localhost", parse(&["10.0.0.1"])).is_err());
    }

    /// An address of each kind that no server has.
    fn bad_v4() -> impl Strategy<Value = Ipv4Addr> {
        prop_oneof![
            any::<[u8; 2]>().prop_map(|[c, d]| Ipv4Addr::new(169, 254, c, d)),
            (224u8..=239, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d)),
            any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(0, b, c, d)),
            Just(Ipv4Addr::BROADCAST),
            Just(Ipv4Addr::new(100, 100, 100, 200)),
            Just(Ipv4Addr::new(168, 63, 129, 16)),
        ]
    }

    /// One part in decimal, octal or hexadecimal, as old resolvers read them.
    fn part(value: u32, form: u8) -> String {
        match form % 4 {
            0 => format!("{value}"),
            1 => format!("0{value:o}"),
            2 => format!("0x{value:x}"),
            _ => format!("0X{value:08X}"),
        }
    }

    /// The address as one to four parts, the last of which holds the rest.
    fn spelled(address: Ipv4Addr, parts: usize, forms: [u8; 4], dot: bool) -> String {
        let octets = address.octets();
        let mut words: Vec<String> = octets[..parts - 1]
            .iter()
            .zip(forms)
            .map(|(octet, form)| part(u32::from(*octet), form))
            .collect();
        let rest = octets[parts - 1..]
            .iter()
            .fold(0, |rest, octet| rest << 8 | u32::from(*octet));
        words.push(part(rest, forms[3]));
        words.join(".") + if dot { "." } else { "" }
    }

    /// IPv6 addresses that carry the IPv4 address.
    fn carriers(address: Ipv4Addr, noise: [u16; 4]) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = address.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let [n, o, p, q] = noise;
        vec![
            address.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, n, o, p, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, high, u16::from(c), u16::from(d) << 8, 0, 0),
            Ipv6Addr::new(0x2002, high, low, n, o, p, q, 1),
            Ipv6Addr::new(0x2001, 0, high, low, n, o, p, q),
            Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, n, o, !high, !low),
            Ipv6Addr::new(n | 1, o, p, q, 0, 0x5efe, high, low),
            Ipv6Addr::new(n | 1, o, p, q, 0x200, 0x5efe, high, low),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_spelling_is_the_same_address(
            address in any::<[u8; 4]>().prop_map(Ipv4Addr::from),
            parts in 1usize..=4,
            forms in any::<[u8; 4]>(),
            dot in any::<bool>(),
        ) {
            let text = spelled(address, parts, forms, dot);
            prop_assert_eq!(host(&text), Some(IpAddr::V4(address)), "{}", text);
            let wide: String = text
                .chars()
                .map(|letter| match letter {
                    '0'..='9' => char::from_u32(u32::from(letter) + 0xfee0).unwrap(),
                    '.' => '。',
                    other => other,
                })
                .collect();
            prop_assert_eq!(host(&wide), Some(IpAddr::V4(address)), "{}", wide);
        }

        #[test]
        fn no_form_hides_a_forbidden_address(address in bad_v4(), noise in any::<[u16; 4]>()) {
            prop_assert!(forbidden(IpAddr::V4(address)).is_some());
            for carrier in carriers(address, noise) {
                prop_assert!(forbidden(IpAddr::V6(carrier)).is_some(), "{}", carrier);
                let url = format!("[{carrier}]");
                prop_assert_eq!(host(&url), Some(IpAddr::V6(carrier)));
            }
        }

        #[test]
        fn a_forbidden_address_spoils_a_name(
            good in proptest::collection::vec(any::<[u8; 3]>(), 0..4),
            bad in bad_v4(),
            at in any::<proptest::sample::Index>(),
        ) {
            let mut addresses: Vec<IpAddr> = good
                .into_iter()
                .map(|[b, c, d]| IpAddr::V4(Ipv4Addr::new(10, b, c, d)))
                .collect();
            prop_assert_eq!(permitted("h.example", addresses.clone()), Ok(addresses.clone()));
            let at = at.index(addresses.len() + 1);
            addresses.insert(at, IpAddr::V4(bad));
            prop_assert!(permitted("h.example", addresses).is_err());
        }

        #[test]
        fn what_lies_under_shares_origin_and_prefix(
            path in "(/[a-z.%2;]{0,4}){0,4}",
            allowed in "(/[a-z]{1,2}){0,2}/?",
        ) {
            let url = Url::parse(&format!("https://h.example{path}")).unwrap();
            let allowed = Url::parse(&format!("https://h.example{allowed}")).unwrap();
            let prefix = allowed.path().trim_end_matches('/');
            if lies_under(&url, &allowed) {
                let rest = url.path().strip_prefix(prefix);
                prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
            }
        }
    }
}
