"""The machine: devices, memory, threads, and code compiled while the program runs."""
