"""What a run leaves on disk while it happens, and the hashes of what it reads. The ground floor."""
