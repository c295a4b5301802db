"""The local stack: everything `make` does on a developer's machine.

`bootstrap` starts with nothing but the standard library and makes the environment that the rest runs in. One module
is one idea; `__main__` is the list of commands.
"""
