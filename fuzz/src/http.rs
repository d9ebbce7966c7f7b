//! What comes from outside as HTTP, and bundles out of a stream of bytes.

use crate::dice::Dice;
use bytes::Bytes;
use posthole_blocking::front;
use posthole_protocol::http::{Form, Plain, Proxy, ProxyChoice, Tag, Url, Way, form};
use posthole_protocol::wire::Chain;
use posthole_runtime::Frames;

/// A head for the front: read or refused without a panic; what is read whole is read alike however much follows, and what
/// is not is not yet whole in any shorter piece either.
pub fn http_head(data: &[u8]) {
    let judged = front::judge(data, "/p");
    match &judged {
        Ok(Some(length)) => {
            assert!(*length <= data.len());
            assert_eq!(front::judge(&data[..*length], "/p"), judged);
            let more = [data, b"more\r\n\r\n"].concat();
            assert_eq!(front::judge(&more, "/p"), judged);
        }
        Ok(None) => {
            for end in (0..data.len()).step_by(7) {
                assert_eq!(front::judge(&data[..end], "/p"), Ok(None));
            }
        }
        Err(refusal) => {
            assert!((400..600).contains(&refusal.status));
            assert!(!refusal.to_bytes().is_empty());
        }
    }
}

/// URLs, proxies, what stands in the environment, a proxy's answer to CONNECT, and forms.
pub fn http_way(data: &[u8]) {
    let mut dice = Dice::new(data);
    let [url, proxy, no_proxy] = [(); 3].map(|()| {
        let length = usize::from(dice.byte());
        String::from_utf8_lossy(dice.bytes(length)).into_owned()
    });
    if let Ok(parsed) = Url::parse(&url) {
        let again = Url::parse(&parsed.to_string());
        assert_eq!(
            again.as_ref().map(ToString::to_string),
            Ok(parsed.to_string())
        );
    }
    let _ = Proxy::parse(&proxy);
    let tag = Tag::from_bytes([7; 8]);
    let environment = |name: &str| match name {
        "http_proxy" | "https_proxy" => Some(proxy.clone()),
        "no_proxy" => Some(no_proxy.clone()),
        _ => None,
    };
    for choice in [
        ProxyChoice::FromEnvironment,
        ProxyChoice::Url(proxy.clone()),
    ] {
        let Ok(way) = Way::new(&url, tag, choice, environment) else {
            continue;
        };
        let way = way.plain(Plain::Connect);
        assert!(
            !way.target().contains(['\r', '\n', ' ']),
            "{}",
            way.target()
        );
        for (name, value) in way.headers() {
            assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']));
        }
        let _ = way.tunnel_answer(dice.peek());
    }
    let body = Bytes::copy_from_slice(dice.peek());
    let _ = form::open(body.clone());
    let put = Form::new(tag).put(Chain::from(body.clone())).into_bytes();
    assert!(form::open(put).starts_with(&body));
}

/// Bundles out of a stream of bytes: the same ones however the stream is cut into pieces.
pub fn frames(data: &[u8]) {
    let mut dice = Dice::new(data);
    let step = 1 + usize::from(dice.byte());
    let stream = dice.rest();
    let read = |step: usize| {
        let (mut frames, mut whole) = (Frames::new(4_096), Vec::new());
        for piece in stream.chunks(step) {
            frames.room().extend_from_slice(piece);
            match frames.take() {
                Ok(bundles) => whole.extend_from_slice(&bundles.unwrap_or_default()),
                Err(_) => return (whole, true),
            }
        }
        (whole, false)
    };
    let (pieces, all) = (read(step), read(stream.len().max(1)));
    assert_eq!(pieces.1, all.1, "whether they are bundles");
    // What comes with the first wrong byte may be given up with it.
    assert!(all.1 || pieces.0 == all.0);
    assert!(pieces.0.starts_with(&all.0));
}
