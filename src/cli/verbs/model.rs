//! `voisin model list|import`.

use serde::Serialize;

use crate::cli::Ending;
use crate::cli::args::{ModelCommand, ReportFormat};
use crate::cli::context::{Context, check_model_place};
use crate::cli::meter::Meter;
use crate::cli::render::{self, Align, Table};
use voisin_encoder::{
    ModelLocation, import_clap, import_model, is_clap_folder, models, models_dir,
};

/// The documented JSON of `model list`: a list of these.
#[derive(Serialize)]
struct ModelJson {
    name: String,
    architecture: String,
    dimension: usize,
    /// Whether `find` accepts sentences with it.
    reads: bool,
    bytes: u64,
    licence: String,
    location: String,
    fingerprint: String,
    description: String,
}

pub(crate) fn run(context: &Context, command: &ModelCommand) -> anyhow::Result<Ending> {
    match command {
        ModelCommand::List { format } => list(context, *format),
        ModelCommand::Import {
            file,
            name,
            licence,
            force,
        } => import(context, file, name, licence.as_deref(), *force),
    }
}

fn import(
    context: &Context,
    file: &std::path::Path,
    name: &str,
    licence: Option<&str>,
    replaces: bool,
) -> anyhow::Result<Ending> {
    use anyhow::Context as _;

    let folder = models_dir().context("no folder for models: set VOISIN_MODELS")?;
    // Checked first, as embedding the captions may take an hour.
    check_model_place(&folder, name, replaces)?;
    let is_clap = file.is_dir() && is_clap_folder(file);
    if licence.is_some() && !is_clap {
        anyhow::bail!("--licence is for the folder of a CLAP model");
    }
    let manifest = if is_clap {
        let mut meter = Meter::new(context);
        let mut progress = |at: usize, all: usize| {
            meter.show(at as f64 / all as f64, || {
                format!("embedding captions: {at} of {all}")
            });
        };
        let manifest = import_clap(file, name, licence, &folder, &mut progress)?;
        meter.finish();
        manifest
    } else {
        import_model(file, name, &folder)?
    };
    render::print_line(&render::terminal_safe(&format!(
        "{}: in {}, licence {}; use it with --model {}",
        manifest.name,
        folder.display(),
        manifest.licence,
        manifest.name
    )))?;
    Ok(Ending::Fine)
}

fn list(context: &Context, format: ReportFormat) -> anyhow::Result<Ending> {
    let mut broken = false;
    let mut found = Vec::new();
    for entry in models(models_dir().as_deref()) {
        match entry {
            Ok(entry) => found.push(ModelJson {
                name: entry.manifest.name.clone(),
                architecture: entry.manifest.architecture.to_string(),
                dimension: entry.manifest.dimension,
                reads: entry.manifest.reads(),
                bytes: entry.bytes(),
                licence: entry.manifest.licence.clone(),
                location: match entry.location {
                    ModelLocation::BuiltIn => "built in".to_owned(),
                    ModelLocation::File(path) => path.to_string_lossy().into_owned(),
                },
                fingerprint: entry.manifest.fingerprint(),
                description: entry.manifest.description.clone(),
            }),
            // One broken manifest must not hide the other models.
            Err(error) => {
                render::print_error(&error.into());
                broken = true;
            }
        }
    }
    if format == ReportFormat::Json {
        render::print_json(&found)?;
    } else {
        let mut table = Table::new(&[
            ("name", Align::Left),
            ("network", Align::Left),
            ("dimensions", Align::Right),
            ("reads", Align::Left),
            ("MB", Align::Right),
            ("licence", Align::Left),
            ("where", Align::Left),
            ("description", Align::Left),
        ]);
        for model in &found {
            table.row([
                &model.name,
                &model.architecture,
                &model.dimension.to_string(),
                &(if model.reads { "sentences" } else { "" }).to_owned(),
                &format!("{:.0}", model.bytes as f64 / 1e6),
                &model.licence,
                &model.location,
                &model.description,
            ]);
        }
        table.print()?;
        if let Some(own) = models_dir() {
            context
                .console
                .note(&format!("your own models: {}", own.display()));
        }
    }
    Ok(Ending::partial_if(broken))
}
