"""The regression gate: two records held against each other, and what is said of it."""
