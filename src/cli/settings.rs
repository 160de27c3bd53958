//! Settings of every command: an option, else a variable of the environment, else the config file, else a default.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum as _;
use serde::Deserialize;

use super::args::Global;
use super::render::screen::Colour;
use voisin_base::directories;
use voisin_encoder::DeviceChoice;
use voisin_index::GraphBuilder;
use voisin_library::default_dir;

/// Name of the config file in voisin's config folder.
const FILE: &str = "config.toml";

/// The source of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingOrigin {
    /// An option of the command line.
    Option,
    /// A variable of the environment.
    Environment,
    /// The config file.
    File,
    /// None of them.
    Default,
}

/// A setting with its source.
#[derive(Debug, Clone)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: SettingOrigin,
}

impl<T> Setting<T> {
    /// The first value that is given, else the default.
    fn first(
        option: Option<T>,
        environment: Option<T>,
        file: Option<T>,
        default: impl FnOnce() -> T,
    ) -> Self {
        let given = [
            (option, SettingOrigin::Option),
            (environment, SettingOrigin::Environment),
            (file, SettingOrigin::File),
        ];
        let given = given.into_iter().find_map(|(value, origin)| {
            Some(Self {
                value: value?,
                origin,
            })
        });
        given.unwrap_or_else(|| Self {
            value: default(),
            origin: SettingOrigin::Default,
        })
    }
}

/// The fields of the config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    library: Option<PathBuf>,
    model: Option<String>,
    device: Option<String>,
    color: Option<String>,
    #[serde(rename = "index-builder")]
    index_builder: Option<String>,
}

/// All settings.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) library: Setting<PathBuf>,
    /// `None`: the library's own, else the model that comes with voisin.
    pub(crate) model: Setting<Option<String>>,
    pub(crate) device: Setting<DeviceChoice>,
    /// `auto` is resolved by the terminal and its variables.
    pub(crate) color: Setting<Colour>,
    pub(crate) index_builder: Setting<GraphBuilder>,
    /// Path of the config file, which need not exist; `None` without a home.
    pub(crate) file: Option<PathBuf>,
}

impl Configuration {
    /// Reads environment and config file.
    pub(crate) fn read(global: &Global) -> anyhow::Result<Self> {
        // Read even if options cover everything, so that a fault in it shows at once.
        let file = directories::config().map(|folder| folder.join(FILE));
        let settings = file
            .as_deref()
            .map(read_file)
            .transpose()?
            .unwrap_or_default();
        let folder = file
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(Path::new(""));
        let model = Setting::first(
            global.model.clone(),
            variable("VOISIN_MODEL").map(|text| text.to_string_lossy().into_owned()),
            settings.model,
            String::new,
        );
        let device = |text: &str, place: &str| -> anyhow::Result<DeviceChoice> {
            std::str::FromStr::from_str(text).with_context(|| place.to_owned())
        };
        Ok(Self {
            library: Setting::first(
                global
                    .library
                    .clone()
                    .filter(|dir| !dir.as_os_str().is_empty()),
                variable("VOISIN_LIBRARY"),
                // Relative to the config file, not to the current folder.
                settings.library.map(|dir| folder.join(at_home(dir))),
                default_dir,
            ),
            model: Setting {
                // An empty name means "the library's own", like no setting.
                value: Some(model.value).filter(|name| !name.is_empty()),
                origin: model.origin,
            },
            device: Setting::first(
                global.device,
                variable("VOISIN_DEVICE")
                    .map(|text| device(&text.to_string_lossy(), "VOISIN_DEVICE"))
                    .transpose()?,
                settings
                    .device
                    .map(|text| device(&text, &folder.join(FILE).to_string_lossy()))
                    .transpose()?,
                || DeviceChoice::Auto,
            ),
            color: Setting::first(
                global.color,
                // NO_COLOR and the like are not settings of this name; `auto` reads them.
                None,
                settings
                    .color
                    .map(|text| {
                        Colour::from_str(&text, false).map_err(|_| {
                            let file = folder.join(FILE);
                            anyhow::anyhow!(
                                "{}: color is \"{text}\", expected auto, always or never",
                                file.display()
                            )
                        })
                    })
                    .transpose()?,
                || Colour::Auto,
            ),
            index_builder: Setting::first(
                global.index_builder,
                None,
                settings
                    .index_builder
                    .map(|text| {
                        let file = folder.join(FILE);
                        text.parse().map_err(|error| {
                            anyhow::anyhow!("{}: index-builder: {error}", file.display())
                        })
                    })
                    .transpose()?,
                GraphBuilder::default,
            ),
            file,
        })
    }
}

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Option<PathBuf> {
    directories::from_variable(name)
}

/// Reads the config file; a missing one counts as empty.
fn read_file(path: &Path) -> anyhow::Result<ConfigFile> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ConfigFile::default());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    toml::from_str(&text).map_err(|error| {
        // The crate's own message has several lines; ours have one.
        let before = error
            .span()
            .map_or("", |span| text.get(..span.start).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        anyhow::anyhow!("{}, line {line}: {}", path.display(), error.message())
    })
}

/// `~/Music` in the user's home.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), directories::home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}
