//! demo
use crate::{args, error::Error};
/// run
pub fn run(_: &args::Demo) -> Result<(), Error> {
    Ok(())
}
