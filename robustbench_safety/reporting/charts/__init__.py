"""Charts of a record: plain numbers in, inline SVG (or an HTML table) out, the same bytes every time."""
