"""The claims of the paper, each with its experiment, its effect and its verdict.

``python -m reproduction`` trains what the rows of ``models/experiments/`` ask for, measures every
row as its file says, and writes the verdicts with a figure each to one page. Only this folder
knows both the training stage and the analysis.
"""
