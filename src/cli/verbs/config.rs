//! `voisin config`.

use crate::cli::Ending;
use crate::cli::args::{ConfigArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, Align, Table};
use crate::cli::settings::SettingOrigin;
use voisin_questions::answers::checks::{ConfigJson, SettingJson};

pub(crate) fn run(context: &Context, args: &ConfigArgs) -> anyhow::Result<Ending> {
    let settings = &context.settings;
    let from = |origin: SettingOrigin, name: &str| match origin {
        SettingOrigin::Option => format!("--{name}"),
        SettingOrigin::Environment => format!("VOISIN_{}", name.to_uppercase()),
        SettingOrigin::File => "config.toml".to_owned(),
        SettingOrigin::Default => "default".to_owned(),
    };
    let one = |name, value, origin| SettingJson {
        name,
        value,
        from: from(origin, name),
    };
    let json = ConfigJson {
        file: settings.file.as_deref().map(lossy),
        exists: settings
            .file
            .as_deref()
            .is_some_and(std::path::Path::is_file),
        settings: vec![
            one(
                "library",
                Some(lossy(&settings.library.value)),
                settings.library.origin,
            ),
            one("model", settings.model.value.clone(), settings.model.origin),
            one(
                "device",
                Some(settings.device.value.to_string()),
                settings.device.origin,
            ),
            one(
                "color",
                Some(settings.color.value.name()),
                settings.color.origin,
            ),
            one(
                "index-builder",
                Some(settings.index_builder.value.name().to_owned()),
                settings.index_builder.origin,
            ),
        ],
    };
    if args.format == ReportFormat::Json {
        render::print_json(&json)?;
        return Ok(Ending::Fine);
    }
    let mut table = Table::new(&[
        ("setting", Align::Left),
        ("value", Align::Left),
        ("from", Align::Left),
    ]);
    for setting in json.settings {
        // Only the model has no default value.
        let value = setting
            .value
            .unwrap_or_else(|| "the library's own".to_owned());
        table.row([setting.name.to_owned(), value, setting.from]);
    }
    table.print()?;
    if let Some(file) = json.file {
        context.console.note(&format!(
            "{file}{}",
            if json.exists { "" } else { " (missing)" }
        ));
    }
    Ok(Ending::Fine)
}
