//! One thread that owns a GPU's network and joins the windows of several callers into large
//! batches.
//!
//! Tracks are decoded on many threads, a few dozen windows each; a GPU needs more at once. While
//! one batch runs, the next one is collected in a bounded queue, without a timeout. The network is
//! built, used and dropped on this one thread, as Candle gives each thread its own CUDA stream and
//! does not order them.

use std::collections::VecDeque;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::EncoderError;
use super::backend::{Backend, Pass};

/// Most pending calls; further callers block. (Each waits for its own result, so there are never
/// more than callers.)
const QUEUE: usize = 64;

struct Request {
    mels: Vec<f32>,
    windows: usize,
    reply: Sender<Result<Pass, EncoderError>>,
}

/// A network on a thread of its own.
pub(super) struct Batcher {
    sender: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread.
    process: u32,
}

impl Batcher {
    /// - `build`: makes the network, on the thread that uses it
    /// - `batch`: most windows per pass; halved permanently if the device has too little memory
    pub(super) fn start<B: Backend>(
        build: impl FnOnce() -> Result<B, EncoderError> + Send + 'static,
        batch: usize,
    ) -> Result<Self, EncoderError> {
        // Bounded, so that decoding waits instead of filling memory with spectrograms.
        let (sender, requests) = bounded(QUEUE);
        let (ready, built) = bounded(1);
        let thread = std::thread::Builder::new()
            .name("gpu".to_owned())
            .spawn(move || match build() {
                Ok(network) => {
                    // A caller that stopped waiting needs no result.
                    let _ = ready.send(Ok(()));
                    serve(&network, &requests, batch.max(1));
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
        // A channel per call, as batches may end in any order.
        let (reply, result) = bounded(1);
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

/// Serves requests until all callers are dropped.
fn serve<B: Backend>(network: &B, requests: &Receiver<Request>, mut batch: usize) {
    let mut waiting: VecDeque<Request> = VecDeque::new();
    // Reused, so that its pages stay mapped.
    let mut mels = Vec::new();
    while let Ok(first) = requests.recv() {
        let mut windows = first.windows;
        waiting.push_back(first);
        // Only pending requests, without waiting for a fuller batch.
        while windows < batch
            && let Ok(next) = requests.try_recv()
        {
            windows += next.windows;
            waiting.push_back(next);
        }
        // May exceed a batch: the rest of one request runs with the next.
        mels.clear();
        for request in &waiting {
            mels.extend_from_slice(&request.mels);
        }
        let result = in_batches(network, &mels, windows, &mut batch);
        let Ok(pass) = result else {
            // One caller's windows must not fail another's, so each request runs by itself.
            let cells = mels.len() / windows.max(1);
            let mut start = 0;
            for request in waiting.drain(..) {
                let request_mels = &mels[start * cells..(start + request.windows) * cells];
                start += request.windows;
                let _ = request.reply.send(in_batches(
                    network,
                    request_mels,
                    request.windows,
                    &mut batch,
                ));
            }
            continue;
        };
        let width = pass.embeddings.len() / windows.max(1);
        let tags = pass.logits.len() / windows.max(1);
        let mut start = 0;
        for request in waiting.drain(..) {
            let end = start + request.windows;
            let part = Pass {
                embeddings: pass.embeddings[start * width..end * width].to_vec(),
                logits: pass.logits[start * tags..end * tags].to_vec(),
            };
            // A caller that stopped waiting needs no result.
            let _ = request.reply.send(Ok(part));
            start = end;
        }
    }
}

/// Runs `windows` windows, at most `batch` at once. A failed batch is repeated in halves, and
/// `batch` stays reduced, as the usual reason is too little memory.
fn in_batches<B: Backend>(
    network: &B,
    mels: &[f32],
    windows: usize,
    batch: &mut usize,
) -> Result<Pass, EncoderError> {
    let cells = mels.len() / windows.max(1);
    // A failure that halving does not cure is no lack of memory, so `batch` is restored.
    let before = *batch;
    let mut whole = Pass::default();
    let mut start = 0;
    while start < windows {
        let n = (*batch).min(windows - start);
        match network.forward(&mels[start * cells..(start + n) * cells], n) {
            Ok(pass) => {
                whole.embeddings.extend(pass.embeddings);
                whole.logits.extend(pass.logits);
                start += n;
            }
            Err(EncoderError::Candle(_)) if n > 1 => *batch = n / 2,
            Err(error) => {
                // A single window fails, so the size was not the reason.
                *batch = before;
                return Err(error);
            }
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    const CELLS: usize = 3;

    /// Embeds a window as its sum and its first value; fails on more than `most` windows and on
    /// windows of NaN.
    struct Sums {
        most: usize,
        seen: std::sync::Arc<Mutex<Vec<usize>>>,
    }

    impl Backend for Sums {
        fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
            assert_eq!(mels.len(), n * CELLS);
            self.seen.lock().unwrap().push(n);
            std::thread::sleep(Duration::from_millis(2));
            if n > self.most || mels.iter().any(|x| x.is_nan()) {
                return Err(EncoderError::Candle(candle_core::Error::Msg(
                    "no memory".to_owned(),
                )));
            }
            let embeddings = mels
                .chunks(CELLS)
                .flat_map(|w| [w.iter().sum::<f32>(), w[0]])
                .collect();
            Ok(Pass {
                embeddings,
                logits: mels.chunks(CELLS).map(|w| -w[0]).collect(),
            })
        }
    }

    fn start(most: usize, batch: usize) -> (Batcher, std::sync::Arc<Mutex<Vec<usize>>>) {
        let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
        let network = Sums {
            most,
            seen: seen.clone(),
        };
        (Batcher::start(move || Ok(network), batch).unwrap(), seen)
    }

    fn check(batcher: &Batcher, caller: usize, windows: usize) {
        let mels: Vec<f32> = (0..windows * CELLS)
            .map(|i| (caller * 1000 + i) as f32)
            .collect();
        let pass = batcher.forward(&mels, windows).unwrap();
        let expected: Vec<f32> = mels
            .chunks(CELLS)
            .flat_map(|w| [w.iter().sum::<f32>(), w[0]])
            .collect();
        assert_eq!(pass.embeddings, expected);
        assert_eq!(
            pass.logits,
            mels.chunks(CELLS).map(|w| -w[0]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn callers_share_batches_and_each_gets_its_own_rows() {
        let (batcher, seen) = start(usize::MAX, 40);
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let batcher = &batcher;
                scope.spawn(move || (1..=20).for_each(|i| check(batcher, caller, i * 7 % 13 + 1)));
            }
        });
        let seen = seen.lock().unwrap();
        assert!(seen.iter().all(|&n| n <= 40), "{seen:?}");
        assert!(
            seen.len() < 160,
            "160 calls were never joined: {} batches",
            seen.len()
        );
        assert_eq!(
            seen.iter().sum::<usize>(),
            8 * (1..=20).map(|i| i * 7 % 13 + 1).sum::<usize>()
        );
    }

    #[test]
    fn a_batch_too_large_for_the_device_is_halved_for_good() {
        let (batcher, seen) = start(9, 64);
        check(&batcher, 1, 64);
        assert_eq!(
            *seen.lock().unwrap(),
            [vec![64, 32, 16], vec![8; 8]].concat()
        );
        seen.lock().unwrap().clear();
        check(&batcher, 2, 10);
        assert_eq!(*seen.lock().unwrap(), [8, 2]);
    }

    #[test]
    fn a_bad_window_fails_its_own_caller_only() {
        let (batcher, _) = start(usize::MAX, 64);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(batcher.forward(&[f32::NAN; 4 * CELLS], 4).is_err()));
            for caller in 0..5 {
                let batcher = &batcher;
                scope.spawn(move || check(batcher, caller, 5));
            }
        });
    }

    #[test]
    fn a_forked_process_does_not_wait_for_its_parents_thread() {
        let (mut batcher, _) = start(usize::MAX, 40);
        // In a forked child the thread's process is another one.
        batcher.process = batcher.process.wrapping_add(1);
        assert!(matches!(
            batcher.forward(&[0.; CELLS], 1),
            Err(EncoderError::Forked)
        ));
    }

    #[test]
    fn a_network_that_cannot_be_built_is_an_error() {
        let build = || Err::<Sums, _>(EncoderError::BadVector("x"));
        let found = Batcher::start(build, 1);
        assert!(matches!(found, Err(EncoderError::BadVector(_))));
        let panics = || -> Result<Sums, EncoderError> { panic!("a test's panic: it broke") };
        let found = Batcher::start(panics, 1);
        assert!(matches!(found, Err(EncoderError::DeviceStopped)));
    }
}
