//! How a stream is ended, and the campaigns that it left behind: only who listens to one makes the server end
//! it.

use tokio::time::Instant;

use super::super::socket::Socket;
use super::{Stage, Stream};

/// Campaigns that nobody listens to are ended on the way out; so many at most.
const MOST_ORPHANS: usize = 4;

impl Stream {
    /// A campaign is left behind that nobody listens to.
    pub(super) fn orphan(&mut self, campaign: u64) {
        self.orphaned = true;
        if !self.orphans.contains(&campaign) && self.orphans.len() < MOST_ORPHANS {
            self.orphans.push(campaign);
        }
    }

    /// Whether a campaign may go on that nothing ends. One that is listened to ends at the server's
    /// next 5-second tick after the socket is gone, however this process ends.
    pub(in crate::servers::fleet) fn may_be_running(&self) -> bool {
        let dispatching = match &self.stage {
            Stage::Dispatching(dispatch, _) => dispatch.is_under_way(),
            _ => false,
        };
        self.orphaned || dispatching || self.campaign.is_some_and(|it| it.selected.is_none())
    }

    /// Ends the campaign by closing the socket. A campaign that is just being created is waited for, and
    /// listened to for a moment: only that makes the server end it. The same ends those that were left
    /// behind.
    pub(in crate::servers::fleet) async fn stop(mut self, by: Instant) {
        let campaign = self.campaign.filter(|it| it.selected.is_none());
        let (socket, unheard) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Dispatching(dispatch, socket) => (Some(socket), dispatch.outcome(by).await),
            Stage::Listening(socket) => (Some(socket), campaign.map(|campaign| campaign.id)),
            _ => (None, None),
        };
        let orphans = self.orphans.iter().map(|id| self.end(*id, by));
        let of_socket = async {
            let Some(mut socket) = socket else { return };
            if let Some(id) = unheard {
                self.rest
                    .notices()
                    .debug(|| format!("listening to campaign {id} in order to end it"));
                let _ = tokio::time::timeout_at(by, socket.select(id)).await;
            }
            socket.close().await;
        };
        futures_util::future::join(of_socket, futures_util::future::join_all(orphans)).await;
    }

    /// Listens to a campaign that nobody listens to, and stops: the server notices.
    async fn end(&self, campaign: u64, by: Instant) {
        let http = self.rest.http.with_deadline(by);
        let ending = async {
            let token = self.rest.token().ok()?;
            let mut socket = Socket::open(&http, token, false).await.ok()?;
            socket.select(campaign).await.ok()?;
            socket.close().await;
            Some(())
        };
        let ended = tokio::time::timeout_at(by, ending).await;
        self.rest.notices().debug(|| match ended {
            Ok(Some(())) => format!("listened to campaign {campaign} in order to end it"),
            _ => format!("campaign {campaign} could not be ended"),
        });
    }
}
