"""The command line: in the test's own process where that will do, as a process where signals and logs matter."""
