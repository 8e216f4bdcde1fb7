"""Small environments with known behaviour."""

from __future__ import annotations

import math
import os
import random
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from numpy.typing import NDArray


class Clock(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Observes [episode, step]; pays its step number; ends after `length` steps, by truncation or termination.

    It hands out the same array each time, as an environment may.
    """

    def __init__(self, length: int = 3, truncate: bool = True, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.length, self.truncate = length, truncate
        self.observation_space = Box(-1e6, np.inf, (2,), np.float32)
        self.action_space = Discrete(2)
        self.view = np.array([-1.0, 0.0], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.view[0] += 1
        self.view[1] = 0
        return self.view, {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.view[1] += 1
        ended = bool(self.view[1] == self.length)
        return self.view, float(self.view[1]), ended and not self.truncate, ended and self.truncate, {}


class Bytes(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Observes eight random bytes, and pays for action 1 if the first is large."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space, self.action_space = Box(0, 255, (8,), np.uint8), Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.memory = 0, self.np_random.integers(0, 256, 8, np.uint8)
        return self.memory, {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        reward = float(action == (self.memory[0] > 127))
        self.time, self.memory = self.time + 1, self.np_random.integers(0, 256, 8, np.uint8)
        return self.memory, reward, self.time == 20, False, {}


class Endless(Clock):
    """Never ends, and pays at every step."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(length=10**9, render_mode=render_mode)


class Barren(Clock):
    """Never pays."""

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        return observation, 0.0, *rest  # type: ignore[return-value]


class Jackpot(Clock):
    """Pays a million once in a thousand steps, whatever is done."""

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        return observation, 1e6 * float(self.np_random.random() < 0.001), *rest  # type: ignore[return-value]


class Plain(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Observes stacked colour pictures of noise, and knows nothing of drawing."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = Box(0, 255, (6, 5, 3, 2), np.uint8), Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.integers(0, 256, (6, 5, 3, 2), np.uint8), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        return self.reset()[0], float(action), bool(self.np_random.random() < 0.2), False, {}


class Crash(Clock):
    """Raises after a number of steps."""

    def __init__(self, after: int = 50, render_mode: str | None = None) -> None:
        super().__init__(length=10, render_mode=render_mode)
        self.after = after

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.after -= 1
        if self.after < 0:
            raise ZeroDivisionError("the simulator broke")
        return super().step(action)


class Faulty(Clock):
    """Does something bad at the end of its `after`-th step; with a marker, a file that it makes, only once."""

    def __init__(self, fault: str, after: int = 500, marker: str = "", render_mode: str | None = None) -> None:
        super().__init__(length=10, render_mode=render_mode)
        self.fault, self.after, self.marker = fault, after, marker

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        self.after -= 1
        if self.after < 0 and not self._has_happened():
            match self.fault:
                case "raise":
                    raise ZeroDivisionError("the simulator broke")
                case "vanish":
                    os._exit(0)
                case "hang":
                    time.sleep(1000)
                case "nan":
                    observation = np.array([np.nan, 0], np.float32)
                case "outside":
                    observation = np.array([-2e6, 0], np.float32)
                case "shape":
                    observation = np.zeros(3, np.float32)
                case "reward":
                    reward = math.inf
                case "huge":
                    reward = 1e30
        return observation, reward, terminated, truncated, info

    def _has_happened(self) -> bool:
        if not self.marker:
            return False
        try:
            with open(self.marker, "x"):
                return False
        except FileExistsError:
            return True


class Narrow(Clock):
    """Its space does not hold zero; after so many steps it raises, or begins its episodes with what is no number."""

    def __init__(self, after: int = 3, fault: str = "raise", render_mode: str | None = None) -> None:
        super().__init__(length=7, render_mode=render_mode)
        self.observation_space = Box(1, 100, (2,), np.float32)
        self.after, self.fault = after, fault

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        first = np.nan if self.fault == "nan at reset" and self.after < 0 else 1.0
        return np.array([first, 1], np.float32), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        _, *rest = super().step(action)
        self.after -= 1
        if self.after < 0 and self.fault == "raise":
            raise BrokenPipeError("the simulator hung up")
        return np.array([1, 1], np.float32), *rest  # type: ignore[return-value]


class Moody(Clock):
    """Never twice the same: it does not draw from the generator that its seed determines."""

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observation, *rest = super().step(action)
        return observation + np.random.default_rng().random(2, np.float32), *rest  # type: ignore[return-value]


class Rooms(gymnasium.Env[Any, np.int64]):
    """Dict observations, Discrete actions that start at 5; pays 1 for action 6."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Dict({"room": Discrete(3), "light": Box(0, 1, (2,), np.float32)})
        self.action_space = Discrete(2, start=5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action not in (5, 6):
            raise ValueError(f"action {action} is outside the space")
        return self.observation_space.sample(), float(action == 6), bool(self.np_random.random() < 0.2), False, {}


class Sides(gymnasium.Env[Any, np.int64]):
    """Shows a light in one half of a picture, and a number; pays 1 for the action "left, or else positive" (XOR).

    Neither the picture nor the number alone says anything about the right action.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Dict(
            {"picture": Box(0, 255, (10, 10, 4), np.uint8), "number": Box(-1, 1, (1,), np.float32)}
        )
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.observe(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action == (self.left ^ self.positive))
        self.time += 1
        return self.observe(), reward, self.time == 20, False, {}

    def observe(self) -> Any:
        self.left, self.positive = self.np_random.integers(2, size=2)
        picture = np.zeros((10, 10, 4), np.uint8)
        picture[:, :5] = 255 * self.left
        picture[:, 5:] = 255 * (1 - self.left)
        return {"picture": picture, "number": np.array([2 * self.positive - 1], np.float32)}


class Mixed(gymnasium.Env[Any, np.int64]):
    """Observes a dictionary with a part of every kind; pays 1 for the action that its switches show.

    With a fault, one part soon leaves its space.
    """

    def __init__(self, fault: str = "", render_mode: str | None = None) -> None:
        self.render_mode, self.fault, self.taken = render_mode, fault, 0
        body = Dict({"dial": MultiDiscrete([2, 3], start=[1, 10]), "switches": MultiBinary(2)})
        self.observation_space = Dict(
            {"body": body, "pair": Tuple((Discrete(3, start=-1), Box(0, 1))), "said": Text(9)}
        )
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.seen: Any = self.observation_space.sample()
        if self.taken > 10 and self.fault == "number":
            self.seen["pair"] = (2, self.seen["pair"][1])
        if self.taken > 10 and self.fault == "missing":
            del self.seen["body"]["dial"]
        return self.seen, {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        reward = float(action == self.seen["body"]["switches"][0])
        return self.reset()[0], reward, bool(self.np_random.random() < 0.2), False, {}


class Menu(gymnasium.Env[Any, Any]):
    """Observes a price for each action; pays 1 for the cheapest allowed one, and an action that is sold out raises.

    Which actions are allowed says the mask alone: in the info, or under a key of the observation. MultiDiscrete actions
    have two components, and each pays a half. A mask is missing or empty after the last step of an episode.
    """

    def __init__(self, where: str = "info", several: bool = False, fault: str = "", start: int = 3) -> None:
        self.where, self.sizes, self.fault, self.start = where, (3, 2) if several else (4,), fault, start
        space: Any = Box(0, 1, (sum(self.sizes),), np.float32)
        if where == "key":
            space = Dict({"observation": space, "action_mask": MultiBinary(sum(self.sizes))})
        self.observation_space = space
        self.action_space = MultiDiscrete(self.sizes) if several else Discrete(4, start=start)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.show()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        chosen = np.atleast_1d(action) - (self.start if len(self.sizes) == 1 else 0)
        reward = 0.0
        for choice, prices, mask in zip(chosen, self.prices, self.masks, strict=True):
            if not mask[choice]:
                raise RuntimeError(f"{action} is sold out")
            reward += float(choice == np.where(mask, prices, np.inf).argmin()) / len(self.sizes)
        self.time += 1
        observation, info = self.show()
        return observation, reward, self.time == 10, False, info

    def show(self) -> tuple[Any, dict[str, Any]]:
        self.prices = [self.np_random.random(size, np.float32) for size in self.sizes]
        self.masks = [self.np_random.random(size) < 0.5 for size in self.sizes]
        for mask in self.masks:
            mask[self.np_random.integers(len(mask))] = True
        given: Any = tuple(mask.astype(np.int8) for mask in self.masks)
        if self.time == 10 or (self.time == 5 and self.fault == "empty"):
            given = tuple(np.zeros_like(mask) for mask in given)
        elif self.fault == "shape":
            given = (*given, np.ones(2, np.int8))
        observation = np.concatenate(self.prices)
        if self.where == "key":
            return {"observation": observation, "action_mask": np.concatenate(given)}, {}
        if self.time == 10 or (self.time == 5 and self.fault == "missing"):
            return observation, {}
        return observation, {"action_mask": given[0] if len(given) == 1 else given}


class Levers(gymnasium.Env[NDArray[np.float32], NDArray[np.int64]]):
    """MultiDiscrete actions; pays 1 for each component that equals the number shown."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Box(0, 1, (2,), np.float32)
        self.action_space = MultiDiscrete([2, 2])
        self.shown = np.zeros(2, np.int64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.shown = self.np_random.integers(2, size=2)
        return self.shown.astype(np.float32), {}

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        reward = float((action == self.shown).sum())
        return self.reset()[0], reward, bool(self.np_random.random() < 0.2), False, {}


class Reach(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    """Box actions; the nearer the action is to the number shown, the less it costs."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Box(-1, 1, (1,), np.float64)
        self.action_space = Box(-2, 6, (1,), np.float32)
        self.shown = np.zeros(1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float64], dict[str, Any]]:
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(-1, 1, 1)
        return self.shown, {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        cost = abs(float(action[0]) - 2 - 3 * float(self.shown[0]))  # 2 is the middle of the bounds
        return self.reset()[0], -cost, bool(self.np_random.random() < 0.2), False, {}


class Drawn(Clock):
    """Pays a number that is drawn from a process-wide random generator, and observes another one."""

    def __init__(self, source: str = "numpy", render_mode: str | None = None) -> None:
        super().__init__(length=3, render_mode=render_mode)
        self.source = source

    def draw(self) -> float:
        match self.source:
            case "random":
                return random.random()
            case "torch":
                return float(torch.rand(()))
        return float(np.random.random())  # noqa: NPY002

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        return observation + np.float32(self.draw()), self.draw(), *rest  # type: ignore[return-value]


class Denormal(Clock):
    """Pays 1 where arithmetic keeps denormal numbers of single and double precision, NumPy's and torch's, else 0."""

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        single, double = np.full(8, 1e-40, np.float32) * np.float32(0.5), np.full(8, 1e-310) * 0.5
        tensor = torch.full((8,), 1e-40) * 0.5
        kept = single.all() and double.all() and tensor.all()
        return observation, float(kept), *rest  # type: ignore[return-value]


class Deep(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A row of states of which only the last one pays: one action leads on, which of the two depends on the state.

    The other action leads back to the first state. An episode has as many steps as there are states.
    """

    action_space = Discrete(2)

    def __init__(self, states: int = 12) -> None:
        self.observation_space = Box(0, 1, (states,), np.float32)
        self.states, self.state, self.steps = states, 0, 0
        self.onward = np.random.default_rng(0).integers(0, 2, states)

    def _observe(self) -> NDArray[np.float32]:
        return np.eye(self.states, dtype=np.float32)[self.state]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.steps = 0
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.state = min(self.state + 1, self.states - 1) if action == self.onward[self.state] else 0
        found = self.state == self.states - 1
        return self._observe(), float(found), found, not found and self.steps >= self.states, {}


for _name in (
    "Clock",
    "Bytes",
    "Plain",
    "Barren",
    "Jackpot",
    "Endless",
    "Crash",
    "Faulty",
    "Moody",
    "Narrow",
    "Rooms",
    "Sides",
    "Mixed",
    "Menu",
    "Levers",
    "Reach",
    "Drawn",
    "Denormal",
    "Deep",
):
    gymnasium.register(id=f"test/{_name}-v0", entry_point=f"tests.environments:{_name}")
