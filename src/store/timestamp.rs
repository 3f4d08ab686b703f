//! Times as they are stored and shown: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

/// A time as it is stored and shown, such as `2026-11-23T22:55:01.204Z`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Timestamp(String);

impl Timestamp {
    /// The present time.
    pub fn now() -> Self {
        Self::of(OffsetDateTime::now_utc())
    }

    /// The time that lies `duration` ahead. `None` beyond the calendar.
    pub fn ahead(duration: Duration) -> Option<Self> {
        OffsetDateTime::now_utc()
            .checked_add(duration.try_into().ok()?)
            .map(Self::of)
    }

    /// The time that lies `duration` back. The earliest there is, beyond the calendar.
    pub fn ago(duration: Duration) -> Self {
        let back = duration.try_into().ok();
        let time = back.and_then(|back| OffsetDateTime::now_utc().checked_sub(back));
        Self::of(time.unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(time: OffsetDateTime) -> Self {
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let millisecond = time.millisecond();
        Self(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
        ))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
