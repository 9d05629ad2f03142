"""Tools for language models over MCP on the standard streams: segment a file, run a folder, within allowed folders."""
