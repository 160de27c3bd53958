//! Settings of every command: an option, else a variable of the environment, else a default.

use std::path::PathBuf;

use anyhow::Context as _;

use super::args::Global;
use voisin_base::directories::from_variable;
use voisin_encoder::DeviceChoice;
use voisin_library::default_dir;

/// A setting, and whether an option of the command line gives it.
#[derive(Debug, Clone)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) is_option: bool,
}

impl<T> Setting<T> {
    fn first(option: Option<T>, otherwise: impl FnOnce() -> T) -> Self {
        Self {
            is_option: option.is_some(),
            value: option.unwrap_or_else(otherwise),
        }
    }
}

/// All settings.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) library: Setting<PathBuf>,
    /// `None`: the library's own, else the model that comes with voisin.
    pub(crate) model: Setting<Option<String>>,
    pub(crate) device: Setting<DeviceChoice>,
}

impl Configuration {
    /// Reads options and environment.
    pub(crate) fn read(global: &Global) -> anyhow::Result<Self> {
        let library = global.library.clone();
        let library = library.filter(|dir| !dir.as_os_str().is_empty());
        // An empty name means "the library's own", like no setting.
        let model = global
            .model
            .clone()
            .map(|name| Some(name).filter(|name| !name.is_empty()));
        let text = |name: &str| Some(from_variable(name)?.to_string_lossy().into_owned());
        let device = text("VOISIN_DEVICE")
            .map(|text| text.parse().context("VOISIN_DEVICE"))
            .transpose()?;
        Ok(Self {
            library: Setting::first(library, || {
                from_variable("VOISIN_LIBRARY").unwrap_or_else(default_dir)
            }),
            model: Setting::first(model, || text("VOISIN_MODEL")),
            device: Setting::first(global.device, || device.unwrap_or(DeviceChoice::Auto)),
        })
    }
}
