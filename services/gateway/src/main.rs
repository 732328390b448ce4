//! `plimsoll-gateway`: the gateway role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("gateway", plimsoll_gateway_service::run)
}
