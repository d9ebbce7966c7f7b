//! A body as the file of a form (§9.8): some firewalls let only such uploads pass.

use super::Tag;
use crate::wire::Chain;
use alloc::format;
use alloc::string::String;
use bytes::Bytes;

/// How much of a body is looked through for the end of what stands before its bundles, in bytes: boxes that write it
/// anew may make it longer, not ten times as long.
const LONGEST: usize = 2048;

/// What stands around a body.
#[derive(Clone, Debug)]
pub struct Form {
    before: Bytes,
    after: Bytes,
    content_type: String,
}

impl Form {
    /// For requests with this tag, which makes the boundary: no body is likely to hold it.
    pub fn new(tag: Tag) -> Form {
        let boundary = format!("posthole{tag}");
        Form {
            before: Bytes::from(format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"data.bin\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )),
            after: Bytes::from(format!("\r\n--{boundary}--\r\n")),
            content_type: format!("multipart/form-data; boundary={boundary}"),
        }
    }

    /// The request's `Content-Type`.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The body as it is sent.
    pub fn put(&self, body: Chain) -> Chain {
        let mut form = Chain::from(self.before.clone());
        form.append(body);
        form.push(self.after.clone());
        form
    }
}

/// A request's body without the form that may be around it. Behind its bundles nothing is read, so what follows them
/// stays.
pub fn open(body: Bytes) -> Bytes {
    const END: &[u8] = b"\r\n\r\n";
    if !body.starts_with(b"--") {
        return body;
    }
    let head = body.get(..LONGEST).unwrap_or(&body);
    let end = head.windows(END.len()).position(|window| window == END);
    match end.and_then(|end| end.checked_add(END.len())) {
        Some(begin) => body.slice(begin..),
        None => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_a_form_by_exact_bytes() {
        let form = Form::new(Tag::from_bytes([0xab; 8]));
        assert_eq!(
            form.content_type(),
            "multipart/form-data; boundary=postholeabababababababab"
        );
        let put = form
            .put(Chain::from(Bytes::from_static(b"\xf8abc")))
            .into_bytes();
        let expected: &[u8] = b"--postholeabababababababab\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"data.bin\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\xf8abc\r\n--postholeabababababababab--\r\n";
        assert_eq!(put, expected);
        assert!(open(put).starts_with(b"\xf8abc\r\n--"));
    }

    #[test]
    fn what_is_no_form_stays_as_it_is() {
        for body in [&b""[..], b"-", b"--", b"--x\r\n\r", b"\xf8\r\n\r\n"] {
            assert_eq!(open(Bytes::copy_from_slice(body)), body);
        }
        let long = [&b"--"[..], &[b'x'; LONGEST], b"\r\n\r\n"].concat();
        assert_eq!(open(long.clone().into()), long);
    }
}
