//! The `posthole` command; see `posthole --help`.

use std::process::ExitCode;

use clap::Parser;
use posthole::args::{Cli, Command, Connect, Serve};
use posthole::connect::Client;
use posthole::error::Error;
use posthole::log::say;
use posthole::serve::{ServeOptions, Server};
use posthole::stop::{Hangup, Stop};
use posthole::{demo, log, stdio};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.verbose, cli.quiet);
    let result = match cli.command {
        Command::Serve(args) => serve(args),
        Command::Connect(args) => connect(&args),
        Command::Demo(args) => demo::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(args: Serve) -> Result<(), Error> {
    let stop = Stop::on_signals(Hangup::Untouched)?;
    let path = args.path.clone();
    let server = Server::start(ServeOptions {
        listen: args.listen,
        path: args.path,
        allow: args.allow.into_iter().collect(),
        connect_timeout: args.connect_timeout,
        connections: args.max_connections,
    })?;
    say(format_args!("listening on http://{}{path}", server.addr()));
    stop.wait()?;
    server.stop(args.grace);
    Ok(())
}

fn connect(args: &Connect) -> Result<(), Error> {
    if let Some(destination) = &args.stdio {
        let stop = Stop::on_signals(Hangup::Stops)?;
        return stdio::run(&args.url, args.options(), destination, args.grace, &stop);
    }
    let stop = Stop::on_signals(Hangup::Untouched)?;
    let client = Client::start(&args.url, args.options(), &args.forward, stop.clone())?;
    for (addr, destination) in client.forwards() {
        say(format_args!("forwarding {addr} to {destination}"));
    }
    stop.wait()?;
    client.stop(args.grace);
    Ok(())
}
