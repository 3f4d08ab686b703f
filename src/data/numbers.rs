//! The values of a numeric column, in chunks that each take the narrowest coding that is exact.

/// The rows of a full chunk; only a column's last chunk is shorter.
pub const CHUNK_ROWS: usize = 16_384;

/// Up to [`CHUNK_ROWS`] numbers in one coding. A missing value is NaN, so it needs a float coding.
#[derive(Clone, Debug)]
pub(super) enum Chunk {
    U8(Vec<u8>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Chunk {
    /// A chunk without rows.
    pub(super) fn new() -> Self {
        Self::U8(Vec::new())
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// The number at `row`; NaN where missing.
    pub(super) fn get(&self, row: usize) -> f64 {
        match self {
            Self::U8(values) => values[row].into(),
            Self::I32(values) => values[row].into(),
            Self::F32(values) => values[row].into(),
            Self::F64(values) => values[row],
        }
    }

    /// Writes what `convert` makes of the numbers of `rows`, of which the chunk's first is `first`.
    fn pick<T>(&self, first: usize, rows: &[u32], into: &mut [T], convert: impl Fn(f64) -> T) {
        match self {
            Self::U8(values) => picked(values, first, rows, into, |value| convert(value.into())),
            Self::I32(values) => picked(values, first, rows, into, |value| convert(value.into())),
            Self::F32(values) => picked(values, first, rows, into, |value| convert(value.into())),
            Self::F64(values) => picked(values, first, rows, into, convert),
        }
    }

    /// Appends every number to `out`.
    pub(super) fn append_to(&self, out: &mut Vec<f64>) {
        match self {
            Self::U8(values) => out.extend(values.iter().map(|&value| f64::from(value))),
            Self::I32(values) => out.extend(values.iter().map(|&value| f64::from(value))),
            Self::F32(values) => out.extend(values.iter().map(|&value| f64::from(value))),
            Self::F64(values) => out.extend_from_slice(values),
        }
    }

    /// A tag byte, then the values in little-endian order.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::U8(values) => tagged(1, values, |value| [value]),
            Self::I32(values) => tagged(2, values, i32::to_le_bytes),
            Self::F32(values) => tagged(3, values, f32::to_le_bytes),
            Self::F64(values) => tagged(4, values, f64::to_le_bytes),
        }
    }

    /// Reads what [`Chunk::to_bytes`] wrote; an unknown tag, a broken last value or an infinite one is told in words.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (tag, body) = bytes.split_first().ok_or("a chunk has no bytes")?;
        let chunk = match tag {
            1 => Self::U8(body.to_vec()),
            2 => Self::I32(untagged(body, i32::from_le_bytes)?),
            3 => Self::F32(untagged(body, f32::from_le_bytes)?),
            4 => Self::F64(untagged(body, f64::from_le_bytes)?),
            _ => {
                return Err(format!(
                    "a chunk of numbers must begin with 1, 2, 3 or 4, got {tag}"
                ));
            }
        };
        let infinite = match &chunk {
            Self::U8(_) | Self::I32(_) => false,
            Self::F32(values) => any(values, f32::is_infinite),
            Self::F64(values) => any(values, f64::is_infinite),
        };
        if infinite {
            Err("a number is infinite".to_owned())
        } else {
            Ok(chunk)
        }
    }

