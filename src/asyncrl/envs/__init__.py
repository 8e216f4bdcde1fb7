"""Environments: makes vectors of any Gymnasium id, and registers the built-in game Catch and the labyrinths."""

from gymnasium.envs.registration import register

for _id, _memory in (("Catch-v0", False), ("CatchMemory-v0", True)):
    register(
        id=_id,
        entry_point="asyncrl.envs.catch:CatchEnv",
        vector_entry_point="asyncrl.envs.catch:CatchVectorEnv",
        kwargs={"memory": _memory},
    )

for _id, _knobs in (
    ("Labyrinth-v0", {}),
    ("LabyrinthStatic-v0", {"maze": 1}),
    ("LabyrinthRoom-v0", {"layout": "room", "size": 7, "apples": 8, "portal": False, "textures": 1, "seconds": 20.0}),
    ("LabyrinthTMaze-v0", {"layout": "t-maze", "size": 7, "apples": 0, "portal": False}),
):
    register(
        id=_id,
        entry_point="asyncrl.envs.labyrinth.env:LabyrinthEnv",
        vector_entry_point="asyncrl.envs.labyrinth.env:LabyrinthVectorEnv",
        kwargs=_knobs,
    )

register(
    id="VizdoomLabyrinth-v0",
    entry_point="asyncrl.envs.doom_labyrinth.env:DoomLabyrinthEnv",
    kwargs={"frame_skip": 4},
)
