"""Labyrinth: 3-D mazes with apples and a portal, which the agent sees from inside (Mnih et al. 2016, section 5.4)."""
