//! Where a question goes: the library here, or one in a database.

use clap::Args;

use voisin_questions::values::Limit;

/// Where a question goes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct BackendArgs {
    /// Ask the library in this database instead (see voisin push) [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
    /// With a backend: fetch at most so many tracks to compare with each other or to put in order [default: 20000]
    #[arg(long, value_name = "N|all")]
    pub(crate) sample: Option<Limit>,
}
