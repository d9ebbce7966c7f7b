//! All samples of a run, by round, test and system, and what they come to.

use super::load::{Load, Sample};
use super::stats;
use super::system::System;

/// What was measured.
#[derive(Debug)]
pub(super) struct Results {
    loads: Vec<Load>,
    /// The first is what the others are compared with.
    systems: Vec<System>,
    rounds: u32,
    samples: Vec<(u32, Load, System, Sample)>,
}

/// One test on one system.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) figure: Option<f64>,
    /// Of the figure, to the first system's.
    pub(super) ratio: Option<f64>,
    pub(super) spread: Option<f64>,
    pub(super) processor: Option<f64>,
    pub(super) processor_ratio: Option<f64>,
    /// The largest of all rounds, in bytes.
    pub(super) peak: Option<u64>,
    pub(super) also: Vec<(&'static str, Option<f64>)>,
}

impl Results {
    pub(super) fn new(loads: Vec<Load>, systems: Vec<System>, rounds: u32) -> Results {
        Results {
            loads,
            systems,
            rounds,
            samples: Vec::new(),
        }
    }

    pub(super) fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The systems that this test is run on.
    pub(super) fn systems(&self, load: Load) -> impl Iterator<Item = System> {
        let suits = move |system: &System| load.suits(*system);
        self.systems.iter().copied().filter(suits)
    }

    /// All that is to be measured.
    pub(super) fn plan(&self) -> impl Iterator<Item = (u32, Load, System)> {
        (0..self.rounds).flat_map(move |round| {
            let loads = self.loads.iter().copied();
            let loads = loads.filter(move |load| round < load.rounds(self.rounds));
            loads.flat_map(move |load| self.systems(load).map(move |s| (round, load, s)))
        })
    }

    pub(super) fn put(&mut self, round: u32, load: Load, system: System, sample: Sample) {
        self.samples.push((round, load, system, sample));
    }

    /// The samples of a test on a system, one per round in which there was to be one.
    pub(super) fn samples(&self, load: Load, system: System) -> Vec<Option<&Sample>> {
        let of = |round| {
            let mut samples = self.samples.iter();
            samples
                .find(|(r, l, s, _)| (*r, *l, *s) == (round, load, system))
                .map(|(.., sample)| sample)
        };
        (0..load.rounds(self.rounds)).map(of).collect()
    }

    pub(super) fn row(&self, load: Load, system: System) -> Row {
        let (own, base) = (
            self.samples(load, system),
            self.samples(load, System::Relay),
        );
        let values = |samples: &[Option<&Sample>], of: fn(&Sample) -> Option<f64>| {
            samples
                .iter()
                .map(|s| s.and_then(of))
                .collect::<Vec<Option<f64>>>()
        };
        let there = |values: &[Option<f64>]| values.iter().flatten().copied().collect::<Vec<_>>();
        let figures = values(&own, |s| s.figure);
        let processor = values(&own, |s| s.processor);
        let names = own.iter().flatten().next();
        let also = names.map_or(Vec::new(), |first| {
            let name_and_median = |(i, (name, _)): (usize, &(&'static str, Option<f64>))| {
                let of_all: Vec<f64> = own.iter().flatten().filter_map(|s| s.also[i].1).collect();
                (*name, stats::median(&of_all))
            };
            first.also.iter().enumerate().map(name_and_median).collect()
        });
        Row {
            figure: stats::median(&there(&figures)),
            ratio: stats::ratio(&figures, &values(&base, |s| s.figure)),
            spread: stats::spread(&there(&figures)),
            processor: stats::median(&there(&processor)),
            processor_ratio: stats::ratio(&processor, &values(&base, |s| s.processor)),
            peak: own.iter().flatten().filter_map(|s| s.peak).max(),
            also,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::system::End;
    use super::*;
    use crate::runtime::Runtime;

    const END: End = End {
        runtime: Runtime::Blocking,
        threads: None,
    };

    pub(in super::super) const TUNNEL: System = System::Posthole {
        client: END,
        server: END,
    };

    /// Three rounds of two tests on two systems, one measurement of which failed.
    pub(in super::super) fn some() -> Results {
        let mut results = Results::new(
            vec![Load::Down, Load::IdleSessions],
            vec![System::Relay, TUNNEL],
            3,
        );
        for (round, system, figure, processor) in [
            (0, System::Relay, 2000.0, 0.5),
            (0, TUNNEL, 1400.0, 1.0),
            (1, System::Relay, 1000.0, 0.5),
            (1, TUNNEL, 600.0, 1.1),
            (2, System::Relay, 2100.0, 0.5),
        ] {
            let sample = Sample {
                figure: Some(figure),
                processor: Some(processor),
                peak: Some(8 << 20),
                also: vec![],
            };
            results.put(round, Load::Down, system, sample);
        }
        let sample = Sample {
            figure: Some(15.25),
            also: vec![("KiB client", Some(30.0))],
            ..Sample::default()
        };
        results.put(0, Load::IdleSessions, TUNNEL, sample);
        results
    }

    #[test]
    fn the_plan_leaves_out_what_does_not_exist() {
        let plan: Vec<_> = some().plan().collect();
        assert_eq!(plan.len(), 3 * 2 + 2);
        assert!(!plan.contains(&(0, Load::IdleSessions, System::Relay)));
    }

    #[test]
    fn a_row_is_medians_and_ratios_within_rounds() {
        let row = some().row(Load::Down, TUNNEL);
        assert_eq!((row.figure, row.processor), (Some(1000.0), Some(1.05)));
        assert!((row.ratio.unwrap() - 0.65).abs() < 1e-9);
        assert!((row.processor_ratio.unwrap() - 2.1).abs() < 1e-9);
        assert_eq!(row.peak, Some(8 << 20));
        let row = some().row(Load::IdleSessions, TUNNEL);
        assert_eq!((row.ratio, row.spread), (None, None));
        assert_eq!(row.also, [("KiB client", Some(30.0))]);
        assert_eq!(some().row(Load::Up, TUNNEL).figure, None);
    }
}
