//! A server and a client, processes of the built command, and what is between them.

use crate::load;
use crate::path::Relay;
use crate::real::{Proxy, free_port, namespace::Namespace, squid};
use posthole::hostile::{Fault, Faults, Hostile, Upstream};
use posthole_tests::mutants::root;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the two ends run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On {
    pub(crate) client: &'static str,
    pub(crate) server: &'static str,
}

/// The way from client to server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Through a relay of bytes.
    Relay,
    /// Through one, with a relay of their own for direct connections.
    Direct,
    /// Through a forward proxy that does this to every tenth exchange.
    Hostile(Fault),
    /// Through squid as Debian configures it, from a network of the client's own that reaches nothing else.
    Squid,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// Where there is no room for it.
    FullDisk,
    /// To a file, so that its lines can be counted.
    Kept,
}

impl Log {
    fn verbose(self) -> &'static str {
        match self {
            Log::FullDisk => "-v",
            Log::Kept => "",
        }
    }
}

pub(crate) struct World {
    pub(crate) on: On,
    pub(crate) server: Child,
    pub(crate) client: Child,
    /// Between them, for HTTP.
    pub(crate) relay: Arc<Relay>,
    /// The same, for direct connections.
    pub(crate) direct: Option<Arc<Relay>>,
    pub(crate) squid: Option<Proxy>,
    /// Where the server listens for HTTP, where the client's forward does, and where that leads.
    pub(crate) http: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) echo: SocketAddr,
    namespace: Option<Namespace>,
    log: Log,
    folder: PathBuf,
    /// Further arguments of the server's and the client's.
    serves: String,
    connects: String,
    // Whoever connects through it is gone before it.
    _hostile: Option<Hostile>,
}

impl World {
    /// Both run.
    ///
    /// # Errors
    /// What is needed is not on this machine.
    pub(crate) fn new(on: On, way: Way, log: Log) -> Result<World, String> {
        let http = free_port();
        let (relay, by) = Relay::start(http);
        let mut world = World {
            on,
            server: nothing(),
            client: nothing(),
            relay,
            direct: None,
            squid: None,
            http,
            local: free_port(),
            echo: load::echo(),
            namespace: None,
            log,
            folder: folder(),
            serves: String::new(),
            connects: format!("http://{by}/ --proxy none"),
            _hostile: None,
        };
        match way {
            Way::Relay => {}
            Way::Direct => {
                let port = free_port();
                let (relay, by) = Relay::start(port);
                world.direct = Some(relay);
                world.serves = format!("--tcp {port}");
                world.connects += &format!(" --tcp {by}");
            }
            Way::Hostile(fault) => {
                let hostile = Hostile::start(1, Faults::only(fault, 10.0), Upstream::AsAsked);
                let hostile = hostile.map_err(|e| e.to_string())?;
                world.connects = format!("http://{http}/ --proxy {}", hostile.url());
                world._hostile = Some(hostile);
            }
            Way::Squid => {
                let namespace = Namespace::new().ok_or("no network of its own")?;
                let proxy = squid::start_for_the_network(namespace.outer());
                let proxy = proxy.ok_or("no squid")?;
                world.connects = format!("http://{http}/ --proxy {}", proxy.url());
                world.local.set_ip(IpAddr::V4(namespace.inner()));
                world.namespace = Some(namespace);
                world.squid = Some(proxy);
            }
        }
        world.server = world.serve();
        world.client = world.connect();
        Ok(world)
    }

    /// Starts the server, which may have 400 descriptors.
    pub(crate) fn serve(&self) -> Child {
        let line = format!(
            "ulimit -n 400; exec {} serve --listen {} --allow {} --runtime {} {} {}",
            posthole(),
            self.http,
            self.echo,
            self.on.server,
            self.serves,
            self.log.verbose()
        );
        let child = self.start(Command::new("sh"), &line, "server");
        wait_for(self.http);
        child
    }

    /// Starts the client.
    pub(crate) fn connect(&self) -> Child {
        let line = format!(
            "exec {} connect {} -L {}:{} --runtime {} {}",
            posthole(),
            self.connects,
            self.local,
            self.echo,
            self.on.client,
            self.log.verbose()
        );
        let shell = match &self.namespace {
            Some(namespace) => namespace.command("sh".as_ref()),
            None => Command::new("sh"),
        };
        let child = self.start(shell, &line, "client");
        wait_for(self.local);
        child
    }

    fn start(&self, mut shell: Command, line: &str, name: &str) -> Child {
        let log = match self.log {
            Log::FullDisk => File::options().write(true).open("/dev/full"),
            Log::Kept => File::options()
                .append(true)
                .create(true)
                .open(self.folder.join(name)),
        };
        let said = log.unwrap();
        shell.args(["-c", line]).env("http_proxy", "");
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        shell.stderr(said).spawn().unwrap()
    }

    /// The most memory that the two have had, in MiB.
    pub(crate) fn memory(&self) -> [u64; 2] {
        [&self.client, &self.server].map(|child| {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let status = status.unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let words = line.and_then(|l| l.split_whitespace().next());
            words.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
        })
    }

    /// How many lines the two have logged.
    pub(crate) fn lines(&self) -> [usize; 2] {
        ["client", "server"].map(|name| self.said(name).lines().count())
    }

    /// The last line that each of the two has logged.
    pub(crate) fn last_words(&self) -> String {
        let last = ["client", "server"].map(|name| {
            let said = self.said(name);
            format!("the {name}: {:?}", said.lines().last().unwrap_or_default())
        });
        last.join(", ")
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.relay.end();
        if let Some(direct) = &self.direct {
            direct.end();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process that has ended.
fn nothing() -> Child {
    let mut child = Command::new("true").spawn().unwrap();
    let _ = child.wait();
    child
}

/// The command: `POSTHOLE` says where, if not where cargo puts it.
fn posthole() -> String {
    let built = || root().join("target/release/posthole").display().to_string();
    std::env::var("POSTHOLE").unwrap_or_else(|_| built())
}

fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("posthole-soak-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

fn wait_for(addr: SocketAddr) {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < until, "{addr} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}
