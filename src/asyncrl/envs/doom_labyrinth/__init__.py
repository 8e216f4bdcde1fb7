"""Labyrinth in the engine of Doom: maps that are written on the fly, and the environment that plays them."""
