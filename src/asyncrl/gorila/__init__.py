"""Runs on many machines: nodes with workers on shared memory, and a parameter server through which they trade.

Only `cluster.py` and `workers.py` know of Ray.
"""
