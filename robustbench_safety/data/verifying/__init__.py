"""What lies on disk against the manifest: archives, names, counts, pictures, digests."""
