//! The `posthole` command.

fn main() {}
