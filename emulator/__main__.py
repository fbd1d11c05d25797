"""`python -m emulator` is `fm-emulator`."""

from .cli import main

if __name__ == "__main__":
    main()
