//! `config`.

use clap::Args;

use super::ReportFormat;

/// Show what holds where no option says otherwise, and who says so
///
/// An option comes before a variable of the environment, that before the config file, and that before a default. The file
/// is config.toml in `$XDG_CONFIG_HOME/voisin` (`~/.config/voisin`); you write it, voisin only reads it. It may hold
/// library, model, device, color and index-builder. Its model is that of new libraries: one that is there keeps its own.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin config\n  voisin --library /mnt/music/voisin config --format json\n\nA config file:\n  library = \"~/Music/.voisin\"\n  model = \"voisin-3\"\n  device = \"cpu\"\n  color = \"never\"\n  index-builder = \"hnsw_rs\""
)]
pub(crate) struct ConfigArgs {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
