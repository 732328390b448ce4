//! `plimsoll-aggregator`: the aggregator role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("aggregator", plimsoll_aggregator_service::run)
}
