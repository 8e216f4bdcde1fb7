"""Machines with little of everything: a run works there, or says in one line what is missing."""

from __future__ import annotations

import itertools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import checkpoint_folders, load_newest
from tests.runtime.processes import PYTHONPATH, Run, log, metrics, session_processes, summary, wait_for

pytestmark = pytest.mark.timeout(300)

SHORT = ("train", "Catch", "--steps", "20k", "--until-return", "None", "--workers", "2")


def can_mount() -> bool:
    """Whether this user may make file systems of its own."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="this user cannot mount file systems")


def environment(**changes: str | None) -> dict[str, str]:
    variables = {**os.environ, "PYTHONPATH": PYTHONPATH, **changes}
    return {name: value for name, value in variables.items() if value is not None}


def asyncrl(folder: Path, *arguments: str, script: str = "exec", **changes: str | None) -> tuple[int, str, str]:
    """Runs the command after a line of shell script; returns its exit code, its output and its errors."""
    command = ["sh", "-c", f'{script} "$@"', "sh", sys.executable, "-m", "asyncrl", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(**changes), capture_output=True, text=True, timeout=250)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("script", "changes"),
    [
        pytest.param("ulimit -n 256; exec taskset -c 0", {"HOME": None}, id="256 open files, one core, no HOME"),
        pytest.param(
            "ulimit -S -n 32; exec",
            {"HOME": "/nonexistent", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            id="a soft limit of 32 open files, a HOME that is not there, the C locale",
        ),
        pytest.param(
            "mount -t tmpfs -o ro tmpfs /mnt && mount -t tmpfs -o size=64m tmpfs /dev/shm && exec",
            {"HOME": "/mnt"},
            id="a home that cannot be written to, 64 MB of shared memory",
            marks=needs_mount,
        ),
    ],
)
def test_a_run_works_with_little(tmp_path: Path, script: str, changes: dict[str, str | None]) -> None:
    if "mount" in script:
        script = f"exec unshare -rm sh -c '{script} \"$@\"' sh"
    code, output, error = asyncrl(tmp_path, *SHORT, "--run-dir", "run", script=script, **changes)
    assert code == 0, error
    assert "warning" not in output
    assert summary(tmp_path / "run")["steps"] >= 20_000


def test_a_run_folder_may_have_any_name(run: Run, tmp_path: Path) -> None:
    name = "läufe/训练 крым 'und' $HOME"
    code, _, error = asyncrl(tmp_path, *SHORT, "--run-dir", name)
    assert code == 0, error
    for command in (["eval", name, "--episodes", "2"], ["plot", name, "--output", f"{name}/ü.png"]):
        assert run(*command)[0] == 0


def test_a_run_folder_on_another_file_system(run: Run, tmp_path: Path) -> None:
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        code, _, error = run(*SHORT, "--run-dir", f"{name}/run")
        assert code == 0, error


def test_large_networks_lie_elsewhere_when_shared_memory_is_small(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("this user cannot mount file systems")
    script = "exec unshare -rm sh -c 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec \"$@\"' sh"
    large = ("--hidden", "3000", "3000", "--steps", "2k")  # 37 MB for each of three vectors
    code, _, error = asyncrl(tmp_path, *SHORT, *large, "--run-dir", "run", script=script)
    assert code == 0, error
    both = "mount -t tmpfs -o size=1m tmpfs /dev/shm && mount -t tmpfs -o size=1m tmpfs /mnt"
    small = f"exec unshare -rm sh -c '{both} && exec \"$@\"' sh"
    code, _, error = asyncrl(tmp_path, *SHORT, *large, "--run-dir", "other", script=small, TMPDIR="/mnt")
    assert code == 2
    expected = r"error: no room for \d+ MB of shared memory in /dev/shm or /mnt: free some space, .*\n"
    assert re.fullmatch(expected, error), error
    assert not (tmp_path / "other").exists()


def test_too_few_open_files_are_one_line_with_the_remedy(tmp_path: Path) -> None:
    code, _, error = asyncrl(tmp_path, *SHORT, "--workers", "60", "--run-dir", "run", script="ulimit -n 256; exec")
    assert code == 2
    assert error == (
        "error: a process may open 256 files, and 60 workers need 304: "
        "run 'ulimit -n 4096' first, or use fewer --workers\n"
    )
    assert not (tmp_path / "run" / "experiment.yaml").exists()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 256
    code, output, _ = asyncrl(tmp_path, "doctor", script="ulimit -n 32; exec")
    assert code == 1
    assert "a process may open 32" in output


class Disk:
    """A training on a disk of its own, in a mount namespace that lives as long as the shell around it."""

    def __init__(self, folder: Path, size: str, *arguments: str) -> None:
        script = f'mount -t tmpfs -o size={size} tmpfs "$PWD" && cd "$PWD" && "$@" 2>&1; echo "exit code $?"; read _'
        self.process = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-m", "asyncrl", *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=(folder.parent / "output").open("w"),
            start_new_session=True,
        )
        self.output = folder.parent / "output"
        # the parent of the disk as this namespace sees it
        self.path = Path(f"/proc/{self.process.pid}/root{folder}")

    def fill(self) -> None:
        """Leaves no room at all."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            size = 65536
            while size:
                try:
                    if file.write(bytes(size)) < size:
                        size //= 2
                except OSError:
                    size //= 2

    def train_process(self) -> int:
        """The process that trains."""
        [found] = [
            number
            for number, command in session_processes(self.process.pid).items()
            if command.split()[1:4] == ["-m", "asyncrl", "train"]
        ]
        return found

    def says(self, text: str, seconds: float = 60) -> None:
        """Waits for a line of output."""
        wait_for(lambda: text in self.output.read_text(), seconds, f"{text!r}, after {self.output.read_text()!r},")

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


