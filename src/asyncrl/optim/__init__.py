"""Optimisers whose parameters and statistics live in memory that all workers write to, without a lock."""
