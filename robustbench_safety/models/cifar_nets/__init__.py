"""The networks of the ``cifar`` family. Tensor names are those of the published checkpoints."""
