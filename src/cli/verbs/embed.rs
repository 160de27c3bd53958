//! `voisin embed`: window embeddings of files, without a library.

#[cfg(feature = "parquet")]
mod parquet;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use ndarray::{Array1, Array2};
use ndarray_npy::{NpzWriter, WriteNpyExt as _};

use crate::audio;
use crate::base::atomic_file::AtomicFile;
use crate::cli::args::{EmbedArgs, EmbedFormat};
use crate::cli::context::Context;
use crate::cli::named::named_paths;
use crate::cli::render::{self, count};
use crate::cli::{Ending, NothingFound};
use crate::engine::{Embedder, WindowPlan};
use crate::library::scan;

/// Seconds from one window to the next, where nobody says.
const HOP: f64 = 0.1;

pub(crate) fn run(context: &Context, args: &EmbedArgs) -> anyhow::Result<Ending> {
    let hop = args.hop.map_or(HOP, |hop| hop.0);
    if hop < 0.001 {
        bail!("--hop: expected at least 0.001 seconds, found {hop}");
    }
    if args.output.is_file() {
        bail!("--output: {}: expected a folder, found a file: name another place", args.output.display());
    }
    let mut found = scan::scan(&named_paths(&args.paths)?, &audio::is_audio_candidate);
    found.split_files(&|_| false);
    if let Some(shard) = args.shard {
        found.files.retain(|file| shard.holds(&file.path));
    }
    for problem in &found.problems {
        context.console.warn(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    #[cfg(feature = "parquet")]
    if args.format == EmbedFormat::Parquet {
        return parquet::run(context, args, &found);
    }
    #[cfg(feature = "parquet")]
    parquet::refuse_options(&args.parquet)?;
    let files: Vec<PathBuf> = found.files.into_iter().map(|file| file.path).collect();
    if files.is_empty() && found.problems.is_empty() {
        return Err(NothingFound("expected audio files, found none".to_owned()).into());
    }
    let embedder = context.embedder(None)?;
    let (mut failed, mut kept) = (found.problems.len(), 0);
    for (file, target) in files.iter().zip(targets(&files, &found.roots, args.format.extension())) {
        let target = args.output.join(target);
        if target.exists() && !args.force {
            context.console.detail(&format!("{}: is there already", target.display()));
            kept += 1;
            continue;
        }
        match embed(&embedder, file, &target, hop, args) {
            Ok((windows, dimension)) => {
                context.console.note(&format!("{}: [{windows}, {dimension}]", target.display()));
            }
            Err(error) => {
                render::print_error(&error);
                failed += 1;
            }
        }
    }
    if kept > 0 {
        let files = count(kept, "file");
        context
            .console
            .note(&format!("{files} there already and left as they are (--force makes them again)"));
    }
    Ok(if failed > 0 { Ending::Partial } else { Ending::Fine })
}

/// Where each file's vectors go, relative to the output folder: no two to the same place.
///
/// Below a folder that was named, its folders are mirrored; other files go by their name. Where two would meet, those
/// are mirrored from the folder that they have in common, and files that differ in their ending only keep it.
fn targets(files: &[PathBuf], roots: &[PathBuf], extension: &str) -> Vec<PathBuf> {
    let with = |path: &Path| {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    };
    let plain = |path: &Path| with(&path.with_extension(""));
    let below_root = |file: &Path| {
        let root =
            roots.iter().filter_map(|root| file.strip_prefix(root).ok()).min_by_key(|p| p.as_os_str().len());
        root.map_or_else(|| PathBuf::from(file.file_name().unwrap_or_default()), Path::to_owned)
    };
    let mut targets: Vec<PathBuf> = files.iter().map(|file| plain(&below_root(file))).collect();
    // First mirrored from the common folder, then with the ending; then by number, against files named like folders.
    for again in 0..2 {
        let mut meeting: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (i, target) in targets.iter().enumerate() {
            meeting.entry(target.clone()).or_default().push(i);
        }
        for several in meeting.into_values().filter(|several| several.len() > 1) {
            let mut common = files[several[0]].parent().unwrap_or(Path::new("")).to_owned();
            while !several.iter().all(|&i| files[i].starts_with(&common)) && common.pop() {}
            for i in several {
                let inside = files[i].strip_prefix(&common).unwrap_or(&files[i]);
                targets[i] = if again == 0 { plain(inside) } else { with(inside) };
            }
        }
    }
    let mut taken: HashSet<PathBuf> = HashSet::new();
    for target in &mut targets {
        let first = target.clone();
        let mut n = 2;
        while !taken.insert(target.clone()) {
            let stem = first.file_stem().unwrap_or_default().to_string_lossy();
            *target = first.with_file_name(format!("{stem}-{n}.{extension}"));
            n += 1;
        }
    }
    targets
}

/// Writes the windows of `file` to `target`; their number and dimension.
fn embed(
    embedder: &Arc<Embedder>,
    file: &Path,
    target: &Path,
    hop: f64,
    args: &EmbedArgs,
) -> anyhow::Result<(usize, usize)> {
    let info = audio::probe(file)?;
    let rate = f64::from(embedder.sample_rate());
    let hop = (hop * rate).round().max(1.0) as usize;
    let center = !args.no_center;
    let embedding = embedder.embed(file, &info, WindowPlan::Reference { hop, center }, None)?;
    // openl3 counts from the middle of the first window when that is centred, from its start when not.
    let timestamps: Array1<f64> =
        (0..embedding.windows.nrows()).map(|i| i as f64 * hop as f64 / rate).collect();
    let folder = target.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write(target, args.format, &embedding.windows, &timestamps)
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(embedding.windows.dim())
}

fn write(
    target: &Path,
    format: EmbedFormat,
    windows: &Array2<f32>,
    timestamps: &Array1<f64>,
) -> anyhow::Result<()> {
    let mut file = AtomicFile::create(target)?;
    match format {
        EmbedFormat::Npz => {
            let mut npz = NpzWriter::new(file.file());
            npz.add_array("embedding", windows)?;
            npz.add_array("timestamps", timestamps)?;
            npz.finish()?;
        }
        EmbedFormat::Npy => windows.write_npy(file.file())?,
        EmbedFormat::Csv => {
            let mut writer = csv::Writer::from_writer(std::io::BufWriter::new(file.file()));
            let names = (0..windows.ncols()).map(|i| format!("v{i}"));
            writer.write_record(std::iter::once("seconds".to_owned()).chain(names))?;
            for (seconds, row) in timestamps.iter().zip(windows.rows()) {
                writer.write_record(
                    std::iter::once(seconds.to_string()).chain(row.iter().map(f32::to_string)),
                )?;
            }
            writer.into_inner().map_err(csv::IntoInnerError::into_error)?.flush()?;
        }
        #[cfg(feature = "parquet")]
        EmbedFormat::Parquet => bail!("a Parquet file holds several tracks"),
    }
    Ok(file.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_meet() {
        let named = |files: &[&str], roots: &[&str]| -> Vec<String> {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
            targets(&files, &roots, "npz").into_iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(named(&["/m/a/1.mp3", "/m/b/2.flac"], &[]), ["1.npz", "2.npz"]);
        assert_eq!(named(&["/m/a/1.mp3", "/m/b/1.mp3", "/x/2.mp3"], &[]), ["a/1.npz", "b/1.npz", "2.npz"]);
        assert_eq!(named(&["/m/a/1.mp3", "/m/a/1.flac"], &[]), ["1.mp3.npz", "1.flac.npz"]);
        assert_eq!(named(&["/m/a/1.mp3", "/m/a/b/1.mp3"], &["/m"]), ["a/1.npz", "a/b/1.npz"]);
        assert_eq!(named(&["/m/v1.2.mp3", "/m/v1.3.mp3"], &["/m"]), ["v1.2.npz", "v1.3.npz"]);
        assert_eq!(named(&["/m/1.mp3", "/n/1.mp3"], &["/m", "/n"]), ["m/1.npz", "n/1.npz"]);
        let all = named(&["/a/1.mp3", "/b/1.mp3", "/c/a/1.mp3"], &["/a", "/b", "/c"]);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3, "{all:?}");
    }
}
