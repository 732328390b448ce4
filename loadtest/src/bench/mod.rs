//! Budgets, each measured in one run against its peer or its limit.
//!
//! A row gives what was measured, the budget, and their ratio: at most 1 is within it.

mod floor;
mod matching;
mod measure;
mod netpol;
mod push;
mod rematch;
mod scale;
mod sqlite;
mod unpack;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{LoadError, program};

/// What to measure.
#[derive(Debug, Parser)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Every bench
    All,
    /// Cold images: SBOMs against Syft, and against decompressing and hashing alone
    #[command(alias = "sbom")]
    Unpack(UnpackArguments),
    /// The vulnerability database: opening, look-ups, matching
    Match(MatchArguments),
    /// The policy engine: a cold build, and one change with its diff
    Netpol(NetpolArguments),
    /// Warm pushes through the whole pipeline
    Push(PushArguments),
    /// Changed advisories over a large fleet
    Rematch(RematchArguments),
    /// One to four workers against a slow registry
    Scale(ScaleArguments),
    /// Decompress and hash the layers of OCI layouts, and nothing else; what `bench unpack` compares with
    Floor {
        /// OCI layouts
        layouts: Vec<PathBuf>,
    },
}

/// `bench unpack`
#[derive(Debug, Clone, clap::Args)]
pub struct UnpackArguments {
    /// OCI layouts of one image each; default: those in the folder `images` of $PLIMSOLL_CORPUS
    layouts: Vec<PathBuf>,
    /// Runs of each image; Syft has a third of them
    #[arg(long, default_value_t = 6)]
    runs: u32,
    /// Leave out the layers that are made: 200,000 files, 10 GiB, 200 jars
    #[arg(long)]
    no_large: bool,
    /// Leave out Syft
    #[arg(long)]
    no_syft: bool,
}

/// `bench match`
#[derive(Debug, Clone, clap::Args)]
pub struct MatchArguments {
    /// Advisories; default: $PLIMSOLL_ADVISORIES, or those of the demonstration
    feeds: Vec<PathBuf>,
    /// OCI layouts whose packages are matched; default: those of $PLIMSOLL_CORPUS
    #[arg(long = "image", value_name = "LAYOUT")]
    images: Vec<PathBuf>,
    /// So many advisories that are made up, over a fifth as many packages, in place of FEEDS
    #[arg(long, value_name = "COUNT")]
    synthetic: Option<usize>,
}

/// `bench netpol`
#[derive(Debug, Clone, clap::Args)]
pub struct NetpolArguments {
    /// CLASSES×POLICIES, such as 10000x5000; default: a table
    sizes: Vec<String>,
    /// Changes of each size
    #[arg(long, default_value_t = 30)]
    changes: usize,
    /// Measure this in this process; each has a process of its own otherwise, for its peak memory
    #[arg(long, hide = true)]
    here: Option<NetpolPart>,
}

/// What `bench netpol` measures, a process each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetpolPart {
    /// Loading, a cold build, every connection; one change by building anew
    Whole,
    /// The engine that is kept up to date
    Resident,
}

/// How writes reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    R1,
    R1Always,
}

/// `bench push`
#[derive(Debug, Clone, clap::Args)]
pub struct PushArguments {
    /// Durability; default: both
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Pushes of the throughput run
    #[arg(long, default_value_t = 2000)]
    pushes: usize,
    /// Seconds of each latency run
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Pushes a second of the latency runs
    #[arg(long, value_delimiter = ',', default_values_t = [20, 200])]
    rates: Vec<u64>,
}

/// `bench rematch`
#[derive(Debug, Clone, clap::Args)]
pub struct RematchArguments {
    /// Images, of a hundred packages each
    #[arg(long, default_value_t = 100_000)]
    images: u64,
    /// Repositories that they are in; the newest three images of each are current
    #[arg(long, default_value_t = 100_000)]
    repositories: u64,
    /// Different components: packages of five versions
    #[arg(long, default_value_t = 200_000)]
    components: u64,
    /// Advisories that are new, of one package each
    #[arg(long, default_value_t = 1000)]
    advisories: u64,
}

/// `bench scale`
#[derive(Debug, Clone, clap::Args)]
pub struct ScaleArguments {
    /// Layers of a run
    #[arg(long, default_value_t = 240)]
    layers: usize,
    /// Time that the registry takes for each answer, in milliseconds
    #[arg(long, default_value_t = 50)]
    latency: u64,
    /// Layers that a worker reads at once
    #[arg(long, default_value_t = 2)]
    slots: usize,
}

/// Runs benches.
pub fn run(arguments: &Arguments) -> Result<ExitCode, LoadError> {
    if let What::Floor { layouts } = &arguments.what {
        for layout in layouts {
            let bytes = floor::layout(layout)?;
            println!("{}: {bytes} bytes decompressed and hashed", layout.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Runtime::new().map_err(LoadError::io("start the runtime"))?;
    let all = matches!(arguments.what, What::All);
    /// The defaults of a bench's arguments.
    fn defaults<T: clap::Args>() -> Result<T, LoadError> {
        let command = T::augment_args(clap::Command::new("bench").no_binary_name(true));
        let matches = command.try_get_matches_from::<_, &str>([]).map_err(LoadError::other)?;
        T::from_arg_matches(&matches).map_err(LoadError::other)
    }
    if !matches!(&arguments.what, What::Netpol(netpol) if netpol.here.is_some()) {
        measure::machine();
    }
    let chosen: Vec<What> = if all {
        vec![
            What::Unpack(defaults()?),
            What::Match(defaults()?),
            What::Netpol(defaults()?),
            What::Push(defaults()?),
            What::Rematch(defaults()?),
            What::Scale(defaults()?),
        ]
    } else {
        vec![arguments.what.clone()]
    };
    for what in chosen {
        match what {
            What::Unpack(arguments) => unpack::run(&program()?, &arguments)?,
            What::Match(arguments) => matching::run(&program()?, &arguments)?,
            What::Netpol(arguments) => netpol::run(&arguments)?,
            What::Push(arguments) => runtime.block_on(push::run(&program()?, &arguments))?,
            What::Rematch(arguments) => runtime.block_on(rematch::run(&arguments))?,
            What::Scale(arguments) => runtime.block_on(scale::run(&program()?, &arguments))?,
            What::All | What::Floor { .. } => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// OCI layouts in the folder `images` of the corpus that `PLIMSOLL_CORPUS` names.
fn corpus() -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("PLIMSOLL_CORPUS") else { return Vec::new() };
    let images = PathBuf::from(root).join("images");
    let mut found: Vec<PathBuf> = std::fs::read_dir(images)
        .map(|entries| entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
        .unwrap_or_default();
    found.retain(|path| path.join("oci-layout").is_file());
    found.sort();
    found
}
