//! Telemetry: the log, one line for each event, on standard error.

use std::fmt;
use std::io::IsTerminal;

use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Bytes of a text in the log, at most: paths and names are as long as a client likes.
const LONGEST: usize = 1024;
/// What a text ends with that was longer.
const CUT: &str = "…";

/// Starts the log: for people on a terminal, JSON elsewhere; `GRADIENTD_LOG` filters it (default `info`).
pub fn start(default_filter: &str) {
    let filter =
        EnvFilter::try_from_env("GRADIENTD_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.event_format(Lines).init();
    }
}

/// An event as a line of JSON, whose texts are escaped and cut: whatever a client sends, it is one line of its own.
struct Lines;

#[derive(Serialize)]
struct Line {
    timestamp: String,
    level: &'static str,
    fields: Fields,
    target: &'static str,
}

/// The fields of an event in their order, the message first.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = serde_json::to_string(&Line {
            timestamp,
            level: metadata.level().as_str(),
            fields,
            target: metadata.target(),
        });
        writeln!(writer, "{}", line.map_err(|_| fmt::Error)?)
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.push((field.name(), value));
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(&format!("{value:?}")).into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// A text, or as much of it as the log takes.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LONGEST - CUT.len());
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use std::io::{Error, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
            self.0.lock().expect("no panic before").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    /// The lines that are logged meanwhile.
    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Lines);
        tracing::subscriber::with_default(subscriber.finish(), log);
        let bytes = kept.0.lock().expect("no panic before").clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("lines of JSON")
    }

    #[test]
    fn whatever_a_text_has_it_is_one_line_of_json() {
        let hostile = "a\r\n{\"level\":\"ERROR\"}\u{1b}[31m\u{0}\u{2028}\"\\";
        let lines = logged(|| {
            tracing::info!(path = hostile, error = %hostile, status = 200_u16, "said {hostile}");
        });
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        let fields = &line["fields"];
        assert_eq!(fields["path"], hostile);
        assert_eq!(fields["error"], hostile);
        assert_eq!(fields["message"], format!("said {hostile}"));
        assert_eq!(fields["status"], 200);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], module_path!());
        assert!(
            line["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{line}"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        for (text, bytes) in [
            ("a".repeat(1024), 1024),
            ("a".repeat(1025), 1024),
            ("é".repeat(1 << 20), 1023),
        ] {
            let lines = logged(|| tracing::info!(path = text, "request"));
            let path = lines[0]["fields"]["path"].as_str().expect("a text");
            assert_eq!(path.len(), bytes);
            assert_eq!(path.ends_with(CUT), text.len() > 1024);
        }
    }
}
