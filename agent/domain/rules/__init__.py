"""Rules as pure functions of what is known and of the time: what they ask, when they hold, what begins."""
