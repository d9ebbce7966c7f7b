//! Both ends of a session over a carrier in this process, and what is left of them when they have ended.

use super::super::Shared;
use crate::carrier::Target;
use crate::carrier::direct::DirectLane;
use crate::lanes::Lanes;
use crate::simulation::{age, net::Net, sleep};
use crate::{Config, Handler, ListenOptions, Session};
use crate::{spawn::Spawner, timer};
use posthole_protocol::http::{ProxyChoice, Tag};
use posthole_protocol::{Client, SessionId};
use posthole_runtime::TlsChoice;
use smol::channel::{Receiver, bounded};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Longer than any deadline of a session that is over.
pub(super) const AFTERWARDS: Duration = Duration::from_secs(600);

/// Both ends of a session.
pub(super) struct Pair {
    spawner: Spawner,
    pub(super) client: Session,
    pub(super) handler: Handler,
    pub(super) net: Arc<Net>,
    /// The client's, which lives for as long as anything of it is used.
    pub(super) shared: Weak<Shared>,
}

impl Pair {
    pub(super) fn new(spawner: &Spawner, config: &Config, percent: u64) -> Pair {
        let options = ListenOptions::new().config(config.clone());
        let handler = Handler::new_on(spawner, options).unwrap();
        let tag = Tag::from_bytes([7; 8]);
        let target = Target::new(
            "http://nowhere.invalid/",
            tag,
            ProxyChoice::None,
            TlsChoice::Platform,
        );
        let mut target = target.unwrap();
        let net = Arc::new(Net::new(&handler, spawner, percent));
        target.net = Some(net.clone());
        let mut core = Client::new(config.clone(), SessionId::from_bytes([3; 16]), timer::now());
        core.reads_pieces();
        let direct = DirectLane::new(String::new(), None);
        let lanes = Lanes::new(Arc::new(target), spawner.clone(), direct);
        let shared = Shared::client(core, lanes);
        let client = Session::new(shared.clone());
        shared.begin(spawner);
        Pair {
            spawner: spawner.clone(),
            client,
            handler,
            net,
            shared: Arc::downgrade(&shared),
        }
    }

    /// In a task of its own.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Receiver<T> {
        let (tell, told) = bounded(1);
        self.spawner.spawn(async move {
            let _ = tell.send(task.await).await;
        });
        told
    }

    /// Ends in order, by the client's wish or its last handle, and leaves nothing behind. Gives how long all has taken
    /// until it had ended.
    pub(super) async fn end(self, by: By, server: Session) -> Duration {
        match by {
            By::Close => self.client.close().await.unwrap(),
            By::Drop => {}
        }
        drop(self.client);
        assert!(server.wait_closed().await.is_clean());
        // The client, which may have nobody any more who waits for it.
        while by == By::Drop && self.net.carried() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let took = age();
        // What is given up is given up at once, whatever the network makes of it.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(self.net.carried(), 0, "an exchange goes on");
        if by == By::Close {
            // The client has ended; lanes that rest wait for nothing more then.
            let is_held = self.shared.upgrade().is_some();
            assert!(!is_held, "something holds the session for a while");
        }
        drop(server);
        sleep(AFTERWARDS).await;
        let is_held = self.shared.upgrade().is_some();
        assert!(!is_held, "something holds the session");
        assert_eq!(self.handler.sessions(), 0);
        took
    }
}

/// How a session is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Close,
    Drop,
}
