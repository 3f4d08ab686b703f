//! Large arrays on large pages: products that step through rows a page apart then find their addresses translated. And what is
//! freed given back to the system.
#![cfg_attr(
    all(target_os = "linux", not(miri)),
    expect(
        unsafe_code,
        reason = "advice to the system and the allocator about pages"
    )
)]

/// Bytes from which on an array is large: at least one of its pages of 2 MiB is whole.
const LARGE: usize = 4 << 20;

/// Whether an array is filled already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// It is, and is moved onto large pages at once: as long as a copy of it takes.
    Yes,
    /// It is all zeros that have never been touched, and is to lie on large pages as it is filled.
    No,
}

/// Asks the system to keep an array on large pages, where it is large and the system has some to give. Its numbers stay as
/// they are; where nothing comes of it, nothing but time is lost.
pub(crate) fn prefer_large_pages<T>(numbers: &[T], filled: Filled) {
    if size_of_val(numbers) < LARGE {
        return;
    }
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        const PAGE: usize = 4096;
        let range = numbers.as_ptr_range();
        let first = range.start.addr().next_multiple_of(PAGE);
        let len = (range.end.addr() - first) / PAGE * PAGE;
        let start = range
            .start
            .cast::<libc::c_void>()
            .with_addr(first)
            .cast_mut();
        // SAFETY: the bytes from `first` on, `len` of them, are within the array. Neither advice changes what they hold or
        // whether they can be read and written; an error, as of a system that knows it not, is of no consequence.
        unsafe {
            libc::madvise(start, len, libc::MADV_HUGEPAGE);
            if filled == Filled::Yes {
                libc::madvise(start, len, libc::MADV_COLLAPSE);
            }
        }
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = filled;
}

/// Bytes from which on the allocator takes a block from the system and gives it back as soon as it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
const RETURNED: libc::c_int = 1 << 20;

/// Has large blocks given back to the system as soon as they are freed. To be called once, before any thread is started.
///
/// By itself glibc keeps blocks of up to 32 MiB, once one has been freed, in an arena of each thread: a process whose parts take
/// turns then holds what each of them held at its peak.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: it sets numbers of the allocator, under its own lock; one that it refuses leaves them as they are.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * RETURNED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_any_size_and_place_stay_as_they_are() {
        for len in [0, 1, LARGE / 4 - 1, LARGE / 4, LARGE + 12_345] {
            for skipped in [0, 1, 1023] {
                let mut numbers: Vec<u32> = (0..len as u32).collect();
                prefer_large_pages(&numbers[skipped.min(len)..], Filled::Yes);
                assert!((0..len as u32).eq(numbers.iter().copied()), "{len}");
                let zeros = vec![0_u32; len];
                prefer_large_pages(&zeros, Filled::No);
                numbers.copy_from_slice(&zeros);
                assert!(numbers.iter().all(|&number| number == 0), "{len}");
            }
        }
    }
}
