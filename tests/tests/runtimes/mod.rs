//! The runtimes in the terms of the conformance suite, and the pairs of them.
#![allow(dead_code, unused_macros, unused_imports)] // Each test file uses its part.

pub(crate) mod blocking;
pub(crate) mod direct;
pub(crate) mod loopback;
pub(crate) mod smol;
pub(crate) mod streamed;

pub(crate) use blocking::Blocking;
pub(crate) use direct::Direct;
pub(crate) use loopback::Loopback;
pub(crate) use smol::{Fickle, Smol};
pub(crate) use streamed::Streamed;

/// A module of tests for each pair of client and server, filled by a macro that takes the pair's world.
macro_rules! each_pair {
    ($tests:ident) => {
        mod blocking_blocking {
            use crate::runtimes::{Blocking, Loopback};
            $tests!(Loopback<Blocking, Blocking>);
        }
        mod blocking_smol {
            use crate::runtimes::{Blocking, Loopback, Smol};
            $tests!(Loopback<Blocking, Smol>);
        }
        mod smol_blocking {
            use crate::runtimes::{Blocking, Loopback, Smol};
            $tests!(Loopback<Smol, Blocking>);
        }
        mod smol_smol {
            use crate::runtimes::{Loopback, Smol};
            $tests!(Loopback<Smol, Smol>);
        }
    };
}
pub(crate) use each_pair;

/// Makes tests of functions that are generic over the world, for each pair.
macro_rules! tests_for_each_pair {
    ($($test:ident,)*) => {
        macro_rules! these {
            ($world:ty) => {$(
                #[test]
                fn $test() {
                    <$world as posthole_tests::conformance::world::World>::play(
                        crate::$test::<$world>,
                    );
                }
            )*};
        }
        crate::runtimes::each_pair!(these);
    };
}
pub(crate) use tests_for_each_pair;
