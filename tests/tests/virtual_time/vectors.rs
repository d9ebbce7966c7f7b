//! The golden bytes of `tests/vectors`: what they decode to, and that what they decode to is encoded to them.
//! Their format is told in `tests/vectors/README.md`.

use bytes::Bytes;
use posthole_protocol::wire::{
    Ack, AnswerPrefix, Bundle, Chain, Content, Control, Message, Params, Prefix, Refusal,
    RequestPrefix, Unreadable, decode, encode, refusal,
};
use posthole_protocol::{Instance, Nonce, ResetCode, SessionId, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

#[test]
fn every_vector_decodes_and_encodes_as_it_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut seen = BTreeSet::new();
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "hex"));
    files.sort();
    for path in &files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        println!("{name}");
        let vector = Vector::parse(&std::fs::read_to_string(path).unwrap());
        assert_eq!(
            name.starts_with("bad-"),
            vector.error.is_some(),
            "what is bad is called so"
        );
        match &*vector.direction {
            "request" => vector.check::<RequestPrefix>(),
            "answer" => vector.check::<AnswerPrefix>(),
            other => panic!("direction {other}"),
        }
        seen.extend(vector.subjects());
    }
    for subject in SUBJECTS {
        assert!(seen.contains(*subject), "no vector has: {subject}");
    }
}

/// What at least one vector must be about.
const SUBJECTS: &[&str] = &[
    "opening",
    "nonce",
    "ranges",
    "open",
    "held",
    "data",
    "fin",
    "void",
    "stream_credit",
    "streams",
    "reset",
    "stop",
    "close",
    "unknown",
    "not_understood",
    "malformed",
    "gone",
    "busy",
    "unreadable",
    "version",
    "ended",
    "two bundles",
    "error short",
    "error magic",
    "error version",
    "error flags",
    "error check",
    "error content",
];

/// A file: bytes, and what it says of them.
struct Vector {
    session: SessionId,
    direction: String,
    /// The exchange of the response as HTTP knows it.
    asked: Option<u64>,
    /// Whether these are the bytes that a sender makes of the same content.
    encodes: bool,
    bytes: Bytes,
    bundles: Vec<Described>,
    error: Option<String>,
}

/// What a file says of one bundle.
#[derive(Default)]
struct Described {
    exchange: u64,
    bundle: u64,
    refusal: Option<Refusal>,
    /// The fields of the prefix.
    fields: BTreeMap<String, String>,
    messages: Vec<Message>,
    subjects: Vec<String>,
}

impl Vector {
    fn parse(text: &str) -> Vector {
        let mut vector = Vector {
            session: SessionId::from_bytes([0; 16]),
            direction: String::new(),
            asked: None,
            encodes: true,
            bytes: Bytes::new(),
            bundles: Vec::new(),
            error: None,
        };
        let mut digits = String::new();
        for line in text.lines() {
            let Some(says) = line.strip_prefix("= ") else {
                digits.push_str(line.split('#').next().unwrap());
                continue;
            };
            let (name, value) = says.split_once(':').unwrap();
            vector.says(name, value.trim());
        }
        vector.bytes = hex(&digits).into();
        assert!(!vector.bytes.is_empty());
        vector
    }

    fn says(&mut self, name: &str, value: &str) {
        match name {
            "session" => self.session = SessionId::from_bytes(hex(value).try_into().unwrap()),
            "direction" => self.direction = value.into(),
            "asked" => self.asked = Some(number(value)),
            "encode" => self.encodes = value != "no",
            "error" => self.error = Some(value.into()),
            "exchange" => {
                let exchange = number(value);
                self.bundles.push(Described {
                    exchange,
                    ..Described::default()
                });
            }
            _ => self.bundles.last_mut().unwrap().says(name, value),
        }
    }

    fn subjects(&self) -> impl Iterator<Item = String> {
        let error = self
            .error
            .iter()
            .map(|error| format!("error {}", error.split(' ').next().unwrap()));
        let two = (self.bundles.len() > 1).then(|| "two bundles".into());
        error.chain(two).chain(
            self.bundles
                .iter()
                .flat_map(|bundle| bundle.subjects.iter().cloned()),
        )
    }

