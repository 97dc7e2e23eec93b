"""Figures of a record as PNG files, by matplotlib (extra ``plots``): the same shapes as the page's charts."""
