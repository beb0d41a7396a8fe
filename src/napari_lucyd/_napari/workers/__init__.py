"""Work off the window's thread: threads, their events, and the libraries that they load."""