    fn check<P: Prefix + FromFields + PartialEq + Debug>(&self) {
        let mut body = self.bytes.clone();
        let mut encoded = Chain::default();
        for described in &self.bundles {
            let prefix = P::described(&described.fields);
            let bundle = decode::<P>(&mut body, &self.session, self.asked)
                .unwrap()
                .unwrap();
            match (bundle, described.refusal) {
                (Bundle::Refusal(refusal), described) => assert_eq!(Some(refusal), described),
                (Bundle::Session(_), Some(refusal)) => panic!("this is not {refusal:?}"),
                (Bundle::Session(decoded), None) => {
                    assert_eq!(
                        (decoded.exchange, decoded.bundle),
                        (described.exchange, described.bundle)
                    );
                    assert_eq!(decoded.prefix, prefix);
                    assert_eq!(decoded.messages.numbers(), described.messages.len() as u64);
                    assert_eq!(
                        decoded.messages.collect::<Vec<_>>(),
                        in_runs(&described.messages)
                    );
                }
            }
            if self.encodes {
                encoded.append(match described.refusal {
                    Some(refused) => refusal(&self.session, described.exchange, refused),
                    None => {
                        let Described {
                            exchange, bundle, ..
                        } = *described;
                        encode(
                            &self.session,
                            exchange,
                            bundle,
                            &prefix,
                            &described.messages,
                        )
                    }
                });
            }
        }
        match &self.error {
            Some(error) => {
                let found = decode::<P>(&mut body, &self.session, self.asked)
                    .unwrap()
                    .unwrap_err();
                assert_eq!(word(found), *error);
            }
            None if self.encodes => assert_eq!(encoded.into_bytes(), self.bytes),
            None => {}
        }
        assert!(body.is_empty());
        assert!(decode::<P>(&mut body, &self.session, self.asked).is_none());
    }
}

/// The name that the vectors have for an error.
fn word(error: Unreadable) -> String {
    match error {
        Unreadable::Short => "short".into(),
        Unreadable::Magic => "magic".into(),
        Unreadable::Version(version) => format!("version {version}"),
        Unreadable::Flags => "flags".into(),
        Unreadable::Check => "check".into(),
        Unreadable::Content => "content".into(),
        other => panic!("{other:?} has no vector"),
    }
}

impl Described {
    fn says(&mut self, name: &str, value: &str) {
        self.subjects.push(name.into());
        match name {
            "bundle" => self.bundle = number(value),
            "refusal" => self.refusal = Some(self.refuses(value)),
            "data" | "void" | "stream_credit" | "streams" | "reset" | "stop" | "close"
            | "unknown" | "not_understood" | "malformed" => {
                let (at, says) = value.split_once(' ').unwrap_or((value, ""));
                let message = Message {
                    number: number(at),
                    content: content(name, says),
                };
                if matches!(message.content, Content::Data { fin: true, .. }) {
                    self.subjects.push("fin".into());
                }
                self.messages.push(message);
            }
            _ => {
                if name == "ack" && value.contains("..") {
                    self.subjects.push("ranges".into());
                }
                assert!(
                    self.fields.insert(name.into(), value.into()).is_none(),
                    "{name} twice"
                );
            }
        }
    }

    fn refuses(&mut self, value: &str) -> Refusal {
        let (name, says) = value.split_once(' ').unwrap_or((value, ""));
        self.subjects.push(name.into());
        match name {
            "gone" => Refusal::Gone(Instance(hex64(says))),
            "busy" => Refusal::Busy(number(says)),
            "unreadable" => Refusal::Unreadable,
            "version" => {
                let (lowest, highest) = versions(says);
                Refusal::Version(lowest, highest)
            }
            "ended" => Refusal::Ended(number(says)),
            other => panic!("refusal {other}"),
        }
    }
}

/// What a message says of itself: `key=value`, blanks between, or a word alone; a reason reaches to the end.
fn content(kind: &str, says: &str) -> Content {
    let field = |key: &str| {
        let start = says
            .find(&format!("{key}="))
            .unwrap_or_else(|| panic!("{kind} without {key}: {says}"));
        says[start + key.len() + 1..].split(' ').next().unwrap()
    };
    let stream = || StreamId::from_number(number(field("stream")));
    let code = || field("code").parse().unwrap();
    Content::Control(match kind {
        "data" => {
            return Content::Data {
                stream: stream(),
                offset: number(field("offset")),
                fin: says.split(' ').any(|word| word == "fin"),
                payload: hex(field("payload")).into(),
            };
        }
        "void" => return Content::Void,
        "stream_credit" => Control::StreamCredit {
            stream: stream(),
            limit: number(field("limit")),
        },
        "streams" => Control::Streams {
            total: number(field("total")),
        },
        "reset" => Control::Reset {
            stream: stream(),
            code: ResetCode(code()),
            size: number(field("size")),
        },
        "stop" => Control::Stop {
            stream: stream(),
            code: ResetCode(code()),
        },
        "close" => Control::Close {
            code: code(),
            reason: says.split_once("reason=").unwrap().1.into(),
        },
        "unknown" => Control::Unknown,
        "not_understood" => Control::NotUnderstood,
        "malformed" => Control::Malformed,
        other => panic!("message {other}"),
    })
}

