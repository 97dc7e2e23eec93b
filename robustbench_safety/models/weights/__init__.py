"""Weights: read from a file without running code, loaded strictly, digested."""
