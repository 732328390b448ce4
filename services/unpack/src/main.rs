//! `plimsoll-unpack`: the unpack role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("unpack", plimsoll_unpack_service::run)
}
