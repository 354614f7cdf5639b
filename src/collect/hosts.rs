//! The stream of hosts: who went offline, is missing, came back. A host that the state knows is compared with
//! it; of one that it does not know the clock says whether its change falls into the time that is looked back.

use futures_util::TryStreamExt;

use super::state::{KnownHost, KnownPosture};
use super::{HostCounts, Poll, PollError, Progress};
use crate::events::{Host, Status, When};
use crate::servers::collecting::{Ids, PolledHost};
use crate::time::milliseconds;

/// Of so many hosts that are not listed any more each is asked for by itself; of more the list is read again.
const MOST_SINGLE: usize = 50;

impl Poll<'_> {
    pub(super) async fn hosts(&self, progress: &Progress) -> Result<(), PollError> {
        let mut seen = Ids::default();
        let mut counted = HostCounts::default();
        let mut pages = self.server.hosts();
        while let Some(page) = pages.try_next().await? {
            let known = self.state.postures(&page)?;
            let mut known = known.into_iter().peekable();
            for host in &page {
                while known.next_if(|known| known.id < host.id).is_some() {}
                let known = known.peek().filter(|known| known.id == host.id);
                if seen.insert(host.id) {
                    counted.count(host.posture);
                    self.host(host, known, progress).await?;
                }
            }
        }
        drop(pages);
        self.found.hosts.set(Some(counted));
        progress.parts.set(progress.parts.get() + 1);
        self.forget(seen).await
    }

    /// Looks at one host. Its change and what is remembered of it move together.
    async fn host(
        &self,
        host: &PolledHost,
        known: Option<&KnownPosture>,
        progress: &Progress,
    ) -> Result<(), PollError> {
        let seen = || host.last_seen.as_deref().and_then(milliseconds);
        let mut since = known.map_or(0, |known| known.since);
        let when = match known {
            Some(known) if known.posture == host.posture => None,
            Some(known) => {
                let time = host.changed.or_else(seen).unwrap_or(self.now);
                // Later than the change before, whatever the server's clock says: it tells the next one apart.
                since = time.max(known.since.saturating_add(1));
                Some(When::at(time, self.now).since(known.since))
            }
            None => {
                let changed = match host.posture {
                    Status::Online => host.enrolled,
                    Status::Offline | Status::Missing => host.changed,
                };
                since = changed.unwrap_or(0);
                let changed = changed.filter(|changed| *changed >= self.state.horizon());
                changed.map(|changed| When::at(changed, self.now))
            }
        };
        let is_as_before = known.is_some_and(|known| {
            known.is_named && (known.posture, known.since) == (host.posture, since)
        });
        if !is_as_before {
            let now = KnownHost::new(host, since);
            self.state.put_host(host.id, &now)?;
        }
        let Some(when) = when else {
            return Ok(());
        };
        let named = self.named(host);
        let event = self.origin.host(&named, host.posture, when);
        self.put(progress, &event).await
    }

    /// The host as events have it.
    fn named(&self, host: &PolledHost) -> Host {
        let hostname = self.text(&host.hostname);
        Host {
            id: Some(host.id),
            uuid: self.text(&host.uuid),
            hostname: hostname
                .or_else(|| self.text(&host.display_name))
                .unwrap_or_default(),
            display_name: self.text(&host.display_name),
            platform: self.text(&host.platform),
            status: Some(host.posture),
            team_id: host.team,
            last_seen: host.last_seen.clone(),
        }
    }

    /// Forgets who is deleted. A host that was deleted while the list was read moved others from one page to
    /// the one before, which had been read: not to be listed is no proof.
    async fn forget(&self, mut seen: Ids) -> Result<(), PollError> {
        let unseen = self.state.hosts_but(&seen)?;
        if unseen.len() > MOST_SINGLE {
            let mut pages = self.server.hosts();
            while let Some(page) = pages.try_next().await? {
                for host in page {
                    seen.insert(host.id);
                }
            }
            for id in unseen {
                if !seen.contains(id) {
                    self.state.drop_host(id)?;
                }
            }
            return Ok(());
        }
        for id in unseen {
            if self.server.host(id).await?.is_none() {
                self.state.drop_host(id)?;
            }
        }
        Ok(())
    }
}

impl HostCounts {
    fn count(&mut self, posture: Status) {
        self.total += 1;
        match posture {
            Status::Online => self.online += 1,
            Status::Offline => self.offline += 1,
            Status::Missing => {
                self.offline += 1;
                self.missing += 1;
            }
        }
    }
}
