"""Parts shared by several commands: console, options, paths, the chosen method, a run over many files."""
