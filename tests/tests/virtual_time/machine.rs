//! Both machines against a model of what two ends of a socket pair would show (L1, L2, L5, S1): operations that make sense at
//! each moment, drawn and shrunk with that moment in mind.
//!
//! `PROPTEST_CASES=20000 cargo test --release -p posthole-tests --test virtual_time machine::` looks longer.

use posthole_protocol::{Carrier, Config, StreamId};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault, Outage};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::time::Duration;

/// What one way of a stream should show.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    written: u64,
    finished: bool,
}

/// What an application knows.
#[derive(Clone, Debug)]
struct Model {
    seed: u64,
    /// Each way of each stream, the client's first.
    streams: Vec<[Way; 2]>,
    /// Faults that are still to come are bounded, so that a case ends.
    trouble: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Write {
        stream: usize,
        side: usize,
        bytes: u64,
    },
    Finish {
        stream: usize,
        side: usize,
    },
    Pass {
        micros: u64,
    },
    /// All connections end.
    Kill,
    /// Of the next exchanges so many requests, or answers, are lost; or each comes twice.
    Lose {
        answers: bool,
        many: u64,
    },
    Twice {
        many: u64,
    },
    /// Nothing gets through.
    Outage {
        micros: u64,
    },
    /// Direct connections can be made or not from here on.
    Direct {
        allowed: bool,
    },
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        any::<u64>()
            .prop_map(|seed| Model {
                seed,
                streams: Vec::new(),
                trouble: 0,
            })
            .boxed()
    }

    fn transitions(state: &Model) -> BoxedStrategy<Step> {
        let open = state.streams.len();
        let pass =
            prop_oneof![0..5 * MS, 0..SEC, 0..20 * SEC].prop_map(|micros| Step::Pass { micros });
        let many = 1_u64..6;
        let trouble = prop_oneof![
            Just(Step::Kill),
            (any::<bool>(), many.clone()).prop_map(|(answers, many)| Step::Lose { answers, many }),
            many.prop_map(|many| Step::Twice { many }),
            (0..8 * SEC).prop_map(|micros| Step::Outage { micros }),
            any::<bool>().prop_map(|allowed| Step::Direct { allowed }),
        ];
        if open == 0 {
            return Just(Step::Open).boxed();
        }
        let which = (0..open, 0_usize..2);
        let bytes = prop_oneof![1_u64..100, 1_u64..20_000, 1_u64..400_000];
        let write = (which.clone(), bytes).prop_map(|((stream, side), bytes)| Step::Write {
            stream,
            side,
            bytes,
        });
        let finish = which.prop_map(|(stream, side)| Step::Finish { stream, side });
        prop_oneof![
            1 => Just(Step::Open),
            6 => write,
            1 => finish,
            4 => pass,
            3 => trouble,
        ]
        .boxed()
    }

    fn preconditions(state: &Model, step: &Step) -> bool {
        match *step {
            Step::Open => state.streams.len() < 6,
            Step::Write { stream, side, .. } | Step::Finish { stream, side } => {
                state.streams.get(stream).is_some_and(|s| !s[side].finished)
            }
            Step::Pass { .. } => true,
            Step::Kill
            | Step::Lose { .. }
            | Step::Twice { .. }
            | Step::Outage { .. }
            | Step::Direct { .. } => state.trouble < 12,
        }
    }

    fn apply(mut state: Model, step: &Step) -> Model {
        match *step {
            Step::Open => state.streams.push(Default::default()),
            Step::Write {
                stream,
                side,
                bytes,
            } => state.streams[stream][side].written += bytes,
            Step::Finish { stream, side } => state.streams[stream][side].finished = true,
            Step::Pass { .. } => {}
            Step::Kill
            | Step::Lose { .. }
            | Step::Twice { .. }
            | Step::Outage { .. }
            | Step::Direct { .. } => state.trouble += 1,
        }
        state
    }
}

/// The machines, and the streams in the order in which they were opened.
struct Machines {
    pair: Pair,
    streams: Vec<StreamId>,
}

impl Machines {
    /// What a side does with a stream from here on. It may not have heard of it yet: then it does so when it has.
    fn change(&mut self, stream: usize, side: usize, change: impl Fn(&mut Script)) {
        let id = self.streams[stream];
        let pair = &mut self.pair;
        if side == 1 {
            assert!(
                pair.run_until(3_000 * SEC, |p| p.hears_of(id)),
                "the server hears of the stream"
            );
        }
        let talker = match side {
            0 => pair.client().talkers.get_mut(&id),
            _ => pair.server().and_then(|end| end.talkers.get_mut(&id)),
        };
        change(&mut talker.unwrap().script);
        pair.run_for(0);
    }

