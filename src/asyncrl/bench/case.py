"""One experiment that is measured over several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncrl import kernels, metrics
from asyncrl.algorithms import algorithm_name
from asyncrl.bench.measure import Training, raw_speed, training_speed
from asyncrl.config import Experiment
from asyncrl.types import EnvironmentInfo


@dataclass
class Case:
    """An experiment and its measurements."""

    train: Sequence[str]  # arguments of `asyncrl train`
    experiment: Experiment
    info: EnvironmentInfo
    raw: list[float] = field(default_factory=list)  # steps per second of the environments alone, one for each round
    trained: list[Training] = field(default_factory=list)  # one for each round

    @property
    def speeds(self) -> list[float]:
        """Training speeds in steps per second, one for each round."""
        return [training.steps_per_second for training in self.trained]

    def measure(self, seconds: float) -> None:
        """Measures one more round: first the environments alone, then training on them."""
        self.raw.append(raw_speed(self.experiment, seconds))
        self.trained.append(training_speed(self.train, seconds))

    def result(self) -> dict[str, Any]:
        """The medians over all rounds, as `asyncrl bench --json` prints them."""
        experiment, trained, speeds = self.experiment, self.trained, self.speeds
        return {
            "environment": experiment.environment,
            "algorithm": algorithm_name(experiment.algorithm),
            "memory": experiment.network.memory,
            "compiled_kernels": kernels.available(),
            metrics.WORKERS: experiment.worker_count,
            "envs_per_worker": experiment.environment_count,
            "rollout_length": experiment.algorithm.rollout_length,
            "frames_per_step": self.info.frames_per_step,
            "raw_steps_per_second": median(self.raw),
            "training_steps_per_second": median(speeds),
            "ratio": round(statistics.median(t / r for t, r in zip(speeds, self.raw, strict=True)), 3),
            "cpu_microseconds_per_step": {
                phase: median([training.microseconds[phase] for training in trained])
                for phase in trained[0].microseconds
            },
            "private_megabytes_of_a_worker": median([max(training.private_bytes) / 2**20 for training in trained]),
            "total_megabytes": median([training.total_bytes / 2**20 for training in trained]),
            "rounds": {
                "raw": [round(speed, 1) for speed in self.raw],
                "training": [round(speed, 1) for speed in speeds],
            },
        }


def median(values: Sequence[float]) -> float:
    """The median, rounded to one decimal place."""
    return round(statistics.median(values), 1)
