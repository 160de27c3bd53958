//! `voisin lab features`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};

use crate::cli::args::FeaturesArgs;
use crate::cli::context::Context;
use crate::cli::lab::{
    compute_features, interrupted, line, report_fault, requested_set, with_meter,
};
use crate::cli::named::targets;
use crate::cli::outputs::{check_output_folder, output_file};
use crate::cli::render::{self, count, count_with};
use crate::cli::{Ending, NothingFound};
use voisin_base::output::{self, OutputTarget};
use voisin_lab::LabError;
use voisin_lab::dataset::Fault;
use voisin_lab::extract::{
    column_table, feature_table, frame_columns, frames, picture, track_table, write_array,
    write_arrays,
};
use voisin_lab::matrix::{MatrixRow, SoundFile};
use voisin_lab::networks::{ClipReader, NetworkSettings};
use voisin_lab::training::NetworkRecipe;

/// The file that describes a folder of spectrograms.
const RECIPE: &str = "recipe.txt";
/// Files in a folder of features.
const TRACKS: &str = "tracks.csv";
const COLUMNS: &str = "columns.csv";
const FEATURES: &str = "features.npy";

pub(crate) fn run(context: &Context, args: &FeaturesArgs) -> anyhow::Result<Ending> {
    if let Some(path) = &args.picture {
        return draw(context, args, path);
    }
    let (Some(sets), Some(output)) = (&args.set, &args.output) else {
        bail!("expected --set and --output, or --picture FILE.svg, which draws one track");
    };
    let names: Vec<String> = sets.split('+').map(str::to_owned).collect();
    // These two differ in size by track, so they cannot be rows of a table.
    let alone = names
        .iter()
        .find(|name| ["frames", "spectrogram"].contains(&name.as_str()));
    if let Some(alone) = alone.filter(|_| names.len() > 1) {
        bail!(
            "--set {sets}: {alone} cannot be joined with others, as it has an array for each track: run it as a separate command"
        );
    }
    let place = FeaturesPlace::of(context, output, alone.is_some())?;
    let job = FeaturesJob {
        context,
        args,
        output,
    };
    match alone {
        Some(alone) => job.arrays(alone),
        None => job.rows(&names, &place),
    }
}

/// The kind of output at a path.
enum FeaturesPlace {
    Table,
    Folder,
}

impl FeaturesPlace {
    /// By its ending, before any audio is analysed.
    fn of(context: &Context, path: &Path, is_folder: bool) -> anyhow::Result<Self> {
        let shown = path.display();
        let ending = output::ending(path, "csv");
        let place = match ending.as_str() {
            // A folder may have a dot in its name: an existing one, or a slash, takes precedence over
            // the ending.
            _ if path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/') => Self::Folder,
            "csv" => Self::Table,
            "" => Self::Folder,
            _ => {
                bail!("--output {shown}: expected FILE.csv or a folder, found .{ending}")
            }
        };
        let is_file = !matches!(place, Self::Folder);
        if is_folder && is_file {
            bail!("--output {shown}: expected a folder, found a file's name: name a folder");
        }
        match place {
            Self::Folder => check_output_folder(context, path, &[FEATURES, TRACKS, COLUMNS])?,
            Self::Table => drop(output_file(context, path)?),
        }
        Ok(place)
    }
}

struct FeaturesJob<'a> {
    context: &'a Context,
    args: &'a FeaturesArgs,
    output: &'a Path,
}