    fn fault(&mut self, many: u64, fault: Fault) {
        let mut left = many;
        self.pair.net.rule = Box::new(move |_| {
            let now = left > 0;
            left = left.saturating_sub(1);
            if now { fault } else { Fault::NONE }
        });
    }
}

/// It reads whatever comes, and says nothing of its own accord.
fn quiet() -> Script {
    Script::sink().open_ended()
}

impl StateMachineTest for Machines {
    type SystemUnderTest = Machines;
    type Reference = Model;

    fn init_test(model: &Model) -> Machines {
        let carrier =
            [Carrier::Auto, Carrier::Exchange, Carrier::Streamed][(model.seed % 3) as usize];
        // Nobody gives up while trouble lasts.
        let patient = || {
            let hour = Duration::from_secs(3600);
            Config::builder().give_up(hour).idle(2 * hour)
        };
        let client = patient().carrier(carrier).build().unwrap();
        let server = patient().direct_port(Some(7)).build().unwrap();
        let mut pair = Pair::many(model.seed, 1, client, server);
        pair.serve(quiet());
        // A server forgets an opening that nobody follows up for a minute, which so much trouble can take.
        pair.run_for(SEC);
        Machines {
            pair,
            streams: Vec::new(),
        }
    }

    fn apply(mut machines: Machines, _: &Model, step: Step) -> Machines {
        let pair = &mut machines.pair;
        match step {
            Step::Open => {
                pair.client().play(quiet());
                pair.run_for(0);
                let new = pair
                    .client()
                    .talkers
                    .keys()
                    .find(|id| !machines.streams.contains(id));
                machines.streams.push(*new.unwrap());
            }
            Step::Write {
                stream,
                side,
                bytes,
            } => machines.change(stream, side, |script| script.send += bytes),
            Step::Finish { stream, side } => {
                machines.change(stream, side, |script| script.finish = true)
            }
            Step::Pass { micros } => pair.run_for(micros),
            Step::Kill => pair.net.kill(pair.now),
            Step::Lose {
                answers: true,
                many,
            } => machines.fault(many, Fault::response(Fate::Lose)),
            Step::Lose {
                answers: false,
                many,
            } => machines.fault(many, Fault::request(Fate::Lose)),
            Step::Twice { many } => machines.fault(many, Fault::twice(30 * MS, many % 2 == 0)),
            Step::Outage { micros } => {
                let (from, until) = (pair.now, pair.now + micros);
                pair.net.conditions.outages.push(Outage {
                    from,
                    until,
                    fate: Fate::Lose,
                });
            }
            Step::Direct { allowed } => pair.net.direct.allowed = Some(allowed),
        }
        machines
    }

    /// At every moment: no more than was written, and no end before it.
    fn check_invariants(machines: &Machines, model: &Model) {
        for (id, ways) in machines.streams.iter().zip(&model.streams) {
            for (way, side) in ways.iter().zip(SIDES) {
                let flow = machines.pair.ledger.flow(machines.pair.key(*id, side));
                assert!(
                    flow.read <= flow.written && flow.written <= way.written,
                    "{flow:?} {way:?}"
                );
                assert!(
                    !flow.ended || way.finished && flow.read == way.written,
                    "{flow:?} {way:?}"
                );
            }
        }
        assert!(machines.pair.clients[0].closed.is_none());
    }

    /// In the end: all that was written, and each end that was set.
    fn teardown(machines: Machines, model: Model) {
        let (mut pair, streams) = (machines.pair, machines.streams);
        pair.net.heal();
        let flows: Vec<_> = streams
            .iter()
            .zip(&model.streams)
            .flat_map(|(id, ways)| {
                [
                    (pair.key(*id, SIDES[0]), ways[0]),
                    (pair.key(*id, SIDES[1]), ways[1]),
                ]
            })
            .collect();
        let is_there = |pair: &Pair| {
            flows.iter().all(|(key, way)| {
                let flow = pair.ledger.flow(*key);
                flow.read == way.written && flow.ended == way.finished
            })
        };
        assert!(pair.run_until(3_000 * SEC, is_there), "all arrives");
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_local_rejects: u32::MAX, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_show_what_a_socket_pair_would(sequential 1..40 => Machines);
}
