"""asyncrl: asynchronous deep reinforcement learning on the CPU cores you have."""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncrl.agent import load
    from asyncrl.algorithms.a3c import A3C
    from asyncrl.algorithms.acer import ACER
    from asyncrl.algorithms.dqn import DQN
    from asyncrl.algorithms.impala import IMPALA
    from asyncrl.algorithms.nfq import NFQ
    from asyncrl.algorithms.nstep_q import NStepQ
    from asyncrl.algorithms.onestep_q import OneStepQ
    from asyncrl.algorithms.pgq import PGQ
    from asyncrl.algorithms.ppo import PPO
    from asyncrl.algorithms.pqn import PQN
    from asyncrl.algorithms.sarsa import Sarsa
    from asyncrl.algorithms.unreal import Unreal
    from asyncrl.api import train
    from asyncrl.callbacks import Callback
    from asyncrl.config import Experiment
    from asyncrl.errors import RunError, UserError
    from asyncrl.runtime.agent import Agent
    from asyncrl.training import Result

__version__ = version("asyncrl")

_HOMES = {
    "A3C": "algorithms.a3c",
    "ACER": "algorithms.acer",
    "DQN": "algorithms.dqn",
    "IMPALA": "algorithms.impala",
    "NFQ": "algorithms.nfq",
    "NStepQ": "algorithms.nstep_q",
    "OneStepQ": "algorithms.onestep_q",
    "PGQ": "algorithms.pgq",
    "PQN": "algorithms.pqn",
    "PPO": "algorithms.ppo",
    "Sarsa": "algorithms.sarsa",
    "Unreal": "algorithms.unreal",
    "Agent": "runtime.agent",
    "Callback": "callbacks",
    "Experiment": "config",
    "Result": "training",
    "RunError": "errors",
    "UserError": "errors",
    "load": "agent",
    "train": "api",
}

__all__ = [
    "A3C",
    "ACER",
    "DQN",
    "IMPALA",
    "NFQ",
    "PGQ",
    "PPO",
    "PQN",
    "Agent",
    "Callback",
    "Experiment",
    "NStepQ",
    "OneStepQ",
    "Result",
    "RunError",
    "Sarsa",
    "Unreal",
    "UserError",
    "__version__",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    """Loads public names on first use: importing the package does not import torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"asyncrl.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'asyncrl' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, also those that are loaded on first use."""
    return sorted(__all__)