    /// The numbers in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = f64> + Clone {
        (0..self.rows()).map(|row| self.get(row))
    }

    /// Keeps the first rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::U8(values) => values.truncate(rows),
            Self::I32(values) => values.truncate(rows),
            Self::F32(values) => values.truncate(rows),
            Self::F64(values) => values.truncate(rows),
        }
    }

    pub(super) fn missing(&self) -> usize {
        match self {
            Self::U8(_) | Self::I32(_) => 0,
            Self::F32(values) => count(values, f32::is_nan),
            Self::F64(values) => count(values, f64::is_nan),
        }
    }

    /// Appends a finite number, or NaN for a missing one.
    pub(super) fn push(&mut self, value: f64) {
        let integer = value as i32;
        // The bits tell −0.0, which no integer is, from 0.0.
        if f64::from(integer).to_bits() == value.to_bits() {
            self.push_integer(integer);
        } else {
            self.push_wide(value);
        }
    }

    pub(super) fn push_integer(&mut self, value: i32) {
        match self {
            Self::U8(values) => {
                if let Ok(byte) = u8::try_from(value) {
                    values.push(byte);
                    return;
                }
                let mut wide: Vec<i32> = values.iter().map(|&byte| byte.into()).collect();
                wide.push(value);
                *self = Self::I32(wide);
            }
            Self::I32(values) => values.push(value),
            Self::F32(_) | Self::F64(_) => self.push_wide(value.into()),
        }
    }

    fn push_wide(&mut self, value: f64) {
        if let Self::F64(values) = self {
            values.push(value);
            return;
        }
        let mut wide = Vec::with_capacity(self.rows() + 1);
        self.append_to(&mut wide);
        wide.push(value);
        *self = Self::F64(wide);
    }

    /// Takes half the room where every number is exact in f32, and lets go of what growing has reserved.
    pub(super) fn seal(&mut self) {
        match self {
            Self::U8(values) => values.shrink_to_fit(),
            Self::I32(values) => values.shrink_to_fit(),
            Self::F32(values) => values.shrink_to_fit(),
            Self::F64(values) => {
                let exact = |value: &f64| {
                    value.is_nan() || f64::from(*value as f32).to_bits() == value.to_bits()
                };
                if values.iter().all(exact) {
                    *self = Self::F32(values.iter().map(|&value| value as f32).collect());
                } else {
                    values.shrink_to_fit();
                }
            }
        }
    }
}

/// Numbers being collected or kept, in their order.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    chunks: Vec<Chunk>,
    rows: usize,
}

/// Equal where every number has the same bits, however it is coded; one missing value equals another.
impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
            && self
                .iter()
                .zip(other.iter())
                .all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
    }
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            rows: 0,
        }
    }

    /// Takes chunks whose lengths the caller has checked.
    pub(super) fn from_chunks(chunks: Vec<Chunk>) -> Self {
        let rows = chunks.iter().map(Chunk::rows).sum();
        Self { chunks, rows }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn missing(&self) -> usize {
        self.chunks.iter().map(Chunk::missing).sum()
    }

    pub(super) fn get(&self, row: usize) -> f64 {
        self.chunks[row / CHUNK_ROWS].get(row % CHUNK_ROWS)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = f64> + Clone {
        self.chunks.iter().flat_map(Chunk::iter)
    }

    pub(super) fn to_vec(&self) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.rows);
        for chunk in &self.chunks {
            chunk.append_to(&mut out);
        }
        out
    }

    /// Writes what `convert` makes of the numbers of `rows`, which rise, to as many places.
    pub(super) fn pick<T>(&self, rows: &[u32], into: &mut [T], convert: impl Fn(f64) -> T + Copy) {
        let (mut rows, mut into) = (rows, into);
        while let Some(&row) = rows.first() {
            let chunk = row as usize / CHUNK_ROWS;
            let first = chunk * CHUNK_ROWS;
            let within = rows.partition_point(|&row| (row as usize) < first + CHUNK_ROWS);
            let (here, beyond) = rows.split_at(within);
            let (places, left) = into.split_at_mut(within);
            self.chunks[chunk].pick(first, here, places, convert);
            (rows, into) = (beyond, left);
        }
    }

    /// Appends a finite number, or NaN for a missing one.
    pub(super) fn push(&mut self, value: f64) {
        self.open_chunk().push(value);
    }

    /// Ends the last chunk; nothing may be pushed afterwards.
    pub(super) fn seal(&mut self) {
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.seal();
        }
        self.chunks.shrink_to_fit();
    }

    /// The chunk that the next row belongs to; counts that row.
    fn open_chunk(&mut self) -> &mut Chunk {
        if self.rows.is_multiple_of(CHUNK_ROWS) {
            if let Some(full) = self.chunks.last_mut() {
                full.seal();
            }
            self.chunks.push(Chunk::new());
        }
        self.rows += 1;
        self.chunks
            .last_mut()
            .expect("a chunk was opened for the first row")
    }
}

