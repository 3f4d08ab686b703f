"""What a disk may hold after a power loss, from a trace of the calls that wrote to it.

A call that writes is pending from the moment it begins; a sync that ends makes durable what had ended before it began. Directory
entries are files' own: a new file is there for certain once its directory was synced. After a power loss there is what is
durable and, of what is pending, nothing, everything, or any of its sectors and entries.
"""

import re

SECTOR = 512
RENAMES = ("rename", "renameat", "renameat2")
CALLS = ("openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "unlink", "unlinkat", *RENAMES)
# Of these no file under the directory may be, or the disk is not what is modelled here.
STRANGE = ("writev", "pwritev", "pwritev2", "fallocate", "link", "linkat", "copy_file_range", "sync_file_range")
LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)$", re.DOTALL)
HEX = r'((?:\\x[0-9a-f]{2})*)'
PATH = re.compile(f"<{HEX}>")
TEXT = re.compile(f'"{HEX}"')
RESULT = re.compile(r"\) += (-?\d+)")
ACKNOWLEDGED = re.compile(rb"ACK (\d+)")
# SQLite writes this much at the beginning of a log that it begins anew.
WAL_HEADER = 32


class Call:
    """One call: what it does to which file, and whether this is its beginning, its end or both."""

    def __init__(self, kind, path, offset=0, content=b"", creates=False, acknowledged=0, old=None):
        self.kind, self.path, self.offset, self.content, self.creates = kind, path, offset, content, creates
        # The name before, of a rename.
        self.old, self.acknowledged, self.has_ended = old, acknowledged, False
        # What a sync covers, once it has begun.
        self.covers = []


class File:
    """The bytes of a file that are durable, and the calls that are pending."""

    def __init__(self):
        self.durable, self.pending = bytearray(), []


class Disk:
    """One directory."""

    def __init__(self):
        self.entries, self.durable_entries = {}, {}

    def begin(self, call, is_directory):
        """Takes the beginning of a call; whether that changes what may be found."""
        file = self.entries.get(call.path)
        if call.kind == "sync" and is_directory:
            call.covers = dict(self.entries)
        elif file is not None and call.kind == "sync":
            call.covers = [pending for pending in file.pending if pending.has_ended]
        elif file is not None and call.kind in ("write", "truncate"):
            file.pending.append(call)
            return True
        return False

    def end(self, call, is_directory):
        """Takes the end of a call; whether that changes what may be found."""
        call.has_ended = True
        file = self.entries.get(call.path)
        if call.kind == "open" and file is None and call.creates:
            self.entries[call.path] = File()
        elif call.kind == "unlink":
            self.entries.pop(call.path, None)
        elif call.kind == "rename":
            self.entries[call.path] = self.entries.pop(call.old)
        elif call.kind == "sync" and is_directory:
            self.durable_entries = call.covers
        elif call.kind == "sync" and file is not None:
            for pending in call.covers:
                apply(file.durable, pending)
            file.pending = [pending for pending in file.pending if pending not in call.covers]
        else:
            return False
        return True

    def lost(self):
        """What is there when nothing that is pending survives."""
        return {path: bytes(file.durable) for path, file in self.durable_entries.items()}

    def kept(self):
        """What is there when everything survives."""
        return {path: after(file, file.pending) for path, file in self.entries.items()}

    def torn(self, rng):
        """What is there when any sectors, lengths and entries survive."""
        found = {}
        for path in self.entries.keys() | self.durable_entries.keys():
            new, old = self.entries.get(path), self.durable_entries.get(path)
            file = new if new is old else rng.choice([new, old])
            if file is not None:
                share = rng.choice([0.1, 0.5, 0.9])
                found[path] = after(file, [piece for call in file.pending for piece in sectors(call) if rng.random() < share])
        return found


def after(file, calls):
    content = bytearray(file.durable)
    for call in calls:
        apply(content, call)
    return bytes(content)


def apply(content, call):
    if call.kind == "truncate":
        del content[call.offset:]
        content.extend(bytes(call.offset - len(content)))
    else:
        content.extend(bytes(max(0, call.offset - len(content))))
        content[call.offset : call.offset + len(call.content)] = call.content


