//! `netpol connections DIR … -o FORMAT`, `netpol diff --before DIR --after DIR -o FORMAT` and `netpol suggest DIR
//! [--flows FILE] -o FORMAT`, without a broker: the smallest command line over the crate, for trying it out and for conformance checks.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_netpol::engine::{Direction, Options};
use plimsoll_netpol::format::OutputFormat;
use plimsoll_netpol::report::{ConnectionsOptions, DiffFormat, DiffOptions, connections, diff_dirs};
use plimsoll_netpol::suggest::{SuggestFormat, SuggestOptions, suggest_dir};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "netpol");
    let command = words.next().unwrap_or_default();
    let mut options = ConnectionsOptions::default();
    let (mut flows, mut form) = (None, SuggestFormat::Yaml);
    let (mut directory, mut before, mut after) = (PathBuf::new(), PathBuf::new(), PathBuf::new());
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        match word.as_str() {
            "--exposure" => options.exposure = true,
            "--focus" => options.focus.push(value()),
            "--focus-peer" => options.focus_peers.push(value()),
            "--focus-direction" => {
                options.focus_direction =
                    Some(if value() == "ingress" { Direction::Ingress } else { Direction::Egress });
            }
            "--compat" => options.engine = Options { np_guard: value() == "np-guard", ..Options::default() },
            "-o" => {
                let name = value();
                options.format = OutputFormat::parse(&name).unwrap_or_default();
                form = match name.as_str() {
                    "json" => SuggestFormat::Json,
                    "md" => SuggestFormat::Md,
                    _ => SuggestFormat::Yaml,
                };
            }
            "--flows" => flows = Some(PathBuf::from(value())),
            "--before" => before = value().into(),
            "--after" => after = value().into(),
            _ => directory = word.into(),
        }
    }
    let code = |error: &dyn std::fmt::Display, code: &str| format!("error ({code}): {error}");
    let answer = match command.as_str() {
        "connections" => connections(&directory, &options).map_err(|error| code(&error, error.code())),
        "diff" => {
            let options = DiffOptions {
                engine: options.engine,
                format: DiffFormat::Rows(options.format),
                ..DiffOptions::default()
            };
            diff_dirs(&before, &after, &options).map_err(|error| code(&error, error.code()))
        }
        "suggest" => {
            let options = SuggestOptions { engine: options.engine, ..SuggestOptions::default() };
            suggest_dir(&directory, flows.as_deref(), &options, form)
                .map_err(|error| code(&error, error.code()))
        }
        _ => {
            eprintln!(
                "usage: netpol connections DIR -o FORMAT | netpol diff --before DIR --after DIR -o FORMAT"
            );
            return ExitCode::from(2);
        }
    };
    match answer {
        Ok(report) => {
            report.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            let written = std::io::stdout().lock().write_all(report.text.as_bytes());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
