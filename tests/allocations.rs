//! Allocations of warm networks: the caller's result, and nothing for each window.
//!
//! A separate test binary: the allocator counts what the whole process does, so the cases run one after the other in
//! one test.

// A test may fail by a panic; an allocator is unsafe by nature.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use voisin_encoder::openl3::OpenL3Weights;
use voisin_encoder::{Architecture, DeviceChoice, Encoder, ModelRef};
use voisin_kernels::isa;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn count(bytes: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and bytes while `work` runs, after two runs to warm up.
fn counted(mut work: impl FnMut()) -> (usize, usize) {
    work();
    work();
    let before = (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    work();
    (
        CALLS.load(Ordering::Relaxed) - before.0,
        BYTES.load(Ordering::Relaxed) - before.1,
    )
}

/// Pages that this process has mapped: the activations are mappings, which no allocator sees.
fn mapped() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn spectrograms(n: usize, cells: usize) -> Vec<f32> {
    (0..n * cells)
        .map(|i| ((i * 7919) % 977) as f32 / 200.)
        .collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

#[test]
fn a_warm_network_allocates_nothing_for_a_window() {
    // The counter works.
    let (calls, bytes) = counted(|| drop(std::hint::black_box(vec![1_u8; 1000])));
    assert_eq!((calls, bytes), (1, 1000));

    // OpenL3's kernels write into the caller's slice.
    let widths = [16, 16, 16, 16, 16, 16, 16, 32];
    let network = OpenL3Weights::seeded(1, &widths).compile(isa().unwrap());
    let mels = spectrograms(6, 128 * 199);
    let mut out = vec![0.; 6 * network.dimension()];
    pool(1).install(|| {
        network.forward(&mels, 1, &mut out);
        for n in [1, 2, 6] {
            // The counter includes all threads: the least of a few runs has no other thread in it.
            let least = (0..4)
                .map(|_| counted(|| network.forward(&mels, n, &mut out)))
                .min();
            assert_eq!(least, Some((0, 0)), "{n} windows");
        }
        if let Some(before) = mapped() {
            for n in [6, 1, 3, 6, 2] {
                network.forward(&mels, n, &mut out);
            }
            assert_eq!(mapped(), Some(before), "activations were mapped again");
        }
    });
    assert!(out.iter().all(|x| x.is_finite()) && out.iter().any(|x| *x != 0.));

    // Besides the caller's result, the encoder's allocations may not grow with the number of windows.
    let device = DeviceChoice::Cpu.resolve().unwrap();
    let encoders = [
        (
            "musicnn",
            Encoder::load(&ModelRef::Name("musicnn-msd".into()), &device).unwrap(),
        ),
        (
            "openl3",
            Encoder::random(Architecture::OpenL3, 1, &device).unwrap(),
        ),
    ];
    for (name, encoder) in &encoders {
        let many = 4;
        let mels = spectrograms(many, encoder.manifest().front_end.cells());
        let windows = |n: usize| &mels[..n * mels.len() / many];
        let encode = |n: usize| drop(encoder.encode(windows(n), n).unwrap());
        let result = 4 * (encoder.tags() + encoder.dimension().max(200));
        for threads in [1, 2] {
            pool(threads).install(|| {
                // On a busy machine a thread may reach its first window late, and allocates its buffers only then.
                let least = |n| (0..8).map(|_| counted(|| encode(n))).min().unwrap();
                let one = least(2);
                let few = least(many);
                println!("{name}, {threads} threads: {one:?} for 2 windows, {few:?} for {many}");
                if threads == 1 {
                    assert_eq!(
                        one.0, few.0,
                        "{name}: allocations for {many} windows beside 2"
                    );
                }
                // With more threads, rayon's queues allocate a block now and then.
                assert!(
                    few.0 <= one.0 + 2,
                    "{name}, {threads} threads: {one:?} {few:?}"
                );
                // Per window: Candle's tensor, its results as a tensor and as values, split and joined, and the list
                // for a thread.
                let share = few.1.saturating_sub(one.1) / (many - 2);
                let window = 4 * encoder.manifest().front_end.cells();
                assert!(
                    share <= window + 5 * result + 64 + 2048 * (threads - 1),
                    "{name}: {share} bytes a window"
                );
            });
        }
    }
}
