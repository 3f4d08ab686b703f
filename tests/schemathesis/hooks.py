"""How schemathesis sends what it has no form for: lines of JSON are drawn as texts, Parquet as bytes."""

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/vnd.apache.parquet")
def as_it_is(_context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