/// Runs of data that continues, each as one: what decoding gives.
fn in_runs(messages: &[Message]) -> Vec<(u64, Message)> {
    let mut items: Vec<(u64, Message)> = Vec::new();
    for message in messages {
        let last = items
            .last_mut()
            .map(|(count, last)| (last.number + *count, count, &mut last.content));
        match (last, &message.content) {
            (
                Some((
                    next,
                    count,
                    Content::Data {
                        stream,
                        offset,
                        fin: fin @ false,
                        payload,
                    },
                )),
                Content::Data {
                    stream: s,
                    offset: o,
                    fin: f,
                    payload: p,
                },
            ) if (next, *stream, *offset + payload.len() as u64) == (message.number, *s, *o) => {
                *payload = [&payload[..], p].concat().into();
                *fin = *f;
                *count += 1;
            }
            _ => items.push((1, message.clone())),
        }
    }
    items
}

/// A prefix out of the fields that a file names; those it doesn't name are 0, empty or absent.
trait FromFields: Sized {
    fn described(fields: &BTreeMap<String, String>) -> Self;
}

impl FromFields for RequestPrefix {
    fn described(fields: &BTreeMap<String, String>) -> RequestPrefix {
        let mut prefix = RequestPrefix::default();
        for (name, value) in fields {
            match &**name {
                "opening" => prefix.opening = Some(params(value)),
                "nonce" => prefix.echo = Some(Nonce(hex64(value))),
                "ack" => prefix.ack = ack(value),
                "credit" => prefix.credit = number(value),
                "unread" => prefix.unread = number(value),
                "timer" => prefix.timer = number(value),
                "long" => prefix.long = Some(number(value)),
                "streamed" => prefix.streamed = Some(number(value)),
                "open" => prefix.open = numbers(value).into(),
                "hold" => prefix.hold = number(value),
                "wait" => prefix.wait = number(value),
                "answer_max" => prefix.answer_max = number(value),
                "backlog" => prefix.backlog = number(value),
                other => panic!("no request has {other}"),
            }
        }
        prefix
    }
}

impl FromFields for AnswerPrefix {
    fn described(fields: &BTreeMap<String, String>) -> AnswerPrefix {
        let mut prefix = AnswerPrefix::default();
        for (name, value) in fields {
            match &**name {
                "opening" => prefix.opening = Some(params(value)),
                "nonce" => prefix.nonce = Some(Nonce(hex64(value))),
                "read" => prefix.read = value == "yes",
                "ack" => prefix.ack = ack(value),
                "credit" => prefix.credit = number(value),
                "unread" => prefix.unread = number(value),
                "held_for" => prefix.held_for = number(value),
                "newest" => prefix.newest = number(value),
                "held" => prefix.held = numbers(value).into(),
                "backlog" => prefix.backlog = number(value),
                "more" => prefix.more = Some(number(value)),
                other => panic!("no answer has {other}"),
            }
        }
        prefix
    }
}

fn params(text: &str) -> Params {
    let mut params = Params::default();
    for pair in text.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        match name {
            "streams" => params.streams = number(value),
            "versions" => params.versions = Some(versions(value)),
            "ack_delay" => params.ack_delay = Some(number(value)),
            "idle" => params.idle = Some(number(value)),
            "instance" => params.instance = Some(Instance(hex64(value))),
            "pad" => params.pad = Some(number(value)),
            "direct" => params.direct = Some(number(value)),
            "body_max" => params.body_max = Some(number(value)),
            "replaces" => {
                params.replaces = Some(SessionId::from_bytes(hex(value).try_into().unwrap()))
            }
            other => panic!("parameter {other}"),
        }
    }
    params
}

/// `next`, then ranges as `first..end`.
fn ack(text: &str) -> Ack {
    let mut words = text.split_whitespace();
    let next = number(words.next().unwrap());
    let range = |word: &str| {
        let (first, end) = word.split_once("..").unwrap();
        number(first)..number(end)
    };
    Ack {
        next,
        ranges: words.map(range).collect(),
    }
}

fn versions(text: &str) -> (u8, u8) {
    let (lowest, highest) = text.split_once("..").unwrap();
    (lowest.parse().unwrap(), highest.parse().unwrap())
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map(number).collect()
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn hex64(text: &str) -> u64 {
    u64::from_be_bytes(hex(text).try_into().unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = (text.chars().filter(|c| !c.is_whitespace()))
        .map(|c| c.to_digit(16).unwrap())
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte: {text}");
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}
