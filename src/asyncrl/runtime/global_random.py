"""The process-wide random generators that an environment may draw from: `random`, `numpy.random` and `torch`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

WORDS_TAKEN = 2
"""Words of a worker's seed that seed its environments and its actions; the next three belong to this module."""


class GeneratorStates(NamedTuple):
    """The states of the three generators, each in its library's own form."""

    python: Any
    numpy: Any
    torch: Tensor


class GlobalRandom:
    """One set of states of the process-wide generators.

    Each worker has its own. A process installs it once; workers that take turns in one process swap theirs in for each
    turn. Without it all workers would inherit the same states from the fork server, and draw the same numbers.

    Args:
        seed: Seed of the worker. The generators take words of it that nothing else uses.
    """

    def __init__(self, seed: np.random.SeedSequence) -> None:
        python, numpy, torch_ = (int(word) for word in seed.generate_state(WORDS_TAKEN + 3)[WORDS_TAKEN:])
        self.states = GeneratorStates(
            random.Random(python).getstate(),
            np.random.RandomState(numpy).get_state(),
            torch.Generator().manual_seed(torch_).get_state(),
        )

    def install(self) -> None:
        """Makes these the states of the process-wide generators."""
        _set_states(self.states)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Installs these states, and puts the ones that were there back at the end; what was drawn is remembered."""
        outside = _get_states()
        _set_states(self.states)
        try:
            yield
        finally:
            self.states = _get_states()
            _set_states(outside)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the states for a checkpoint."""
        name, *numpy = self.states.numpy
        plain = json.dumps({"python": self.states.python, "numpy": [name, numpy[0].tolist(), *numpy[1:]]})
        return {
            "global_random": torch.from_numpy(np.frombuffer(plain.encode(), np.uint8).copy()),
            "global_random_torch": self.states.torch.clone(),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes the states from a checkpoint; a checkpoint of an earlier version has none and changes nothing."""
        if "global_random" in tensors:
            plain = json.loads(tensors["global_random"].numpy().tobytes())
            version, words, gauss = plain["python"]
            name, keys, *rest = plain["numpy"]
            self.states = GeneratorStates(
                (version, tuple(words), gauss),
                (name, np.array(keys, np.uint32), *rest),
                tensors["global_random_torch"].clone(),
            )


def _get_states() -> GeneratorStates:
    return GeneratorStates(random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002


def _set_states(states: GeneratorStates) -> None:
    random.setstate(states.python)
    np.random.set_state(states.numpy)  # noqa: NPY002
    torch.set_rng_state(states.torch)
