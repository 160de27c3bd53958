//! The `voisin` command. Everything it does is in the library; this file only hands over.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
