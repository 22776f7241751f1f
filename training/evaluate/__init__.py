"""How good a generator is: clean pictures are degraded, restored, and compared with what they were."""
