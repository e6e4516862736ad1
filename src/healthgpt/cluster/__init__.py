"""Ray jobs for data building, batch inference and serving; nothing here reimplements what Ray does."""
