"""The science, for anybody's training loop: schedules, freezing a unit, FreezeOut."""
