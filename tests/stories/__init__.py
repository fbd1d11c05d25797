"""What users do, with the clients they have."""
