"""Flips bits of a database of a stopped server, in a value of a row or anywhere in its file, and tells what that changed of it."""

import contextlib
import os
import sqlite3

# What of the schema is nobody's content.
INTERNAL = ("sqlite_", "_sqlx")


def path_of(data_dir):
    return os.path.join(data_dir, "gradientd.db")


@contextlib.contextmanager
def opened(data_dir):
    connection = sqlite3.connect(path_of(data_dir))
    # Text that is not UTF-8 any more is still to be read.
    connection.text_factory = bytes
    try:
        yield connection
    finally:
        connection.close()


def tables(connection):
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    return [name.decode() for (name,) in names if not name.decode().startswith(INTERNAL)]


def values(connection):
    """Every value of text or bytes that is stored, as table, column and row, those with content of bytes apart from those of text."""
    found = {"blob": [], "text": []}
    for table in tables(connection):
        for column in [row[1].decode() for row in connection.execute(f"PRAGMA table_info({table})")]:
            query = f'SELECT rowid, typeof("{column}") FROM {table} WHERE length("{column}") > 0'
            for row, kind in connection.execute(query):
                if (kind := kind.decode()) in found:
                    found[kind].append((table, column, row))
    return found


def is_name(connection, value):
    """Whether a row is found by the value, or belongs to what has it as a name."""
    table, column, _ = value
    keys = {row[1].decode() for row in connection.execute(f"PRAGMA table_info({table})") if row[5]}
    keys |= {row[3].decode() for row in connection.execute(f"PRAGMA foreign_key_list({table})")}
    for index in [row[1].decode() for row in connection.execute(f"PRAGMA index_list({table})") if row[2]]:
        unique = [row[2].decode() for row in connection.execute(f"PRAGMA index_info({index})")]
        keys |= set(unique) if len(unique) == 1 else set()
    return column in keys


def flip_value(connection, rng, value):
    """Flips one bit of a value; the file stays a proper database. Gives what was flipped, in words."""
    table, column, row = value
    (content,) = connection.execute(f'SELECT CAST("{column}" AS BLOB) FROM {table} WHERE rowid = ?', (row,)).fetchone()
    (kind,) = connection.execute(f'SELECT typeof("{column}") FROM {table} WHERE rowid = ?', (row,)).fetchone()
    as_it_was = "CAST(? AS TEXT)" if kind == b"text" else "?"
    while True:
        bit = rng.randrange(len(content) * 8)
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        # A name may become that of another row, which SQLite does not take.
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(f'UPDATE {table} SET "{column}" = {as_it_was} WHERE rowid = ?', (bytes(flipped), row))
            break
    connection.commit()
    return f"{table}.{column} of row {row}, bit {bit}"


def flip_in_file(path, rng):
    """Flips one bit anywhere in a file."""
    bit = rng.randrange(os.path.getsize(path) * 8)
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
    return f"byte {bit // 8} of the file, bit {bit % 8}"


def content(data_dir):
    """Every row of every table with the schema, read through SQLite; None where it cannot be read or its indexes do not fit."""
    try:
        with opened(data_dir) as connection:
            read = {"schema": connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()}
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                # As stored and not by an index, which may be what is damaged.
                table = name.decode()
                read[table] = connection.execute(f'SELECT * FROM "{table}" NOT INDEXED').fetchall()
            whole = connection.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
            return read if whole else None
    except (sqlite3.Error, UnicodeDecodeError, ValueError):
        return None
