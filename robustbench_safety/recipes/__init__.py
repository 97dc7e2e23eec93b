"""Reference training runs that make baseline rows."""
