//! How a client gets into a scenario's servers, whichever it speaks to: for programs that rehearse steps and
//! know a server by its name only.

use super::{Osctrl, Role, Scenario};

/// The credentials of one user. What the user has not got is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WayIn {
    /// The API token.
    pub token: String,
    /// For a login.
    pub username: String,
    /// For a login.
    pub password: String,
}

impl Scenario {
    /// The least of the users that may run queries on the server which steps call `backend`. `None` where it
    /// is none of those that are simulated, or has no such user.
    pub fn way_in(&self, backend: &str) -> Option<WayIn> {
        match backend {
            "fleetdm" | "fleet" => {
                let may = |role| self.fleet.users.iter().find(move |user| user.role == role);
                let user = may(Role::Maintainer).or_else(|| may(Role::Admin))?;
                Some(WayIn {
                    token: user.token.clone().unwrap_or_default(),
                    username: user.email.clone(),
                    password: user.password.clone(),
                })
            }
            "osctrl" => {
                let users = &self.osctrl.users;
                let user = users.iter().find(|user| !user.admin).or(users.first())?;
                Some(WayIn {
                    token: user.token.clone().unwrap_or_default(),
                    username: user.username.clone(),
                    password: user.password.clone(),
                })
            }
            // A console's token carries its tenant, whatever the caller says.
            "aisoc_direct" => {
                let aisoc = &self.aisoc_direct;
                let console = aisoc.console_tokens.first();
                let console = console.map(|console| &console.token);
                Some(WayIn {
                    token: console.or(aisoc.service_token.as_ref())?.clone(),
                    ..WayIn::default()
                })
            }
            _ => None,
        }
    }

    /// The same scenario with these environments, unless it names some itself.
    #[must_use]
    pub fn with_environments<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        if self.osctrl.environments != Osctrl::default().environments {
            return self;
        }
        let mut named: Vec<String> = Vec::new();
        for name in names {
            if !named.iter().any(|known| known == name) {
                named.push(name.to_owned());
            }
        }
        if !named.is_empty() {
            self.osctrl.environments = named;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AISOC_CONSOLE_TOKEN, FLEET_ADMIN_TOKEN, FLEET_MAINTAINER_TOKEN, OSCTRL_PLUGIN_TOKEN,
    };

    #[test]
    fn the_least_user_that_may_ask() {
        let mut scenario = Scenario::default();
        let token = |scenario: &Scenario, backend| scenario.way_in(backend).map(|way| way.token);
        for (backend, expected) in [
            ("fleetdm", FLEET_MAINTAINER_TOKEN),
            ("fleet", FLEET_MAINTAINER_TOKEN),
            ("osctrl", OSCTRL_PLUGIN_TOKEN),
            ("aisoc_direct", AISOC_CONSOLE_TOKEN),
        ] {
            assert_eq!(token(&scenario, backend).as_deref(), Some(expected));
        }
        assert_eq!(scenario.way_in("other"), None);
        let users = &mut scenario.fleet.users;
        users.retain(|user| user.role != Role::Maintainer);
        assert_eq!(
            token(&scenario, "fleetdm").as_deref(),
            Some(FLEET_ADMIN_TOKEN)
        );
    }

    #[test]
    fn environments_are_added_where_none_are_named() {
        let scenario = Scenario::default().with_environments(["b", "a", "b"]);
        assert_eq!(scenario.osctrl.environments, ["b", "a"]);
        let scenario = scenario.with_environments(["c"]);
        assert_eq!(scenario.osctrl.environments, ["b", "a"]);
        let none = Scenario::default().with_environments([]);
        assert_eq!(none.osctrl.environments, Osctrl::default().environments);
    }
}
