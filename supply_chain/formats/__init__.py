"""Formats that weights are shipped in, one file each; what they need is imported when it is used."""
