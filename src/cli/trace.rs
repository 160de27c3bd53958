//! `--trace`: a timeline of the run's spans, as Chrome's trace viewer reads it. Without the feature `trace` there is no
//! such option.

use std::any::Any;

/// Writes the trace when it is dropped.
pub(crate) type TraceGuard = Option<Box<dyn Any>>;

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TraceOptions {
    #[cfg(feature = "trace")]
    /// Write a Chrome trace of the run to FILE (with --engine candle, layer by layer)
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    trace: Option<std::path::PathBuf>,
}

impl TraceOptions {
    /// Starts the trace, if requested.
    #[cfg(feature = "trace")]
    pub(crate) fn start(&self, library: &std::path::Path) -> anyhow::Result<TraceGuard> {
        use crate::cli::outputs::check_replaced;
        use anyhow::Context as _;
        use tracing_subscriber::Layer as _;
        use tracing_subscriber::layer::SubscriberExt as _;
        use tracing_subscriber::util::SubscriberInitExt as _;
        use voisin_base::output::OutputTarget;
        let Some(path) = &self.trace else {
            return Ok(None);
        };
        check_replaced(path, library, 1)?;
        let place = OutputTarget::new(path)?;
        // The trace's own writer would panic at a path that cannot be written.
        let file: Box<dyn std::io::Write + Send> = if place.is_standard() {
            Box::new(std::io::stdout())
        } else {
            let file = std::fs::File::create(path);
            Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
        };
        let (layer, guard) = tracing_chrome::ChromeLayerBuilder::new()
            .writer(file)
            .include_args(true)
            .build();
        // Spans only: other crates' log lines are no part of a timeline. (The method itself does not satisfy the lifetime
        // bounds of the layer.)
        #[allow(clippy::redundant_closure_for_method_calls)]
        let layer = layer.with_filter(tracing_subscriber::filter::filter_fn(|metadata| {
            metadata.is_span()
        }));
        tracing_subscriber::registry()
            .with(layer)
            .try_init()
            .context("cannot start the trace")?;
        Ok(Some(Box::new(guard)))
    }

    /// Nothing to start.
    #[cfg(not(feature = "trace"))]
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the same signature as with the feature"
    )]
    pub(crate) fn start(&self, _: &std::path::Path) -> anyhow::Result<TraceGuard> {
        Ok(None)
    }
}
