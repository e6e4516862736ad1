"""HealthGPT: one model that reads and draws medical images. Research use only, not a medical device."""