/// Whether something holds for any of the values, all of which are looked at: several at a time.
fn any<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> bool {
    values.iter().fold(false, |any, &value| any | holds(value))
}

/// Of how many of the values something holds, several at a time: there is no check that the count is within its type, which
/// has room for as many as memory has.
fn count<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> usize {
    let count = |count: usize, &value| count.wrapping_add(usize::from(holds(value)));
    values.iter().fold(0, count)
}

/// Writes what `convert` makes of the values of `rows`, of which there is one at least and `values` begins with `first`.
fn picked<V: Copy, T>(
    values: &[V],
    first: usize,
    rows: &[u32],
    into: &mut [T],
    convert: impl Fn(V) -> T,
) {
    let place = |row: u32| row as usize - first;
    let (low, high) = (place(rows[0]), place(rows[rows.len() - 1]));
    if high - low + 1 == rows.len() {
        for (place, &value) in into.iter_mut().zip(&values[low..=high]) {
            *place = convert(value);
        }
    } else {
        for (into, &row) in into.iter_mut().zip(rows) {
            *into = convert(values[place(row)]);
        }
    }
}

fn tagged<T: Copy, const N: usize>(
    tag: u8,
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + values.len() * N);
    bytes.push(tag);
    for &value in values {
        bytes.extend_from_slice(&to_bytes(value));
    }
    bytes
}

fn untagged<T, const N: usize>(
    body: &[u8],
    from_bytes: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, String> {
    let (values, rest) = body.as_chunks::<N>();
    if rest.is_empty() {
        Ok(values.iter().map(|&bytes| from_bytes(bytes)).collect())
    } else {
        Err(format!(
            "a chunk must hold whole values of {N} bytes, got {} bytes",
            body.len()
        ))
    }
}

/// Codes in one byte each where 255 of them suffice, else two, else four; the largest value of that width is a missing one.
pub(super) fn codes_to_bytes(codes: &[u32], categories: usize) -> Vec<u8> {
    match categories {
        0..=0xFF => tagged(5, codes, |code| [code as u8]),
        0x100..=0xFFFF => tagged(6, codes, |code| (code as u16).to_le_bytes()),
        _ => tagged(7, codes, u32::to_le_bytes),
    }
}

/// Reads what [`codes_to_bytes`] wrote, with `u32::MAX` for a missing value. A chunk may be older than the last of its
/// column's categories, and narrower than they would need.
pub(super) fn codes_from_bytes(bytes: &[u8]) -> Result<Vec<u32>, String> {
    let (tag, body) = bytes.split_first().ok_or("a chunk has no bytes")?;
    let wide = |code: u32, missing: u32| if code == missing { u32::MAX } else { code };
    match tag {
        5 => {
            let codes = body.iter();
            Ok(codes
                .map(|&code| wide(code.into(), u8::MAX.into()))
                .collect())
        }
        6 => untagged(body, |code| {
            wide(u16::from_le_bytes(code).into(), u16::MAX.into())
        }),
        7 => untagged(body, u32::from_le_bytes),
        _ => Err(format!(
            "a chunk of codes must begin with 5, 6 or 7, got {tag}"
        )),
    }
}

/// Checks that each code has a category.
pub(super) fn check_codes(codes: &[u32], categories: usize) -> Result<(), String> {
    let beyond = |code: &&u32| **code != u32::MAX && **code as usize >= categories;
    match codes.iter().find(beyond) {
        Some(code) => Err(format!(
            "a code must be below the {categories} categories, got {code}"
        )),
        None => Ok(()),
    }
}
