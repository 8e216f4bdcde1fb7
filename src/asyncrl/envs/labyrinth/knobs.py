"""The knobs of labyrinths, and which combinations of them are possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from asyncrl.envs.labyrinth.state import MAZE, ROOM, STEPS_PER_SECOND, T_MAZE, Rules
from asyncrl.errors import UserError

Layout = Literal["maze", "room", "t-maze"]
MOST_TEXTURES = 8
LARGEST = 63
SMALLEST_T = 7


@dataclass(frozen=True)
class Knobs:
    """What can be chosen of a labyrinth; `LabyrinthVectorEnv` says what each knob does."""

    layout: Layout = "maze"
    size: int = 15
    apples: int = 10
    portal: bool = True
    textures: int = 4
    seconds: float = 60.0
    maze: int | None = None

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise UserError(f"Labyrinth's layout is one of {', '.join(get_args(Layout))}, not {self.layout!r}")
        if self.size % 2 == 0 or not 5 <= self.size <= LARGEST:
            raise UserError(f"Labyrinth's size must be an odd number between 5 and {LARGEST}, not {self.size}")
        if not 1 <= self.textures <= MOST_TEXTURES:
            raise UserError(f"Labyrinth's textures must lie between 1 and {MOST_TEXTURES}, not {self.textures}")
        if self.seconds * STEPS_PER_SECOND < 1:
            raise UserError(f"Labyrinth's seconds must be at least {1 / STEPS_PER_SECOND:.2f}, not {self.seconds}")
        if self.maze is not None and self.maze < 0:
            raise UserError(f"Labyrinth's maze must be None or a number of at least 0, not {self.maze}")
        self._check_objects()

    def _check_objects(self) -> None:
        if self.layout == "t-maze":
            if self.size < SMALLEST_T:
                raise UserError(f"the T-maze's size must be at least {SMALLEST_T}, not {self.size}")
            if self.apples or self.portal:
                raise UserError("the T-maze has neither apples nor a portal: pass apples=0 and portal=False")
            return
        most = self.open_cells - 1 - self.portal  # one cell is left for the agent
        if not 0 <= self.apples <= most:
            raise UserError(f"Labyrinth's apples must lie between 0 and {most} for this size, not {self.apples}")
        if not self.apples and not self.portal:
            raise UserError("Labyrinth needs apples or a portal: without both there is no reward")

    @property
    def open_cells(self) -> int:
        """Number of cells without a wall, in a maze or a room."""
        if self.layout == "room":
            return (self.size - 2) ** 2
        nodes = ((self.size - 1) // 2) ** 2
        return 2 * nodes - 1  # a tree of n nodes has n - 1 edges, and each opens one more cell

    @property
    def objects(self) -> int:
        """Largest number of objects in a labyrinth."""
        return 3 if self.layout == "t-maze" else self.apples + self.portal

    @property
    def steps(self) -> int:
        """Steps of an episode after which it is cut off."""
        return round(self.seconds * STEPS_PER_SECOND)

    def rules(self) -> Rules:
        """The knobs as the compiled loops take them."""
        layout = {"maze": MAZE, "room": ROOM, "t-maze": T_MAZE}[self.layout]
        maze = -1 if self.maze is None else self.maze
        return Rules(layout, self.apples, bool(self.portal), self.textures, self.steps, maze)
