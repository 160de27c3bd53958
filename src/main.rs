//! The `voisin` command. Everything it does is in the library; this file only hands over.

fn main() -> std::process::ExitCode {
    voisin::cli::main()
}
