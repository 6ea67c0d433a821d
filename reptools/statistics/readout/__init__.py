"""Linear classifiers that many targets, folds and penalties share."""
