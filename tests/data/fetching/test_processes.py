"""Several processes that fetch one data set."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

from tests.support.data_resume import (
    GOOD,
    PATH,
    assert_whole,
    fetch,
    ranges_asked,
)

SCRIPT = """
import sys
from pathlib import Path
from dregcli.data.fetching.download import Patience, download_entry
from tests.support.data_idx import tiny_entry
print("ready", flush=True)
sys.stdin.readline()
result = download_entry(tiny_entry(sys.argv[1]), Path(sys.argv[2]), patience=Patience(timeout=20))
print(result.dataset.checksum, flush=True)
"""


def started(site, data_dir):
    command = [sys.executable, "-c", SCRIPT, f"{site.url}/", str(data_dir)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


class TestProcesses:
    def test_two_at_once_do_each_other_no_harm(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, drip_s=0.05)
        processes = [started(site, data_dir) for _ in range(2)]
        for process in processes:
            go(process)
        told = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert told[0] == told[1]
        assert ranges_asked(site) == [None, None]
        assert_whole(data_dir)

    def test_what_a_killed_one_left_is_taken_over(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, stall_at=200, silent_s=60.0)
        process = started(site, data_dir)
        go(process)
        deadline = time.monotonic() + 20
        while [path.stat().st_size for path in data_dir.rglob("*.part")] != [200]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        site.requests.clear()
        site.answers[PATH] = GOOD
        fetch(site, data_dir)
        assert ranges_asked(site) == ["bytes=200-"]
        assert_whole(data_dir)
