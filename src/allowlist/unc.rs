//! Paths that lead a Windows host to another machine or to a device. A host that opens one logs on to
//! whatever server it names, with its machine account: nobody but the operator may choose that server.

use std::collections::BTreeSet;

use super::parameter::Refusal;

/// Where the values of a call came from, and what the operator lets the step's author write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    from_context: Context,
    unc_paths: bool,
}

/// The parameters whose values came from the context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Context {
    /// Any of them may have.
    #[default]
    All,
    /// Just these; the others stand in the step as its author wrote them.
    These(BTreeSet<String>),
}

impl Origins {
    /// Nothing is known of where values came from, so nothing is granted.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A step's: the parameters in whose values an expression stood, and whether the operator's policy
    /// says `allow_unc_paths: true`.
    pub fn of_step(from_context: impl IntoIterator<Item = String>, allow_unc_paths: bool) -> Self {
        Self {
            from_context: Context::These(from_context.into_iter().collect()),
            unc_paths: allow_unc_paths,
        }
    }

    /// Whether a parameter that a host opens as a path may have this value.
    pub(super) fn judge(&self, parameter: &str, value: &str) -> Result<(), Refusal> {
        if !leads_elsewhere(value) {
            return Ok(());
        }
        let from_context = match &self.from_context {
            Context::All => true,
            Context::These(names) => names.contains(parameter),
        };
        let why = if from_context {
            r"must not be a UNC or device path (`\\server\share`) that comes from the context: the host would log on to a server of the alert's choosing"
        } else if !self.unc_paths {
            r"must not be a UNC or device path (`\\server\share`), for the host logs on to that server, unless the operator's policy says `allow_unc_paths: true`"
        } else {
            return Ok(());
        };
        Err(Refusal {
            rule: "parameter_unc",
            reason: why.to_owned(),
        })
    }
}

/// Whether Windows takes a text for a path to a server or a device, in any spelling: two separators of
/// either kind at its beginning, or a name of the kernel's own.
pub(super) fn leads_elsewhere(text: &str) -> bool {
    let text: String = text
        .trim_start_matches(|sign: char| sign.is_whitespace() || "\"'`".contains(sign))
        .chars()
        .take(16)
        .map(|sign| match sign {
            '/' => '\\',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    [
        r"\\",
        r"\??\",
        r"\device\",
        r"\dosdevices\",
        r"\global??\",
        "file:",
    ]
    .iter()
    .any(|beginning| text.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling that the contract names, and some more.
    const ELSEWHERE: [&str; 22] = [
        r"\\host\share\x.exe",
        "//host/share/x.exe",
        r"\/host\share",
        r"/\host\share",
        r"\\host/share",
        r"\\?\UNC\host\share",
        "//?/UNC/host/share",
        r"\\?\C:\x",
        r"\\.\C:",
        r"\\.\pipe\x",
        r"\\.\UNC\host\share",
        r"\\;LanmanRedirector\;Z:0000\host\share",
        r"\\wsl$\Ubuntu\etc",
        r"\\wsl.localhost\Ubuntu",
        r"\\tsclient\c\x",
        r"\\localhost\c$\x",
        r"\\127.0.0.1@8080\DavWWWRoot\x",
        r"\??\UNC\host\share",
        r"\Device\Mup\host\share",
        r"\GLOBAL??\UNC\host\share",
        " \"\\\\host\\share\"",
        "FILE://host/share",
    ];

    #[test]
    fn every_spelling_is_known() {
        for text in ELSEWHERE {
            assert!(leads_elsewhere(text), "{text}");
        }
        for text in [
            r"C:\Windows\x.exe",
            r"C:\\Windows\\x.exe",
            "/etc/passwd",
            "/etc//passwd",
            "x//y",
            r"x\\y",
            r"\Windows\x",
            "",
            "é",
        ] {
            assert!(!leads_elsewhere(text), "{text}");
        }
    }

    #[test]
    fn only_the_steps_author_with_the_policys_leave() {
        let value = r"\\host\share\x";
        let names = || ["alert".to_owned()];
        for (origins, parameter, fits) in [
            (Origins::unknown(), "step", false),
            (Origins::of_step(names(), false), "alert", false),
            (Origins::of_step(names(), false), "step", false),
            (Origins::of_step(names(), true), "alert", false),
            (Origins::of_step(names(), true), "step", true),
        ] {
            assert_eq!(origins.judge(parameter, value).is_ok(), fits, "{origins:?}");
            assert_eq!(origins.judge(parameter, r"C:\x"), Ok(()));
        }
    }
}
