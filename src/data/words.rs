//! What a word of a table means where it is no number: a truth value or a moment.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// The truth value of `true` or `false`, in small letters, in capitals or with one capital.
///
/// Words such as `yes`, `no`, `t` and `f` are none: a column of them is categorical, and keeps them as classes.
pub fn parse_boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The moment of a date or a date with a time, in seconds since 1970-01-01T00:00:00Z.
///
/// Taken are RFC 3339 (`2026-01-31T12:30:00.25+01:00`, or with `Z`), the same without an offset, which is in UTC then, with
/// a space in the place of `T`, without the seconds, and the date alone, which is its first moment. No leap second is taken:
/// such a count of seconds has no place for one.
///
/// Source: Klyne and Newman (2002), RFC 3339, section 5.6.
pub fn parse_timestamp(word: &str) -> Option<f64> {
    let mut text = Text(word.as_bytes());
    let year = text.number(4)?;
    text.take(b"-")?;
    let month = Month::try_from(u8::try_from(text.number(2)?).ok()?).ok()?;
    text.take(b"-")?;
    let day = u8::try_from(text.number(2)?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, day).ok()?;
    if text.0.is_empty() {
        return Some(
            PrimitiveDateTime::new(date, Time::MIDNIGHT)
                .assume_utc()
                .unix_timestamp() as f64,
        );
    }
    text.take(b"Tt ")?;
    let (time, fraction) = text.time()?;
    let offset = text.offset()?;
    let whole = PrimitiveDateTime::new(date, time)
        .assume_offset(offset)
        .unix_timestamp();
    text.0.is_empty().then_some(whole as f64 + fraction)
}

/// The moment so many seconds after 1970-01-01T00:00:00Z as RFC 3339 in UTC, to the microsecond, which is as much as float64
/// tells of our time; the number where its year has not four digits.
pub fn format_timestamp(seconds: f64) -> String {
    let micros = (seconds * 1e6).round();
    let (whole, fraction) = (micros.div_euclid(1e6), micros.rem_euclid(1e6) as u64);
    let moment = OffsetDateTime::from_unix_timestamp(whole as i64);
    let Some(moment) = moment
        .ok()
        .filter(|moment| (0..10_000).contains(&moment.year()))
    else {
        return seconds.to_string();
    };
    let (date, time) = (moment.date(), moment.time());
    let fraction = match fraction {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    };
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = time.as_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// What is left to read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// A number of so many digits.
    fn number(&mut self, digits: usize) -> Option<u16> {
        let (number, left) = self.0.split_at_checked(digits)?;
        self.0 = left;
        number.iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| 10 * number + u16::from(digit - b'0'))
        })
    }

    /// One byte, which is one of a few.
    fn take(&mut self, among: &[u8]) -> Option<u8> {
        let (&first, left) = self.0.split_first()?;
        among.contains(&first).then(|| {
            self.0 = left;
            first
        })
    }

    /// Hours, minutes and seconds, and the fraction of a second.
    fn time(&mut self) -> Option<(Time, f64)> {
        let hour = self.number(2)?;
        self.take(b":")?;
        let minute = self.number(2)?;
        let second = if self.take(b":").is_some() {
            self.number(2)?
        } else {
            0
        };
        let time = Time::from_hms(hour as u8, minute as u8, second as u8).ok()?;
        if self.take(b".").is_none() {
            return Some((time, 0.0));
        }
        let digits = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (fraction, left) = self.0.split_at(digits);
        self.0 = left;
        let fraction = format!(
            "0.{}",
            str::from_utf8(fraction)
                .ok()
                .filter(|digits| !digits.is_empty())?
        );
        Some((time, fraction.parse().ok()?))
    }

    /// How far the clock is ahead of UTC.
    fn offset(&mut self) -> Option<UtcOffset> {
        let Some(sign) = self.take(b"Zz+-") else {
            return Some(UtcOffset::UTC);
        };
        if sign.eq_ignore_ascii_case(&b'z') {
            return Some(UtcOffset::UTC);
        }
        let hours = self.number(2)?;
        self.take(b":")?;
        let minutes = self.number(2)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        let seconds = i32::from(60 * hours + minutes) * 60;
        let offset = if sign == b'-' { -seconds } else { seconds };
        UtcOffset::from_whole_seconds(offset).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_however_it_is_written() {
        // 1 800 000 000 s by Python's datetime.fromisoformat("2027-01-15T08:00:00+00:00").timestamp().
        for word in [
            "2027-01-15T08:00:00Z",
            "2027-01-15t08:00:00z",
            "2027-01-15T08:00:00",
            "2027-01-15 08:00:00",
            "2027-01-15T08:00",
            "2027-01-15T09:30:00+01:30",
            "2027-01-14T23:00:00.000-09:00",
        ] {
            assert_eq!(parse_timestamp(word), Some(1.8e9), "{word}");
        }
        assert_eq!(parse_timestamp("1970-01-02"), Some(86_400.0));
        assert_eq!(parse_timestamp("1969-12-31T23:59:59.25Z"), Some(-0.75));
        assert_eq!(parse_timestamp("2024-02-29"), Some(1_709_164_800.0));
    }

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for word in [
            "2027-01-15T08:00:00Z",
            "1969-12-31T23:59:59.25Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2027-01-15T08:00:00.000001Z",
        ] {
            assert_eq!(
                parse_timestamp(word).map(format_timestamp).as_deref(),
                Some(word)
            );
        }
        assert_eq!(format_timestamp(1e300), 1e300.to_string());
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for word in [
            "",
            "2027",
            "20270115",
            "2027-1-15",
            "2027-13-01",
            "2027-02-29",
            "2027-01-15T",
            "2027-01-15T24:00:00Z",
            "2027-01-15T08:00:60Z",
            "2027-01-15T08:00:00.Z",
            "2027-01-15T08:00:00+1:00",
            "2027-01-15T08:00:00+24:00",
            "2027-01-15T08:00:00Z ",
            "2027-01-15Z",
            "+027-01-15",
            "15.01.2027",
            "2027-01-15T08:00:00é",
        ] {
            assert_eq!(parse_timestamp(word), None, "{word}");
        }
    }

    #[test]
    fn only_true_and_false_are_truth_values() {
        for (truth, words) in [
            (true, ["true", "True", "TRUE"]),
            (false, ["false", "False", "FALSE"]),
        ] {
            assert!(words.iter().all(|word| parse_boolean(word) == Some(truth)));
        }
        for word in ["tRUE", "yes", "no", "1", "0", "t", ""] {
            assert_eq!(parse_boolean(word), None, "{word}");
        }
    }
}