impl FeaturesJob<'_> {
    /// A row for each track.
    fn rows(&self, names: &[String], place: &FeaturesPlace) -> anyhow::Result<Ending> {
        let context = self.context;
        let output = self.output;
        let set = requested_set(context, &self.args.tracks, true)?;
        let stop = context.stop_on_ctrl_c()?;
        let found = compute_features(context, &set, names, None, &stop);
        let Some(matrix) = self.usable(found, &stop)? else {
            if !stop.load(Ordering::Relaxed) {
                return Ok(Ending::Partial);
            }
            context.console.note("interrupted: nothing is written");
            return Ok(Ending::Interrupted);
        };
        self.report_faults(&matrix.faults);
        match place {
            FeaturesPlace::Table => {
                render::write(&OutputTarget::new(output)?, feature_table(&set, &matrix))?;
            }
            FeaturesPlace::Folder => {
                self.make_folder()?;
                self.write(&output.join(COLUMNS), &column_table(&matrix.columns))?;
                self.write(&output.join(TRACKS), &track_table(&set, &matrix.rows, None))?;
                let path = output.join(FEATURES);
                write_array(&path, matrix.values.view()).map_err(anyhow::Error::msg)?;
            }
        }
        let columns = count_with(matrix.columns.len() as u64, "column", "columns");
        let tracks = count(matrix.rows.len() as u64, "track");
        let text = format!("{tracks}, {columns} in {}", output.display());
        if output::is_standard(output) {
            context.console.note(&text);
        } else {
            line(&text)?;
        }
        Ok(ending(&matrix.faults))
    }

    /// An array for each track.
    fn arrays(&self, name: &str) -> anyhow::Result<Ending> {
        let context = self.context;
        let output = self.output;
        let [recipe, ..] = NetworkRecipe::ALL;
        let reader = ClipReader::new(recipe, &NetworkSettings::of(&recipe))?;
        let about = match name {
            "frames" => (COLUMNS, column_table(&frame_columns())),
            _ => (RECIPE, format!("{}\n", recipe.name).into_bytes()),
        };
        // Before any audio is analysed: arrays of two kinds in one folder could not be
        // distinguished.
        self.refuse_others(&about)?;
        let set = requested_set(context, &self.args.tracks, true)?;
        let stop = context.stop_on_ctrl_c()?;
        let files = set.items.iter().filter_map(|item| item.path.clone());
        let files: Vec<PathBuf> = files.collect();
        let places = targets(&files, &[], "npy");
        self.make_folder()?;
        // Written first, so that the folder of a killed run describes its arrays and can be resumed.
        self.write(&output.join(about.0), &about.1)?;
        let inside = files.into_iter().zip(places);
        let targets: BTreeMap<PathBuf, PathBuf> = inside
            .map(|(file, place)| (file, output.join(place)))
            .collect();
        let array_of = |file: SoundFile<'_>| match name {
            "frames" => frames(file),
            _ => reader.array(file, &stop),
        };
        let found = with_meter(context, set.items.len(), "analysed", |progress| {
            write_arrays(&set, &array_of, &targets, progress, &stop)
        });
        let Some(found) = self.usable(found.map_err(anyhow::Error::from), &stop)? else {
            let is_stopped = stop.load(Ordering::Relaxed);
            return Ok(if is_stopped {
                interrupted(context)
            } else {
                Ending::Partial
            });
        };
        self.report_faults(&found.faults);
        let below = |row: &MatrixRow| {
            let target = row.item.path.as_ref().and_then(|path| targets.get(path));
            let below = target.and_then(|target| target.strip_prefix(output).ok());
            let below = below.unwrap_or(Path::new(""));
            below.to_string_lossy().into_owned()
        };
        let files = found.rows.iter().map(below).collect();
        let table = track_table(&set, &found.rows, Some(files));
        self.write(&output.join(TRACKS), &table)?;
        let new = found.values.iter().filter(|is_new| **is_new).count() as u64;
        let arrays = count(new, "new array");
        line(&format!("{arrays} of {name} in {}", output.display()))?;
        let kept = found.rows.len() as u64 - new;
        if kept > 0 {
            let arrays = count(kept, "array");
            let note = format!("{arrays} there already and left as they are");
            context.console.note(&note);
        }
        Ok(ending(&found.faults))
    }

    /// Refuses a folder that holds other files of these names.
    fn refuse_others(&self, (name, contents): &(&'static str, Vec<u8>)) -> anyhow::Result<()> {
        let is_ours = std::fs::read(self.output.join(name)).is_ok_and(|found| found == *contents);
        let other = [COLUMNS, RECIPE, TRACKS].map(|name| self.output.join(name));
        match other.iter().find(|path| path.exists()) {
            Some(path) if !is_ours => {
                bail!(
                    "{} is there already, with other contents: name another folder",
                    path.display()
                )
            }
            _ => Ok(()),
        }
    }

    fn report_faults(&self, faults: &[Fault]) {
        for fault in faults {
            report_fault(self.context, fault);
        }
    }

    /// Reports the faults of tracks that have no results at all; returns `None` then.
    fn usable<T>(&self, found: anyhow::Result<T>, stop: &AtomicBool) -> anyhow::Result<Option<T>> {
        let error = match found {
            Ok(found) => return Ok(Some(found)),
            Err(error) => error,
        };
        match error.downcast_ref() {
            // Not an error of the command: each file's reason is reported.
            Some(LabError::NoneDecoded(faults)) => {
                self.report_faults(faults);
                let note = "no track could be analysed: nothing is written";
                self.context.console.note(note);
                Ok(None)
            }
            Some(LabError::Interrupted) if stop.load(Ordering::Relaxed) => Ok(None),
            _ => Err(error),
        }
    }

    fn make_folder(&self) -> anyhow::Result<()> {
        let folder = self.output;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(OutputTarget::whole(path)?.write(bytes)?)
    }
}

fn ending(faults: &[Fault]) -> Ending {
    if faults.is_empty() {
        Ending::Fine
    } else {
        Ending::Partial
    }
}

/// A picture of one file.
fn draw(context: &Context, args: &FeaturesArgs, path: &Path) -> anyhow::Result<Ending> {
    let shown = path.display();
    let ending = output::ending(path, "svg");
    if ending != "svg" {
        bail!("--picture {shown}: expected FILE.svg, found .{ending}");
    }
    let [file] = args.tracks.as_slice() else {
        bail!(
            "--picture: expected one audio file, found {}: draw them one by one",
            args.tracks.len()
        );
    };
    let file = Path::new(file);
    if !file.is_file() {
        let what = if file.is_dir() { "a folder" } else { "nothing" };
        return Err(NothingFound(format!(
            "{}: expected an audio file to draw, found {what}",
            file.display()
        ))
        .into());
    }
    let place = output_file(context, path)?;
    let scene = match picture(file) {
        Ok(scene) => scene,
        Err(reason) => {
            let fault = Fault {
                key: file.display().to_string(),
                reason,
            };
            report_fault(context, &fault);
            return Ok(Ending::Partial);
        }
    };
    render::write(&place, scene.svg())?;
    render::print_place(context.console, &place, &format!("the picture is {shown}"))?;
    Ok(Ending::Fine)
}
