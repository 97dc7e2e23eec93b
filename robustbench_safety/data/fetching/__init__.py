"""Published archives to folders: download, check, unpack."""
