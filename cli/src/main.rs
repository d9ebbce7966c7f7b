//! The `posthole` command; see `posthole --help`.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use posthole::args::{Cli, Command, Connect, Serve};
use posthole::connect::Client;
use posthole::error::Error;
use posthole::line::Show;
use posthole::log::{Usual, say};
use posthole::serve::{ServeOptions, Server};
use posthole::stop::{Hangup, Stop};
use posthole::{bench, cgi, demo, log, parent, probe, stdio};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let usual = match cli.command {
        Command::Serve(_) | Command::Connect(_) => Usual::Sessions,
        Command::Probe(_)
        | Command::Cgi(_)
        | Command::Demo(_)
        | Command::Bench(_)
        | Command::BenchPart(_) => Usual::Warnings,
    };
    log::start(usual, cli.verbose, cli.quiet);
    let show = if cli.quiet {
        Show::Table
    } else {
        Show::Progress
    };
    let result = match cli.command {
        Command::Serve(args) => serve(args),
        Command::Connect(args) => connect(&args),
        Command::Cgi(args) => cgi::run(args.socket, &args.path),
        Command::Probe(args) => probe::run(&args),
        Command::Demo(args) => demo::run(&args, show),
        Command::Bench(args) => bench::run(&args, show),
        Command::BenchPart(part) => bench::run_part(&part),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Help and version as clap prints them; a mistake in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    // What clap says further, the usage and the tip to try --help, stands after an empty line.
    let what = text.split("\n\n").next().unwrap_or(&text);
    let what = what.trim_start_matches("error: ").trim_end_matches('.');
    let error = Error::usage(format!("{what} (see posthole --help)"));
    say(&error);
    ExitCode::from(error.exit_code())
}

fn serve(args: Serve) -> Result<(), Error> {
    if args.running.with_parent {
        parent::follow()?;
    }
    let stop = Stop::on_signals(Hangup::Untouched)?;
    let path = args.path.clone();
    let server = Server::start(
        args.running.runtime,
        ServeOptions {
            listen: args.listen,
            tcp: args.tcp,
            socket: args.socket.map(|path| (path, args.socket_mode)),
            path: args.path,
            allow: args.allow.into_iter().collect(),
            allow_reverse: args.allow_reverse.into_iter().collect(),
            connect_timeout: args.connect_timeout,
            sessions: args.max_sessions,
            connections: args.max_connections,
        },
    )?;
    say(format_args!("listening on http://{}{path}", server.addr()));
    if let Some(addr) = server.direct() {
        say(format_args!("taking direct connections on {addr}"));
    }
    stop.wait()?;
    server.stop(args.running.grace);
    Ok(())
}

fn connect(args: &Connect) -> Result<(), Error> {
    if let Some(destination) = &args.stdio {
        let stop = Stop::on_signals(Hangup::Stops)?;
        return stdio::run(
            args.running.runtime,
            &args.url,
            args.options(),
            destination,
            args.running.grace,
            &stop,
        );
    }
    if args.running.with_parent {
        parent::follow()?;
    }
    let stop = Stop::on_signals(Hangup::Untouched)?;
    let client = Client::start(
        args.running.runtime,
        &args.url,
        args.options(),
        &args.forwards(),
        &args.reverse,
        stop.clone(),
    )?;
    for (addr, leads) in client.forwards() {
        say(format_args!("forwarding {addr} to {leads}"));
    }
    stop.wait()?;
    client.stop(args.running.grace);
    Ok(())
}
