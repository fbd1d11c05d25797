"""What an emulator must survive: random requests, random fixtures, hostile clients, odd arguments."""
