"""Linear maps from one representation to another: ridge, PLS, nested choice, reliability."""
