//! `plimsoll-loadtest crash` and `plimsoll-loadtest bench`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use plimsoll_loadtest::{LoadError, bench, crash, program};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Kill processes at labelled points and count what was lost or published twice
    Crash(CrashArguments),
    /// Measure budgets against peers and limits
    Bench(bench::Arguments),
}

#[derive(Debug, clap::Args)]
struct CrashArguments {
    /// How many seeds
    #[arg(long, default_value_t = 60)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Runs at once
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// A line for each run, and the logs of failed ones
    #[arg(short, long)]
    verbose: bool,
    /// Keep the files of failed runs
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.what {
        What::Crash(arguments) => crashes(&arguments),
        What::Bench(arguments) => bench::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn crashes(arguments: &CrashArguments) -> Result<ExitCode, LoadError> {
    let options = crash::Options {
        program: program()?,
        seeds: (arguments.first..arguments.first.saturating_add(arguments.seeds)).collect(),
        jobs: arguments.jobs,
        verbose: arguments.verbose,
        keep: arguments.keep,
    };
    let runtime = tokio::runtime::Runtime::new().map_err(LoadError::io("start the runtime"))?;
    let report = runtime.block_on(crash::run(&options))?;
    println!("{}", report.table());
    Ok(if report.failed().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
