"""What a TOML file may say; experiments and their runs. No torch."""
