//! Names of packages, by the rules of what they are installed with, and versions. A table holds the plain
//! name as the package says it; who looks for one has it from an advisory, a lock file or a tool's output.

use super::parameter::Refusal;
use super::value;

/// What packages are installed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecosystem {
    /// dpkg and apt: lower case, perhaps with the architecture behind a colon.
    Deb,
    /// rpm, dnf, yum and zypper.
    Rpm,
    /// Homebrew's formulas and casks, perhaps with their tap in front.
    Homebrew,
    /// npm: `name` or `@scope/name`.
    Npm,
    /// pip and its kin: PEP 503 says which spellings are one name.
    Python,
}

impl Ecosystem {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Deb,
        Self::Rpm,
        Self::Homebrew,
        Self::Npm,
        Self::Python,
    ];

    /// The word in templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Homebrew => "homebrew",
            Self::Npm => "npm",
            Self::Python => "python",
        }
    }

    /// What fits, as messages and documentation say it.
    pub(super) fn expectation(self) -> &'static str {
        match self {
            Self::Deb => "the name of a Debian package such as `openssl`, without version",
            Self::Rpm => {
                "the name of an RPM package such as `openssl-libs`, without version and architecture"
            }
            Self::Homebrew => "the name of a Homebrew formula or cask such as `openssl@3`",
            Self::Npm => {
                "the name of an npm package such as `lodash` or `@babel/core`, without version"
            }
            Self::Python => {
                "the name of a Python package such as `typing-extensions`, without version and extras"
            }
        }
    }
}

/// Architectures that dpkg writes behind a package's name.
const DEB_ARCHITECTURES: [&str; 15] = [
    "all", "any", "native", "amd64", "arm64", "armel", "armhf", "i386", "loong64", "mips64el",
    "ppc64el", "riscv64", "s390x", "x32", "mipsel",
];

/// Architectures that rpm's tools write behind a package's name.
const RPM_ARCHITECTURES: [&str; 12] = [
    "noarch", "x86_64", "i386", "i486", "i586", "i686", "aarch64", "armv7hl", "ppc64le", "s390x",
    "riscv64", "src",
];

/// The name as the ecosystem's table holds it, or, for Python, as PEP 503 normalizes it.
pub(super) fn package_name(text: &str, ecosystem: Option<Ecosystem>) -> Result<String, Refusal> {
    let lower = text.to_ascii_lowercase();
    for (beginning, what) in [
        ("pkg:", "a package URL"),
        ("cpe:", "a CPE"),
        ("swid:", "a SWID tag"),
    ] {
        if lower.starts_with(beginning) {
            return Err(Refusal::value(format!(
                "must be the name of a package alone, not {what} (`{beginning}…`): write the name out of it"
            )));
        }
    }
    let Some(ecosystem) = ecosystem else {
        return any_name(text);
    };
    let name = match ecosystem {
        Ecosystem::Deb => match lower.split_once(':') {
            Some((name, architecture)) if DEB_ARCHITECTURES.contains(&architecture) => {
                name.to_owned()
            }
            _ => lower,
        },
        Ecosystem::Rpm => text.to_owned(),
        // `homebrew/core/openssl@3`: the tap's owner and name.
        Ecosystem::Homebrew => match lower.split('/').collect::<Vec<_>>()[..] {
            [owner, tap, name] if !owner.is_empty() && !tap.is_empty() => name.to_owned(),
            _ => lower,
        },
        Ecosystem::Npm => text.to_owned(),
        Ecosystem::Python => pep_503(&lower),
    };
    if text.len() <= 214 && fits(&name, ecosystem) {
        Ok(name)
    } else {
        Err(Refusal::value(format!(
            "must be {}",
            ecosystem.expectation()
        )))
    }
}

fn fits(name: &str, ecosystem: Ecosystem) -> bool {
    let of = |name: &str, others: &str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|sign| sign.is_ascii_alphanumeric() || others.contains(sign))
    };
    match ecosystem {
        Ecosystem::Deb => of(name, "+.-"),
        Ecosystem::Rpm => of(name, "+._-") && !has_rpm_version(name),
        Ecosystem::Homebrew => of(name, "+._-@"),
        Ecosystem::Npm => match name.strip_prefix('@') {
            Some(scoped) => scoped
                .split_once('/')
                .is_some_and(|(scope, name)| of(scope, "._~-") && of(name, "._~-")),
            None => of(name, "._~-"),
        },
        Ecosystem::Python => of(name, "-") && !name.ends_with('-'),
    }
}

/// Whether a name ends as `rpm -q` prints it: `-3.0.7-27.el9`, `.x86_64`.
fn has_rpm_version(name: &str) -> bool {
    let architecture = name
        .rsplit_once('.')
        .is_some_and(|(_, end)| RPM_ARCHITECTURES.contains(&end));
    let mut parts = name.rsplit('-');
    let numbered = |part: Option<&str>| {
        part.is_some_and(|part| part.starts_with(|first: char| first.is_ascii_digit()))
    };
    architecture || (numbered(parts.next()) && numbered(parts.next()) && parts.next().is_some())
}

/// PEP 503: runs of `-`, `_` and `.` are one `-`, and there is no upper case.
fn pep_503(lower: &str) -> String {
    let mut name = String::with_capacity(lower.len());
    for sign in lower.chars() {
        match sign {
            '-' | '_' | '.' if name.ends_with('-') => {}
            '-' | '_' | '.' => name.push('-'),
            other => name.push(other),
        }
    }
    name
}

/// Names where it is not said what they are installed with.
fn any_name(text: &str) -> Result<String, Refusal> {
    let mut signs = text.chars();
    let fits = text.len() <= 214
        && signs
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || "@_".contains(first))
        && signs.all(|sign| sign.is_ascii_alphanumeric() || "+._-~/@:".contains(sign));
    fits.then(|| text.to_owned()).ok_or_else(|| {
        Refusal::value(
            "must be the name of a package: 214 ASCII letters, digits or any of `+ . _ - ~ / @ :` at most",
        )
    })
}

/// Versions of package managers and of semantic versioning; the `v` of a release's tag is not part of one.
pub(super) fn version(text: &str) -> Result<String, Refusal> {
    let version = text
        .strip_prefix(['v', 'V'])
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or(text);
    let fits = version.len() <= 128
        && version.starts_with(|first: char| first.is_ascii_alphanumeric())
        && version
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || ".+~:^_-".contains(sign));
    fits.then(|| version.to_owned()).ok_or_else(|| {
        Refusal::value(
            "must be one version, not a range: 128 ASCII letters, digits or any of `. + ~ : ^ _ -` at most",
        )
    })
}

/// The number of a patch of Windows, as `KB5034441`; the letters may be missing.
pub(super) fn hotfix(text: &str) -> Result<String, Refusal> {
    let upper = text.to_ascii_uppercase();
    let digits = upper
        .strip_prefix("KB")
        .map_or(upper.as_str(), |rest| rest.trim_start_matches([' ', '-']));
    if (6..=8).contains(&digits.len()) && value::is_decimal_digits(digits) {
        return Ok(format!("KB{digits}"));
    }
    Err(Refusal::value(
        "must be the number of a patch such as `KB5034441` or `5034441`",
    ))
}
