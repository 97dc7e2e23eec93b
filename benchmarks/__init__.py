"""Side-by-side timings: the suite against the limit of the hardware, as ratios in one run."""
