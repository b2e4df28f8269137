"""MLflow: what is recorded, and how it gets there though the server is away."""
