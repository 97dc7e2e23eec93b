"""The ``clip`` family: image towers of open_clip, classifiers made of text, linear probes."""
