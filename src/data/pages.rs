//! The pages of a Parquet file, measured before anything is made of them: a file may declare sizes that it has not.

use std::io::Read;

/// Bytes of a page, at most, compressed or not. Writers make pages of about 1 MiB.
const PAGE_BYTES: i64 = 64 << 20;
/// Structures within a page header, at most.
const DEPTH: usize = 8;

/// Walks through the page headers of `length` bytes, and checks that the pages are as long as these bytes and of a size that
/// may be held. Says in words what is wrong.
///
/// Source: the Thrift compact protocol, in which Parquet has its headers (`PageHeader` in parquet.thrift).
pub(super) fn check(source: impl Read, length: u64) -> Result<(), String> {
    let mut bytes = Compact {
        source: source.take(length),
    };
    while bytes.source.limit() > 0 {
        let (mut size, mut compressed) = (None, None);
        bytes.structure(0, &mut |field, value| match field {
            2 => size = Some(value),
            3 => compressed = Some(value),
            _ => {}
        })?;
        for size in [size, compressed] {
            let size = size.ok_or("a page header has no size")?;
            if !(0..=PAGE_BYTES).contains(&size) {
                return Err(format!(
                    "a page must have at most {PAGE_BYTES} bytes, got {size}"
                ));
            }
        }
        bytes.skip(compressed.unwrap_or(0) as u64)?;
    }
    Ok(())
}

/// Bytes of the compact protocol.
struct Compact<R> {
    source: std::io::Take<R>,
}

impl<R: Read> Compact<R> {
    fn byte(&mut self) -> Result<u8, String> {
        let mut byte = [0];
        let read = self.source.read_exact(&mut byte);
        read.map_err(|_| "the file ends in a page header".to_owned())?;
        Ok(byte[0])
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let skipped = std::io::copy(&mut self.source.by_ref().take(bytes), &mut std::io::sink());
        if skipped.is_ok_and(|skipped| skipped == bytes) {
            Ok(())
        } else {
            Err("the file ends in a page".to_owned())
        }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number in a page header does not end".to_owned())
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads a structure; `number` is told of the numbers that are its own fields.
    fn structure(&mut self, depth: usize, number: &mut dyn FnMut(i64, i64)) -> Result<(), String> {
        if depth > DEPTH {
            return Err("a page header is nested too deeply".to_owned());
        }
        let mut field = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => self.zigzag()?,
                step => field + i64::from(step),
            };
            match head & 0xF {
                4..=6 => number(field, self.zigzag()?),
                1 | 2 => {}
                kind => self.value(kind, depth)?,
            }
        }
    }

    /// Passes over a value, which is no truth value of a structure: that is in its head.
    fn value(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let bytes = self.varint()?;
                self.skip(bytes)
            }
            9 | 10 => {
                let head = self.byte()?;
                let values = match head >> 4 {
                    15 => self.varint()?,
                    values => values.into(),
                };
                (0..values).try_for_each(|_| self.value(head & 0xF, depth + 1))
            }
            12 => self.structure(depth + 1, &mut |_, _| {}),
            _ => Err(format!("a page header has a field of type {kind}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page header of sizes, as zigzag varints below 64, and as many bytes.
    fn page(size: u8, compressed: u8) -> Vec<u8> {
        let mut bytes = vec![
            0x15,
            0,
            0x15,
            2 * size,
            0x15,
            2 * compressed,
            0x2C,
            0x15,
            2,
            0,
            0,
        ];
        bytes.extend(vec![7; compressed.into()]);
        bytes
    }

    #[test]
    fn pages_are_as_long_as_they_say() {
        let two = [page(9, 3), page(5, 5)].concat();
        assert_eq!(check(two.as_slice(), two.len() as u64), Ok(()));
        for end in 1..two.len() {
            let whole = end == page(9, 3).len();
            assert_eq!(check(&two[..end], end as u64).is_ok(), whole, "{end}");
        }
    }

    #[test]
    fn a_page_that_declares_too_much_is_refused() {
        // 2^31 - 1 as a zigzag varint.
        let large = [0x15, 0, 0x15, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0x15, 0, 0];
        let said = check(large.as_slice(), large.len() as u64);
        assert_eq!(
            said,
            Err("a page must have at most 67108864 bytes, got 2147483647".to_owned())
        );
        let deep = [0x1C; 40];
        assert_eq!(
            check(deep.as_slice(), 40),
            Err("a page header is nested too deeply".to_owned())
        );
        let endless = [
            0x15, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        ];
        assert_eq!(
            check(endless.as_slice(), 11),
            Err("a number in a page header does not end".to_owned())
        );
    }
}
