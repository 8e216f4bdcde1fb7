"""Environments: makes vectors of any Gymnasium id, and registers the built-in game Catch."""

from gymnasium.envs.registration import register

for _id, _memory in (("Catch-v0", False), ("CatchMemory-v0", True)):
    register(
        id=_id,
        entry_point="asyncrl.envs.catch:CatchEnv",
        vector_entry_point="asyncrl.envs.catch:CatchVectorEnv",
        kwargs={"memory": _memory},
    )
