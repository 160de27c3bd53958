//! `voisin examine`, which voisin calls itself: reads a file in a separate process, to find out whether that crashes it.

use crate::cli::Ending;
use crate::cli::args::{ExamineArgs, WindowCount};
use voisin_engine::{WindowPlan, read_through};

pub(crate) fn run(args: ExamineArgs) -> anyhow::Result<Ending> {
    let windows = match args.windows {
        WindowCount::All => WindowPlan::All,
        WindowCount::Spread(n) => WindowPlan::Spread(n),
    };
    // With the same stack size as the threads that add files. A panic is caught there, and ignored here.
    let reader = std::thread::Builder::new().spawn(move || read_through(&args.file, windows))?;
    let _ = reader.join();
    Ok(Ending::Fine)
}
