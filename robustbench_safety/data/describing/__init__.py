"""A manifest for images that somebody has."""
