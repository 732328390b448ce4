//! `plimsoll feeds`: the sources of the feeds role, as it last saw them, and what waits for a person.

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::CliError;
use crate::{Outcome, output, up};

#[derive(Debug, Subcommand)]
pub enum What {
    /// How each source is: current, stale (it fails, its last good copy serves) or held (it lost records or went back)
    Status {
        #[command(flatten)]
        common: up::Common,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Take what a source has now, although it shrank or went backwards in date
    Accept {
        #[command(flatten)]
        common: up::Common,
        /// As `feeds status` shows it
        source: String,
    },
}

/// Runs a command.
pub fn run(what: What) -> Outcome {
    let common = match &what {
        What::Status { common, .. } | What::Accept { common, .. } => common.clone(),
    };
    let text = up::runtime()?.block_on(async {
        let bus = up::running(&common, "plimsoll-feeds").await?;
        match what {
            What::Status { json, .. } => {
                let record = plimsoll_feeds_service::status(&bus).await?;
                if record.at == 0 {
                    let message = "the feeds role has not told of its sources yet";
                    return Err(CliError::new("not_found", message)
                        .hint("it runs in `plimsoll up`, or as plimsoll-feeds"));
                }
                if json {
                    let feeds: Vec<_> =
                        record.feeds.iter().map(plimsoll_gateway_service::feeds::json).collect();
                    return serde_json::to_string_pretty(&feeds)
                        .map_err(|error| CliError::new("internal", error));
                }
                Ok(crate::offline::feeds_table(&record.feeds))
            }
            What::Accept { source, .. } => {
                plimsoll_feeds_service::accept(&bus, &source).await?;
                Ok(format!("{source} is taken within seconds; see `plimsoll feeds status`"))
            }
        }
    })?;
    output::print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
