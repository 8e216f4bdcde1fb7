"""Hints for names of settings that do not exist: names that other libraries use, and typing errors."""

from __future__ import annotations

import difflib
from collections.abc import Collection

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "n_steps": ("rollout_length", "multi_step"),
    "total_timesteps": ("steps",),
    "gamma": ("discount",),
    "lr": ("learning_rate",),
    "num_envs": ("envs_per_worker",),
    "n_envs": ("envs_per_worker",),
    "ent_coef": ("entropy_weight",),
    "vf_coef": ("value_weight",),
    "max_grad_norm": ("max_gradient_norm",),
    "buffer_size": ("replay_capacity",),
    "batch_size": (),
    "n_epochs": ("epochs",),
    "update_epochs": ("epochs",),
    "num_minibatches": ("minibatches",),
    "env_kwargs": ("environment_options", "env_option"),
    "policy_kwargs": ("hidden", "torso"),
}
"""Names that settings have in other libraries, and the settings here that do the same; none where nothing does."""


def right_name(name: str, known: Collection[str]) -> str | None:
    """What to say about the name of a setting that does not exist, or None if there is nothing to say.

    Args:
        name: The name that was given.
        known: The names that exist.
    """
    if name in OTHER_NAMES:
        same = [repr(other) for other in OTHER_NAMES[name] if other in known]
        return f"asyncrl calls it {' and '.join(same)}" if same else None
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else None
