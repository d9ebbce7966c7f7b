//! A client and a server machine talk in memory: no socket, no thread, no clock.
//! Left out: HTTP, failures (`feed_failure`), and everything that a random source is for.
use bytes::Bytes;
use posthole_protocol::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = SessionId::from_bytes(*b"sixteen secret B");
    let mut client = Client::new(Config::default(), secret, Instant::ZERO);
    let mut router = Router::new(RouterConfig::default(), Instance(1), Instant::ZERO);
    let mut exchanges = Vec::new();
    let id = client.open()?;
    let mut stream = client.stream(id).ok_or("just opened")?;
    stream.write(&mut Bytes::from("hello from inside"))?;

    for now in (0..50).map(|millis| Instant::from_micros(millis * 1000)) {
        client.feed_timeout(now);
        while let Some(request) = client.poll_request(now) {
            println!("{now} {} is asked", request.exchange);
            let name = RequestId::new(request.exchange.number());
            exchanges.push(request.exchange);
            let body = request.body.into_bytes();
            if let Route::Opening { opening, .. } = router.route(now, &body) {
                let id = opening.id();
                router.insert(id, Server::new(Config::default(), opening, Nonce(2), now));
            }
            if let Route::Session(server) = router.route(now, &body) {
                server
                    .feed_request(now, name, body)
                    .map_err(|_| "refused")?;
            }
        }
        for (_, server) in router.sessions() {
            server.feed_timeout(now);
            while let Some(event) = server.poll_event() {
                println!("{now} the server hears: {event:?}");
            }
            if let Some(mut stream) = server.stream(id)
                && let Ok(Read::Chunk(bytes)) = stream.read(100)
            {
                println!("{now} the server reads {bytes:?} and replies");
                stream.write(&mut Bytes::from("hello from outside"))?;
            }
            while let Some(response) = server.poll_response(now) {
                let exchange = exchanges[response.request.number() as usize];
                println!("{now} {exchange} is answered");
                client.feed_response(now, exchange, response.body.into_bytes())?;
            }
        }
        while let Some(event) = client.poll_event() {
            println!("{now} the client hears: {event:?}");
        }
        if let Some(Ok(Read::Chunk(bytes))) = client.stream(id).map(|mut s| s.read(100)) {
            println!("{now} the client reads {bytes:?}");
        }
    }
    Ok(())
}