@needs_mount
def test_a_full_disk_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    run_long = ("train", "Catch", "--steps", "1G", "--until-return", "None", "--run-dir", "run")
    disk = Disk(tmp_path / "disk", "2m", *run_long, "--checkpoint-seconds", "0.5")
    try:
        run = disk.path / "run"
        wait_for(lambda: len(checkpoint_folders(run / "checkpoints")) == 3, 60, "three checkpoints")
        disk.fill()
        disk.says("warning: the checkpoint cannot be written (No space left on device): training goes on")
        disk.says("warning: metrics.jsonl cannot be written (No space left on device): training goes on")
        steps = load_newest(run / "checkpoints")[0].state.steps
        assert len(checkpoint_folders(run / "checkpoints")) == 3
        assert not list((run / "checkpoints").glob(".*"))  # nothing half-written
        assert (run / "metrics.jsonl").read_bytes().endswith(b"\n")
        (disk.path / "filler").unlink()
        disk.says("the checkpoint can be written again")
        disk.says("metrics.jsonl can be written again")
        wait_for(lambda: load_newest(run / "checkpoints")[0].state.steps > steps, 60, "a new checkpoint")
        os.kill(disk.train_process(), signal.SIGTERM)
        disk.says("exit code 143")
        lines = metrics(run)
        assert lines[-1]["steps"] == summary(run)["steps"] == load_newest(run / "checkpoints")[0].state.steps
        waits = [after["wall_seconds"] - before["wall_seconds"] for before, after in itertools.pairwise(lines)]
        assert max(waits) < 20  # lines of the time without room were written later
        assert "cannot be written" in log(run)
        assert RunFolder(run).read_metrics() == lines
    finally:
        disk.close()


@needs_mount
def test_a_run_that_ends_on_a_full_disk_waits_for_room(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", "2m", *SHORT, "--steps", "1M", "--run-dir", "run")
    try:
        run = disk.path / "run"
        wait_for(lambda: (run / "metrics.jsonl").exists() and metrics(run), 60, "the start")
        disk.fill()
        disk.says("the run has come to its end and waits for room to be saved")
        (disk.path / "filler").unlink()
        disk.says("exit code 0")
        assert load_newest(run / "checkpoints")[0].state.steps == summary(run)["steps"] >= 1_000_000
        assert metrics(run)[-1]["steps"] == summary(run)["steps"]
    finally:
        disk.close()
