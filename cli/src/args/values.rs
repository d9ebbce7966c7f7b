//! What single options mean, where no other file says it.

use posthole_protocol::http::ProxyChoice;
use posthole_runtime::Direct;

pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => Err("three octal digits are wanted, 660 for instance".to_owned()),
    }
}

pub(super) fn parse_idle(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=50_000) => Ok(number),
        _ => Err("a number from 1 to 50000 is wanted".to_owned()),
    }
}

pub(super) fn parse_path(text: &str) -> Result<String, String> {
    let fine = text.starts_with('/')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if fine {
        Ok(text.to_owned())
    } else {
        Err("a path begins with `/` and holds no space, `?` or `#`".to_owned())
    }
}

// What is wrong with a URL is said when it is used, by who reads it.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn parse_proxy(text: &str) -> Result<ProxyChoice, std::convert::Infallible> {
    Ok(if text == "none" {
        ProxyChoice::None
    } else {
        ProxyChoice::Url(text.to_owned())
    })
}

// As above.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn parse_direct(text: &str) -> Result<Direct, std::convert::Infallible> {
    Ok(if text == "none" {
        Direct::Never
    } else {
        Direct::At(text.to_owned())
    })
}
