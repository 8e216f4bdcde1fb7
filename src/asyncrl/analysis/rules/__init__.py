"""Rules of diagnosis. Each looks at a run's history for one thing that may be wrong.

A rule yields checks, or nothing if it has nothing to say. What a rule says about learning is likely but not certain, so
it is a `note`. `bad` is only for facts, such as a run that failed.
"""
