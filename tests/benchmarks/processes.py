"""What a server process has used: CPU seconds and memory, its children included.

Linux only: it reads `/proc`.
"""

import os
import resource
import time
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_QUIET_SECONDS: Final = 0.1  # a server that uses less than a hundredth of this in it is at rest


def raise_file_limit() -> int:
    """Allow this process, and those it starts, as many open files as it may; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def family(pid: int) -> list[int]:
    """Return a process and its descendants; what has ended meanwhile is left out."""
    found = [pid]
    for parent in found:
        try:
            for task in (_PROC / str(parent) / "task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return the seconds that a process and its descendants have run, in user and kernel mode.

    From the scheduler's own count, which is finer than the hundredths of `/proc/PID/stat`. The
    kernel does the receiving half of a loopback `send` in the sender's time; that is in it.
    """
    total = 0
    for member in family(pid):
        for task in (_PROC / str(member) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_kib(pid: int) -> int:
    """Return the proportional set size of a process and its descendants, in KiB.

    The kernel's memory for sockets is not in it.
    """
    total = 0
    for member in family(pid):
        for line in (_PROC / str(member) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def open_files(pid: int) -> int:
    """Return how many files, sockets above all, a process and its descendants have open."""
    return sum(len(os.listdir(_PROC / str(member) / "fd")) for member in family(pid))  # noqa: PTH208


def wait_until_at_rest(pid: int, deadline: float = 10.0) -> None:
    """Wait until a server has nothing left to do.

    Args:
      pid: the server's process.
      deadline: seconds after which it is taken as it is.
    """
    end = time.monotonic() + deadline
    before = cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(_QUIET_SECONDS)
        now = cpu_seconds(pid)
        if now - before < _QUIET_SECONDS / 100:
            return
        before = now


def busy_seconds() -> float:
    """Return the seconds that all cores have worked for anybody since the machine started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the seconds that this process and its children that have ended have worked."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def machine() -> dict[str, str | int | float]:
    """Return what the numbers depend on: processor, cores, memory, kernel, load at this moment."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (_PROC / "cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    total = int((_PROC / "meminfo").read_text().split()[1])
    system = os.uname()
    return {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "memory_gib": round(total / 2**20, 1),
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "load_average": round(os.getloadavg()[0], 2),
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }
