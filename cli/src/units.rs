//! Sizes and times as people write and read them: `64MiB`, `1.5s`, `12.3 MB/s`.

use std::fmt;
use std::time::Duration;

/// Reads a number of bytes: `4096`, `64KiB`, `1MiB`, `2GiB` (powers of 1024), `500kB`, `1MB`, `1GB` (of 1000). Case
/// and a space before the unit don't matter.
///
/// # Errors
/// A sentence for the user, if it is not a whole number with one of these units or does not fit 64 bits.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split_unit(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => {
            return Err(format!(
                "`{unit}` is not a unit of size: try KiB, MiB or GiB"
            ));
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a size: try 64MiB".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "more than fits into 64 bits".to_owned())
}

/// Reads a time: `500ms`, `5s`, `2m`, `1h`; a number alone is seconds. Fractions are allowed.
///
/// # Errors
/// A sentence for the user, if it is not a number with one of these units, is negative, or is longer than a year.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split_unit(text);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is not a unit of time: try ms, s, m or h")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "not a time: try 5s".to_owned())?;
    let seconds = number * factor;
    if !(0.0..=365.0 * 86_400.0).contains(&seconds) {
        return Err("a time is between 0 and a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads a percentage, 0 to 100, with or without its sign.
///
/// # Errors
/// A sentence for the user, if it is anything else.
pub fn parse_percent(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .strip_suffix('%')
        .unwrap_or(text)
        .trim()
        .parse()
        .map_err(|_| "not a percentage".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(number)
    } else {
        Err("a percentage is between 0 and 100".to_owned())
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    (digits, unit.trim())
}

/// A number of bytes for reading: three digits and a binary unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024.0 || unit == "GiB" {
                let exact = unit == "B" || value.fract() == 0.0;
                let text = if exact {
                    format!("{value:.0} {unit}")
                } else {
                    format!("{value:.1} {unit}")
                };
                return f.pad(&text);
            }
            value /= 1024.0;
        }
        Ok(())
    }
}

/// Bytes in a time, as MB/s (of 1,000,000 bytes).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub u64, pub Duration);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.0 as f64 / 1e6 / self.1.as_secs_f64().max(1e-6);
        f.pad(&if rate < 10.0 {
            format!("{rate:.2} MB/s")
        } else {
            format!("{rate:.0} MB/s")
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("1k", 1024),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "-1", "3 parsecs", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_units_and_are_seconds_without() {
        for (text, millis) in [
            ("5", 5000),
            ("0s", 0),
            ("250ms", 250),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for text in ["", "s", "-1s", "1d", "1e99", "1.2.3s", "9999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_end_at_a_hundred() {
        assert_eq!(parse_percent("10").unwrap(), 10.0);
        assert_eq!(parse_percent("2.5%").unwrap(), 2.5);
        assert!(
            parse_percent("101").is_err()
                && parse_percent("-1").is_err()
                && parse_percent("NaN").is_err()
        );
    }

    #[test]
    fn sizes_and_rates_are_short() {
        assert_eq!(Size(999).to_string(), "999 B");
        assert_eq!(Size(64 << 20).to_string(), "64 MiB");
        assert_eq!(Size(1_500_000).to_string(), "1.4 MiB");
        assert_eq!(
            Rate(25_000_000, Duration::from_secs(2)).to_string(),
            "12 MB/s"
        );
        assert_eq!(
            Rate(5_000_000, Duration::from_secs(2)).to_string(),
            "2.50 MB/s"
        );
    }
}
