//! The library that a query goes to: the one on this disk, or one in a database.

use clap::Args;

/// The library that a query goes to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct BackendArgs {
    /// Query the library in this database instead (see voisin push) [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
}
