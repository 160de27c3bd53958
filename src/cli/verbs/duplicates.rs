//! `voisin duplicates`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::Ending;
use crate::cli::args::{DuplicatesArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::meter::Meter;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::print_files;
use crate::cli::render::{self, count};
use voisin::CompareEvent;
use voisin::questions::answers::duplicates::{FileJson, GroupJson, leave_out_gone};
use voisin::questions::explore::Duplicates;
use voisin_base::text::{count_with, size};
use voisin_explore::TrackMeta;

pub(crate) fn run(context: &Context, args: &DuplicatesArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    let mut engine = context.open_engine()?;
    let console = context.console;
    let meter = Mutex::new(Meter::new(context));
    let done = AtomicUsize::new(0);
    let all = AtomicUsize::new(0);
    let mut groups = Duplicates::run(&mut engine, |event| match event {
        CompareEvent::Begin(pairs) => all.store(pairs, Ordering::Relaxed),
        CompareEvent::Compared => {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let all = all.load(Ordering::Relaxed);
            if let Ok(mut meter) = meter.lock() {
                let text = || format!("{done} of {all} near pairs compared");
                meter.show(done as f64 / all as f64, text);
            }
        }
    })?;
    if let Ok(meter) = meter.lock() {
        meter.finish();
    }
    // Copies may be deleted, so only existing files count.
    let gone = leave_out_gone(&mut groups);
    if gone > 0 {
        let copies = count_with(gone as u64, "copy", "copies");
        console.note(&format!("{copies} left out: the file is gone"));
    }
    // Sorted before, so that the groups that free the most remain.
    groups.truncate(args.limit.of(groups.len()));
    match output.format {
        ListFormat::Json => render::print_json(&groups)?,
        ListFormat::Csv => print_csv(&groups)?,
        ListFormat::Table => print_table(&groups)?,
        // Files that could be deleted: the copies without the file to keep.
        _ => {
            let copies: Vec<TrackMeta> = groups
                .iter()
                .flat_map(|group| &group.others)
                .map(FileJson::meta)
                .collect();
            print_files(&copies, "voisin duplicates", &output)?;
        }
    }
    Ok(Ending::Fine)
}

fn print_csv(groups: &[GroupJson]) -> anyhow::Result<()> {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let rows = (1..).zip(groups).flat_map(|(number, group)| {
        let row = move |keep: bool, file: &FileJson, why: &str| {
            let number: usize = number;
            [
                number.to_string(),
                yes(keep),
                table_path(&file.file),
                file.bytes.to_string(),
                yes(file.exact),
                why.to_owned(),
            ]
        };
        let others = group.others.iter().map(move |other| row(false, other, ""));
        std::iter::once(row(true, &group.keep, &group.why)).chain(others)
    });
    render::print_csv(["group", "keep", "path", "bytes", "exact", "why"], rows)
}

fn print_table(groups: &[GroupJson]) -> anyhow::Result<()> {
    for group in groups {
        let keep = format!("better: {} ({})", group.keep.path, group.why);
        render::print_line(&render::one_line(&keep))?;
        for other in &group.others {
            let line = format!("   also: {} ({})", other.path, other.describe());
            render::print_line(&render::one_line(&line))?;
        }
    }
    let bytes: u64 = groups.iter().map(|group| group.bytes_to_be_won).sum();
    let groups = count(groups.len() as u64, "group");
    render::print_line(&format!("{groups}, {} could be freed", size(bytes)))
}
