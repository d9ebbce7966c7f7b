//! Both machines over a simulated network, in virtual time: a day of trouble takes seconds, and nothing depends on how fast the
//! machine is. One binary, so that what all of them run is built and linked once.
#![allow(missing_docs, clippy::unwrap_used)]

mod classic;
mod clock;
mod contract;
mod direct;
mod drawn;
mod duplicate_request;
mod ending;
mod fairness;
mod fates;
mod flow_control;
mod gave_up;
mod ghosts;
mod half_close;
mod hostile;
mod idle;
mod ladders;
mod machine;
mod opening;
mod outage;
mod path;
mod prompt;
mod random;
mod restart;
mod statements;
mod streamed;
mod vectors;
mod violations;
