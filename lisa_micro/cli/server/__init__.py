"""``lisa-micro serve``: a process that keeps the model loaded, and the commands that use it.

A command hands its arguments, its working folder and its standard streams over a Unix socket; the server runs it as if
it were the command's own process. What a client needs imports the standard library alone, so that asking the server
costs next to nothing.
"""
