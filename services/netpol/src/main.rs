//! `plimsoll-netpol`: the netpol role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("netpol", plimsoll_netpol_service::run)
}
