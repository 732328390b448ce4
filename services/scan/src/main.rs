//! `plimsoll-scan`: the scan role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("scan", plimsoll_scan_service::run)
}
