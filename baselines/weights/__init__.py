"""Small weights that ship with vssbench; `manifest.json` lists name, file, checksum and where they come from."""
