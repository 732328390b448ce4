//! `plimsoll-feeds`: the feeds role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("feeds", plimsoll_feeds_service::run)
}
