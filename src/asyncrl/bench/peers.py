"""Stable-Baselines3 at its fastest: in a virtual environment of its own, each kind of vector and threads tried."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from asyncrl.bench.measure import Peer
from asyncrl.errors import RunError, UserError

PACKAGE = "stable-baselines3"
ALGORITHMS = ("a2c", "ppo")
VECTORS = ("dummy", "subprocess")
ENVIRONMENTS = 16
SCRIPT = Path(__file__).with_name("sb3_peer.py")


class StableBaselines:
    """Runs A2C and PPO of Stable-Baselines3.

    Args:
        folder: Where its virtual environment is, or is made now: it has the same torch, gymnasium and ale-py as ours.
        threads: Most threads that torch may use.

    Raises:
        UserError: The folder holds something else.
        RunError: It cannot be installed.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        self.threads = sorted({1, threads})
        done = folder / "installed"
        same = [f"{name}=={metadata.version(name).split('+')[0]}" for name in ("torch", "gymnasium", "ale-py")]
        if not done.exists() or done.read_text().split() != same:
            if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
                raise UserError(f"{folder} holds something else: choose another --peers-dir")
            try:
                venv.create(folder, with_pip=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise RunError(f"no virtual environment could be made in {folder}: {error}") from error
            self._run("-m", "pip", "install", "--quiet", PACKAGE, "opencv-python-headless", *same)
            done.write_text(" ".join(same))
        version = self._run("-c", f"from importlib.metadata import version; print(version('{PACKAGE}'))").strip()
        self.peers = {algorithm: Peer(f"{PACKAGE} {version} {algorithm}") for algorithm in ALGORITHMS}
        self.best: dict[str, tuple[str, int]] = {}

    def measure(self, environment: str, seconds: float, say: Callable[[str], None]) -> None:
        """One more measurement of each algorithm; the first call finds the fastest setting of each.

        Raises:
            RunError: A run failed.
        """
        for algorithm, peer in self.peers.items():
            if algorithm in self.best:
                peer.steps_per_second.append(self._speed(algorithm, environment, seconds, *self.best[algorithm]))
                continue
            speeds = {}
            for setting in [(vector, threads) for vector in VECTORS for threads in self.threads]:
                speeds[setting] = self._speed(algorithm, environment, seconds, *setting)
                say(f"{peer.name}, {setting[0]}, {setting[1]} threads: {speeds[setting]:,.0f} steps/s")
            best = max(speeds, key=lambda setting: speeds[setting])
            self.best[algorithm] = best
            peer.setting = f"{ENVIRONMENTS} environments, {best[0]}, {best[1]} threads"
            peer.steps_per_second.append(speeds[best])

    def _speed(self, algorithm: str, environment: str, seconds: float, vector: str, threads: int) -> float:
        settings = algorithm, environment, str(seconds), vector, str(threads), str(ENVIRONMENTS)
        return float(self._run(str(SCRIPT), *settings).split()[-1])

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([self.python, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"{PACKAGE} failed:\n{done.stderr.strip()[-2000:]}")
        return done.stdout
