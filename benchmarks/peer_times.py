"""Times of ``imagecorruptions`` in an environment of its own: run by benchmarks/corruptions.py, not by hand.

It imports nothing of this repository: the environment holds that package and what it needs alone.
Prints one JSON object: corruption -> milliseconds an image, or null where it crashes.
"""

import json
import sys
import time

import numpy as np


def main() -> None:
    """Time the corruptions that are named after the file of images: FILE SEVERITY SECONDS NAME ..."""
    import cv2
    import imagecorruptions  # type: ignore[import-not-found, unused-ignore]  # it lies in benchmarks/.peers

    cv2.setNumThreads(1)
    images = np.load(sys.argv[1])
    severity, least = int(sys.argv[2]), float(sys.argv[3])
    times: dict[str, float | None] = {}
    for name in sys.argv[4:]:
        try:
            imagecorruptions.corrupt(images[0], corruption_name=name, severity=severity)
        except Exception:  # noqa: BLE001  # whatever a removed function raises: it is what is measured
            times[name] = None
            continue
        started, n = time.process_time(), 0
        while time.process_time() - started < least:
            imagecorruptions.corrupt(images[n % len(images)], corruption_name=name, severity=severity)
            n += 1
        times[name] = 1e3 * (time.process_time() - started) / n
    print(json.dumps(times))


if __name__ == "__main__":
    main()
