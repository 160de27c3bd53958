//! `config`.

use clap::Args;

use super::ReportFormat;

/// Show effective settings and where each comes from
///
/// An option takes precedence over an environment variable, that over the config file, and that over a default. The file
/// is config.toml in `$XDG_CONFIG_HOME/voisin` (`~/.config/voisin`); you write it, voisin only reads it. It may set
/// library, model, device, color and index-builder. Its model is that of new libraries: an existing one keeps its own.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin config\n  voisin --library /mnt/music/voisin config --format json\n\nA config file:\n  library = \"~/Music/.voisin\"\n  model = \"voisin-3\"\n  device = \"cpu\"\n  color = \"never\"\n  index-builder = \"hnsw_rs\""
)]
pub(crate) struct ConfigArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
