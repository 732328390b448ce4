//! `plimsoll-sbom`: the sbom role as a process of its own.

fn main() -> std::process::ExitCode {
    plimsoll_process::main_of("sbom", plimsoll_sbom_service::run)
}
