"""Coverage-guided fuzzing: what the emulator takes from outside is mutated, and what runs new code is kept and mutated
further. `README.md` tells how to run it; `test_corpus` replays what once failed.
"""
