//! `plimsoll db update`: fetches sources as the feeds role does, and builds a Db of the copies that count.

use std::path::{Path, PathBuf};

use plimsoll_feeds_service::source::{DEFAULT, Source};
use plimsoll_feeds_service::state::State;
use plimsoll_feeds_service::{told, update};
use plimsoll_model::Timestamp;
use plimsoll_vuln::{Db, build_sources};

use super::{fault, out};
use crate::error::CliError;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sources as the configuration writes them: paths, addresses, osv+https://…, csaf+https://…, upstream:NAME. Without
    /// any, those of the configuration; without these, the free ones that most images need
    #[arg(long = "from", num_args = 1.., value_name = "SOURCE")]
    from: Vec<String>,
    /// Folder of the copies of the sources, for the next time
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// The file to write; replaced in one step
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Take what a source has now although it lost records or went backwards
    #[arg(long, num_args = 1.., value_name = "SOURCE")]
    accept: Vec<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "PLIMSOLL_CONFIG")]
    config: Option<PathBuf>,
}

/// Fetches and builds. The sequence number is one above that of the file that is there.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let sources = sources(args)?;
    std::fs::create_dir_all(&args.cache).map_err(CliError::io(format!("create {}", args.cache.display())))?;
    let _lock = lock(&args.cache)?;
    let now = Timestamp::now();
    let mut states = crate::up::runtime()?.block_on(update::update(&sources, &args.cache, now))?;
    accept(args, &sources, &mut states)?;
    let feeds: Vec<_> = states.iter().map(told).collect();
    out::emit(table(&feeds).as_bytes())?;
    let inputs = update::inputs(&sources, &states, &args.cache);
    if inputs.is_empty() {
        return Err(CliError::new("db_empty", "no source could be read, and none was before"));
    }
    let seq = Db::open(&args.out).map_or(0, |db| db.seq()) + 1;
    let (bytes, report) = build_sources(&inputs, seq, |_| now).map_err(|error| fault::db(&error))?;
    if report.advisories == 0 {
        return Err(CliError::new("db_empty", "the sources have no advisory that can be used"));
    }
    out::replace(&args.out, &bytes)?;
    output::print(&format!(
        "{}: sequence {seq}, {} advisories, {} vulnerabilities, {} bytes",
        args.out.display(),
        report.advisories,
        report.vulnerabilities,
        report.size
    ));
    Ok(())
}

fn sources(args: &Args) -> Result<Vec<Source>, CliError> {
    if !args.from.is_empty() {
        return Ok(args.from.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?);
    }
    let config = plimsoll_process::configuration(args.config.as_deref())?;
    if !config.feeds.is_empty() {
        return Ok(config.feeds.iter().map(Source::of).collect::<Result<_, _>>()?);
    }
    Ok(DEFAULT.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?)
}

fn accept(args: &Args, sources: &[Source], states: &mut [State]) -> Result<(), CliError> {
    for name in &args.accept {
        let name = name.strip_prefix("upstream:").unwrap_or(name);
        let found = sources.iter().zip(states.iter_mut()).find(|(source, _)| source.name == name);
        let Some((source, state)) = found else {
            return Err(CliError::new("feed_source_unknown", format!("no source is called {name:?}")));
        };
        if !state.accept() {
            return Err(CliError::new("feed_not_held", format!("nothing of {name:?} waits for acceptance")));
        }
        state.save(&args.cache.join(source.folder()))?;
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<std::fs::File, CliError> {
    let path = folder.join("lock");
    let file = std::fs::File::create(&path).map_err(CliError::io(format!("create {}", path.display())))?;
    file.try_lock()
        .map_err(|_| CliError::new("data_in_use", format!("another process uses {}", folder.display())))?;
    Ok(file)
}

/// Sources, one a line.
pub(crate) fn table(feeds: &[plimsoll_proto::v1::FeedState]) -> String {
    let mut table = output::table(&["SOURCE", "STATE", "RECORDS", "NEWEST", "CHECKED", "TERMS", "WHY"]);
    for feed in feeds {
        let at = |at: i64| if at > 0 { Timestamp(at).to_string() } else { "-".to_owned() };
        let state = match (feed.held.is_empty(), feed.code.is_empty()) {
            (false, _) => "held",
            (true, false) => "stale",
            (true, true) => "current",
        };
        let why = if feed.held.is_empty() { &feed.detail } else { &feed.held };
        table.add_row([
            output::clean_line(&feed.name),
            state.to_owned(),
            feed.records.to_string(),
            at(feed.newest),
            at(feed.checked),
            output::clean_line(&feed.terms.join("; ")),
            output::clean_line(if why.is_empty() { "-" } else { why }),
        ]);
    }
    output::lines(&table)
}
