"""Figures of a process, as Linux has them, and of a server, as its /metrics says."""

import os
import re
import time

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """Memory, descriptors and processor time of one that runs."""

    def __init__(self, pid):
        self.pid = pid

    def resident(self):
        """Bytes of memory that it has."""
        return self.status("VmRSS")

    def peak(self):
        """The most that it has had since `forget_peak`."""
        return self.status("VmHWM")

    def forget_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def threads(self):
        return self.status("Threads")

    def status(self, field):
        """A number of /proc/PID/status, in bytes where it is one of kB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            number, unit = re.search(rf"^{field}:\s*(\d+)( kB)?", file.read(), re.MULTILINE).groups()
        return int(number) << 10 if unit else int(number)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def sockets(self):
        """Descriptors that are sockets: connections, and one that listens."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    def processor_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def socket_memory():
    """Bytes that the kernel holds for all TCP connections of the machine: what is sent and not read is no process's memory."""
    with open("/proc/net/sockstat", encoding="ascii") as file:
        return int(re.search(r"^TCP:.* mem (\d+)", file.read(), re.MULTILINE).group(1)) * os.sysconf("SC_PAGESIZE")


def scraped(client):
    """Every sample of /metrics by its name with its labels."""
    samples = {}
    for line in client.raw("GET", "/metrics").decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples


def until(holds, seconds, pause=0.1):
    """Waits until it holds; the seconds that this took, or None where it does not within so many."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(pause)
    return time.monotonic() - began
