"""The ``onnx`` and ``export`` families: networks handed in as graphs."""
