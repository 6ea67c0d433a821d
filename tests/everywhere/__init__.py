"""``python dev.py everywhere``: the tests on other kernels, Pythons, versions and environments.

Each check is one command whose output goes to a file; at the end a table says which held, which
failed, and which could not be run here and why. What is tested is a clone of the last commit.
"""
