//! `voisin examine`, which voisin calls itself: reads a file in a process of its own, to see whether that survives it.

use crate::cli::Ending;
use crate::cli::args::{ExamineArgs, WindowCount};
use crate::cli::columnar;
use voisin_engine::{WindowPlan, read_through};

pub(crate) fn run(args: ExamineArgs) -> anyhow::Result<Ending> {
    let windows = match args.windows {
        WindowCount::All => WindowPlan::All,
        WindowCount::Spread(n) => WindowPlan::Spread(n),
    };
    let _copy = columnar::local_copy(&args.file)?;
    // On a stack like that of the threads that add files. A panic is caught there, and is no harm here.
    let reader = std::thread::Builder::new().spawn(move || read_through(&args.file, windows))?;
    let _ = reader.join();
    Ok(Ending::Fine)
}
