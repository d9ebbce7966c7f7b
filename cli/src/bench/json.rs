//! Every sample, for programs. The names are ours and hold nothing that JSON would want escaped.

use std::fmt;

use super::load::Sample;
use super::results::Results;
use super::table::About;

/// One object; numbers that don't exist are `null`.
pub(super) struct Json<'a>(pub(super) &'a Results, pub(super) &'a About<'a>);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Json(results, about) = self;
        let args = about.args;
        writeln!(f, "{{")?;
        writeln!(f, "  \"version\": \"{}\",", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  \"seconds\": {},", args.seconds.as_secs_f64())?;
        writeln!(
            f,
            "  \"rtt_ms\": {},",
            args.rtt.unwrap_or_default().as_secs_f64() * 1e3
        )?;
        writeln!(f, "  \"rate_mbit\": {},", number(args.rate.map(f64::from)))?;
        writeln!(f, "  \"loss_percent\": {},", args.loss.unwrap_or_default())?;
        writeln!(f, "  \"direct\": {},", args.direct)?;
        writeln!(f, "  \"idle\": {},", args.idle)?;
        writeln!(f, "  \"processors\": {},", about.processors())?;
        writeln!(f, "  \"others\": {},", number(about.others))?;
        write!(f, "  \"results\": [")?;
        let mut rows = results
            .loads()
            .iter()
            .flat_map(|load| results.systems(*load).map(|system| (*load, system)))
            .peekable();
        while let Some((load, system)) = rows.next() {
            let row = results.row(load, system);
            write!(
                f,
                "\n    {{\"test\": \"{}\", \"system\": \"{system}\", \"unit\": \"{}\", \"median\": {}, \"ratio\": {}, \
                 \"spread\": {}, \"processor_unit\": \"{}\", \"processor\": {}, \"processor_ratio\": {}, \
                 \"peak_bytes\": {},\n     \"samples\": [",
                load.name(),
                load.unit(),
                number(row.figure),
                number(row.ratio),
                number(row.spread),
                load.processor_unit(),
                number(row.processor),
                number(row.processor_ratio),
                row.peak.map_or("null".into(), |bytes| bytes.to_string()),
            )?;
            for (i, sample) in results.samples(load, system).into_iter().enumerate() {
                let text = sample.map_or("null".into(), self::sample);
                write!(f, "{}{text}", if i > 0 { ", " } else { "" })?;
            }
            write!(f, "]}}{}", if rows.peek().is_some() { "," } else { "" })?;
        }
        writeln!(f, "\n  ]\n}}")
    }
}

fn sample(sample: &Sample) -> String {
    let mut text = format!(
        "{{\"figure\": {}, \"processor\": {}",
        number(sample.figure),
        number(sample.processor)
    );
    for (name, value) in &sample.also {
        text.push_str(&format!(", \"{name}\": {}", number(*value)));
    }
    text.push('}');
    text
}

fn number(value: Option<f64>) -> String {
    value
        .filter(|v| v.is_finite())
        .map_or("null".into(), |v| v.to_string())
}
