"""The ``hf`` family: image classifiers of transformers."""
