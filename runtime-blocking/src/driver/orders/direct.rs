//! Orders at a direct connection: what is written is told to the core by whoever wrote it, or by whoever is next.

use super::*;
use crate::front::sock::{self, Got};
use posthole_protocol::{Server, StreamId};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A server's session whose client speaks by one direct connection, and streams that nobody has written to.
struct Connected {
    shared: Arc<Shared>,
    streams: [Stream; 2],
    client: Client,
    exchange: ExchangeId,
    far: TcpStream,
}

const REQUEST: RequestId = RequestId::new(0);

fn connect() -> Connected {
    let now = timer::now();
    let config = Config::builder().carrier(Carrier::Direct);
    let config = config.gather(Duration::ZERO).build().unwrap();
    let mut client = Client::new(config.clone(), SessionId::from_bytes([3; 16]), now);
    client.knows_direct(now, Duration::ZERO);
    assert!(client.poll_dial().is_some());
    let exchange = client.feed_dialled(now).unwrap();
    let ids = [(); 2].map(|()| {
        let id = client.open().unwrap();
        let mut stream = client.stream(id).unwrap();
        stream.write(&mut Bytes::from_static(b"hello")).unwrap();
        id
    });
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(port.local_addr().unwrap()).unwrap();
    let wire = Wire::new(port.accept().unwrap().0);
    let first = say(&mut client, exchange).unwrap();
    let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), now);
    let Route::Opening { opening, .. } = router.route(now, &first) else {
        panic!("it opens");
    };
    let server = Server::new(config, opening, Nonce(3), now);
    let shared = Shared::new(State::server(server), None, None);
    shared.feed_direct(REQUEST, first, &wire);
    let mut connected = Connected {
        streams: ids.map(|id| stream(&shared, id)),
        shared,
        client,
        exchange,
        far,
    };
    // The nonce comes back, and the streams are accepted.
    connected.hear();
    while let Some(more) = say(&mut connected.client, exchange) {
        assert!(connected.shared.feed_more(REQUEST, more));
    }
    let mut locked = connected.shared.lock();
    for _ in ids {
        assert!(matches!(locked.accept(), Ok(Tried::Done(_))));
    }
    locked.settle();
    connected.hear();
    connected
}

fn stream(shared: &Arc<Shared>, id: StreamId) -> Stream {
    let keeper = Arc::new(Keeper {
        shared: shared.clone(),
    });
    Stream::new(&keeper, id)
}

fn say(client: &mut Client, exchange: ExchangeId) -> Option<Bytes> {
    let now = timer::now();
    client.feed_timeout(now);
    let request = client.poll_request(now)?;
    client.feed_written(now, exchange).unwrap();
    Some(request.body.into_bytes())
}

impl Connected {
    /// The client takes in all that the server has written.
    fn hear(&mut self) {
        let mut all = Vec::with_capacity(64 * 1024);
        self.far
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        while sock::recv(&self.far, &mut all) == Got::Bytes {}
        self.client
            .feed_bundles(timer::now(), self.exchange, all.into())
            .unwrap();
    }
}

/// Two bring bytes of one stream while its thread waits for them to be passed on: in order, once, and the end comes last.
#[test]
fn what_two_bring_is_passed_on_in_order() {
    every_order(|| {
        let mut connected = connect();
        let id = connected.streams[0].id();
        let bundles = ["wor", "ld"].map(|part| {
            let mut far = connected.client.stream(id).unwrap();
            far.write(&mut Bytes::from(part)).unwrap();
            if part == "ld" {
                far.finish();
            }
            say(&mut connected.client, connected.exchange).unwrap()
        });
        let brings = bundles.map(|bundle| {
            let shared = connected.shared.clone();
            loom::thread::spawn(move || assert!(shared.feed_more(REQUEST, bundle)))
        });
        let passed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let into = passed.clone();
        let rest = connected.streams[0].read_through(100, move |bytes| {
            into.lock().unwrap().extend_from_slice(bytes);
            bytes.len()
        });
        assert!(rest.unwrap().is_empty());
        assert_eq!(*passed.lock().unwrap(), b"helloworld");
        for brings in brings {
            brings.join().unwrap();
        }
    });
}

#[test]
fn what_two_write_leaves_whoever_tells_the_core_of_it() {
    every_order(|| {
        let mut connected = connect();
        let [one, other] = &connected.streams;
        let (one, other) = (one.try_clone().unwrap(), other.try_clone().unwrap());
        let writes = loom::thread::spawn(move || {
            one.write_bytes(Bytes::from_static(b"a")).unwrap();
        });
        other.write_bytes(Bytes::from_static(b"b")).unwrap();
        writes.join().unwrap();
        connected.hear();
        for (stream, word) in connected.streams.iter().zip(["a", "b"]) {
            let mut far = connected.client.stream(stream.id()).unwrap();
            let Ok(posthole_protocol::Read::Chunk(read)) = far.read(10) else {
                panic!("{word} was never said");
            };
            assert_eq!(read, word);
        }
    });
}
