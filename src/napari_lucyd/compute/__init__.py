"""The machine: devices, memory, threads, and code that is compiled at run time."""
