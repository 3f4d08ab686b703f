//! Line feeds in heads: one before which no carriage return stands is refused. Whoever stands between may take it for a part of its line,
//! and would then not agree where the request ends (RFC 9112, section 2.2).

use memchr::memchr_iter;

/// The lines of one head, as they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Bytes of the line that is coming, and the last of them.
    length: usize,
    last: u8,
    has_begun: bool,
    has_ended: bool,
}

impl Lines {
    /// Whether a line ends in these bytes without a carriage return. What comes behind the head is not looked at.
    pub(super) fn end_bare(&mut self, bytes: &[u8]) -> bool {
        let mut begin = 0;
        for end in memchr_iter(b'\n', bytes) {
            if self.has_ended {
                return false;
            }
            let before = if end == 0 { self.last } else { bytes[end - 1] };
            if before != b'\r' {
                return true;
            }
            let is_empty = self.length + end - begin == 1;
            // Empty lines may stand before the first.
            self.has_ended = is_empty && self.has_begun;
            self.has_begun |= !is_empty;
            (self.length, begin) = (0, end + 1);
        }
        self.length += bytes.len() - begin;
        self.last = bytes.last().copied().unwrap_or(self.last);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is refused, in pieces of any length.
    fn refused(head: &[u8]) -> bool {
        let whole = Lines::default().end_bare(head);
        for length in 1..head.len() {
            let mut lines = Lines::default();
            let pieces = head.chunks(length).any(|piece| lines.end_bare(piece));
            assert_eq!(pieces, whole, "{length}");
        }
        whole
    }

    #[test]
    fn a_line_ends_with_both_bytes_and_what_is_no_head_is_not_looked_at() {
        assert!(!refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!refused(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n\n\na\nb"));
        assert!(refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
        assert!(refused(
            b"GET / HTTP/1.1\r\nX-A: 1\nContent-Length: 2\r\n\r\n"
        ));
        assert!(refused(b"GET / HTTP/1.1\r\nHost: a\r\n\n"));
        assert!(refused(b"\nGET / HTTP/1.1\r\n\r\n"));
        assert!(!refused(b"GET / HTTP/1.1\r\nHost"));
    }
}
