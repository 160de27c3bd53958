//! One thread that owns a GPU's network and runs the windows of all callers.
//!
//! The network is built, used and dropped on this one thread, as Candle gives each thread its own
//! CUDA stream and does not order them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::EncoderError;
use super::backend::{Backend, Pass};

/// Most pending calls; further callers block, so that decoding waits instead of filling memory with
/// spectrograms.
const QUEUE: usize = 64;

struct Request {
    mels: Vec<f32>,
    windows: usize,
    reply: SyncSender<Result<Pass, EncoderError>>,
}

pub(super) struct Batcher {
    sender: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread.
    process: u32,
}

impl Batcher {
    /// - `build`: makes the network, on the thread that uses it
    pub(super) fn start<B: Backend>(
        build: impl FnOnce() -> Result<B, EncoderError> + Send + 'static,
    ) -> Result<Self, EncoderError> {
        let (sender, requests) = sync_channel(QUEUE);
        let (ready, built) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("gpu".to_owned())
            .spawn(move || match build() {
                Ok(network) => {
                    // A caller that stopped waiting needs no result.
                    let _ = ready.send(Ok(()));
                    serve(&network, &requests);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(EncoderError::Thread)?;
        built.recv().unwrap_or(Err(EncoderError::DeviceStopped))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            process: std::process::id(),
        })
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // A forked child has no such thread to wait for.
            std::mem::forget((self.sender.take(), self.thread.take()));
        }
        // Dropped first: the thread ends when no more request can come, and is then joined.
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Backend for Batcher {
    fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
        if self.process != std::process::id() {
            return Err(EncoderError::Forked);
        }
        let (reply, result) = sync_channel(1);
        let request = Request {
            mels: mels.to_vec(),
            windows: n,
            reply,
        };
        let sent = self
            .sender
            .as_ref()
            .is_some_and(|sender| sender.send(request).is_ok());
        if !sent {
            return Err(EncoderError::DeviceStopped);
        }
        result.recv().unwrap_or(Err(EncoderError::DeviceStopped))
    }
}

fn serve<B: Backend>(network: &B, requests: &Receiver<Request>) {
    while let Ok(request) = requests.recv() {
        let mut whole = Pass::default();
        let result = run(network, &request.mels, request.windows, &mut whole);
        // A caller that stopped waiting needs no result.
        let _ = request.reply.send(result.map(|()| whole));
    }
}

/// Appends the results of windows. Those that fail together are run in halves, as the usual reason
/// is too little memory.
fn run<B: Backend>(
    network: &B,
    mels: &[f32],
    windows: usize,
    whole: &mut Pass,
) -> Result<(), EncoderError> {
    match network.forward(mels, windows) {
        Ok(pass) => {
            whole.embeddings.extend(pass.embeddings);
            whole.logits.extend(pass.logits);
            Ok(())
        }
        Err(EncoderError::Candle(_)) if windows > 1 => {
            let half = windows / 2;
            let (first, second) = mels.split_at(half * (mels.len() / windows));
            run(network, first, half, whole)?;
            run(network, second, windows - half, whole)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Embeds a window of one number as its half; fails on more than nine windows.
    struct Halves;

    impl Backend for Halves {
        fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
            assert_eq!(mels.len(), n);
            if n > 9 {
                return Err(candle_core::Error::Msg("no memory".to_owned()).into());
            }
            Ok(Pass {
                embeddings: mels.iter().map(|x| x / 2.0).collect(),
                logits: mels.to_vec(),
            })
        }
    }

    #[test]
    fn each_caller_gets_its_own_rows_whatever_fits_the_device() {
        let batcher = Batcher::start(|| Ok(Halves)).unwrap();
        std::thread::scope(|scope| {
            for caller in 1..8 {
                let batcher = &batcher;
                scope.spawn(move || {
                    let mels: Vec<f32> = (0..caller * 7).map(|i| (caller * i) as f32).collect();
                    let pass = batcher.forward(&mels, mels.len()).unwrap();
                    let expected: Vec<f32> = mels.iter().map(|x| x / 2.0).collect();
                    assert_eq!((pass.embeddings, pass.logits), (expected, mels));
                });
            }
        });
    }

    #[test]
    fn a_forked_process_does_not_wait_for_its_parents_thread() {
        let mut batcher = Batcher::start(|| Ok(Halves)).unwrap();
        // In a forked child the thread's process is another one.
        batcher.process = batcher.process.wrapping_add(1);
        let found = batcher.forward(&[0.0], 1);
        assert!(matches!(found, Err(EncoderError::Forked)));
    }

    #[test]
    fn a_network_that_cannot_be_built_is_an_error() {
        let build = || Err::<Halves, _>(EncoderError::BadVector("x"));
        let found = Batcher::start(build);
        assert!(matches!(found, Err(EncoderError::BadVector(_))));
        let panics = || -> Result<Halves, EncoderError> { panic!("a test's panic: it broke") };
        let found = Batcher::start(panics);
        assert!(matches!(found, Err(EncoderError::DeviceStopped)));
    }
}
