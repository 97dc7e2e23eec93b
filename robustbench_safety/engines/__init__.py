"""Engines decide who runs which condition where; they know nothing of metrics."""