def sectors(call):
    """The call in the pieces that a disk writes at once."""
    if call.kind == "truncate":
        return [call]
    pieces, begin = [], call.offset
    while begin < call.offset + len(call.content):
        end = min((begin // SECTOR + 1) * SECTOR, call.offset + len(call.content))
        pieces.append(Call("write", call.path, begin, call.content[begin - call.offset : end - call.offset]))
        begin = end
    return pieces


def read_trace(path, root):
    """The beginnings and ends of the calls on files of a directory, and of acknowledgements, in their order: pairs of a call and
    whether it ends."""
    under_way, steps = {}, []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = LINE.match(line)
            if found is None:
                continue
            thread, name, rest = found.groups()
            if " resumed>" in line[: found.start(3)]:
                call = under_way.pop(thread, None)
            else:
                call = parsed(name, rest, root)
                if call is not None:
                    steps.append((call, False))
            if call is None:
                continue
            if rest.rstrip().endswith("<unfinished ...>"):
                under_way[thread] = call
                continue
            end(call, rest, root, steps)
    return steps


def parsed(name, rest, root):
    """The call of a line, where it matters here."""
    arguments = rest.split(") = ")[0]
    paths = [unescaped(path) for path in PATH.findall(arguments)]
    texts = [unescaped(text) for text in TEXT.findall(arguments)]
    if name in STRANGE:
        named = [path.decode(errors="replace") for path in paths + texts[:2]]
        if any(path.startswith(root) for path in named):
            raise ValueError(f"{name} is not modelled: {named}")
        return None
    if name in ("openat", "unlink", "unlinkat"):
        target = texts[0].decode(errors="replace")
        creates = "O_CREAT" in arguments
        if not target.startswith(f"{root}/"):
            return None
        if name == "openat" and "O_TRUNC" in arguments:
            raise ValueError(f"O_TRUNC is not modelled: {target}")
        return Call("open" if name == "openat" else "unlink", target, creates=creates)
    if name in RENAMES:
        old, new = (text.decode(errors="replace") for text in texts)
        return Call("rename", new, old=old) if new.startswith(f"{root}/") else None
    target = paths[0].decode(errors="replace") if paths else ""
    if name == "write":
        told = ACKNOWLEDGED.match(texts[0]) if texts else None
        return Call("acknowledged", target, acknowledged=int(told[1])) if told and not target.startswith(root) else strange_write(target, root)
    if not (target == root or target.startswith(f"{root}/")):
        return None
    if name == "pwrite64":
        return Call("write", target, number(arguments, -1), texts[0])
    if name == "ftruncate":
        return Call("truncate", target, number(arguments, -1))
    return Call("sync", target)


def strange_write(target, root):
    """Scratch files are written so; they are nobody's once the server has ended."""
    name = target.removeprefix(f"{root}/")
    if target.startswith(root) and not name.startswith(("scratch-", "lock")):
        raise ValueError(f"a write without an offset is not modelled: {target}")
    return None


def end(call, rest, root, steps):
    result = RESULT.search(rest)
    if result is None or int(result[1]) >= 0:
        steps.append((call, True))
    elif call.kind not in ("open", "unlink", "rename"):
        raise ValueError(f"a {call.kind} of {call.path} failed: {rest[-100:]}")


def number(arguments, place):
    """A number among the arguments, after the last text."""
    return int(re.sub(r"<unfinished.*", "", arguments.rsplit('"', 1)[-1]).rstrip(" )\n").split(",")[place])


def unescaped(text):
    return bytes.fromhex(text.replace("\\x", ""))


def as_normal(steps):
    """The same calls without the syncs that SQLite's synchronous=NORMAL leaves out: those of the log at commits. One before pages
    are copied into the database and one of the header of a log that begins anew stay."""
    dropped = set()
    of_log = [index for index, (call, ends) in enumerate(steps) if ends and call.kind == "sync" and call.path.endswith("-wal")]
    for index in of_log:
        before = next((call for call, ends in reversed(steps[:index]) if ends and call.kind == "write" and call.path.endswith("-wal")), None)
        after_it = next((call for call, ends in steps[index + 1 :] if not ends and call.kind == "write"), None)
        is_header = before is not None and (before.offset, len(before.content)) == (0, WAL_HEADER)
        is_copied = after_it is not None and after_it.path.endswith(".db")
        if not (is_header or is_copied):
            dropped.add(id(steps[index][0]))
    return [step for step in steps if id(step[0]) not in dropped], len(dropped)


def logs_begun(steps):
    """How often the log was begun, and how often over what it had: what is old there must not be taken for new."""
    begun = over = 0
    empty = True
    for call, ends in steps:
        if ends and call.path.endswith("-wal"):
            if call.kind == "write" and (call.offset, len(call.content)) == (0, WAL_HEADER):
                begun, over = begun + 1, over + (not empty)
            empty = call.kind == "unlink" or (empty and call.kind != "write")
    return begun, over
