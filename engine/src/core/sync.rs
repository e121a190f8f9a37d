//! The only file that knows which model checker is on.
//!
//! `--cfg sellout_loom` explores every interleaving and every weak-memory outcome of a small scene,
//! `--cfg sellout_shuttle` samples interleavings of larger ones. Neither is on in a normal build.

#[cfg(sellout_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(sellout_shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(any(sellout_loom, sellout_shuttle)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(not(any(sellout_loom, sellout_shuttle)))]
pub(crate) use once_cell::race::OnceBox;

/// What `once_cell::race::OnceBox` does, in words that a model checker can follow: it must see that whoever finds
/// the value comes after its making, and that two threads can make one at once.
#[cfg(any(sellout_loom, sellout_shuttle))]
pub(crate) struct OnceBox<T> {
    made: AtomicU64,
    value: std::sync::OnceLock<Box<T>>,
}

#[cfg(any(sellout_loom, sellout_shuttle))]
impl<T> OnceBox<T> {
    pub(crate) fn new() -> Self {
        Self { made: AtomicU64::new(0), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the AcqRel of `get_or_init`, as in the original.
        if self.made.load(Ordering::Acquire) == 0 { None } else { self.value.get().map(Box::as_ref) }
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let value = make();
        // AcqRel: publishes the value, or meets the one of whoever came first. Acquire on failure: the latter.
        if self.made.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // No checker switches threads between two of its own operations: this is one step with the above.
            let _ = self.value.set(value);
        }
        self.value.get().expect("made by whoever exchanged the word")
    }
}

/// True while a model checker runs: tables shrink so that their edges are met.
pub(crate) const MODEL: bool = cfg!(any(sellout_loom, sellout_shuttle));

/// `len` groups of `N` words, all zero.
///
/// The memory comes zeroed from the allocator: a page that is never touched is never resident.
#[cfg(not(any(sellout_loom, sellout_shuttle)))]
pub(crate) fn zeroed<const N: usize>(len: usize) -> Box<[[AtomicU64; N]]> {
    bytemuck::allocation::zeroed_slice_box(len)
}

/// `len` groups of `N` words, all zero.
#[cfg(any(sellout_loom, sellout_shuttle))]
pub(crate) fn zeroed<const N: usize>(len: usize) -> Box<[[AtomicU64; N]]> {
    (0..len).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect()
}

/// The next look at a word that another thread is just changing; lets a model checker run that thread.
#[inline]
pub(crate) fn spin() {
    #[cfg(sellout_loom)]
    loom::thread::yield_now();
    #[cfg(sellout_shuttle)]
    shuttle::thread::yield_now();
    #[cfg(not(any(sellout_loom, sellout_shuttle)))]
    std::hint::spin_loop();
}
